//! Kill -9 again and again under load, with repeats: at most one issue per failed test, and whatever was
//! once answered 200 is answered the same for ever.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use jackfield_tests::{
    Answer, Connection, Exchange, Gate, Guest, Peer, Project, Redmine, Reply, Setup, TestHost,
    failed_test, states, until,
};
use serde_json::{Value, json};

/// Where the requests of a round are held when the server dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Death {
    /// While the guest still reads.
    Intent,
    /// With the write out and the tracker without it.
    Sent,
    /// With the issue made and its answer held back.
    Answered,
    /// Whenever it happens to be.
    AnyTime,
}

const DEATHS: [Death; 4] = [Death::Intent, Death::Sent, Death::Answered, Death::AnyTime];

struct Bench {
    host: TestHost,
    project: Project,
    way: Peer,
    connection: Connection,
    /// What each failed test was first answered with.
    answered: HashMap<String, Value>,
}

#[test]
fn no_instant_of_a_kill_makes_two_issues() {
    let rounds = if std::env::var_os("JACKFIELD_LONG").is_some() { 1_000 } else { 200 };
    let mut bench = bench();
    let mut tests = Vec::new();
    let mut deaths: BTreeMap<(Death, String), u32> = BTreeMap::new();
    for round in 0..rounds {
        let death = DEATHS[round % DEATHS.len()];
        let new: Vec<_> = (0..3).map(|_| failed_test()).collect();
        for state in bench.round(death, &new, round) {
            *deaths.entry((death, state)).or_default() += 1;
        }
        tests.extend(new);
    }
    println!("{rounds} kills; rounds by what was held and what a row said at death: {deaths:?}");
    for (death, state) in
        [(Death::Intent, "intent"), (Death::Sent, "sent"), (Death::Answered, "sent")]
    {
        let died = deaths.get(&(death, state.to_owned())).copied().unwrap_or_default();
        assert!(died >= 20, "{died} rounds died in {state} with {death:?} held");
    }
    bench.way.heal();
    for test in &tests {
        bench.settle(test);
    }
    let issues = bench.project.issues();
    assert_eq!(issues.len(), tests.len(), "one issue for each failed test");
    for test in &tests {
        let id = test["testExecutionId"].as_str().expect("a uuid");
        let of_it = issues.iter().filter(|issue| issue.description.contains(id)).count();
        assert_eq!(of_it, 1, "{id}");
    }
}

fn bench() -> Bench {
    let redmine = Redmine::shared();
    let host = Setup::new()
        .config("lease_ms = 1500\nsweep_ms = 300\n[limits]\nrun_ms = 2000\ncreate_answer_ms = 3000")
        .plugin("redmine", &Guest::example("redmine"))
        .start();
    let (project, way) = (redmine.project(), Peer::before(redmine.address()));
    let mut settings = project.settings(&way.url());
    settings["priority"] = json!("High"); // so that the connector reads before it writes
    let connection = host.connect("qa", "redmine", settings, redmine.secrets());
    Bench { host, project, way, connection, answered: HashMap::new() }
}

impl Bench {
    /// Clicks each test twice, kills the server, starts it again. Returns what the rows said at death.
    fn round(&mut self, death: Death, tests: &[Value], round: usize) -> BTreeSet<String> {
        let gate = Gate::default();
        self.way.script(hold(death, gate.clone()));
        let twice = tests.iter().chain(tests);
        let clicks: Vec<_> = twice
            .map(|test| (test.clone(), self.host.create_aside(&self.connection, test)))
            .collect();
        match death {
            // No event to wait for: any instant is the point.
            Death::AnyTime => std::thread::sleep(Duration::from_millis((round as u64 * 37) % 200)),
            _ => gate.await_held(1),
        }
        self.host.kill9();
        gate.open();
        for (test, click) in clicks {
            if let Some(answer) = click.join().expect("no panic") {
                self.remember(&test, &answer);
            }
        }
        let mut rows = states(&self.host.folder().join("data"));
        self.host.start_again();
        let ids = tests.iter().filter_map(|test| test["testExecutionId"].as_str());
        ids.filter_map(|id| rows.remove(id)).collect()
    }

    /// Repeats the click, and does what a person would, until the defect is there.
    fn settle(&mut self, test: &Value) {
        let answer = until("the failed test to be settled", 90, || {
            let answer = self.host.create(&self.connection, test);
            match answer.status {
                200 => Some(answer),
                409 => {
                    self.retry(&answer.problem(409));
                    None
                }
                503 | 504 => None,
                _ => panic!("{answer:?}"),
            }
        });
        self.remember(test, &answer);
    }

    /// `settle --retry` for the defect that the problem names.
    fn retry(&self, detail: &str) {
        let words = detail.split(|c: char| !c.is_ascii_hexdigit() && c != '-');
        let id = words.into_iter().find(|word| word.len() == 36).expect("the defect's id");
        let path = format!("/defects/{id}/settle");
        let answer = self.host.admin().json("POST", &path, &json!({"retry": true}));
        assert!(answer.status < 300, "{answer:?}");
    }

    fn remember(&mut self, test: &Value, answer: &Answer) {
        if answer.status == 200 {
            let first = self.answered.entry(test.to_string()).or_insert_with(|| answer.json());
            assert_eq!(*first, answer.json(), "once answered, always answered so");
        }
    }
}

fn hold(death: Death, gate: Gate) -> impl Fn(&Exchange<'_>) -> Reply + Send + Sync {
    move |exchange| {
        let write = exchange.request.method == "POST";
        match death {
            Death::Intent if !write => {
                gate.pass();
                Reply::Reset(Vec::new())
            }
            Death::Sent if write => {
                gate.pass();
                Reply::Reset(Vec::new())
            }
            Death::Answered if write => {
                let answer = exchange.forward();
                gate.pass();
                Reply::Raw(answer)
            }
            _ => exchange.pass(),
        }
    }
}
