//! The server syncs its database to disk before it sends a write to the tracker, and before it
//! answers.

use std::collections::HashSet;

use jackfield_tests::{Reply, ScriptedServer, Setup, failed_test};
use serde_json::json;

/// A system call whose order matters. A sync is ordered by the moment when its system call returns,
/// and any other step by the moment when its system call begins.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// The server wrote to the write-ahead log, but not the created defect.
    LogWritten,
    /// The server wrote the created defect to the write-ahead log.
    OutcomeWritten,
    LogSynced,
    WriteSent,
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
        .start_with_guest("good", json!({"url": tracker.url()}));
    host.create(&connection, &failed_test()).assert_status(200);
    assert!(host.stop().success());

    let trace = std::fs::read_to_string(&trace).expect("the file of strace");
    let steps = parse_trace(&trace);
    let sent =
        steps.iter().position(|step| *step == Step::WriteSent).expect("the write to the tracker");
    let answered = steps[sent..].iter().position(|step| *step == Step::Answered);
    let answered = sent + answered.expect("the answer");
    // Before the write, everything must be on disk. Before the answer, the outcome must be on disk,
    // but not the event, which may be written to the log after the outcome.
    for (message, stored, end) in
        [("the write", Step::LogWritten, sent), ("the answer", Step::OutcomeWritten, answered)]
    {
        let last = steps[..end].iter().rposition(|step| *step == stored).expect("a log record");
        let synced = steps[last..end].contains(&Step::LogSynced);
        assert!(synced, "{message} was sent before the log was on disk: {:?}", &steps[..=end]);
    }
}

/// Returns the steps in a trace. Each line of the trace begins with the number of a thread.
fn parse_trace(trace: &str) -> Vec<Step> {
    let mut syncing = HashSet::new();
    trace.lines().filter_map(|line| parse_line(line, &mut syncing)).collect()
}

/// `syncing` contains the threads whose sync of the write-ahead log has begun but not ended,
/// because the trace may have lines of other threads in between.
fn parse_line<'t>(line: &'t str, syncing: &mut HashSet<&'t str>) -> Option<Step> {
    let thread = line.split(' ').next().unwrap_or_default();
    let is_sync = line.contains("fdatasync") || line.contains("fsync");
    if line.contains("pwrite64(") && line.contains("-wal>") {
        Some(if line.contains(r#"{\"key\":\"#) { Step::OutcomeWritten } else { Step::LogWritten })
    } else if is_sync && line.contains("<unfinished") {
        if line.contains("-wal>") {
            syncing.insert(thread);
        }
        None
    } else if is_sync && line.trim_end().ends_with("= 0") {
        let is_log_sync = line.contains("-wal>") || syncing.remove(thread);
        is_log_sync.then_some(Step::LogSynced)
    } else if line.contains("\"POST /issues.json") {
        Some(Step::WriteSent)
    } else if line.contains("\"HTTP/1.1 200 OK") {
        Some(Step::Answered)
    } else {
        None
    }
}
