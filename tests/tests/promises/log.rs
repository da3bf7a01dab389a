//! With `--log-json`, each line of the log is a JSON object. A line that is written during an event
//! contains the id of the event, and the id of the trace if the event belongs to a trace.

use jackfield_tests::{Reply, ScriptedServer, Setup, failed_test, wait_for};
use serde_json::{Value, json};

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[track_caller]
fn line_with_message(output: &str, message: &str) -> Value {
    let lines = output.lines().filter(|line| line.starts_with('{'));
    let lines: Vec<Value> = lines.map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let found = lines.iter().find(|line| line["fields"]["message"] == message);
    found.unwrap_or_else(|| panic!("no line {message:?} in {output}")).clone()
}

#[test]
fn a_log_line_contains_the_ids_of_its_event_and_trace() {
    let tracker = ScriptedServer::start(|_| Reply::new(200, "bad"));
    let setup = Setup::new().argument("--log-json");
    let (host, connection) =
        setup.start_with_guest("traps-on-demand", json!({"url": tracker.url()}));
    let traceparent = format!("00-{TRACE_ID}-00f067aa0ba902b7-01");
    let headers = [("content-type", "application/json"), ("traceparent", traceparent.as_str())];
    let send = |headers: &[(&str, &str)]| {
        let body = failed_test().to_string();
        host.anonymous().send("POST", &connection.create_path(), headers, body.as_bytes())
    };
    let answer = send(&headers);
    answer.assert_problem(502, "connector-fault");
    let message = "a connector failed";
    wait_for("the line", 10, || host.output().contains(message).then_some(()));
    let line = line_with_message(&host.output(), message);
    assert_eq!(line["span"]["id"], answer.event(), "{line}");
    assert_eq!(line["span"]["trace"], TRACE_ID, "{line}");
    assert_eq!(line["level"], "WARN", "{line}");
    let without_trace = send(&headers[..1]);
    let id = without_trace.event();
    wait_for("the second line", 10, || host.output().contains(&id).then_some(()));
    let output = host.output();
    let second = output.lines().find(|line| line.contains(&id)).expect("a line");
    let second: Value = serde_json::from_str(second).expect("JSON");
    assert_eq!((&second["span"]["id"], &second["span"]["trace"]), (&json!(id), &Value::Null));
}
