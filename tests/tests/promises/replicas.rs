//! Several servers on one PostgreSQL: what one changes holds at the others, a failed test has one
//! defect and each of them answers with it, also after one was killed, suspended or cut off.

mod counts;
mod lost_claim;

use std::time::{Duration, Instant};

use jackfield_tests::{
    Answer, Cable, Connection, Gate, Guest, Postgres, RedmineConnection, Reply, Request,
    ScriptedServer, Setup, TestHost, failed_test, wait_for,
};
use serde_json::{Value, json};

use crate::accounts::Browser;

/// How long a change needs at most until it holds at the other servers, seconds.
const CHANGED_S: u64 = 10;
/// Connections are read again at each sweep. With this period, only a notification is in time.
const RARE_SWEEPS_MS: u64 = 600_000;
/// How long a claim waits for the end of another server's run before it asks again.
const ASKS_AGAIN: Duration = Duration::from_secs(2);

/// Short times, and an answer deadline that is longer than the rest together.
fn short(sweep_ms: u64) -> String {
    format!(
        "lease_ms = 3000\nsweep_ms = {sweep_ms}\nstore_statement_s = 2\nstore_connect_s = 2\n[create]\n\
         in_doubt_s = 2\n[limits]\nrun_ms = 20000\ncreate_answer_ms = 60000"
    )
}

fn replica(postgres: &Postgres) -> Setup {
    postgres.replica().config(&short(RARE_SWEEPS_MS)).guests(["good", "calls"])
}

/// A tracker that creates the issue 42, and finds it once it has created it.
fn tracker() -> ScriptedServer {
    let created = std::sync::atomic::AtomicBool::new(false);
    ScriptedServer::start(move |exchange| {
        let order = std::sync::atomic::Ordering::SeqCst;
        if exchange.request.is_post() {
            created.store(true, order);
            return Reply::created(42);
        }
        if exchange.request.target.starts_with("/counts") {
            return Reply::new(200, "5");
        }
        let found =
            if created.load(order) { r#"{"issues":[{"id":42}]}"# } else { r#"{"issues":[]}"# };
        Reply::json(200, found)
    })
}

fn connect(host: &TestHost, connector: &str, settings: Value) -> Connection {
    host.connect("qa", connector, settings, json!({}))
}

#[track_caller]
fn post(host: &TestHost, path: &str, body: &Value) -> Answer {
    let answer = host.admin().json("POST", path, body);
    assert!(answer.status < 300, "{path}: {answer:?}");
    answer
}

/// Waits until a click at a server has this status.
#[track_caller]
fn await_status(host: &TestHost, connection: &Connection, test: &Value, status: u16) {
    wait_for(&format!("a click to be answered {status}"), CHANGED_S, || {
        (host.create(connection, test).status == status).then_some(())
    });
}

/// Waits until a server works on a create.
#[track_caller]
fn await_running(host: &TestHost, events: usize) {
    wait_for("the events of the clicks", 30, || {
        let listed = host.admin().get("/events?outcome=running").expect(200);
        let running = listed["events"].as_array().expect("a list").len();
        (running >= events).then_some(())
    });
}

/// The only value that a query returns, a number.
#[track_caller]
fn only_number(postgres: &Postgres, sql: &str) -> u64 {
    let rows = postgres.query(sql);
    let [only] = &rows[..] else { panic!("{sql}: {rows:?}") };
    only.parse().unwrap_or_else(|_| panic!("{sql}: {only}"))
}

/// Clicks at a server until it has created the defect; opens the gate when its request reaches it
/// after that of another server. The other one may hold the database's lock for some seconds, which
/// is a 503.
#[track_caller]
fn create_while_held(host: &TestHost, connection: &Connection, test: &Value, gate: &Gate) -> Value {
    std::thread::scope(|scope| {
        let clicks = scope.spawn(|| host.create_until_final(connection, test));
        gate.await_held(2);
        gate.open();
        clicks.join().expect("an answer").expect("the defect")
    })
}

#[test]
fn a_change_of_a_connection_at_one_server_holds_at_the_other() {
    let postgres = Postgres::start();
    let (a, b) = (replica(&postgres).start(), replica(&postgres).start());
    let tracker = tracker();
    let settings = json!({"url": tracker.url(), "target": "/"});
    let connection =
        a.connect("qa", "calls", settings, json!({"key-bearer": "the first key 1234"}));
    let test = failed_test();
    b.await_connection("qa");
    await_status(&b, &connection, &test, 200);
    let sent = || tracker.last_request().header("authorization").map(str::to_owned);
    assert_eq!(sent().as_deref(), Some("Bearer the first key 1234"));

    let path = format!("/connections/{}", connection.id);
    let edit = json!({"secrets": {"key-bearer": "the second key 5678"}});
    assert_eq!(a.admin().json("PATCH", &path, &edit).status, 200);
    wait_for("the new secret at the other server", CHANGED_S, || {
        b.create(&connection, &failed_test()).assert_status(200);
        (sent().as_deref() == Some("Bearer the second key 5678")).then_some(())
    });
    post(&a, &format!("{path}/pause"), &json!({}));
    await_status(&b, &connection, &test, 503);
    post(&b, &format!("{path}/resume"), &json!({}));
    await_status(&a, &connection, &test, 200);

    let rotated = post(&a, &format!("{path}/rotate-token"), &json!({"grace_s": 0})).json();
    await_status(&b, &connection, &test, 404);
    let connection = Connection::from_json(&rotated);
    assert_eq!(b.create(&connection, &test).status, 200);

    assert_eq!(a.admin().send("DELETE", &path, &[], b"").status, 204);
    await_status(&b, &connection, &test, 404);
    let listed = b.admin().get("/connections").expect(200);
    assert_eq!(listed["connections"], json!([]));
}

#[test]
fn a_token_and_a_session_of_one_server_are_valid_and_end_at_the_other() {
    let postgres = Postgres::start();
    let (a, b) = (postgres.replica().start(), postgres.replica().start());
    let created = post(&a, "/tokens", &json!({"name": "ci", "role": "viewer"})).json();
    let token = created["token"].as_str().expect("a token");
    let ask = |host: &TestHost| host.api_as(token).get("/connections").status;
    assert_eq!((ask(&a), ask(&b)), (200, 200));
    let browser = Browser::sign_in(&a, token);
    let elsewhere = browser.at(&b);
    assert_eq!((browser.get("/events").status, elsewhere.get("/events").status), (200, 200));

    b.admin().send("DELETE", "/tokens/ci", &[], b"").assert_status(204);
    assert_eq!((ask(&a), ask(&b)), (401, 401));
    assert_eq!((browser.get("/events").status, elsewhere.get("/events").status), (303, 303));
    let audit = a.admin().get("/audit").expect(200).to_string();
    assert!(audit.contains("token.create") && audit.contains("token.revoke"), "{audit}");
}

#[test]
fn a_repeat_at_another_server_waits_for_the_run_and_gets_its_answer() {
    let postgres = Postgres::start();
    let (a, b) = (replica(&postgres).start(), replica(&postgres).start());
    let tracker = tracker();
    let connection = connect(&a, "good", json!({"url": tracker.url()}));
    b.await_connection("qa");
    let repeat_once = || {
        let (test, posts) = (failed_test(), tracker.posts());
        let gate = tracker.hold_answers(Request::is_post);
        let first = a.create_in_background(&connection, &test);
        gate.await_held(1);
        let clicked = Instant::now();
        let repeat = b.create_in_background(&connection, &test);
        await_running(&b, 2);
        assert!(!repeat.is_finished(), "the repeat did not wait");
        gate.open();
        let (first, repeat) = (first.answer(), repeat.answer());
        let waited = clicked.elapsed();
        assert_eq!(first.expect(200), repeat.expect(200));
        assert_eq!(b.event_of(&repeat)["outcome"], "repeated");
        assert_eq!(a.event_of(&repeat)["outcome"], "repeated", "an event is seen by all servers");
        assert_eq!(b.event_of(&first)["outcome"], "created");
        assert_eq!(tracker.posts(), posts + 1);
        waited
    };
    // A claim that is not told of the end of the run asks again two seconds after the click. On a
    // busy machine, a repeat may need as long in spite of being told, but not each time.
    let waits: Vec<_> = (0..5).map(|_| repeat_once()).collect();
    assert!(waits.iter().any(|it| *it < ASKS_AGAIN), "the repeats only asked again: {waits:?}");
}

#[test]
fn after_a_kill_another_server_finds_the_defect_by_itself() {
    let postgres = Postgres::start();
    let start = || postgres.replica().config(&short(500)).guests(["good"]).start();
    let (mut a, b) = (start(), start());
    let tracker = tracker();
    let connection = connect(&a, "good", json!({"url": tracker.url()}));
    let test = failed_test();
    let gate = tracker.hold_answers(Request::is_post);
    let click = a.create_in_background(&connection, &test);
    gate.await_held(1);
    a.kill();
    gate.open();
    click.assert_unanswered();
    wait_for("the other server to find it", 30, || {
        let defects = b.admin().get("/defects").expect(200);
        (defects["defects"][0]["state"] == "created").then_some(())
    });
    let answer = b.create(&connection, &test);
    assert_eq!(answer.expect(200)["id"], "42");
    assert_eq!(tracker.posts(), 1);
}

#[test]
fn a_server_that_is_cut_off_stops_its_guests_and_another_one_goes_on() {
    let postgres = Postgres::start();
    let cable = Cable::to(postgres.port());
    let cut_off =
        postgres.replica_at(cable.port()).config(&short(RARE_SWEEPS_MS)).guests(["calls"]);
    let (a, b) = (cut_off.start(), replica(&postgres).start());
    let tracker = tracker();
    let settings = json!({"url": tracker.url(), "target": "/", "method": "GET", "effect": "read"});
    let connection = connect(&a, "calls", settings);
    let test = failed_test();
    b.await_connection("qa");
    let gate = tracker.hold_requests(|_| true);
    let stopped = a.create_in_background(&connection, &test);
    gate.await_held(1);
    cable.cut();
    let why = a.await_readiness(503).problem(503, "store-unavailable");
    assert!(why.contains("database") || why.contains("store"), "{why}");
    assert_eq!(a.anonymous().get("/healthz").status, 200);
    let lease_until_ms = only_number(&postgres, "SELECT lease_until FROM defects");

    // The other server waits for the end of the lease, and then creates.
    let defect = create_while_held(&b, &connection, &test, &gate);
    let stopped = stopped.answer();
    assert!([503, 504].contains(&stopped.status), "its run was stopped: {stopped:?}");
    let stopped_event = stopped.event();

    cable.restore();
    a.await_readiness(200);
    wait_for("an answer of the server that was cut off", 30, || {
        let answer = a.create(&connection, &test);
        (answer.status == 200).then(|| assert_eq!(answer.json()["id"], defect["id"]))
    });
    // It hears the others again.
    post(&b, &format!("/connections/{}/pause", connection.id), &json!({}));
    await_status(&a, &connection, &test, 503);
    let labels = [("call", "create"), ("outcome", "run-stopped")];
    assert_eq!(a.metrics(a.admin_token()).sum("jackfield_runs_total", &labels), Some(1.0));
    let event = wait_for("the event of the stopped run", 30, || {
        let event = b.admin().get(&format!("/events/{stopped_event}")).expect(200);
        (event["runs"][0]["outcome"] == "run-stopped").then_some(event)
    });
    let received_at = event["received_at"].as_str().expect("a time");
    let sql = format!("SELECT (extract(epoch FROM timestamptz '{received_at}') * 1000)::bigint");
    let ended_us = event["runs"][0]["times"]["ended_us"].as_u64().expect("a number");
    let ended_ms = only_number(&postgres, &sql) + ended_us / 1_000;
    assert!(
        ended_ms < lease_until_ms,
        "its run ended at {ended_ms}, its lease at {lease_until_ms}"
    );
}

#[test]
fn a_server_that_is_suspended_for_longer_than_its_lease_writes_nothing_afterwards() {
    let postgres = Postgres::start();
    let start = || {
        let setup = postgres.replica().config(&short(RARE_SWEEPS_MS));
        setup.plugin("redmine", &Guest::example("redmine")).start()
    };
    let (a, b) = (start(), start());
    // This setting makes the connector read before it writes.
    let redmine = a.connect_to_redmine("qa", "redmine", json!({"priority": "High"}));
    let RedmineConnection { project, proxy, connection } = redmine;
    b.await_connection("qa");
    let test = failed_test();
    let gate = proxy.hold_requests(|_| true);
    let click = a.create_in_background(&connection, &test);
    gate.await_held(1);
    a.suspend();
    let defect = create_while_held(&b, &connection, &test, &gate);
    a.resume();
    let answer = click.answer();
    assert!([200, 503].contains(&answer.status), "{answer:?}");
    let again = wait_for("the defect at the server that was suspended", 30, || {
        let answer = a.create(&connection, &test);
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!(again["id"], defect["id"]);
    assert_eq!((proxy.posts(), project.issues_of(&test).len()), (1, 1));
}
