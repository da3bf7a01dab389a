//! Text from a connector, a tracker or a client without a token cannot control the operator's
//! terminal. No output of a command, no problem and no log line contains control or format
//! characters.

use std::io::{Read, Write};
use std::net::TcpStream;

use jackfield_tests::{Guest, ScriptedServer, Setup, TestHost, failed_test};
use serde_json::{Value, json};

/// The last character of each text of the guest `speaks-escapes`, as the server escapes it.
const ESCAPED_END: &str = "\\u{2028}";

/// Returns the first control or format character of a text, except for line breaks.
fn find_control_character(text: &str) -> Option<char> {
    text.chars().find(|c| {
        (c.is_control() && *c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
    })
}

/// Runs a command once with a table and once with JSON as its output, and checks both outputs.
/// Returns the table.
#[track_caller]
fn run_and_check_output(host: &TestHost, arguments: &[&str]) -> String {
    let (_, json) = host.run_cli(&[arguments, &["--json"]].concat());
    let (_, table) = host.run_cli(arguments);
    for text in [&table, &json] {
        assert_eq!(find_control_character(text), None, "{arguments:?}: {text:?}");
        let forged = text.lines().any(|line| line.starts_with("forged line"));
        assert!(!forged, "{arguments:?}: {text}");
    }
    table
}

#[test]
fn no_command_problem_or_log_line_contains_an_escape_sequence() {
    let host = Setup::new().guests(["speaks-escapes"]).start();
    let tracker = ScriptedServer::start(|_| jackfield_tests::Reply::new(200, "ok"));
    let user = "bot\u{1b}[1A\u{9b}2K\nforged line";
    let mut ids = Vec::new();
    for (name, succeeds) in [("good", true), ("bad", false)] {
        let settings = json!({"url": tracker.url(), "succeeds": succeeds, "user": user});
        let secrets = json!({"key": "k3y-of-qa", "password": "p4ss-of-qa"});
        let connection = host.add_connection(name, "speaks-escapes", settings, secrets);
        let answer = host.create(&connection, &failed_test());
        ids.push(answer.event());
        if !succeeds {
            let problem: Value = serde_json::from_str(&answer.body).expect("a problem");
            let detail = problem["detail"].as_str().expect("a detail");
            assert_eq!(find_control_character(detail), None, "{detail:?}");
            assert!(detail.contains(ESCAPED_END), "{detail}");
        }
        let output = run_and_check_output(&host, &["connections", "try", name]);
        assert!(output.contains(ESCAPED_END), "{output}");
        let connection = run_and_check_output(&host, &["connections", "show", name]);
        assert!(
            connection.contains("\\u{1b}[1A"),
            "the place of the password is not shown escaped: {connection}"
        );
    }
    ids.push(send_escapes_without_token(&host));
    for id in &ids {
        let event = run_and_check_output(&host, &["events", "show", id]);
        assert!(event.contains("\\u{"), "{event}");
    }
    for list in ["connections", "events", "defects", "connectors"] {
        run_and_check_output(&host, &[list, "list"]);
    }
    run_and_check_output(&host, &["connectors", "show", "speaks-escapes"]);
    run_and_check_output(&host, &["connections", "show", "\u{1b}[2J\u{9b}"]);
    assert_eq!(
        find_control_character(&host.output()),
        None,
        "the log has a control character: {:?}",
        host.output()
    );
}

/// Sends a request without a token. The path and the headers of the request contain escape
/// sequences. Returns the id of the event.
fn send_escapes_without_token(host: &TestHost) -> String {
    let mut stream =
        TcpStream::connect(host.url().trim_start_matches("http://")).expect("a TCP connection");
    let request = "POST /hooks/unknown/\u{9b}2J\u{202e}x HTTP/1.1\r\nhost: x\r\nuser-agent: \u{9b}2J\u{202e}\r\n\
                   content-length: 0\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("the request is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (_, id) = answer.split_once("/events/").expect("the id of the event");
    id.chars().take_while(|c| *c != '"').collect()
}

#[test]
fn a_manifest_with_escape_sequences_is_refused() {
    let host = Setup::new().start();
    host.install("c", &Guest::named("speaks-escapes").with_build(2));
    let connector = host.await_connector("c", "broken", None);
    let error = connector["error"].as_str().expect("an error");
    assert!(error.contains("control or format characters"), "{error}");
}
