//! Death at each step of a Create Defect, exactly there: the real binary is killed at the system call
//! that would take the next step. Afterwards a repeat gives the defect, or says that nobody knows; a
//! person's retry then makes it; Redmine never holds two.

use jackfield_tests::{
    Connection, Exchange, Gate, Guest, Peer, Point, Project, Redmine, Reply, Setup, TestHost,
    failed_test, states,
};
use serde_json::{Value, json};

/// What the tracker's side holds back until death is waiting at its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    /// Nothing: death waits before the click.
    Nothing,
    /// The answer to the connector's read.
    Read,
    /// The write, whole, before Redmine has it.
    Write,
    /// Redmine's answer to the write.
    Answer,
}

/// What the repeat must come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// It runs, or runs again: the defect, no question asked.
    Runs,
    /// 409, until a person says `retry`.
    AsksAPerson,
    /// The issue is there: found by its marker, or known.
    Finds,
}

struct Step {
    name: &'static str,
    held: Held,
    /// Absent: killed from outside, with the write held.
    at: fn(&TestHost) -> Option<Point>,
    /// The row at death.
    row: Option<&'static str>,
    repeat: Repeat,
}

fn log(host: &TestHost) -> Option<Point> {
    Some(Point::write_to(host.folder().join("data/jackfield.db-wal")))
}

fn step(
    name: &'static str,
    held: Held,
    at: fn(&TestHost) -> Option<Point>,
    row: Option<&'static str>,
    repeat: Repeat,
) -> Step {
    Step { name, held, at, row, repeat }
}

fn steps() -> [Step; 7] {
    [
        step("before intent", Held::Nothing, log, None, Repeat::Runs),
        step(
            "after intent",
            Held::Nothing,
            |_| Some(Point::connecting()),
            Some("intent"),
            Repeat::Runs,
        ),
        step("connected, not sent", Held::Read, log, Some("intent"), Repeat::Runs),
        step(
            "sent, no byte out",
            Held::Read,
            |_| Some(Point::sending(1)),
            Some("sent"),
            Repeat::AsksAPerson,
        ),
        step("all bytes out", Held::Write, |_| None, Some("sent"), Repeat::AsksAPerson),
        step("answered, not stored", Held::Answer, log, Some("sent"), Repeat::Finds),
        step(
            "created, not answered",
            Held::Answer,
            |_| Some(Point::sending(1)),
            Some("created"),
            Repeat::Finds,
        ),
    ]
}

struct Bench {
    host: TestHost,
    project: Project,
    way: Peer,
    connection: Connection,
}

fn bench(connector: &str, guest: &Guest, settings: Value) -> Bench {
    let redmine = Redmine::shared();
    let host = Setup::new()
        .config("sweep_ms = 500\n[limits]\nrun_ms = 4000\ncreate_answer_ms = 4000")
        .plugin(connector, guest)
        .start();
    let (project, way) = (redmine.project(), Peer::before(redmine.address()));
    let mut all = project.settings(&way.url());
    for (name, value) in settings.as_object().expect("an object") {
        all[name] = value.clone();
    }
    let connection = host.connect("qa", connector, all, redmine.secrets());
    Bench { host, project, way, connection }
}

impl Bench {
    /// Clicks, and dies at the step. Returns what the row said at that instant.
    fn die(&mut self, test: &Value, held: Held, at: Option<&Point>) -> Option<String> {
        let gate = Gate::default();
        self.way.script(holding(held, gate.clone()));
        if held == Held::Nothing {
            self.host.die_at(at.expect("a point"));
        }
        let click = self.host.create_aside(&self.connection, test);
        if held != Held::Nothing {
            gate.await_held(1);
            match at {
                Some(point) => self.host.die_at(point),
                None => self.host.kill9(),
            }
            gate.open();
        }
        if at.is_some() {
            self.host.await_death();
        }
        assert!(click.join().expect("no panic").is_none(), "nobody was answered");
        let id = test["testExecutionId"].as_str().expect("a uuid");
        let row = states(&self.host.folder().join("data")).remove(id);
        self.way.heal();
        self.host.start_again();
        row
    }

    /// Repeats the click until its answer is final: the defect, or 409.
    fn repeat(&self, test: &Value) -> Result<Value, String> {
        self.host.settled(&self.connection, test)
    }

    /// What a person types when told 409.
    fn retry(&self, detail: &str) {
        let words = detail.split(|c: char| !c.is_ascii_hexdigit() && c != '-');
        let id = words.into_iter().find(|word| word.len() == 36).expect("the defect's id");
        let mut settle = self.host.cli(&["defects", "settle", id, "--retry"]);
        let done = settle.output().expect("the command line runs");
        assert!(done.status.success(), "{done:?}");
    }

    fn is_settled(&self, test: &Value, repeat: Repeat) {
        let writes = self.way.requests_by("POST").len();
        let defect = match (repeat, self.repeat(test)) {
            (Repeat::Runs | Repeat::Finds, answer) => answer.expect("the defect"),
            (Repeat::AsksAPerson, Ok(defect)) => panic!("out of thin air: {defect}"),
            (Repeat::AsksAPerson, Err(detail)) => {
                assert_eq!(self.issues(test).len(), 0, "there is none to be found");
                self.retry(&detail);
                self.repeat(test).expect("the retry makes it")
            }
        };
        let written = self.way.requests_by("POST").len() - writes;
        assert_eq!(written, usize::from(repeat != Repeat::Finds), "one write, or none");
        assert_eq!(self.issues(test), [defect["id"].as_str().expect("an id").to_owned()]);
        assert_eq!(self.repeat(test), Ok(defect), "from now on the same answer");
    }

    /// The issues that Redmine has for a failed test.
    fn issues(&self, test: &Value) -> Vec<String> {
        let id = test["testExecutionId"].as_str().expect("a uuid");
        let issues = self.project.issues().into_iter();
        issues.filter(|one| one.description.contains(id)).map(|one| one.id.to_string()).collect()
    }
}

fn holding(held: Held, gate: Gate) -> impl Fn(&Exchange<'_>) -> Reply + Send + Sync {
    move |exchange| {
        let write = exchange.request.method == "POST";
        match held {
            Held::Read if !write => {
                let answer = Reply::Answer(exchange.answer());
                gate.pass();
                answer
            }
            Held::Write if write => {
                gate.pass();
                Reply::Reset(Vec::new())
            }
            Held::Answer if write => {
                let answer = exchange.forward();
                gate.pass();
                Reply::Raw(answer)
            }
            _ => exchange.pass(),
        }
    }
}

#[test]
fn at_each_step_death_makes_no_second_issue() {
    let settings = json!({"priority": "High"}); // so that the connector reads before it writes
    let mut bench = bench("redmine", &Guest::example("redmine"), settings);
    for Step { name, held, at, row, repeat } in steps() {
        let test = failed_test();
        let at = at(&bench.host);
        let found = bench.die(&test, held, at.as_ref());
        println!("{name}: the row said {found:?}");
        assert_eq!(found.as_deref(), row, "{name}");
        bench.is_settled(&test, repeat);
    }
}

#[test]
fn with_half_the_bytes_out_death_makes_no_second_issue() {
    let mut bench = bench("large", &Guest::named("large"), json!({}));
    let test = failed_test();
    let before = bench.way.requests_by("POST").len();
    let row = bench.die(&test, Held::Read, Some(&Point::sending(2)));
    assert_eq!(row.as_deref(), Some("sent"));
    assert_eq!(bench.way.requests_by("POST").len(), before, "never whole");
    assert_eq!(bench.way.broken(), 1, "and yet begun");
    bench.is_settled(&test, Repeat::AsksAPerson);
}
