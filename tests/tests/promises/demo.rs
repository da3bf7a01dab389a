//! `jackfield demo`, the first command that a new user runs. It starts a server with a sample
//! tracker and a connection, sends one Create Defect and one KPI event, prints each step, and
//! continues to serve.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use jackfield_tests::{Client, Guest, binary, wait_for};
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn the_demo_shows_a_defect_and_counts_and_keeps_serving() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(folder.path().join("plugins")).expect("the folder is created");
    std::fs::write(folder.path().join("plugins/redmine.wasm"), Guest::example("redmine").bytes)
        .expect("the file is created");
    let mut demo = Command::new(binary())
        .args(["demo", "--listen", "127.0.0.1:0"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let lines = BufReader::new(demo.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let (sender, printed_lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || lines.for_each(|line| drop(sender.send(line))));
    let mut printed = String::new();
    while !(printed.contains("totalDefects")
        && printed.contains("/issues/")
        && printed.contains("/hooks/")
        && printed.contains("trigger"))
    {
        match printed_lines.recv_timeout(Duration::from_secs(60)) {
            Ok(line) => printed = printed + &line + "\n",
            Err(_) => break,
        }
    }
    let base = printed.split_whitespace().find_map(|word| {
        let (base, _) = word.split_once("/hooks/")?;
        Some(base[base.find("http://")?..].to_owned())
    });
    let simulator = printed.lines().find_map(|line| line.split_once("buttons, runs at "));
    let page = simulator.map(|(_, url)| Client::new(url.trim_end_matches('/'), &[]).get("/").body);
    let serves = base.is_some_and(|base| {
        Client::new(&base, &[])
            .attempt("GET", "/healthz", &[], b"")
            .is_some_and(|a| a.status == 200)
    });
    let _ = kill_process(Pid::from_child(&demo), Signal::TERM);
    let end = wait_for("the demo to end", 20, || demo.try_wait().expect("a child"));
    assert!(serves, "the server of the demo does not answer:\n{printed}");
    for word in ["totalDefects", "/issues/", "trigger"] {
        assert!(printed.contains(word), "{word} is missing in:\n{printed}");
    }
    let page = page.unwrap_or_default();
    assert!(page.contains("/issues/") && page.contains("totalDefects"), "{printed}\n{page}");
    assert_eq!(end.code(), Some(0));
}
