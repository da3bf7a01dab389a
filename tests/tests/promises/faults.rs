//! A tracker that refuses, breaks, lies or sleeps, between a real connector and a real Redmine: each has
//! its problem, and none makes a second issue.

use jackfield_tests::{
    Answer, Exchange, Gate, Guest, Peer, Project, Redmine, Reply, Response, Setup, TestHost,
    age_counts, failed_test, until,
};
use serde_json::json;

fn host() -> TestHost {
    Setup::new()
        .config("[limits]\nkpi_answer_ms = 2000\ncreate_answer_ms = 4000")
        .plugin("redmine", &Guest::example("redmine"))
        .start()
}

type Script = fn(&Exchange<'_>) -> Reply;

/// What the tracker does, the answer's status, a word of its detail.
const FAULTS: [(&str, Script, u16, &str); 8] = [
    ("401", |_| Reply::Answer(Response::json(401, "{}")), 502, "credentials"),
    ("403", |_| Reply::Answer(Response::json(403, "{}")), 502, "credentials"),
    ("404", |_| Reply::Answer(Response::json(404, "{}")), 422, "404"),
    (
        "422",
        |_| Reply::Answer(Response::json(422, r#"{"errors":["Subject is silly"]}"#)),
        422,
        "Subject is silly",
    ),
    ("429", |_| Reply::Answer(Response::json(429, "{}").with("Retry-After", "17")), 503, "17"),
    ("500", |_| Reply::Answer(Response::new(500, "oops")), 503, "500"),
    (
        "html",
        |_| {
            Reply::Answer(
                Response::new(200, "<html>Welcome</html>").with("Content-Type", "text/html"),
            )
        },
        503,
        "JSON",
    ),
    ("reset", |_| Reply::Reset(Vec::new()), 503, "unavailable"),
];

#[test]
fn counting_on_a_faulty_tracker_has_its_problem() {
    let (host, redmine) = (host(), Redmine::shared());
    let project = redmine.project();
    for (name, script, status, word) in FAULTS {
        let way = Peer::before(redmine.address());
        let connection =
            host.connect(name, "redmine", project.settings(&way.url()), redmine.secrets());
        way.script(script);
        let answer = host.kpis(&connection, "1");
        let detail = answer.problem(status);
        assert!(detail.contains(word), "{name}: {detail}");
        assert_eq!(host.event(&answer.event())["status"], status);
        if name == "429" {
            assert_eq!(answer.header("retry-after"), Some("17"));
        }
        way.heal();
        let _ = host.kpis(&connection, "1").expect(200);
    }
}

#[test]
fn a_tracker_that_is_down_or_slow_has_its_problem() {
    let (host, redmine) = (host(), Redmine::shared());
    let project = redmine.project();
    let nobody = Peer::nobody();
    let down = host.connect("down", "redmine", project.settings(&nobody), redmine.secrets());
    let _ = host.kpis(&down, "1").problem(503);
    assert!(host.create(&down, &failed_test()).header("retry-after").is_some());

    let way = Peer::before(redmine.address());
    let gate = Gate::default();
    let held = gate.clone();
    way.script(move |exchange| {
        held.pass();
        exchange.pass()
    });
    let slow = host.connect("slow", "redmine", project.settings(&way.url()), redmine.secrets());
    let _ = host.kpis(&slow, "1").problem(504);
    let test = failed_test();
    let _ = host.create(&slow, &test).problem(504);
    gate.open();
    let defect = until("the work to go on behind the deadline", 20, || {
        let answer = host.create(&slow, &test);
        (answer.status == 200).then(|| answer.json())
    });
    let issues = project.issues();
    assert_eq!(issues.len(), 1);
    assert_eq!(defect["id"], issues[0].id.to_string());
}

#[test]
fn a_refused_create_makes_nothing_and_its_repeat_runs_again() {
    let (host, redmine) = (host(), Redmine::shared());
    for (name, script, status, word) in FAULTS.into_iter().take(5) {
        let (project, way) = (redmine.project(), Peer::before(redmine.address()));
        let connection =
            host.connect(name, "redmine", project.settings(&way.url()), redmine.secrets());
        way.script(script);
        let test = failed_test();
        let detail = host.create(&connection, &test).problem(status);
        assert!(detail.contains(word), "{name}: {detail}");
        assert_eq!(project.issues().len(), 0);
        way.heal();
        let _ = host.create(&connection, &test).expect(200);
        assert_eq!(project.issues().len(), 1);
    }
}

/// The tracker made the issue and its answer was spoilt in some way.
const SPOILT: [(&str, Script); 8] = [
    ("reset", |_| Reply::Reset(Vec::new())),
    ("closed", |_| Reply::Raw(Vec::new())),
    ("cut", |_| {
        Reply::Raw(b"HTTP/1.1 201 Created\r\ncontent-length: 500\r\n\r\n{\"issue\":".to_vec())
    }),
    ("500", |_| Reply::Answer(Response::new(500, "oops"))),
    ("502", |_| Reply::Answer(Response::new(502, "<html>Bad Gateway</html>"))),
    ("504", |_| Reply::Answer(Response::new(504, ""))),
    ("garbage", |_| Reply::Answer(Response::new(201, "\u{1}\u{2}garbage"))),
    ("302", |_| Reply::Answer(Response::new(302, "").with("Location", "/issues/1"))),
];

#[test]
fn an_issue_whose_answer_was_spoilt_is_adopted_and_never_made_twice() {
    let (host, redmine) = (host(), Redmine::shared());
    for (name, spoil) in SPOILT {
        let (project, way) = (redmine.project(), Peer::before(redmine.address()));
        let connection =
            host.connect(name, "redmine", project.settings(&way.url()), redmine.secrets());
        way.script(move |exchange| match exchange.request.method.as_str() {
            "POST" => {
                let _ = exchange.forward();
                spoil(exchange)
            }
            _ => exchange.pass(),
        });
        let test = failed_test();
        let adopted = until(&format!("{name} to be adopted"), 30, || {
            adopted(host.create(&connection, &test))
        });
        is_the_only_issue(&project, &adopted, name);
        assert_eq!(way.requests_by("POST").len(), 1, "{name}: one write, whatever came of it");
    }
}

fn adopted(answer: Answer) -> Option<serde_json::Value> {
    if answer.status == 200 {
        return Some(answer.json());
    }
    assert!([409, 503, 504].contains(&answer.status), "{answer:?}");
    None
}

fn is_the_only_issue(project: &Project, defect: &serde_json::Value, name: &str) {
    let issues = project.issues();
    assert_eq!(issues.len(), 1, "{name}");
    assert_eq!(defect["id"], issues[0].id.to_string(), "{name}");
}

#[test]
fn a_write_that_vanished_is_in_doubt_until_a_person_settles_it() {
    let (host, redmine) = (host(), Redmine::shared());
    let (project, way) = (redmine.project(), Peer::before(redmine.address()));
    let connection = host.connect("qa", "redmine", project.settings(&way.url()), redmine.secrets());
    way.script(|exchange| match exchange.request.method.as_str() {
        "POST" => Reply::Reset(Vec::new()),
        _ => exchange.pass(),
    });
    let test = failed_test();
    let detail = until("the doubt to be told", 30, || {
        let answer = host.create(&connection, &test);
        assert_ne!(answer.status, 200, "nothing was made");
        (answer.status == 409).then(|| answer.problem(409))
    });
    assert!(detail.contains("settle"), "{detail}");
    assert_eq!(way.requests_by("POST").len(), 1, "no blind second create");
    way.heal();
    let doubts = host.admin().get("/defects?state=in-doubt").expect(200);
    let id = doubts["defects"][0]["id"].as_str().expect("the defect in doubt").to_owned();
    let settled =
        host.admin().json("POST", &format!("/defects/{id}/settle"), &json!({"retry": true}));
    assert!(settled.status < 300, "{settled:?}");
    let defect = until("the retry to create it", 20, || adopted(host.create(&connection, &test)));
    is_the_only_issue(&project, &defect, "settled");
}

#[test]
fn counts_of_lately_are_served_with_their_age_and_refreshed_behind() {
    let redmine = Redmine::shared();
    let host = Setup::new()
        .config("kpi_fresh_ms = 1")
        .plugin("redmine", &Guest::example("redmine"))
        .start();
    let (project, way) = (redmine.project(), Peer::before(redmine.address()));
    let connection = host.connect("qa", "redmine", project.settings(&way.url()), redmine.secrets());
    project.add(5);
    let counts = host.kpis(&connection, "1").expect(200);
    way.script(|_| Reply::Reset(Vec::new()));
    let lately = host.kpis(&connection, "1");
    assert_eq!(lately.expect(200), counts);
    assert!(lately.header("age").is_some(), "{lately:?}");
    way.heal();
    project.add(5);
    until("the counts to be fresh again", 20, || {
        (host.kpis(&connection, "1").json()["criticalDefects"] == 2).then_some(())
    });
}

/// The counts are old when the server starts: their row is aged while nobody uses it.
#[test]
fn last_known_counts_are_served_as_stale_while_the_tracker_is_down_for_a_day() {
    let mut host = Setup::new().plugin("good", &Guest::named("good")).start();
    let tracker = Peer::start(|_| Reply::Answer(Response::new(200, "7")));
    let connection = host.connect("qa", "good", json!({"url": tracker.url()}), json!({}));
    let counts = host.kpis(&connection, "1").expect(200);
    assert_eq!(counts["openDefects"], 7);
    tracker.script(|_| Reply::Reset(Vec::new()));
    let mut aged = |hours: u64| {
        assert!(host.stop().success());
        age_counts(&host.folder().join("data"), hours * 3_600_000);
        host.start_again();
        host.kpis(&connection, "1")
    };
    let stale = aged(23);
    assert_eq!(stale.expect(200), counts);
    assert_eq!(stale.header("jackfield-stale"), Some("true"));
    let age = stale.header("age").and_then(|text| text.parse::<u64>().ok());
    assert!(age.is_some_and(|age| (23 * 3_600..24 * 3_600).contains(&age)), "{stale:?}");
    let _ = aged(2).problem(503);
}

/// What a person decides, on the command line, is done, and kept with who and when.
#[test]
fn a_person_adopts_gives_up_and_releases() {
    let host = Setup::new().plugin("good", &Guest::named("good")).start();
    let tracker = Peer::start(|exchange| match exchange.request.method.as_str() {
        "POST" => Reply::Reset(Vec::new()),
        _ => Reply::Answer(Response::json(200, "[]")),
    });
    let connection = host.connect("qa", "good", json!({"url": tracker.url()}), json!({}));
    let doubtful = |test: &serde_json::Value| {
        let _ = until("the doubt to be told", 30, || {
            let answer = host.create(&connection, test);
            (answer.status == 409).then_some(answer)
        });
        let doubts = host.admin().get("/defects?state=in-doubt").expect(200);
        doubts["defects"][0]["id"].as_str().expect("the defect in doubt").to_owned()
    };
    let decide = |words: &[&str]| {
        let done = host.cli(words).output().expect("the command line runs");
        assert!(done.status.success(), "{words:?}: {done:?}");
    };
    let decided = |id: &str, what: &str| {
        let shown = host.admin().get(&format!("/defects/{id}")).expect(200);
        let last = shown["decisions"].as_array().expect("decisions").last().cloned();
        let last = last.expect("a decision");
        assert_eq!(last["what"], what, "{shown}");
        assert!(last["by"].is_string() && last["at"].is_string(), "who and when: {last}");
    };

    let adopted = failed_test();
    let id = doubtful(&adopted);
    decide(&["defects", "settle", &id, "--adopt", "QA-17"]);
    decided(&id, "adopt");
    assert_eq!(host.create(&connection, &adopted).expect(200)["id"], "QA-17");

    let given_up = failed_test();
    let id = doubtful(&given_up);
    decide(&["defects", "settle", &id, "--give-up"]);
    decided(&id, "give-up");
    tracker.script(|_| Reply::Answer(Response::json(201, r#"{"issue":{"id":9}}"#)));
    assert_eq!(host.create(&connection, &given_up).expect(200)["id"], "9", "a click runs afresh");

    let before = tracker.requests_by("POST").len();
    decide(&["defects", "release", &id]);
    decided(&id, "release");
    let _ = host.create(&connection, &given_up).expect(200);
    let _ = host.create(&connection, &given_up).expect(200);
    assert_eq!(tracker.requests_by("POST").len() - before, 1, "one more, once");
}
