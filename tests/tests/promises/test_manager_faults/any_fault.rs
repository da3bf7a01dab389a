//! Whatever the data and the faults of Test Manager and the tracker: a create makes exactly one
//! issue that holds what could be fetched and names what could not, or answers a problem that names
//! the step, and then there is no issue.
//!
//! `TEST_SEED` selects the cases; a failure prints the seed and the smallest case that fails.

use std::cell::Cell;

use jackfield_tests::{
    Evidence, Issue, IssueFile, RedmineConnection, Reply, SimulatedTestManager, TestHost, as_shown,
    cases, seed, webhook_body,
};
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::{Value, json};

use super::{connect, host};

/// What the tracker does instead of what it is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum TrackerFault {
    None,
    RefusesFiles,
    LosesFiles,
    RefusesIssues,
    RefusesTheKey,
    IsDown,
}

#[derive(Debug, Clone)]
struct Case {
    /// Of the stand-in's data.
    seed: u64,
    project: &'static str,
    failed: Index,
    faults: Vec<String>,
    tracker: TrackerFault,
}

fn case() -> impl Strategy<Value = Case> {
    let project = prop_oneof![2 => Just("SHOP"), 1 => Just("BANK"), 3 => Just("ODD")];
    let tracker = prop_oneof![
        8 => Just(TrackerFault::None),
        1 => Just(TrackerFault::RefusesFiles),
        1 => Just(TrackerFault::LosesFiles),
        1 => Just(TrackerFault::RefusesIssues),
        1 => Just(TrackerFault::RefusesTheKey),
        1 => Just(TrackerFault::IsDown),
    ];
    (0..1_000_u64, project, any::<Index>(), faults(), tracker).prop_map(
        |(seed, project, failed, faults, tracker)| Case { seed, project, failed, faults, tracker },
    )
}

/// At most three faults, with any value that a test can wait for.
fn faults() -> impl Strategy<Value = Vec<String>> {
    let plain = [
        "expired-token",
        "wrong-credentials",
        "ungranted-scope",
        "token-hangs",
        "html-403",
        "token-html-403",
        "unknown-execution",
        "no-variation",
        "two-logs",
        "screenshot-gone",
        "screenshot-redirect",
    ];
    let plain = plain.map(|name| Just(name.to_owned()).boxed());
    let with = |name: &'static str, values: std::ops::Range<u64>| {
        values.prop_map(move |value| format!("{name}={value}")).boxed()
    };
    let valued = [
        with("clock-skew", 0..4),
        with("many-logs", 0..25_000),
        with("large-attachment", 0..12_000_000),
        with("large-attachment", 150_000_000..250_000_000),
        with("slow", 0..700),
        with("server-errors", 0..12),
        with("rate-limit", 0..40),
    ];
    let all: Vec<_> = plain.into_iter().chain(valued).collect();
    subsequence(all, 0..=3).prop_flat_map(|chosen| chosen)
}

#[test]
fn a_create_makes_one_complete_issue_or_answers_why_there_is_none() {
    let seed = seed();
    let host = host();
    let number = Cell::new(0);
    let config = Config {
        cases: cases(),
        max_shrink_iters: 24,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&case(), |case| {
        number.set(number.get() + 1);
        check(&host, &format!("c{}", number.get()), &case).map_err(TestCaseError::fail)
    });
    if let Err(failure) = result {
        panic!("TEST_SEED={seed}: {failure}");
    }
}

fn check(host: &TestHost, name: &str, case: &Case) -> Result<(), String> {
    let simulator = SimulatedTestManager::start(&["--seed", &case.seed.to_string()]);
    let all = simulator.failed_tests(case.project);
    let failed = case.failed.get(&all);
    let redmine = connect(host, &simulator, name, "quick", json!({}));
    let evidence = evidence(&simulator, failed, case);
    let faults: Vec<_> = case.faults.iter().map(String::as_str).collect();
    simulator.set_faults(&faults);
    break_tracker(&redmine, case.tracker);

    let test = webhook_body(failed);
    let answer = host.create(&redmine.connection, &test);
    redmine.proxy.forward_all();
    let issues = redmine.project.issues();
    if answer.status != 200 {
        let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        let step = match case.tracker {
            TrackerFault::RefusesIssues => "the test refuses",
            TrackerFault::RefusesTheKey => "answered 401",
            TrackerFault::IsDown => "503",
            _ => return Err(format!("the create was refused: {answer:?}")),
        };
        require(detail.contains(step), || format!("{step} is not in {detail}"))?;
        return require(issues.is_empty(), || format!("there is an issue: {issues:?}"));
    }
    let [issue] = issues.as_slice() else { return Err(format!("{} issues", issues.len())) };
    let defect = answer.json();
    require(defect["id"] == issue.id, || format!("{defect} is not {issue:?}"))?;
    let files = redmine.project.files(&issue.id);
    let mut filed = Filed::new(issue, files, &host.run_of(&answer));
    filed.of_all =
        filed.names("lines of all variations") || failed["variation"] == "" || evidence.len() > 1;
    let wrong = evidence.iter().map(|it| filed.differs(it).err()).collect::<Option<Vec<_>>>();
    if let Some(wrong) = wrong {
        return Err(format!("{}\n{}", wrong.join("\n"), filed.text));
    }
    let is_expected_complete =
        case.faults.is_empty() && case.tracker == TrackerFault::None && case.project != "ODD";
    let is_complete = !filed.names("What is missing") && !filed.names("Not attached");
    require(is_complete || !is_expected_complete, || {
        format!("gaps without a fault: {}", filed.text)
    })?;

    simulator.set_faults(&[]);
    let again = host.create(&redmine.connection, &test).expect(200);
    require(again["id"] == issue.id, || format!("the repeat is {again}"))?;
    require(redmine.project.issues().len() == 1, || "the repeat made an issue".to_owned())
}

/// What is known of the test without faults; with two logs, of each.
fn evidence(simulator: &SimulatedTestManager, failed: &Value, case: &Case) -> Vec<Evidence> {
    if !case.faults.iter().any(|fault| fault == "two-logs") {
        return vec![simulator.evidence(failed)];
    }
    simulator.set_faults(&["two-logs"]);
    simulator.evidence_of_matches(failed)
}

fn break_tracker(redmine: &RedmineConnection, fault: TrackerFault) {
    redmine.proxy.set_script(move |exchange| {
        let target = exchange.request.target.as_str();
        let is_file = target.starts_with("/uploads.json");
        let is_issue = exchange.request.is_post() && target.starts_with("/issues.json");
        let errors = r#"{"errors":["the test refuses this"]}"#;
        match fault {
            TrackerFault::RefusesFiles if is_file => Reply::json(422, errors),
            TrackerFault::LosesFiles if is_file => Reply::reset(),
            TrackerFault::RefusesIssues if is_issue => Reply::json(422, errors),
            TrackerFault::RefusesTheKey => Reply::new(401, ""),
            TrackerFault::IsDown => Reply::new(503, ""),
            _ => exchange.pass(),
        }
    });
}

/// What is in Redmine and in the event.
struct Filed {
    text: String,
    files: Vec<IssueFile>,
    /// The log of the run.
    log: String,
    /// Whether the robot's log may have other lines: without the log of the test, without its
    /// variation, or with two logs of the same time, they cannot be told apart.
    of_all: bool,
}

impl Filed {
    fn new(issue: &Issue, files: Vec<IssueFile>, run: &Value) -> Self {
        let (text, log) = (as_shown(&issue.description), run["log"].to_string());
        Self { text, files, log, of_all: false }
    }

    fn names(&self, text: &str) -> bool {
        self.text.contains(text)
    }

    /// What the issue neither holds nor names, or has too much.
    fn differs(&self, evidence: &Evidence) -> Result<(), String> {
        // Long texts are cut.
        let info: String = letters(&evidence.info).chars().take(500).collect();
        let holds_info = letters(&self.text).contains(&info);
        require(holds_info || self.names("the log of the failed test"), || {
            format!("neither the failure {info} nor that it is missing")
        })?;
        let is_log = |file: &IssueFile| {
            file.name == "robot-log.txt" && (self.of_all || is_end_of(file, &evidence.robot_log))
        };
        let has_log = self.files.iter().any(is_log);
        let log_is_named =
            self.names("the robot's log") || self.names("Not attached: robot-log.txt");
        require(has_log || log_is_named || evidence.robot_log.is_empty(), || {
            "neither the robot's log nor that it is missing".to_owned()
        })?;
        let is_there = |bytes: &Vec<u8>| self.files.iter().any(|file| file.bytes == *bytes);
        let missing = evidence.files.iter().filter(|file| !is_there(&file.bytes)).count();
        let named =
            self.text.matches("Not attached: ").count() + self.text.matches("the file ").count();
        let lists = self.names("the attachments") || self.names("the assertions");
        require(missing <= named || lists, || {
            format!("{missing} files are missing and {named} are named")
        })?;
        for file in &self.files {
            let is_known = evidence.files.iter().any(|known| known.bytes == file.bytes)
                || is_log(file)
                || file.name == "memory.dmp";
            require(is_known, || format!("{} is not of this test", file.name))?;
        }
        let has_gaps = self.names("What is missing");
        require(!has_gaps || self.log.contains("not in the report"), || {
            format!("the event does not name the gaps: {}", self.log)
        })
    }
}

/// Whether a file has the newest steps of a robot, or all. Other lines have odd texts, which may be
/// blank.
fn is_end_of(file: &IssueFile, lines: &str) -> bool {
    let steps = |text: &str| {
        let steps = text.lines().filter(|line| line.contains(" Step "));
        steps.map(str::to_owned).collect::<Vec<_>>()
    };
    steps(lines).ends_with(&steps(&String::from_utf8_lossy(&file.bytes)))
}

/// The first letters and digits of a text: what no markup changes.
fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

fn require(is_so: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(why()) }
}
