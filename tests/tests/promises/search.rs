//! When the outcome of a write is unknown, only the tracker's search or a person decides: a search
//! with an index delay is waited for, a tracker without a search needs a person, and the sweep
//! searches too.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jackfield_tests::{
    Reply, Request, ScriptedServer, Setup, failed_test, unreachable_url, wait_for,
};
use serde_json::json;

/// A tracker that creates the issue, does not answer, and finds the issue three seconds later.
fn tracker_with_index_delay() -> ScriptedServer {
    let created_at = Mutex::new(None::<Instant>);
    ScriptedServer::start(move |exchange| {
        let mut created_at = created_at.lock().expect("no script panicked");
        if exchange.request.is_post() {
            *created_at = Some(Instant::now());
            return Reply::reset();
        }
        let found = created_at.is_some_and(|at| at.elapsed() > Duration::from_secs(3));
        Reply::json(200, if found { r#"[{"id":42}]"# } else { "[]" })
    })
}

#[test]
fn one_click_waits_for_a_search_with_an_index_delay() {
    let tracker = tracker_with_index_delay();
    let (host, connection) = Setup::new().start_with("slow-search", json!({"url": tracker.url()}));
    let defect = host.create(&connection, &failed_test()).expect(200);
    assert_eq!(defect["id"], "42");
    assert_eq!(tracker.posts(), 1);
    let searches = tracker.requests().iter().filter(|request| request.method == "GET").count();
    assert!(searches > 2, "only {searches} searches");
}

#[test]
fn a_retry_waits_for_a_search_with_an_index_delay() {
    let tracker = tracker_with_index_delay();
    let (host, connection) = Setup::new().start_with("slow-search", json!({"url": tracker.url()}));
    let click = host.create_in_background(&connection, &failed_test());
    wait_for("a person to request a retry", 10, || {
        let id = host.defect_in_doubt()?;
        (host.resolve(&id, &json!({"retry": true})).status == 200).then_some(())
    });
    assert_eq!(click.answer().expect(200)["id"], "42");
    assert_eq!(tracker.posts(), 1);
}

#[test]
fn without_a_search_a_person_decides_and_their_retry_creates_the_defect() {
    let tracker = ScriptedServer::start(|_| Reply::reset());
    let (host, connection) = Setup::new().start_with("no-search", json!({"url": tracker.url()}));
    let test = failed_test();
    host.create(&connection, &test).assert_problem(503, "tracker-unavailable");
    let detail = host.create(&connection, &test).problem(409, "in-doubt");
    assert!(detail.contains("cannot search"), "{detail}");
    assert_eq!(tracker.posts(), 1);
    let listed = host.admin().get("/defects?needs_person=true").expect(200);
    let id = listed["defects"][0]["id"].as_str().expect("a defect that needs a person").to_owned();
    let other_origin = json!({"settings": {"url": unreachable_url()}});
    let edit = || host.admin().json("PATCH", "/connections/qa", &other_origin);
    assert_eq!(edit().status, 409, "the origin cannot change while a defect is in doubt");
    tracker.set_script(|_| Reply::created(7));
    host.resolve(&id, &json!({"retry": true})).assert_status(200);
    assert_eq!(host.create(&connection, &test).expect(200)["id"], "7");
    edit().assert_status(200);
}

/// No one clicks again, also not after a crash; the sweep finds the issue, and an event reports
/// it.
#[test]
fn the_sweep_adopts_an_issue_without_another_click() {
    for killed in [false, true] {
        let found = Arc::new(AtomicBool::new(false));
        let search = Arc::clone(&found);
        let tracker = ScriptedServer::start(move |exchange| {
            let found = search.load(Ordering::SeqCst);
            if exchange.request.is_post() {
                return Reply::reset();
            }
            Reply::json(200, if found { r#"[{"id":7}]"# } else { "[]" })
        });
        let gate = tracker.hold_requests(Request::is_post);
        let (mut host, connection) = Setup::new()
            .config("sweep_ms = 200\n[limits]\nrun_ms = 1000\ncreate_answer_ms = 2000")
            .start_with("good", json!({"url": tracker.url()}));
        let test = failed_test();
        let click = host.create_in_background(&connection, &test);
        gate.await_held(1);
        if killed {
            host.kill();
        }
        gate.open();
        assert_eq!(click.finish().map(|answer| answer.status), (!killed).then_some(503));
        if killed {
            host.restart();
            let events = host.admin().get("/events?kind=create-defect").expect(200);
            let event = &events["events"][0];
            assert_eq!(event["outcome"], "interrupted", "{event}");
            assert!(event["defect"].is_string(), "{event}");
        }
        found.store(true, Ordering::SeqCst);
        wait_for("the sweep to adopt the issue", 60, || {
            let defects = host.admin().get("/defects").expect(200);
            (defects["defects"][0]["state"] == "created").then_some(())
        });
        let swept = host.admin().get("/events?kind=sweep&outcome=adopted").expect(200);
        assert_eq!(swept["events"].as_array().map(Vec::len), Some(1), "{swept}");
        let posts = tracker.posts();
        assert_eq!(host.create(&connection, &test).expect(200)["id"], "7");
        assert_eq!((posts, tracker.posts()), (1, 1));
    }
}
