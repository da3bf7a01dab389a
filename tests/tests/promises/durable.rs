//! Sync before send, sync before answer: read off the system calls of the real binary.

use std::collections::HashSet;

use jackfield_tests::{Guest, Peer, Reply, Response, Setup, failed_test};
use serde_json::json;

/// One finished system call, in the order in which they came back (a write: in which it was begun).
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Log,
    Synced,
    Sent,
    Answered,
}

#[test]
fn the_log_is_on_disk_before_the_write_leaves_and_before_the_answer_leaves() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let trace = folder.path().join("trace").display().to_string();
    let calls = "trace=pwrite64,write,writev,sendto,sendmsg,fdatasync,fsync";
    let mut host = Setup::new()
        .under(&["strace", "-D", "-f", "-y", "-s", "48", "-e", calls, "-o", &trace])
        .plugin("good", &Guest::named("good"))
        .start();
    let tracker = Peer::start(|_| Reply::Answer(Response::json(201, r#"{"issue":{"id":1}}"#)));
    let connection = host.connect("qa", "good", json!({"url": tracker.url()}), json!({}));
    let _ = host.create(&connection, &failed_test()).expect(200);
    assert!(host.stop().success());

    let trace = std::fs::read_to_string(&trace).expect("what strace wrote");
    let steps = steps(&trace);
    let sent = steps.iter().position(|step| *step == Step::Sent).expect("the write to the tracker");
    let answered = steps[sent..].iter().position(|step| *step == Step::Answered);
    let answered = sent + answered.expect("the answer");
    for (what, end) in [("the write", sent), ("the answer", answered)] {
        let last = steps[..end].iter().rposition(|step| *step == Step::Log).expect("a log record");
        let synced = steps[last..end].contains(&Step::Synced);
        assert!(synced, "{what} left before the log was on disk: {:?}", &steps[..=end]);
    }
    assert!(
        steps[sent..answered].contains(&Step::Log),
        "the outcome is stored before it is answered"
    );
}

/// What the lines of a trace say, each of which begins with its thread's number.
fn steps(trace: &str) -> Vec<Step> {
    let mut syncing = HashSet::new();
    trace.lines().filter_map(|line| step(line, &mut syncing)).collect()
}

/// `syncing` holds the threads whose sync of the log was interrupted in the trace by another's line.
fn step<'t>(line: &'t str, syncing: &mut HashSet<&'t str>) -> Option<Step> {
    let thread = line.split(' ').next().unwrap_or_default();
    let is_sync = line.contains("fdatasync") || line.contains("fsync");
    if line.contains("pwrite64(") && line.contains("-wal>") {
        Some(Step::Log)
    } else if is_sync && line.contains("<unfinished") {
        if line.contains("-wal>") {
            syncing.insert(thread);
        }
        None
    } else if is_sync && line.trim_end().ends_with("= 0") {
        let of_the_log = line.contains("-wal>") || syncing.remove(thread);
        of_the_log.then_some(Step::Synced)
    } else if line.contains("\"POST /issues.json") {
        Some(Step::Sent)
    } else if line.contains("\"HTTP/1.1 200 OK") {
        Some(Step::Answered)
    } else {
        None
    }
}
