//! Random crashes. In each round, the test sends two clicks for each of three new failed tests, and
//! kills the server. In the end, each failed test has one issue, without a decision of a person.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use jackfield_tests::{
    Answer, Exchange, Gate, Guest, Moment, RedmineFixture, Reply, Request, Response,
    ScriptedServer, Setup, defect_states, failed_test, lose_writes, rounds, wait_for,
};
use serde_json::{Value, json};

#[test]
fn random_crashes_make_no_second_issue() {
    let rounds = rounds();
    let mut crash_test = CrashTest::start();
    // If a search finds nothing, the host searches for a known defect, to check whether the
    // tracker's search works. So the test creates a defect before the crashes.
    let first = failed_test();
    crash_test.click_until_created(&first);
    let mut tests = vec![first];
    let mut crashes: BTreeMap<(Moment, String), u32> = BTreeMap::new();
    for (round, moment) in (0..rounds).zip(Moment::ALL.into_iter().cycle()) {
        let new: Vec<_> = (0..3).map(|_| failed_test()).collect();
        for state in crash_test.click_and_crash(moment, &new, round) {
            *crashes.entry((moment, state)).or_default() += 1;
        }
        tests.extend(new);
    }
    println!("{rounds} crashes; rounds by moment and state of a row: {crashes:?}");
    for (moment, state) in [
        (Moment::BeforeWrite, "intent"),
        (Moment::WriteInFlight, "sent"),
        (Moment::AnswerInFlight, "sent"),
    ] {
        let count = crashes.get(&(moment, state.to_owned())).copied().unwrap_or_default();
        assert!(count >= rounds / 10, "only {count} crashes at {moment:?} with a row in {state}");
    }
    for test in &tests {
        crash_test.click_until_created(test);
    }
    let issues = crash_test.fixture.project.issues();
    assert_eq!(issues.len(), tests.len(), "there is not exactly one issue per failed test");
    for test in &tests {
        assert_eq!(issues.iter().filter(|issue| issue.is_about(test)).count(), 1, "{test}");
    }
}

struct CrashTest {
    fixture: RedmineFixture,
    /// The first answer 200 to each failed test, by the text of the failed test.
    answers: HashMap<String, Value>,
}

impl CrashTest {
    /// Short waits make the test fast.
    fn start() -> Self {
        let settings = json!({"priority": "High"}); // makes the connector read before it writes
        let fixture = Setup::new()
            .config(
                "lease_ms = 1500\nsweep_ms = 300\n[create]\nin_doubt_s = 1\n[limits]\nrun_ms = 2000\n\
                 create_answer_ms = 3000",
            )
            .start_with_redmine("redmine", &Guest::example("redmine"), settings);
        Self { fixture, answers: HashMap::new() }
    }

    /// Returns the states that the rows of these tests had after the kill.
    fn click_and_crash(&mut self, moment: Moment, tests: &[Value], round: u32) -> BTreeSet<String> {
        let RedmineFixture { host, proxy, connection, .. } = &mut self.fixture;
        let gate = hold_requests_at(proxy, moment);
        let clicks: Vec<_> = tests
            .iter()
            .chain(tests)
            .map(|test| (test.clone(), host.create_in_background(connection, test)))
            .collect();
        match &gate {
            Some(gate) => gate.await_held(1),
            // At [`Moment::Any`], the server is killed after a time that varies between the rounds.
            None => std::thread::sleep(Duration::from_millis(u64::from(round * 37 % 200))),
        }
        host.kill();
        if let Some(gate) = gate {
            gate.open();
        }
        let answers: Vec<_> =
            clicks.into_iter().map(|(test, click)| (test, click.finish())).collect();
        let mut rows = defect_states(&host.data_folder());
        host.restart();
        for (test, answer) in answers {
            answer.iter().for_each(|answer| self.check_same_answer(&test, answer));
        }
        let ids = tests.iter().filter_map(|test| test["testExecutionId"].as_str());
        ids.filter_map(|id| rows.remove(id)).collect()
    }

    fn click_until_created(&mut self, test: &Value) {
        self.fixture.proxy.forward_all();
        let answer = wait_for("the defect of the failed test", 90, || {
            let answer = self.fixture.create(test);
            match answer.status {
                200 => Some(answer),
                503 | 504 => None,
                _ => panic!("{answer:?}"),
            }
        });
        self.check_same_answer(test, &answer);
    }

    fn check_same_answer(&mut self, test: &Value, answer: &Answer) {
        if answer.status == 200 {
            let first = self.answers.entry(test.to_string()).or_insert_with(|| answer.json());
            assert_eq!(*first, answer.json(), "two answers 200 to one failed test differ");
        }
    }
}

/// Returns the gate that holds requests or answers at this moment. At [`Moment::Any`], there is no
/// gate, and the proxy answers some writes in place of the tracker.
fn hold_requests_at(proxy: &ScriptedServer, moment: Moment) -> Option<Gate> {
    proxy.forward_all();
    match moment {
        Moment::BeforeWrite => {
            proxy.set_script(|exchange| match exchange.request.is_post() {
                true => exchange.pass(),
                false => Reply::reset(),
            });
            Some(proxy.hold_requests(|request| !request.is_post()))
        }
        Moment::WriteInFlight => {
            proxy.set_script(lose_writes);
            Some(proxy.hold_requests(Request::is_post))
        }
        Moment::AnswerInFlight => Some(proxy.hold_answers(Request::is_post)),
        Moment::Any => {
            proxy.set_script(answer_oddly);
            None
        }
    }
}

/// Statuses with which a tracker, a proxy or a sign-in page answers a write, and whether the issue
/// was created.
const ODD_ANSWERS: [(u16, bool); 9] = [
    (404, true),
    (404, false),
    (403, true),
    (403, false),
    (307, false),
    (203, false),
    (500, true),
    (504, false),
    (422, false),
];

/// Answers about every second write with one of [`ODD_ANSWERS`]. The choice depends on the marker
/// in the body, and so is random.
fn answer_oddly(exchange: &Exchange<'_>) -> Reply {
    let bytes = exchange.request.body.iter().map(|byte| usize::from(*byte)).sum::<usize>();
    let odd_answer = ODD_ANSWERS.get(bytes % (2 * ODD_ANSWERS.len()));
    let Some((status, is_created)) = odd_answer.filter(|_| exchange.request.is_post()) else {
        return exchange.pass();
    };
    if *is_created {
        let _ = exchange.forward();
    }
    Reply::Answer(Response::new(*status, "<html>odd</html>").with_header("Location", "/sign-in"))
}
