//! The server syncs before it sends a write, and before it answers. The test checks the order of
//! the real binary's system calls.

use std::collections::HashSet;

use jackfield_tests::{Reply, ScriptedServer, Setup, failed_test};
use serde_json::json;

/// A finished system call. Syncs count when they return, writes when they begin.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// A write to the database's log.
    Log,
    /// A write to the database's log that contains the created defect.
    Outcome,
    /// The log was synced to disk.
    Synced,
    /// The write to the tracker.
    Sent,
    /// The answer to the webhook.
    Answered,
}

#[test]
fn the_database_is_synced_before_a_write_is_sent_and_before_the_answer() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let trace = folder.path().join("trace").display().to_string();
    let calls = "trace=pwrite64,write,writev,sendto,sendmsg,fdatasync,fsync";
    let tracker = ScriptedServer::start(|_| Reply::created(1));
    let (mut host, connection) = Setup::new()
        .run_under(&["strace", "-D", "-f", "-y", "-s", "4096", "-e", calls, "-o", &trace])
        .start_with("good", json!({"url": tracker.url()}));
    host.create(&connection, &failed_test()).assert_status(200);
    assert!(host.stop().success());

    let trace = std::fs::read_to_string(&trace).expect("the file of strace");
    let steps = steps(&trace);
    let sent = steps.iter().position(|step| *step == Step::Sent).expect("the write to the tracker");
    let answered = steps[sent..].iter().position(|step| *step == Step::Answered);
    let answered = sent + answered.expect("the answer");
    // Before the write, everything must be on disk. Before the answer, the outcome must be on disk.
    // The event may be written to the database's log meanwhile, and is synced later.
    for (what, stored, end) in
        [("the write", Step::Log, sent), ("the answer", Step::Outcome, answered)]
    {
        let last = steps[..end].iter().rposition(|step| *step == stored).expect("a log record");
        let synced = steps[last..end].contains(&Step::Synced);
        assert!(synced, "{what} was sent before the log was on disk: {:?}", &steps[..=end]);
    }
}

/// The steps in a trace. Each line begins with the number of its thread.
fn steps(trace: &str) -> Vec<Step> {
    let mut syncing = HashSet::new();
    trace.lines().filter_map(|line| step(line, &mut syncing)).collect()
}

/// The step in a line of the trace, or `None` if the line is not a step. `syncing` contains the
/// threads whose sync of the log has begun but not ended: the trace may have lines of other threads
/// in between.
fn step<'t>(line: &'t str, syncing: &mut HashSet<&'t str>) -> Option<Step> {
    let thread = line.split(' ').next().unwrap_or_default();
    let is_sync = line.contains("fdatasync") || line.contains("fsync");
    if line.contains("pwrite64(") && line.contains("-wal>") {
        Some(if line.contains(r#"{\"key\":\"#) { Step::Outcome } else { Step::Log })
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
