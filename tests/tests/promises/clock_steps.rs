//! The wall clock steps forward and back while the server runs. No step makes the server create a
//! second defect, accept an expired token again, or delete the history.

use std::time::Duration;

use jackfield_tests::{
    Reply, Request, ScriptedServer, Setup, Strace, WallClock, failed_test, wait_for,
};
use serde_json::json;

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 24 * HOUR_S;

fn start_tracker() -> ScriptedServer {
    ScriptedServer::start(|exchange| {
        if exchange.request.is_post() { Reply::created(42) } else { Reply::json(200, "[]") }
    })
}

#[test]
fn a_clock_step_beyond_the_end_of_a_lease_does_not_interrupt_a_write_in_progress() {
    let (clock, tracker) = (WallClock::new(), start_tracker());
    let setup = clock.add_to(Setup::new().config("sweep_ms = 100"));
    let (host, connection) = setup.start_with_guest("good", json!({"url": tracker.url()}));
    let gate = tracker.hold_requests(Request::is_post);
    let test = failed_test();
    let click = host.create_in_background(&connection, &test);
    gate.await_held(1);
    clock.set_ahead(HOUR_S);
    let first_defect = || host.admin().get("/defects").expect(200)["defects"][0].clone();
    let id = first_defect()["id"].as_str().expect("a defect").to_owned();
    let refused = host.resolve(&id, &json!({"give_up": true}));
    refused.assert_problem(409, "conflict");
    std::thread::sleep(Duration::from_millis(700)); // several rounds of the sweep
    assert_eq!(first_defect()["state"], "sent", "the sweep changed the state");
    gate.open();
    assert_eq!(click.answer().expect(200)["id"], "42");
    assert_eq!(host.create(&connection, &test).expect(200)["id"], "42");
    assert_eq!(tracker.posts(), 1);
}

#[test]
fn a_clock_step_does_not_end_the_wait_after_a_lost_write() {
    let (clock, tracker) = (WallClock::new(), start_tracker());
    let setup =
        Setup::new().config("[create]\nin_doubt_s = 600\n[limits]\ncreate_answer_ms = 1000");
    let (host, connection) =
        clock.add_to(setup).start_with_guest("good", json!({"url": tracker.url()}));
    tracker.set_script(|exchange| {
        if exchange.request.is_post() { Reply::reset() } else { Reply::json(200, "[]") }
    });
    let test = failed_test();
    host.create(&connection, &test).assert_problem(503, "tracker-unavailable");
    for seconds_ahead in [HOUR_S, -HOUR_S, DAY_S] {
        clock.set_ahead(seconds_ahead);
        let waiting = host.create(&connection, &test);
        waiting.assert_problem(503, "outcome-pending");
        let seconds = waiting.header("retry-after").and_then(|text| text.parse::<u32>().ok());
        assert!(seconds.is_some_and(|seconds| seconds > 550), "{seconds_ahead}: {waiting:?}");
    }
    assert_eq!(tracker.posts(), 1);
}

#[test]
fn a_replaced_token_stays_invalid_when_the_clock_goes_back() {
    let (clock, tracker) = (WallClock::new(), start_tracker());
    let setup = clock.add_to(Setup::new());
    let (mut host, connection) = setup.start_with_guest("good", json!({"url": tracker.url()}));
    let probe_status =
        |host: &jackfield_tests::TestHost| host.anonymous().get(&connection.webhook_path).status;
    assert_eq!(probe_status(&host), 200);
    let rotate = format!("/connections/{}/rotate-token", connection.id);
    host.admin().json("POST", &rotate, &json!({"grace_s": 2})).assert_status(200);
    wait_for("the token to expire", 20, || (probe_status(&host) == 404).then_some(()));
    clock.set_ahead(-DAY_S);
    assert_eq!(probe_status(&host), 404);
    assert!(host.stop().success());
    host.restart();
    assert_eq!(probe_status(&host), 404, "the token is valid again after a restart");
}

#[test]
fn a_clock_step_forward_deletes_no_events() {
    let (clock, tracker) = (WallClock::new(), start_tracker());
    let setup = clock.add_to(Setup::new().config("sweep_ms = 100\nevents_days = 1"));
    let (mut host, connection) = setup.start_with_guest("good", json!({"url": tracker.url()}));
    let first = host.create(&connection, &failed_test());
    first.assert_status(200);
    clock.set_ahead(30 * DAY_S);
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(500)); // several rounds of the sweep
        host.create(&connection, &failed_test()).assert_status(200);
        assert_eq!(host.event_of(&first)["outcome"], "created");
        assert!(host.stop().success());
        host.restart();
    }
}

/// The disk is so slow that the lease ends before the state `sent` of the row is stored.
#[test]
fn no_write_is_sent_after_its_lease_has_ended() {
    let tracker = start_tracker();
    let (host, connection) = Setup::new()
        .config("lease_ms = 1000\n[limits]\ncreate_answer_ms = 20000")
        .start_with_guest("good", json!({"url": tracker.url()}));
    let slow = Strace::delay_syncs(host.process_id(), Duration::from_millis(1_500));
    let refused = host.create(&connection, &failed_test());
    refused.assert_problem(503, "run-stopped");
    drop(slow);
    assert_eq!(tracker.posts(), 0);
    host.create(&connection, &failed_test()).assert_status(200);
    assert_eq!(tracker.posts(), 1);
}
