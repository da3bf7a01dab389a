//! Several servers share a PostgreSQL database. A change at one server takes effect at the other
//! servers. A failed test has one defect, also after a server was killed, suspended or cut off from
//! the database.

mod counts;
mod crash_after_claim;

use std::time::{Duration, Instant};

use jackfield_tests::{
    Answer, Connection, CuttableRelay, Gate, Guest, Postgres, RedmineConnection, Reply, Request,
    ScriptedServer, Setup, TestHost, failed_test, wait_for,
};
use serde_json::{Value, json};

use crate::accounts::Browser;

/// The longest time until a change takes effect at the other servers, in seconds.
const CHANGE_MAX_S: u64 = 10;
/// The time between two sweeps, longer than a test. Servers read connections again at each sweep.
/// So with rare sweeps, a server learns of a change only by a notification.
const RARE_SWEEPS_MS: u64 = 600_000;
/// How long a claim waits for a notification about another server's run before it reads the row
/// again.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Returns a configuration with short times. The answer deadline is longer than all these times
/// together, without `sweep_ms`.
fn short_times(sweep_ms: u64) -> String {
    format!(
        "lease_ms = 3000\nsweep_ms = {sweep_ms}\nstore_statement_s = 2\nstore_connect_s = 2\n[create]\n\
         in_doubt_s = 2\n[limits]\nrun_ms = 20000\ncreate_answer_ms = 60000"
    )
}

fn setup_with_guests(postgres: &Postgres) -> Setup {
    postgres.server_setup().config(&short_times(RARE_SWEEPS_MS)).guests(["good", "calls"])
}

/// Starts a tracker that creates the issue 42, and after that finds this issue by a search.
fn start_tracker() -> ScriptedServer {
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
        let issues =
            if created.load(order) { r#"{"issues":[{"id":42}]}"# } else { r#"{"issues":[]}"# };
        Reply::json(200, issues)
    })
}

fn add_connection(host: &TestHost, connector: &str, settings: Value) -> Connection {
    host.add_connection("qa", connector, settings, json!({}))
}

#[track_caller]
fn post(host: &TestHost, path: &str, body: &Value) -> Answer {
    let answer = host.admin().json("POST", path, body);
    assert!(answer.status < 300, "{path}: {answer:?}");
    answer
}

#[track_caller]
fn await_status(host: &TestHost, connection: &Connection, test: &Value, status: u16) {
    wait_for(&format!("a click to be answered {status}"), CHANGE_MAX_S, || {
        (host.create(connection, test).status == status).then_some(())
    });
}

#[track_caller]
fn await_running(host: &TestHost, events: usize) {
    wait_for("the events of the clicks", 30, || {
        let listed = host.admin().get("/events?outcome=running").expect(200);
        let running = listed["events"].as_array().expect("a list").len();
        (running >= events).then_some(())
    });
}

#[track_caller]
fn only_number(postgres: &Postgres, sql: &str) -> u64 {
    let rows = postgres.query(sql);
    let [only] = &rows[..] else { panic!("{sql}: {rows:?}") };
    only.parse().unwrap_or_else(|_| panic!("{sql}: {only}"))
}

/// Clicks at a server until the server has created the defect. Opens the gate when the gate holds
/// two requests: one of another server, and one of this server. Clicks may be answered 503 at
/// first, because the other server may keep a lock in the database for some seconds.
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
fn a_change_of_a_connection_at_one_server_takes_effect_at_the_other() {
    let postgres = Postgres::start();
    let (a, b) = (setup_with_guests(&postgres).start(), setup_with_guests(&postgres).start());
    let tracker = start_tracker();
    let settings = json!({"url": tracker.url(), "target": "/"});
    let connection =
        a.add_connection("qa", "calls", settings, json!({"key-bearer": "the first key 1234"}));
    let test = failed_test();
    b.await_connection("qa");
    await_status(&b, &connection, &test, 200);
    let sent_credential = || tracker.last_request().header("authorization").map(str::to_owned);
    assert_eq!(sent_credential().as_deref(), Some("Bearer the first key 1234"));

    let path = format!("/connections/{}", connection.id);
    let edit = json!({"secrets": {"key-bearer": "the second key 5678"}});
    assert_eq!(a.admin().json("PATCH", &path, &edit).status, 200);
    wait_for("the new secret at the other server", CHANGE_MAX_S, || {
        b.create(&connection, &failed_test()).assert_status(200);
        (sent_credential().as_deref() == Some("Bearer the second key 5678")).then_some(())
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
fn a_token_and_a_session_of_one_server_are_valid_at_the_other_and_end_at_both() {
    let postgres = Postgres::start();
    let (a, b) = (postgres.server_setup().start(), postgres.server_setup().start());
    let created = post(&a, "/tokens", &json!({"name": "ci", "role": "viewer"})).json();
    let token = created["token"].as_str().expect("a token");
    let status_at = |host: &TestHost| host.api_as(token).get("/connections").status;
    assert_eq!((status_at(&a), status_at(&b)), (200, 200));
    let browser = Browser::sign_in(&a, token);
    let browser_at_b = browser.with_server(&b);
    assert_eq!((browser.get("/events").status, browser_at_b.get("/events").status), (200, 200));

    b.admin().send("DELETE", "/tokens/ci", &[], b"").assert_status(204);
    assert_eq!((status_at(&a), status_at(&b)), (401, 401));
    assert_eq!((browser.get("/events").status, browser_at_b.get("/events").status), (303, 303));
    let audit = a.admin().get("/audit").expect(200).to_string();
    assert!(audit.contains("token.create") && audit.contains("token.revoke"), "{audit}");
}

#[test]
fn a_repeat_at_another_server_waits_for_the_run_and_gets_its_answer() {
    let postgres = Postgres::start();
    let (a, b) = (setup_with_guests(&postgres).start(), setup_with_guests(&postgres).start());
    let tracker = start_tracker();
    let connection = add_connection(&a, "good", json!({"url": tracker.url()}));
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
        assert_eq!(a.event_of(&repeat)["outcome"], "repeated", "not all servers show the event");
        assert_eq!(b.event_of(&first)["outcome"], "created");
        assert_eq!(tracker.posts(), posts + 1);
        waited
    };
    // Without a notification about the end of the run, a claim reads the row again two seconds
    // after the click. On a busy machine, a repeat may take that long although it was notified, but
    // not each of five repeats.
    let times: Vec<_> = (0..5).map(|_| repeat_once()).collect();
    assert!(
        times.iter().any(|it| *it < POLL_INTERVAL),
        "the repeats got no notification: {times:?}"
    );
}

#[test]
fn after_a_kill_another_server_finds_the_defect_without_a_click() {
    let postgres = Postgres::start();
    let start = || postgres.server_setup().config(&short_times(500)).guests(["good"]).start();
    let (mut a, b) = (start(), start());
    let tracker = start_tracker();
    let connection = add_connection(&a, "good", json!({"url": tracker.url()}));
    let test = failed_test();
    let gate = tracker.hold_answers(Request::is_post);
    let click = a.create_in_background(&connection, &test);
    gate.await_held(1);
    a.kill();
    gate.open();
    click.assert_unanswered();
    wait_for("the other server to find the defect", 30, || {
        let defects = b.admin().get("/defects").expect(200);
        (defects["defects"][0]["state"] == "created").then_some(())
    });
    let answer = b.create(&connection, &test);
    assert_eq!(answer.expect(200)["id"], "42");
    assert_eq!(tracker.posts(), 1);
}

#[test]
fn a_server_that_is_cut_off_stops_its_guests_and_another_server_creates_the_defect() {
    let postgres = Postgres::start();
    let relay = CuttableRelay::to_port(postgres.port());
    let cut_off_setup = postgres
        .server_setup_at(relay.port())
        .config(&short_times(RARE_SWEEPS_MS))
        .guests(["calls"]);
    let (a, b) = (cut_off_setup.start(), setup_with_guests(&postgres).start());
    let tracker = start_tracker();
    let settings = json!({"url": tracker.url(), "target": "/", "method": "GET", "effect": "read"});
    let connection = add_connection(&a, "calls", settings);
    let test = failed_test();
    b.await_connection("qa");
    let gate = tracker.hold_requests(|_| true);
    let stopped = a.create_in_background(&connection, &test);
    gate.await_held(1);
    relay.cut();
    let detail = a.await_readiness(503).problem(503, "store-unavailable");
    assert!(detail.contains("database") || detail.contains("store"), "{detail}");
    assert_eq!(a.anonymous().get("/healthz").status, 200);
    let lease_until_ms = only_number(&postgres, "SELECT lease_until FROM defects");

    // The other server waits for the end of the lease, and then creates the defect.
    let defect = create_while_held(&b, &connection, &test, &gate);
    let stopped = stopped.answer();
    assert!([503, 504].contains(&stopped.status), "the run was not stopped: {stopped:?}");
    let stopped_event = stopped.event();

    relay.restore();
    a.await_readiness(200);
    wait_for("an answer of the server that was cut off", 30, || {
        let answer = a.create(&connection, &test);
        (answer.status == 200).then(|| assert_eq!(answer.json()["id"], defect["id"]))
    });
    // Notifications of the other server arrive again, as soon as the link is restored.
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
        "the run ended at {ended_ms}, after its lease at {lease_until_ms}"
    );
}

#[test]
fn a_server_that_is_suspended_for_longer_than_its_lease_writes_nothing_afterwards() {
    let postgres = Postgres::start();
    let start = || {
        let setup = postgres.server_setup().config(&short_times(RARE_SWEEPS_MS));
        setup.plugin("redmine", &Guest::example("redmine")).start()
    };
    let (a, b) = (start(), start());
    // With a priority in the settings, the connector sends a read before its write.
    let redmine = a.add_redmine_connection("qa", "redmine", json!({"priority": "High"}));
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
    let repeated = wait_for("the defect at the server that was suspended", 30, || {
        let answer = a.create(&connection, &test);
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!(repeated["id"], defect["id"]);
    assert_eq!((proxy.posts(), project.issues_of(&test).len()), (1, 1));
}
