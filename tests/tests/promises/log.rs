//! The log as JSON: one object per line. What is logged during an event names the event, and the
//! trace if there is one.

use jackfield_tests::{Reply, ScriptedServer, Setup, failed_test, wait_for};
use serde_json::{Value, json};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// The line with this message, as JSON.
#[track_caller]
fn line(output: &str, message: &str) -> Value {
    let lines = output.lines().filter(|line| line.starts_with('{'));
    let all: Vec<Value> = lines.map(|it| serde_json::from_str(it).expect("JSON")).collect();
    let found = all.iter().find(|it| it["fields"]["message"] == message);
    found.unwrap_or_else(|| panic!("no line {message:?} in {output}")).clone()
}

#[test]
fn a_line_names_the_event_and_the_trace_during_which_it_was_written() {
    let tracker = ScriptedServer::start(|_| Reply::new(200, "bad"));
    let setup = Setup::new().argument("--log-json");
    let (host, connection) = setup.start_with("traps-on-demand", json!({"url": tracker.url()}));
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let headers = [("content-type", "application/json"), ("traceparent", parent.as_str())];
    let send = |headers: &[(&str, &str)]| {
        let body = failed_test().to_string();
        host.anonymous().send("POST", &connection.create_path(), headers, body.as_bytes())
    };
    let answer = send(&headers);
    answer.assert_problem(502, "connector-fault");
    let failed = "a connector failed";
    wait_for("the line", 10, || host.output().contains(failed).then_some(()));
    let line = line(&host.output(), failed);
    assert_eq!(line["span"]["id"], answer.event(), "{line}");
    assert_eq!(line["span"]["trace"], TRACE, "{line}");
    assert_eq!(line["level"], "WARN", "{line}");
    let later = send(&headers[..1]);
    let id = later.event();
    wait_for("the second line", 10, || host.output().contains(&id).then_some(()));
    let output = host.output();
    let second = output.lines().find(|line| line.contains(&id)).expect("a line");
    let second: Value = serde_json::from_str(second).expect("JSON");
    assert_eq!((&second["span"]["id"], &second["span"]["trace"]), (&json!(id), &Value::Null));
}
