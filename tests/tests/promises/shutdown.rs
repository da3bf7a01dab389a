//! On SIGTERM the server stops accepting, finishes what runs, and exits 0; its admin token stays in a
//! file of its own.

use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jackfield_tests::{Client, Gate, Guest, Peer, Reply, Response, Setup, failed_test, until};
use serde_json::json;

#[test]
fn what_runs_is_finished_and_answered() {
    let mut host = Setup::new().plugin("good", &Guest::named("good")).start();
    let gate = Gate::default();
    let held = gate.clone();
    let tracker = Peer::start(move |_| {
        held.pass();
        Reply::Answer(Response::json(201, r#"{"issue":{"id":7}}"#))
    });
    let connection = host.connect("qa", "good", json!({"url": tracker.url()}), json!({}));
    let test = failed_test();
    let running = host.create_aside(&connection, &test);
    gate.await_held(1);
    host.terminate();
    let late = Client::new(host.url(), &[]);
    until("the server to accept no more", 20, || {
        late.attempt("GET", "/healthz", &[], b"").is_none().then_some(())
    });
    gate.open();
    let answer = running.join().expect("no panic").expect("an answer");
    assert_eq!(answer.expect(200)["id"], "7");
    assert_eq!(host.stop().code(), Some(0));

    host.start_again();
    assert_eq!(host.create(&connection, &test).expect(200)["id"], "7");
    assert_eq!(tracker.requests().len(), 1);
}

#[test]
fn an_idle_server_ends_at_once_and_leaves_nothing_running() {
    let mut host = Setup::new().plugin("instant", &Guest::named("instant")).start();
    assert_eq!(host.children(), 0);
    assert_eq!(host.stop().code(), Some(0));
}

/// An admin whose request never comes whole holds nobody up.
#[test]
fn a_request_that_never_comes_whole_keeps_no_server_alive() {
    let mut host =
        Setup::new().config("[limits]\ncreate_answer_ms = 100\nkpi_answer_ms = 100").start();
    let mut stream =
        TcpStream::connect(host.url().trim_start_matches("http://")).expect("it listens");
    let head = format!(
        "POST /api/v1/connections HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-length: 100\r\n\r\n{{",
        host.admin_token()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let _ = host.admin().get("/connections").expect(200);
    assert_eq!(host.stop().code(), Some(0));
}

#[test]
fn the_admin_token_is_made_in_a_file_of_its_own_and_never_printed() {
    let host = Setup::new().own_token().start();
    let file = host.folder().join("data/admin-token");
    let token = std::fs::read_to_string(&file).expect("the admin token");
    assert!(token.trim().len() >= 43, "256 bits");
    let mode = |path: &Path| path.metadata().expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(&host.folder().join("data")), 0o700);
    assert!(!host.output().contains(token.trim()), "{}", host.output());
    let bearer = format!("Bearer {}", token.trim());
    let ask = |bearer: &str| {
        host.anyone().send("GET", "/api/v1/events", &[("authorization", bearer)], b"").status
    };
    assert_eq!((ask(&bearer), ask("Bearer another")), (200, 401));
}
