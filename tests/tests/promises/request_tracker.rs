//! Tests the connector for Request Tracker with a real Request Tracker. A failed test gets one
//! ticket, even if an answer was lost or the server was killed.

use jackfield_tests::{
    Connection, Guest, Reply, Request, RequestTracker, ScriptedServer, Setup, TestHost,
    failed_test, lose_writes, wait_for,
};
use serde_json::{Value, json};

use crate::recurrence::{await_step, same_test_case_failed_again};

/// A server whose connection `qa` uses a new queue in Request Tracker, through a proxy.
struct Fixture {
    host: TestHost,
    proxy: ScriptedServer,
    queue: String,
    connection: Connection,
}

fn start_with_queue() -> Fixture {
    let tracker = RequestTracker::shared();
    let (queue, proxy) = (tracker.queue(), ScriptedServer::proxy_to(tracker.address()));
    let host = Setup::new()
        .config(
            "lease_ms = 6000\nsweep_ms = 500\n[create]\nin_doubt_s = 2\n[limits]\nrun_ms = 10000\n\
             create_answer_ms = 12000",
        )
        .plugin("request-tracker", &Guest::example("request-tracker"))
        .start();
    let settings = json!({"url": proxy.url(), "queue": queue, "priority": 50});
    let connection = host.add_connection("qa", "request-tracker", settings, tracker.secrets());
    Fixture { host, proxy, queue, connection }
}

impl Fixture {
    fn create(&self, test: &Value) -> Value {
        wait_for("the defect", 90, || {
            let answer = self.host.create(&self.connection, test);
            (answer.status == 200).then(|| answer.json())
        })
    }

    fn tickets(&self) -> Vec<Value> {
        RequestTracker::shared().tickets(&self.queue)
    }

    fn edit(&self, edit: &Value) {
        self.host.admin().json("PATCH", "/connections/qa", edit).assert_status(200);
    }
}

#[test]
fn a_failed_test_gets_one_ticket_and_the_tickets_are_counted() {
    let (fixture, tracker) = (start_with_queue(), RequestTracker::shared());
    let fields = json!([{"field": "Robot", "text": "R2"}, {"field": "Nope", "text": "x"}]);
    fixture.edit(&json!({"report": {"fields": fields}}));
    let test = failed_test();
    let defect = fixture.create(&test);
    let id = defect["id"].as_str().expect("a number");
    let ticket = tracker.ticket(id);
    assert_eq!(ticket["Subject"], defect["name"], "{ticket}");
    assert_eq!((&ticket["Priority"], &ticket["Status"]), (&json!("50"), &json!("new")));
    assert_eq!(ticket["CustomFields"][0]["values"], json!(["R2"]), "{ticket}");
    assert_eq!(defect["link"], format!("{}/Ticket/Display.html?id={id}", fixture.proxy.url()));
    assert_eq!(fixture.create(&test), defect, "a repeat got another defect");

    // Request Tracker creates the ticket, but the proxy drops the tracker's answer.
    fixture.proxy.set_script(|exchange| {
        let answer = exchange.pass();
        if exchange.request.is_post() { Reply::reset() } else { answer }
    });
    let test_with_lost_answer = failed_test();
    let _ = fixture.host.create(&fixture.connection, &test_with_lost_answer);
    fixture.proxy.forward_all();
    let adopted = fixture.create(&test_with_lost_answer);
    let tickets = fixture.tickets();
    assert_eq!((tickets.len(), &adopted["id"]), (2, &tickets[1]["id"]), "{tickets:?}");

    for priority in [90, 80, 10] {
        tracker.add(&fixture.queue, priority);
    }
    tracker.set_status(&tracker.add(&fixture.queue, 90), "resolved");
    let counts = fixture.host.kpis(&fixture.connection, "any").expect(200);
    for (name, count) in [
        ("totalDefects", 6),
        ("openDefects", 5),
        ("closedDefects", 1),
        ("criticalDefects", 2),
        ("moderateDefects", 2),
    ] {
        assert_eq!(counts[name], count, "{name} in {counts}");
    }
}

#[test]
fn if_the_queue_does_not_exist_the_error_names_the_queue() {
    let (fixture, tracker) = (start_with_queue(), RequestTracker::shared());
    let settings = json!({"url": fixture.proxy.url(), "queue": "nope"});
    let connection =
        fixture.host.add_connection("nope", "request-tracker", settings, tracker.secrets());
    let detail = fixture.host.kpis(&connection, "any").problem(422, "rejected");
    assert!(detail.contains("queue") && detail.contains("Not Found"), "{detail}");
    let detail =
        fixture.host.create(&connection, &failed_test()).problem(502, "credentials-refused");
    assert!(detail.contains("No permission to create tickets in the queue 'nope'"), "{detail}");
}

#[test]
fn a_test_that_fails_again_adds_a_comment_and_reopens_the_ticket() {
    let (fixture, tracker) = (start_with_queue(), RequestTracker::shared());
    fixture.edit(&json!({"on_recurrence": "reopen"}));
    let first = failed_test();
    let id = fixture.create(&first)["id"].as_str().expect("a number").to_owned();
    tracker.set_status(&id, "resolved");
    let second = same_test_case_failed_again(&first);
    assert_eq!(fixture.create(&second)["id"], id);
    await_step(&fixture.host, &second, "comment", "done");
    await_step(&fixture.host, &second, "reopen", "done");
    assert_eq!(tracker.ticket(&id)["Status"], "open");
    let attachments = tracker.attachments(&id);
    let is_comment =
        |it: &&Value| it["Subject"].as_str().is_some_and(|it| it.starts_with("Jackfield "));
    assert_eq!(attachments.iter().filter(is_comment).count(), 1, "{attachments:?}");
    assert_eq!(fixture.tickets().len(), 1);
}

#[test]
fn a_kill_during_a_write_makes_no_second_ticket() {
    let mut fixture = start_with_queue();
    for write_arrives in [false, true] {
        let (test, tickets_before) = (failed_test(), fixture.tickets().len());
        let gate = if write_arrives {
            fixture.proxy.hold_answers(Request::is_post)
        } else {
            fixture.proxy.set_script(lose_writes);
            fixture.proxy.hold_requests(Request::is_post)
        };
        let click = fixture.host.create_in_background(&fixture.connection, &test);
        gate.await_held(1);
        fixture.host.kill();
        gate.open();
        click.assert_unanswered();
        fixture.proxy.forward_all();
        fixture.host.restart();
        let defect = fixture.create(&test);
        let tickets = fixture.tickets();
        assert_eq!(
            tickets.len(),
            tickets_before + 1,
            "the write arrived: {write_arrives}; {tickets:?}"
        );
        assert_eq!(tickets[tickets_before]["id"], defect["id"]);
        assert_eq!(fixture.create(&test), defect, "a repeat got another defect");
    }
}
