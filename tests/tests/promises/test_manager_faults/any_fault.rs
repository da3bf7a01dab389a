//! Tests creates with random data and random faults of Test Manager and of the tracker. A create
//! makes at most one issue. The issue contains the data that could be fetched, and names what is
//! missing. Without an issue, the answer is a problem that contains the tracker's reason.
//!
//! `TEST_SEED` selects the random cases. A failure prints the seed and the smallest failing case.

use std::cell::Cell;

use jackfield_tests::{
    Evidence, Issue, IssueFile, RedmineConnection, Reply, SimulatedTestManager, TestHost, as_shown,
    cases, seed, webhook_body,
};
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::{Value, json};

use super::{add_connection, start_host};

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
    /// The seed of the stand-in's data.
    seed: u64,
    project: &'static str,
    /// Selects one of the project's failed tests.
    failed_test_index: Index,
    faults: Vec<String>,
    tracker_fault: TrackerFault,
}

fn any_case() -> impl Strategy<Value = Case> {
    let project = prop_oneof![2 => Just("SHOP"), 1 => Just("BANK"), 3 => Just("ODD")];
    let tracker_fault = prop_oneof![
        8 => Just(TrackerFault::None),
        1 => Just(TrackerFault::RefusesFiles),
        1 => Just(TrackerFault::LosesFiles),
        1 => Just(TrackerFault::RefusesIssues),
        1 => Just(TrackerFault::RefusesTheKey),
        1 => Just(TrackerFault::IsDown),
    ];
    (0..1_000_u64, project, any::<Index>(), any_faults(), tracker_fault).prop_map(
        |(seed, project, failed_test_index, faults, tracker_fault)| Case {
            seed,
            project,
            failed_test_index,
            faults,
            tracker_fault,
        },
    )
}

/// A strategy that chooses at most three faults. Their delays and sizes are limited, so that a case
/// does not take too long.
fn any_faults() -> impl Strategy<Value = Vec<String>> {
    let without_value = [
        "expired-token",
        "wrong-credentials",
        "ungranted-scope",
        "token-hangs",
        "html-403",
        "token-html-403",
        "unknown-execution",
        "no-variation",
        "two-logs",
        "no-file-sizes",
        "screenshot-gone",
        "screenshot-redirect",
    ];
    let without_value = without_value.map(|name| Just(name.to_owned()).boxed());
    let fault_with_value = |name: &'static str, values: std::ops::Range<u64>| {
        values.prop_map(move |value| format!("{name}={value}")).boxed()
    };
    let with_value = [
        fault_with_value("clock-skew", 0..4),
        fault_with_value("many-logs", 0..25_000),
        fault_with_value("large-attachment", 0..12_000_000),
        fault_with_value("large-attachment", 150_000_000..250_000_000),
        fault_with_value("slow", 0..700),
        fault_with_value("server-errors", 0..12),
        fault_with_value("rate-limit", 0..40),
    ];
    let all: Vec<_> = without_value.into_iter().chain(with_value).collect();
    subsequence(all, 0..=3).prop_flat_map(|chosen| chosen)
}

#[test]
fn a_create_makes_one_complete_issue_or_answers_why_there_is_no_issue() {
    let seed = seed();
    let host = start_host();
    let number = Cell::new(0);
    let config = Config {
        cases: cases(),
        max_shrink_iters: 24,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&any_case(), |case| {
        number.set(number.get() + 1);
        check_case(&host, &format!("c{}", number.get()), &case).map_err(TestCaseError::fail)
    });
    if let Err(failure) = result {
        panic!("TEST_SEED={seed}: {failure}");
    }
}

/// Creates a defect under the faults of a case, and checks the issue or the problem.
fn check_case(host: &TestHost, name: &str, case: &Case) -> Result<(), String> {
    let simulator = SimulatedTestManager::start(&["--seed", &case.seed.to_string()]);
    let all = simulator.failed_tests(case.project);
    let failed = case.failed_test_index.get(&all);
    let redmine = add_connection(host, &simulator, name, "quick", json!({}));
    let evidence = expected_evidence(&simulator, failed, case);
    let faults: Vec<_> = case.faults.iter().map(String::as_str).collect();
    simulator.set_faults(&faults);
    break_tracker(&redmine, case.tracker_fault);

    let test = webhook_body(failed);
    let answer = host.create(&redmine.connection, &test);
    redmine.proxy.forward_all();
    let issues = redmine.project.issues();
    if answer.status != 200 {
        let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        let expected = match case.tracker_fault {
            TrackerFault::RefusesIssues => "the test refuses",
            TrackerFault::RefusesTheKey => "answered 401",
            TrackerFault::IsDown => "503",
            _ => return Err(format!("the create was refused: {answer:?}")),
        };
        require(detail.contains(expected), || format!("{expected} is not in {detail}"))?;
        return require(issues.is_empty(), || format!("there is an issue: {issues:?}"));
    }
    let [issue] = issues.as_slice() else { return Err(format!("{} issues", issues.len())) };
    let defect = answer.json();
    require(defect["id"] == issue.id, || format!("{defect} is not {issue:?}"))?;
    let files = redmine.project.files(&issue.id);
    let mut created = CreatedIssue::new(issue, files, &host.run_of(&answer));
    created.may_mix_variations = created.contains("lines of all variations")
        || failed["variation"] == ""
        || evidence.len() > 1;
    let differences = evidence.iter().map(|it| created.check(it).err()).collect::<Option<Vec<_>>>();
    if let Some(differences) = differences {
        return Err(format!("{}\n{}", differences.join("\n"), created.text));
    }
    let is_expected_complete =
        case.faults.is_empty() && case.tracker_fault == TrackerFault::None && case.project != "ODD";
    let is_complete = !created.contains("What is missing") && !created.contains("Not attached");
    require(is_complete || !is_expected_complete, || {
        format!("gaps without a fault: {}", created.text)
    })?;

    simulator.set_faults(&[]);
    let repeated = host.create(&redmine.connection, &test).expect(200);
    require(repeated["id"] == issue.id, || format!("the repeat is {repeated}"))?;
    require(redmine.project.issues().len() == 1, || "the repeat made an issue".to_owned())
}

/// Returns the data of the failed test as the stand-in has it without faults. If two logs match the
/// failed test because of the fault `two-logs`, returns the data of each log.
fn expected_evidence(
    simulator: &SimulatedTestManager,
    failed: &Value,
    case: &Case,
) -> Vec<Evidence> {
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

/// The issue in Redmine, and the log of the run that created it.
struct CreatedIssue {
    text: String,
    files: Vec<IssueFile>,
    log: String,
    /// Whether the robot's log may also contain lines of other variations. The host cannot separate
    /// these lines if the log of the test is missing, if the test has no variation, or if two logs
    /// have the same time.
    may_mix_variations: bool,
}

impl CreatedIssue {
    fn new(issue: &Issue, files: Vec<IssueFile>, run: &Value) -> Self {
        let (text, log) = (as_shown(&issue.description), run["log"].to_string());
        Self { text, files, log, may_mix_variations: false }
    }

    fn contains(&self, text: &str) -> bool {
        self.text.contains(text)
    }

    /// Checks that the issue contains all data of the failed test or names what is missing, and
    /// that it has no file of another test.
    fn check(&self, evidence: &Evidence) -> Result<(), String> {
        // The report shortens long texts, so only their beginning is compared.
        let info: String = letters_and_digits(&evidence.info).chars().take(500).collect();
        let has_info = letters_and_digits(&self.text).contains(&info);
        require(has_info || self.contains("the log of the failed test"), || {
            format!("the issue contains neither the failure {info} nor that it is missing")
        })?;
        let is_log = |file: &IssueFile| {
            file.name == "robot-log.txt"
                && (self.may_mix_variations || has_last_steps_of(file, &evidence.robot_log))
        };
        let has_log = self.files.iter().any(is_log);
        let log_is_named =
            self.contains("the robot's log") || self.contains("Not attached: robot-log.txt");
        require(has_log || log_is_named || evidence.robot_log.is_empty(), || {
            "the issue contains neither the robot's log nor that it is missing".to_owned()
        })?;
        let is_attached = |bytes: &Vec<u8>| self.files.iter().any(|file| file.bytes == *bytes);
        let missing = evidence.files.iter().filter(|file| !is_attached(&file.bytes)).count();
        let named_files =
            self.text.matches("Not attached: ").count() + self.text.matches("the file ").count();
        let lists_are_missing = self.contains("the attachments") || self.contains("the assertions");
        require(missing <= named_files || lists_are_missing, || {
            format!("{missing} files are missing and {named_files} are named")
        })?;
        for file in &self.files {
            let is_known = evidence.files.iter().any(|known| known.bytes == file.bytes)
                || is_log(file)
                || file.name == "memory.dmp";
            require(is_known, || format!("{} is not of this test", file.name))?;
        }
        let has_gaps = self.contains("What is missing");
        require(!has_gaps || self.log.contains("not in the report"), || {
            format!("the event does not name the gaps: {}", self.log)
        })
    }
}

/// Whether the steps in a file are the last steps of a robot's log. Lines that are not steps are
/// not compared, because their texts may be blank.
fn has_last_steps_of(file: &IssueFile, lines: &str) -> bool {
    let steps = |text: &str| {
        let steps = text.lines().filter(|line| line.contains(" Step "));
        steps.map(str::to_owned).collect::<Vec<_>>()
    };
    steps(lines).ends_with(&steps(&String::from_utf8_lossy(&file.bytes)))
}

/// Returns the letters and digits of a text, which no markup changes.
fn letters_and_digits(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

fn require(is_met: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if is_met { Ok(()) } else { Err(why()) }
}
