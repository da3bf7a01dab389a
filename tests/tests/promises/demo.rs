//! `jackfield demo`, the first thing that anybody runs: a server, a sample tracker, a connection, one
//! Create Defect, one KPI event, told as it happens, and it goes on serving.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use jackfield_tests::{Client, Guest, binary, until};
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn the_demo_shows_a_defect_and_counts_and_serves_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(folder.path().join("plugins")).expect("a new folder");
    std::fs::write(folder.path().join("plugins/redmine.wasm"), Guest::example("redmine").bytes)
        .expect("a new file");
    let mut demo = Command::new(binary())
        .args(["demo", "--listen", "127.0.0.1:0"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let lines = BufReader::new(demo.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || lines.for_each(|line| drop(tell.send(line))));
    let mut printed = String::new();
    while !(printed.contains("totalDefects")
        && printed.contains("/issues/")
        && printed.contains("/hooks/")
        && printed.contains("trigger"))
    {
        match told.recv_timeout(Duration::from_secs(60)) {
            Ok(line) => printed = printed + &line + "\n",
            Err(_) => break,
        }
    }
    let base = printed.split_whitespace().find_map(|word| {
        let (base, _) = word.split_once("/hooks/")?;
        Some(base[base.find("http://")?..].to_owned())
    });
    let serves = base.is_some_and(|base| {
        Client::new(&base, &[])
            .attempt("GET", "/healthz", &[], b"")
            .is_some_and(|a| a.status == 200)
    });
    let _ = kill_process(Pid::from_child(&demo), Signal::TERM);
    let end = until("the demo to end", 20, || demo.try_wait().expect("a child"));
    assert!(serves, "it serves on:\n{printed}");
    for word in ["totalDefects", "/issues/", "trigger"] {
        assert!(printed.contains(word), "{word} is missing:\n{printed}");
    }
    assert_eq!(end.code(), Some(0));
}
