//! One failed test, one defect: under a hundred clicks at once, and under kill -9 with the write held at
//! each side of the tracker. What was made is counted in Redmine.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use jackfield_tests::{
    Connection, Gate, Guest, Peer, Project, Redmine, Reply, Response, Setup, TestHost, failed_test,
    until,
};
use serde_json::{Value, json};

struct Bench {
    host: TestHost,
    project: Project,
    way: Peer,
    connection: Connection,
}

fn bench() -> Bench {
    let redmine = Redmine::shared();
    let host = Setup::new()
        .config("lease_ms = 3000\nsweep_ms = 500\n[limits]\nrun_ms = 5000")
        .plugin("redmine", &Guest::example("redmine"))
        .start();
    let (project, way) = (redmine.project(), Peer::before(redmine.address()));
    let connection = host.connect("qa", "redmine", project.settings(&way.url()), redmine.secrets());
    Bench { host, project, way, connection }
}

impl Bench {
    /// Repeats the click until the answer is final: the defect, or 409.
    fn settled(&self, test: &Value) -> Result<Value, String> {
        self.host.settled(&self.connection, test)
    }

    fn the_only_issue(&self) -> String {
        let issues = self.project.issues();
        assert_eq!(issues.len(), 1, "{issues:?}");
        issues[0].id.to_string()
    }
}

#[test]
fn a_hundred_clicks_at_once_are_one_run_one_issue_and_a_hundred_equal_answers() {
    let bench = bench();
    let mut missing = failed_test();
    missing.as_object_mut().expect("an object").remove("variationId");
    let (mut null, mut empty, mut upper) = (missing.clone(), missing.clone(), missing.clone());
    null["variationId"] = Value::Null;
    empty["variationId"] = json!("");
    for id in ["testExecutionId", "testCaseId"] {
        upper[id] = json!(upper[id].as_str().expect("a uuid").to_uppercase());
    }
    let spellings = [missing, null, empty, upper];
    let start = Arc::new(Barrier::new(100));
    let path = format!("{}/defects", bench.connection.hook);
    let clicks: Vec<_> = (0..100)
        .map(|n| {
            let (client, path, start) = (bench.host.anyone(), path.clone(), Arc::clone(&start));
            let test = spellings[n % spellings.len()].clone();
            std::thread::spawn(move || {
                start.wait();
                client.json("POST", &path, &test).expect(200)
            })
        })
        .collect();
    let answers: Vec<_> =
        clicks.into_iter().map(|click| click.join().expect("an answer")).collect();
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(answers[0]["id"], bench.the_only_issue());
    assert_eq!(bench.way.requests_by("POST").len(), 1, "one run");
}

/// Killed with the whole write at the proxy and nothing at the tracker.
#[test]
fn killed_before_the_tracker_had_the_write() {
    let mut bench = bench();
    let gate = Gate::default();
    let held = gate.clone();
    bench.way.script(move |exchange| match exchange.request.method.as_str() {
        "POST" => {
            held.pass();
            Reply::Reset(Vec::new())
        }
        _ => exchange.pass(),
    });
    let test = failed_test();
    let click = bench.host.create_aside(&bench.connection, &test);
    gate.await_held(1);
    bench.host.kill9();
    gate.open();
    assert!(click.join().expect("no panic").is_none());
    bench.way.heal();
    bench.host.start_again();
    let detail = bench.settled(&test).expect_err("nobody knows whether the tracker has it");
    assert!(detail.contains("settle"), "{detail}");
    assert_eq!(bench.project.issues().len(), 0);
    let doubts = bench.host.admin().get("/defects?state=in-doubt").expect(200);
    let id = doubts["defects"][0]["id"].as_str().expect("the defect in doubt").to_owned();
    let answer =
        bench.host.admin().json("POST", &format!("/defects/{id}/settle"), &json!({"retry": true}));
    assert!(answer.status < 300, "{answer:?}");
    let defect = bench.settled(&test).expect("the retry creates it");
    assert_eq!(defect["id"], bench.the_only_issue());
}

/// Killed after the tracker made the issue and before its answer came back.
#[test]
fn killed_before_the_trackers_answer_came_back() {
    let mut bench = bench();
    let gate = Gate::default();
    let held = gate.clone();
    bench.way.script(move |exchange| {
        let answer = exchange.forward();
        if exchange.request.method == "POST" {
            held.pass();
        }
        Reply::Raw(answer)
    });
    let test = failed_test();
    let click = bench.host.create_aside(&bench.connection, &test);
    gate.await_held(1);
    bench.host.kill9();
    gate.open();
    assert!(click.join().expect("no panic").is_none());
    bench.way.heal();
    bench.host.start_again();
    let defect = bench.settled(&test).expect("the issue is found by its marker");
    assert_eq!(defect["id"], bench.the_only_issue());
    assert_eq!(bench.way.requests_by("POST").len(), 1);
}

/// Killed while the guest still reads: nothing was written, so the repeat simply runs.
#[test]
fn killed_before_anything_was_written() {
    let mut bench = bench();
    let gate = Gate::default();
    let held = gate.clone();
    let redmine = Redmine::shared();
    let mut settings = bench.project.settings(&bench.way.url());
    settings["priority"] = json!("High");
    bench.connection = bench.host.connect("reads first", "redmine", settings, redmine.secrets());
    bench.way.script(move |_| {
        held.pass();
        Reply::Reset(Vec::new())
    });
    let test = failed_test();
    let click = bench.host.create_aside(&bench.connection, &test);
    gate.await_held(1);
    bench.host.kill9();
    gate.open();
    assert!(click.join().expect("no panic").is_none());
    bench.way.heal();
    bench.host.start_again();
    let defect = bench.settled(&test).expect("nothing was sent, so it runs again");
    assert_eq!(defect["id"], bench.the_only_issue());
}

#[test]
fn a_guest_that_breaks_after_its_write_was_answered_is_overruled() {
    let host = Setup::new().plugin("after-write", &Guest::named("after-write")).start();
    for then in ["trap", "spin", "reject"] {
        let tracker = Peer::start(|exchange| match exchange.request.method.as_str() {
            "POST" => Reply::Answer(Response::json(201, r#"{"issue":{"id":42}}"#)),
            _ => Reply::Answer(Response::json(200, r#"{"issues":[{"id":42}]}"#)),
        });
        let settings = json!({"url": tracker.url(), "then": then});
        let connection = host.connect(then, "after-write", settings, json!({}));
        let test = failed_test();
        let defect = until(&format!("{then}: the issue to be adopted"), 30, || {
            let answer = host.create(&connection, &test);
            (answer.status == 200).then(|| answer.json())
        });
        assert_eq!(defect["id"], "42", "{then}");
        assert_eq!(tracker.requests_by("POST").len(), 1, "{then}: never a second create");
    }
}

/// A release by a person makes the next click create another one, once.
#[test]
fn a_release_makes_one_more_and_no_more() {
    let bench = bench();
    let test = failed_test();
    let first = bench.settled(&test).expect("created");
    let listed = bench.host.admin().get("/defects").expect(200);
    let id = listed["defects"][0]["id"].as_str().expect("a defect").to_owned();
    let answer = bench.host.admin().json("POST", &format!("/defects/{id}/release"), &json!({}));
    assert!(answer.status < 300, "{answer:?}");
    let second = bench.settled(&test).expect("created again");
    assert_ne!(first["id"], second["id"]);
    assert_eq!(bench.settled(&test).expect("a repeat"), second);
    assert_eq!(bench.project.issues().len(), 2);
}

/// A tracker that makes what it is sent, never answers it, and finds it three seconds later.
fn lagging() -> Peer {
    let made = Mutex::new(None::<Instant>);
    Peer::start(move |exchange| {
        let mut made = made.lock().expect("no script panicked");
        match (exchange.request.method.as_str(), *made) {
            ("POST", _) => {
                *made = Some(Instant::now());
                Reply::Reset(Vec::new())
            }
            (_, Some(made)) if made.elapsed() > Duration::from_secs(3) => {
                Reply::Answer(Response::json(200, r#"[{"id":42}]"#))
            }
            _ => Reply::Answer(Response::json(200, "[]")),
        }
    })
}

/// A search that lags makes nobody create again: one click waits for it inside its deadline.
#[test]
fn a_search_that_lags_is_waited_for() {
    let host = Setup::new().plugin("lags", &Guest::named("lags")).start();
    let tracker = lagging();
    let connection = host.connect("qa", "lags", json!({"url": tracker.url()}), json!({}));
    let defect = host.create(&connection, &failed_test()).expect(200);
    assert_eq!(defect["id"], "42");
    assert_eq!(tracker.requests_by("POST").len(), 1);
    assert!(tracker.requests_by("GET").len() > 2, "looked for more than once");
}

/// A person who asks for another try before the search can know does not get a second defect.
#[test]
fn a_retry_waits_for_a_search_that_lags() {
    let host = Setup::new().plugin("lags", &Guest::named("lags")).start();
    let tracker = lagging();
    let connection = host.connect("qa", "lags", json!({"url": tracker.url()}), json!({}));
    let click = host.create_aside(&connection, &failed_test());
    until("a person to ask for another try", 10, || {
        let doubts = host.admin().get("/defects?state=in-doubt").expect(200);
        let id = doubts["defects"][0]["id"].as_str()?.to_owned();
        let path = format!("/defects/{id}/settle");
        (host.admin().json("POST", &path, &json!({"retry": true})).status == 200).then_some(())
    });
    let answer = click.join().expect("no panic").expect("an answer");
    assert_eq!(answer.expect(200)["id"], "42");
    assert_eq!(tracker.requests_by("POST").len(), 1);
}

/// A connector that cannot search leaves it to a person, who may change their mind.
#[test]
fn a_retry_of_what_cannot_be_found_stays_a_person_s_to_settle() {
    let host = Setup::new().plugin("blind", &Guest::named("blind")).start();
    let tracker = Peer::start(|_| Reply::Reset(Vec::new()));
    let connection = host.connect("qa", "blind", json!({"url": tracker.url()}), json!({}));
    let test = failed_test();
    let answer = host.create(&connection, &test);
    let _ = answer.problem(409);
    let runs = host.event(&answer.event())["runs"].to_string();
    assert!(runs.contains("this tracker has no search"), "why is told: {runs}");
    let doubts = || host.admin().get("/defects?state=in-doubt").expect(200)["defects"].clone();
    let id = doubts()[0]["id"].as_str().expect("a defect in doubt").to_owned();
    let settle = |how: Value| host.admin().json("POST", &format!("/defects/{id}/settle"), &how);
    let _ = settle(json!({"retry": true})).expect(200);
    let _ = host.create(&connection, &test).problem(409);
    assert_eq!(doubts()[0]["id"], id, "it still is in doubt");
    let elsewhere = json!({"settings": {"url": Peer::nobody()}});
    let edit = || host.admin().json("PATCH", "/connections/qa", &elsewhere);
    assert_eq!(edit().status, 409, "the origin stays while it is");
    let _ = settle(json!({"give_up": true})).expect(200);
    tracker.script(|_| Reply::Answer(Response::json(201, r#"{"issue":{"id":7}}"#)));
    assert_eq!(host.create(&connection, &test).expect(200)["id"], "7");
    let _ = edit().expect(200);
}

/// What nobody clicks again is looked for all the same, also after a crash; an event tells of it.
#[test]
fn the_sweep_adopts_what_nobody_clicks_again() {
    for killed in [false, true] {
        let mut host = Setup::new()
            .config("sweep_ms = 200\n[limits]\nrun_ms = 1000")
            .plugin("good", &Guest::named("good"))
            .start();
        let (gate, found) = (Gate::default(), Arc::new(AtomicBool::new(false)));
        let (held, shown) = (gate.clone(), Arc::clone(&found));
        let tracker = Peer::start(move |exchange| match exchange.request.method.as_str() {
            "POST" => {
                held.pass();
                Reply::Reset(Vec::new())
            }
            _ if shown.load(Ordering::SeqCst) => {
                Reply::Answer(Response::json(200, r#"[{"id":7}]"#))
            }
            _ => Reply::Answer(Response::json(200, "[]")),
        });
        let connection = host.connect("qa", "good", json!({"url": tracker.url()}), json!({}));
        let test = failed_test();
        let click = host.create_aside(&connection, &test);
        gate.await_held(1);
        if killed {
            host.kill9();
        }
        gate.open();
        let answer = click.join().expect("no panic");
        assert_eq!(answer.map(|answer| answer.status), (!killed).then_some(409));
        if killed {
            host.start_again();
            let event = host.admin().get("/events?kind=create-defect").expect(200);
            let event = &event["events"][0];
            assert_eq!(event["outcome"], "interrupted", "{event}");
            assert!(event["defect"].is_string(), "{event}");
        }
        found.store(true, Ordering::SeqCst);
        until("the sweep to adopt it", 60, || {
            let defects = host.admin().get("/defects").expect(200);
            (defects["defects"][0]["state"] == "created").then_some(())
        });
        let swept = host.admin().get("/events?kind=sweep&outcome=adopted").expect(200);
        assert_eq!(swept["events"].as_array().map(Vec::len), Some(1), "{swept}");
        let posts = tracker.requests_by("POST").len();
        assert_eq!(host.create(&connection, &test).expect(200)["id"], "7");
        assert_eq!((posts, tracker.requests_by("POST").len()), (1, 1));
    }
}

/// A connection that the tracker closed while it idled is no reason to doubt a write.
#[test]
fn a_stale_connection_carries_no_write() {
    let host = Setup::new().plugin("good", &Guest::named("good")).start();
    let answer = Response::json(201, r#"{"issue":{"id":7}}"#).bytes();
    let tracker = Peer::start(move |_| Reply::Raw(answer.clone())); // closed without a word
    let connection = host.connect("qa", "good", json!({"url": tracker.url()}), json!({}));
    for _ in 0..5 {
        let _ = host.create(&connection, &failed_test()).expect(200);
    }
    tracker.script(|_| Reply::Answer(Response::json(201, r#"{"issue":{"id":8}}"#)));
    let before = tracker.connections();
    let _ = host.create(&connection, &failed_test()).expect(200);
    std::thread::sleep(Duration::from_millis(1_200)); // idling for more than a second is the point
    let _ = host.create(&connection, &failed_test()).expect(200);
    assert_eq!(tracker.connections() - before, 2, "a write after a second of idling goes afresh");
}
