//! One failed test leads to one defect, even after a hundred simultaneous clicks, or if the server
//! is killed while it waits for the tracker. Most of the tests count the issues in Redmine.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use jackfield_tests::{
    Gate, Guest, RedmineFixture, Reply, Request, Response, ScriptedServer, Setup, failed_test,
    lose_writes, wait_for,
};
use serde_json::{Value, json};

/// Short waits make the tests fast.
fn start_fixture(settings: Value) -> RedmineFixture {
    Setup::new()
        .config(
            "lease_ms = 3000\nsweep_ms = 500\n[create]\nin_doubt_s = 2\n[limits]\nrun_ms = 5000\n\
             create_answer_ms = 3000",
        )
        .start_with_redmine("redmine", &Guest::example("redmine"), settings)
}

#[test]
fn a_hundred_simultaneous_clicks_lead_to_one_run_one_issue_and_equal_answers() {
    let fixture = start_fixture(json!({}));
    let mut without_variation = failed_test();
    without_variation.as_object_mut().expect("an object").remove("variationId");
    let (mut null, mut empty, mut upper) =
        (without_variation.clone(), without_variation.clone(), without_variation.clone());
    null["variationId"] = Value::Null;
    empty["variationId"] = json!("");
    for id in ["testExecutionId", "testCaseId"] {
        upper[id] = json!(upper[id].as_str().expect("a uuid").to_uppercase());
    }
    let spellings = [without_variation, null, empty, upper];
    let start = Arc::new(Barrier::new(100));
    let path = fixture.connection.create_path();
    let clicks: Vec<_> = (0..100)
        .map(|n| {
            let (client, path) = (fixture.host.anonymous(), path.clone());
            let (test, start) = (spellings[n % spellings.len()].clone(), Arc::clone(&start));
            std::thread::spawn(move || {
                start.wait();
                client.json("POST", &path, &test).expect(200)
            })
        })
        .collect();
    let answers: Vec<_> =
        clicks.into_iter().map(|click| click.join().expect("an answer")).collect();
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(answers[0]["id"], fixture.project.only_issue().id);
    assert_eq!(fixture.proxy.posts(), 1, "the connector ran more than once");
}

/// From the restart on, the proxy forwards everything.
fn click_and_kill_while_held(fixture: &mut RedmineFixture, gate: &Gate, test: &Value) {
    let click = fixture.host.create_in_background(&fixture.connection, test);
    gate.await_held(1);
    fixture.host.kill();
    gate.open();
    click.assert_unanswered();
    fixture.proxy.forward_all();
    fixture.host.restart();
}

/// The proxy has received the complete write, but Redmine never receives it.
#[test]
fn after_a_kill_before_the_tracker_receives_the_write_a_repeat_waits_and_creates_the_defect() {
    let mut fixture = start_fixture(json!({}));
    fixture.proxy.set_script(lose_writes);
    let gate = fixture.proxy.hold_requests(Request::is_post);
    let test = failed_test();
    click_and_kill_while_held(&mut fixture, &gate, &test);
    let first_repeat = fixture.create(&test);
    assert!(
        [503, 504].contains(&first_repeat.status),
        "the click did not wait for the write, which may still arrive: {first_repeat:?}"
    );
    assert_eq!(
        fixture.project.issues().len(),
        0,
        "a second write was sent before the wait was over"
    );
    let defect = fixture.create_until_final(&test).expect("it is created after the wait");
    assert_eq!(defect["id"], fixture.project.only_issue().id);
}

/// Redmine has created the issue, but the server never receives the answer.
#[test]
fn after_a_kill_before_the_trackers_answer_arrives_a_repeat_adopts_the_issue() {
    let mut fixture = start_fixture(json!({}));
    let gate = fixture.proxy.hold_answers(Request::is_post);
    let test = failed_test();
    click_and_kill_while_held(&mut fixture, &gate, &test);
    let defect = fixture.create_until_final(&test).expect("the issue is found by its marker");
    assert_eq!(defect["id"], fixture.project.only_issue().id);
    assert_eq!(fixture.proxy.posts(), 1);
}

/// At the kill, the guest has sent only a read. So a repeated click runs the connector again.
#[test]
fn after_a_kill_before_the_write_a_repeat_runs_the_connector_again() {
    let mut fixture = start_fixture(json!({"priority": "High"})); // makes the connector read first
    fixture.proxy.set_script(|_| Reply::reset());
    let gate = fixture.proxy.hold_requests(|_| true);
    let test = failed_test();
    click_and_kill_while_held(&mut fixture, &gate, &test);
    let defect = fixture.create_until_final(&test).expect("a new run creates the defect");
    assert_eq!(defect["id"], fixture.project.only_issue().id);
}

#[test]
fn a_guest_that_fails_after_its_write_succeeded_makes_no_second_issue() {
    let host = Setup::new().guests(["after-write"]).start();
    for then in ["trap", "spin", "reject"] {
        let tracker = ScriptedServer::start(|exchange| {
            if exchange.request.is_post() {
                Reply::created(42)
            } else {
                Reply::json(200, r#"{"issues":[{"id":42}]}"#)
            }
        });
        let settings = json!({"url": tracker.url(), "then": then});
        let connection = host.add_connection(then, "after-write", settings, json!({}));
        let test = failed_test();
        let defect = wait_for(&format!("{then}: the issue to be adopted"), 30, || {
            let answer = host.create(&connection, &test);
            (answer.status == 200).then(|| answer.json())
        });
        assert_eq!(defect["id"], "42", "{then}");
        assert_eq!(tracker.posts(), 1, "{then}: a second create was sent");
    }
}

#[test]
fn a_released_defect_allows_exactly_one_more_issue() {
    let fixture = start_fixture(json!({}));
    let test = failed_test();
    let first = fixture.create_until_final(&test).expect("the defect is created");
    let listed = fixture.host.admin().get("/defects").expect(200);
    let id = listed["defects"][0]["id"].as_str().expect("a defect").to_owned();
    let path = format!("/defects/{id}/release");
    let released = fixture.host.admin().json("POST", &path, &json!({}));
    assert!(released.status < 300, "{released:?}");
    let second = fixture.create_until_final(&test).expect("the released defect is created again");
    assert_ne!(first["id"], second["id"]);
    assert_eq!(fixture.create_until_final(&test).expect("a repeat has an answer"), second);
    assert_eq!(fixture.project.issues().len(), 2);
}

/// The server sends no write over a TCP connection that was idle for a second or longer, because
/// the tracker may be closing it. At first, the tracker of this test closes each TCP connection
/// after its answer. Later, it keeps TCP connections open.
#[test]
fn no_write_is_sent_over_a_connection_that_was_idle_for_a_second() {
    let answer = Response::json(201, r#"{"issue":{"id":7}}"#).bytes();
    let tracker = ScriptedServer::start(move |_| Reply::Raw(answer.clone()));
    let (host, connection) = Setup::new().start_with_guest("good", json!({"url": tracker.url()}));
    for _ in 0..5 {
        host.create(&connection, &failed_test()).assert_status(200);
    }
    tracker.set_script(|_| Reply::created(8));
    let before = tracker.tcp_connections();
    host.create(&connection, &failed_test()).assert_status(200);
    // The TCP connection must be idle for more than a second.
    std::thread::sleep(Duration::from_millis(1_200));
    host.create(&connection, &failed_test()).assert_status(200);
    assert_eq!(
        tracker.tcp_connections() - before,
        2,
        "the write after a second did not open a new TCP connection"
    );
}
