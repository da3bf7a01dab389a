//! If the outcome of a write is unknown, only the tracker's search or a person decides about the
//! defect. The host waits for the index delay of the search.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jackfield_tests::{
    Reply, Request, ScriptedServer, Setup, failed_test, unreachable_url, wait_for,
};
use serde_json::json;

/// Starts a tracker that creates the issue and does not answer the write. The tracker's search
/// finds the issue three seconds later.
fn start_silent_tracker_with_index_delay() -> ScriptedServer {
    let created_at = Mutex::new(None::<Instant>);
    ScriptedServer::start(move |exchange| {
        let mut created_at = created_at.lock().expect("no script panicked");
        if exchange.request.is_post() {
            *created_at = Some(Instant::now());
            return Reply::reset();
        }
        let is_found = created_at.is_some_and(|at| at.elapsed() > Duration::from_secs(3));
        Reply::json(200, if is_found { r#"[{"id":42}]"# } else { "[]" })
    })
}

#[test]
fn a_click_whose_answer_was_lost_waits_for_the_index_delay_of_the_search() {
    let tracker = start_silent_tracker_with_index_delay();
    let (host, connection) =
        Setup::new().start_with_guest("slow-search", json!({"url": tracker.url()}));
    let defect = host.create(&connection, &failed_test()).expect(200);
    assert_eq!(defect["id"], "42");
    assert_eq!(tracker.posts(), 1);
    let searches = tracker.requests().iter().filter(|request| request.method == "GET").count();
    assert!(searches > 2, "only {searches} searches");
}

#[test]
fn a_retry_waits_for_the_index_delay_of_the_search() {
    let tracker = start_silent_tracker_with_index_delay();
    let (host, connection) =
        Setup::new().start_with_guest("slow-search", json!({"url": tracker.url()}));
    let click = host.create_in_background(&connection, &failed_test());
    wait_for("a person to request a retry", 10, || {
        let id = host.defect_in_doubt()?;
        (host.resolve(&id, &json!({"retry": true})).status == 200).then_some(())
    });
    assert_eq!(click.answer().expect(200)["id"], "42");
    assert_eq!(tracker.posts(), 1);
}

#[test]
fn without_a_search_a_person_decides_and_a_retry_creates_the_defect() {
    let tracker = ScriptedServer::start(|_| Reply::reset());
    let (host, connection) =
        Setup::new().start_with_guest("no-search", json!({"url": tracker.url()}));
    let test = failed_test();
    host.create(&connection, &test).assert_problem(503, "tracker-unavailable");
    let detail = host.create(&connection, &test).problem(409, "in-doubt");
    assert!(detail.contains("cannot search"), "{detail}");
    assert_eq!(tracker.posts(), 1);
    let listed = host.admin().get("/defects?needs_person=true").expect(200);
    let id = listed["defects"][0]["id"].as_str().expect("a defect that needs a person").to_owned();
    let other_origin = json!({"settings": {"url": unreachable_url()}});
    let edit = || host.admin().json("PATCH", "/connections/qa", &other_origin);
    assert_eq!(edit().status, 409, "the origin was changed while a defect is in doubt");
    tracker.set_script(|_| Reply::created(7));
    host.resolve(&id, &json!({"retry": true})).assert_status(200);
    assert_eq!(host.create(&connection, &test).expect(200)["id"], "7");
    edit().assert_status(200);
}

/// After the write, a person changes the project in the settings. The search still uses the
/// settings of the write, because the issue is in the old project.
#[test]
fn a_search_uses_the_settings_of_the_write() {
    let tracker = ScriptedServer::start(|exchange| match exchange.request.is_post() {
        true => Reply::reset(),
        false => Reply::json(200, "[]"),
    });
    let settings = json!({"url": tracker.url(), "project": "old"});
    let (host, connection) = Setup::new()
        .config("[limits]\ncreate_answer_ms = 1000")
        .start_with_guest("by-project", settings);
    let test = failed_test();
    host.create(&connection, &test).assert_problem(503, "tracker-unavailable");
    let edit = json!({"settings": {"project": "new"}});
    host.admin().json("PATCH", "/connections/qa", &edit).assert_status(200);
    tracker.set_script(|exchange| {
        let is_found = exchange.request.target.starts_with("/old/search?");
        Reply::json(200, if is_found { r#"[{"id":7}]"# } else { "[]" })
    });
    assert_eq!(host.create(&connection, &test).expect(200)["id"], "7");
    let searched = tracker.requests().into_iter().filter(|request| !request.is_post());
    assert!(searched.into_iter().all(|request| request.target.starts_with("/old/")));
    host.create(&connection, &failed_test()).assert_status(503);
    assert!(tracker.requests().iter().any(|request| request.target == "/new/issues"));
}

/// Starts a tracker whose search finds an issue only after this delay. The returned value sets the
/// status of the tracker's answers to writes.
fn start_tracker_with_index_delay(delay: Duration) -> (ScriptedServer, Arc<Mutex<u16>>) {
    let status = Arc::new(Mutex::new(201));
    let (answer, created_at) = (Arc::clone(&status), Mutex::new(None::<Instant>));
    let tracker = ScriptedServer::start(move |exchange| {
        let mut created_at = created_at.lock().expect("no script panicked");
        if exchange.request.is_post() {
            *created_at = Some(Instant::now());
            return Reply::json(*answer.lock().expect("a status"), r#"{"issue":{"id":42}}"#);
        }
        let is_found = created_at.is_some_and(|at| at.elapsed() >= delay);
        Reply::json(200, if is_found { r#"[{"id":42}]"# } else { "[]" })
    });
    (tracker, status)
}

/// The connector declares an index delay of 0 seconds.
#[test]
fn the_host_measures_an_understated_index_delay_and_waits_for_it() {
    let (tracker, status) = start_tracker_with_index_delay(Duration::from_secs(3));
    let (host, connection) = Setup::new()
        .config("sweep_ms = 300\n[limits]\ncreate_answer_ms = 1000")
        .start_with_guest("good", json!({"url": tracker.url()}));
    host.create(&connection, &failed_test()).assert_status(200);
    let delay = || host.admin().get("/connections/qa").expect(200)["index_lag_ms"].as_u64();
    let delay =
        wait_for("the index delay to be measured", 20, || delay().filter(|delay| *delay > 0));
    assert!((3_000..6_000).contains(&delay), "{delay}");

    *status.lock().expect("a status") = 404;
    let test = failed_test();
    host.create(&connection, &test).assert_problem(422, "rejected");
    host.create(&connection, &test).assert_problem(503, "outcome-pending");
    let defect = host.create_until_final(&connection, &test).expect("the issue is found");
    assert_eq!((defect["id"].as_str(), tracker.posts()), (Some("42"), 2));
}

#[test]
fn the_host_waits_for_the_index_delay_that_the_connection_sets() {
    let (tracker, status) = start_tracker_with_index_delay(Duration::from_secs(3));
    let (host, connection) = Setup::new()
        .config("[limits]\ncreate_answer_ms = 1000")
        .start_with_guest("good", json!({"url": tracker.url()}));
    let edit = json!({"index_delay_s": 5});
    host.admin().json("PATCH", "/connections/qa", &edit).assert_status(200);
    *status.lock().expect("a status") = 404;
    let test = failed_test();
    host.create(&connection, &test).assert_problem(422, "rejected");
    let defect = host.create_until_final(&connection, &test).expect("the issue is found");
    assert_eq!((defect["id"].as_str(), tracker.posts()), (Some("42"), 1));
}

/// The tracker creates the record of the first write only after the host has stopped waiting for
/// this record.
#[test]
fn a_second_record_in_the_tracker_is_reported() {
    let tracker = ScriptedServer::start(|exchange| match exchange.request.is_post() {
        true => Reply::reset(),
        false => Reply::json(200, "[]"),
    });
    let (host, connection) = Setup::new()
        .config("sweep_ms = 200\n[create]\nin_doubt_s = 1\n[limits]\ncreate_answer_ms = 1000")
        .start_with_guest("good", json!({"url": tracker.url()}));
    let test = failed_test();
    host.create(&connection, &test).assert_problem(503, "tracker-unavailable");
    tracker.set_script(|exchange| match exchange.request.is_post() {
        true => Reply::created(2),
        false => Reply::json(200, "[]"),
    });
    let defect = host.create_until_final(&connection, &test).expect("created after the wait");
    assert_eq!(defect["id"], "2");
    tracker.set_script(|_| Reply::json(200, r#"[{"id":1}]"#));
    let event = wait_for("the second record to be reported", 60, || {
        let swept = host.admin().get("/events?kind=sweep&outcome=second-record").expect(200);
        swept["events"].as_array().and_then(|events| events.first().cloned())
    });
    let detail = event["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("2 and 1"), "{event}");
}

/// In the second round, the server is killed during the write.
#[test]
fn the_sweep_adopts_an_issue_without_another_click() {
    for with_crash in [false, true] {
        let is_indexed = Arc::new(AtomicBool::new(false));
        let search = Arc::clone(&is_indexed);
        let tracker = ScriptedServer::start(move |exchange| {
            let is_indexed = search.load(Ordering::SeqCst);
            if exchange.request.is_post() {
                return Reply::reset();
            }
            Reply::json(200, if is_indexed { r#"[{"id":7}]"# } else { "[]" })
        });
        let gate = tracker.hold_requests(Request::is_post);
        let (mut host, connection) = Setup::new()
            .config("sweep_ms = 200\n[limits]\nrun_ms = 1000\ncreate_answer_ms = 2000")
            .start_with_guest("good", json!({"url": tracker.url()}));
        let test = failed_test();
        let click = host.create_in_background(&connection, &test);
        gate.await_held(1);
        if with_crash {
            host.kill();
        }
        gate.open();
        assert_eq!(click.finish().map(|answer| answer.status), (!with_crash).then_some(503));
        if with_crash {
            host.restart();
            let events = host.admin().get("/events?kind=create-defect").expect(200);
            let event = &events["events"][0];
            assert_eq!(event["outcome"], "interrupted", "{event}");
            assert!(event["defect"].is_string(), "{event}");
        }
        is_indexed.store(true, Ordering::SeqCst);
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
