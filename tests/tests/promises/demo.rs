//! `jackfield demo`, the first command that a new user runs. The command starts a server with a
//! connection, a sample tracker and a stand-in for Test Manager.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use jackfield_tests::{Client, Guest, binary, wait_for};
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn the_demo_creates_a_defect_prints_counts_and_continues_to_serve() {
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
    let issue = printed.lines().find(|line| line.contains("/issues/")).map(|line| {
        let (tracker, id) = line.trim().split_once("/issues/").expect("a link");
        let tracker = Client::new(tracker, &[]);
        let page = || tracker.get(&format!("/issues/{id}")).body;
        let comment =
            || Some(page()).filter(|page| page.contains("failed again in the test execution"));
        let page = wait_for("the comment on the issue", 20, comment);
        let picture = page.split_once("<img src=\"").and_then(|(_, rest)| rest.split_once('"'));
        let picture = picture.map(|(path, _)| tracker.download(path));
        (page, picture.unwrap_or_default())
    });
    let is_serving = base.is_some_and(|base| {
        Client::new(&base, &[])
            .attempt("GET", "/healthz", &[], b"")
            .is_some_and(|answer| answer.status == 200)
    });
    let _ = kill_process(Pid::from_child(&demo), Signal::TERM);
    let status = wait_for("the demo to end", 20, || demo.try_wait().expect("a child"));
    assert!(is_serving, "the server of the demo does not answer:\n{printed}");
    for word in ["totalDefects", "/issues/", "trigger"] {
        assert!(printed.contains(word), "{word} is missing in:\n{printed}");
    }
    let page = page.unwrap_or_default();
    assert!(page.contains("/issues/") && page.contains("totalDefects"), "{printed}\n{page}");
    let (issue, picture) = issue.unwrap_or_default();
    for part in [
        "Expected total 42.00 EUR, but the page showed 42.50 EUR", // the assertion
        "<h2>End of the robot&#39;s log</h2>",
        "robot-log.txt",
        "page.html",
        "/SHOP/testexecution-results/",
        "<dt>Test case<dd>SHOP:",
        "<dt>Robot<dd>Robot-0",
        "<h2>Comment 1</h2>",
    ] {
        assert!(issue.contains(part), "{part} is not in {issue}");
    }
    assert!(!issue.contains("What is missing"), "{issue}");
    assert!(!issue.contains("<h2>Comment 2</h2>"), "{issue}");
    assert!(picture.starts_with(b"\x89PNG"), "{} bytes", picture.len());
    assert_eq!(status.code(), Some(0));
}
