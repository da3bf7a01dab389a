//! Tests the shutdown after SIGTERM: the server accepts no new client connections, answers the
//! requests that clients have sent, finishes the runs in progress, and exits with code 0.

mod http2;
mod transports;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use jackfield_tests::{
    Client, Reply, Request, ScriptedServer, Setup, TestHost, failed_test, wait_for,
};
use serde_json::{Value, json};

#[test]
fn a_run_in_progress_is_finished_and_answered() {
    let tracker = ScriptedServer::start(|_| Reply::created(7));
    let gate = tracker.hold_requests(|_| true);
    let (mut host, connection) =
        Setup::new().start_with_guest("good", json!({"url": tracker.url()}));
    let test = failed_test();
    let click = host.create_in_background(&connection, &test);
    gate.await_held(1);
    host.terminate();
    let client = Client::new(host.url(), &[]);
    wait_for("the server to refuse client connections", 20, || {
        client.attempt("GET", "/healthz", &[], b"").is_none().then_some(())
    });
    gate.open();
    assert_eq!(click.answer().expect(200)["id"], "7");
    assert_eq!(host.stop().code(), Some(0));

    host.restart();
    assert_eq!(host.create(&connection, &test).expect(200)["id"], "7");
    assert_eq!(tracker.requests().len(), 1);
}

/// A client with an open TCP connection cannot know that the server ends, so the client still sends
/// a request.
#[test]
fn a_click_on_a_connection_that_was_open_before_the_signal_is_answered() {
    let (mut host, connection) = Setup::new().start_with_guest("instant", json!({}));
    let body = failed_test().to_string();
    let click = format!(
        "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        connection.create_path(),
        body.len()
    );
    let address = host.url().trim_start_matches("http://").to_owned();
    let mut streams: Vec<_> =
        (0..9).map(|_| TcpStream::connect(&address).expect("the server listens")).collect();
    host.terminate();
    for stream in &mut streams {
        stream.write_all(click.as_bytes()).expect("the click is sent");
    }
    for mut stream in streams {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the answer, and then the end of the stream");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    assert_eq!(host.stop().code(), Some(0));
}

#[test]
fn an_idle_server_has_no_child_processes_and_stops_at_once() {
    let mut host = Setup::new().guests(["instant"]).start();
    assert_eq!(host.children(), 0);
    assert_eq!(stop_within(&mut host, 5), Some(0));
}

#[test]
fn an_incomplete_request_does_not_keep_the_server_alive() {
    let mut host = Setup::new().config("drain_ms = 100").start();
    let mut stream =
        TcpStream::connect(host.url().trim_start_matches("http://")).expect("the server listens");
    let head = format!(
        "POST /api/v1/connections HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-length: 100\r\n\r\n{{",
        host.admin_token()
    );
    stream.write_all(head.as_bytes()).expect("the head is sent");
    host.admin().get("/connections").assert_status(200);
    assert_eq!(stop_within(&mut host, 20), Some(0));
}

/// Sends SIGTERM, and checks that the server ends within this number of seconds. Returns its exit
/// code.
#[track_caller]
fn stop_within(host: &mut TestHost, seconds: u64) -> Option<i32> {
    let started = Instant::now();
    let code = host.stop().code();
    let elapsed = started.elapsed();
    assert!(elapsed <= Duration::from_secs(seconds), "the server took {elapsed:?} to end");
    code
}

/// After the drain time, the server stops three runs: a run that waits for its tracker, a run that
/// computes, and a run that sleeps.
#[test]
fn runs_that_exceed_the_drain_time_are_stopped_and_their_outcomes_stored() {
    let tracker = ScriptedServer::start(|exchange| {
        if exchange.request.is_post() {
            Reply::created(7)
        } else {
            Reply::new(200, r#"[{"id":7}]"#)
        }
    });
    let gate = tracker.hold_requests(Request::is_post);
    let mut host = Setup::new()
        .config("drain_ms = 500\n[limits]\ncpu_ms = 60000\ncreate_answer_ms = 60000")
        .guests(["good", "spin", "sleeps"])
        .start();
    let connection = host.add_connection("qa", "good", json!({"url": tracker.url()}), json!({}));
    let test = failed_test();
    let mut clicks = vec![host.create_in_background(&connection, &test)];
    for name in ["spin", "sleeps"] {
        let other = host.add_connection(name, name, json!({}), json!({}));
        clicks.push(host.create_in_background(&other, &failed_test()));
    }
    gate.await_held(1);
    assert_eq!(stop_within(&mut host, 30), Some(0));
    for click in clicks {
        if let Some(answer) = click.finish() {
            answer.assert_status(503);
        }
    }
    host.restart();
    let defects = host.admin().get("/defects").expect(200);
    let defects = defects["defects"].as_array().expect("defects").clone();
    let state = |name: &str| {
        let connection = host.connection(name)["id"].clone();
        let is_of_connection =
            |it: &&Value| it["connection"] == connection || it["connection"] == name;
        defects.iter().find(is_of_connection).map(|it| it["state"].clone())
    };
    assert_eq!(state("qa"), Some(json!("in-doubt")), "{defects:?}");
    assert_eq!(state("spin"), Some(json!("failed")), "{defects:?}");
    gate.open();
    assert_eq!(host.create(&connection, &test).expect(200)["id"], "7");
    assert_eq!(tracker.posts(), 1);
}

#[test]
fn a_second_signal_ends_the_drain() {
    let mut host = Setup::new().config("drain_ms = 600000").guests(["sleeps"]).start();
    let connection = host.add_connection("qa", "sleeps", json!({}), json!({}));
    let click = host.create_in_background(&connection, &failed_test());
    wait_for("the run to begin", 20, || {
        let defects = host.admin().get("/defects").expect(200);
        (defects["defects"][0]["state"] == "intent").then_some(())
    });
    host.terminate();
    let client = Client::new(host.url(), &[]);
    wait_for("the server to refuse client connections", 20, || {
        client.attempt("GET", "/healthz", &[], b"").is_none().then_some(())
    });
    assert_eq!(stop_within(&mut host, 20), Some(0));
    click.answer().assert_problem(503, "shutting-down");
}

#[test]
fn the_admin_token_is_created_in_a_private_file_and_never_printed() {
    let host = Setup::new().without_admin_token().start();
    let file = host.data("admin-token");
    let token = std::fs::read_to_string(&file).expect("the admin token");
    assert!(token.trim().len() >= 43, "the token has fewer than 256 bits");
    let mode = |path: &Path| path.metadata().expect("the path exists").permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(&host.data_folder()), 0o700);
    assert!(!host.output().contains(token.trim()), "{}", host.output());
    let status = |token: &str| host.api_as(token).get("/events").status;
    assert_eq!((status(token.trim()), status("another")), (200, 401));
}
