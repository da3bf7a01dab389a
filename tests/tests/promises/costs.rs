//! The costs of events, as counts that do not depend on the speed of the machine. If a change needs
//! a higher count, the commit of this change raises the count here.

use std::fs;

use jackfield_tests::{Answer, Connection, Setup, TestHost, failed_test};
use serde_json::json;

/// The number of requests whose cost is measured.
const REQUESTS: usize = 50;

/// Counts how often a server syncs the write-ahead log of its database while it answers these
/// requests and stops.
fn syncs(requests: impl Fn(&TestHost, &Connection)) -> usize {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let trace = folder.path().join("trace").display().to_string();
    let strace = ["strace", "-D", "-f", "-y", "-e", "trace=fdatasync,fsync", "-o", &trace];
    let setup = Setup::new().run_under(&strace);
    let (mut host, connection) = setup.start_with("instant", json!({}));
    requests(&host, &connection);
    assert!(host.stop().success());
    let trace = fs::read_to_string(&trace).expect("the file of strace");
    trace.lines().filter(|line| line.contains("-wal>")).count()
}

fn create(host: &TestHost, connection: &Connection) -> Answer {
    let answer = host.create(connection, &failed_test());
    answer.assert_status(200);
    answer
}

#[test]
fn a_create_without_a_write_syncs_the_database_once_and_a_repeat_never() {
    let one = syncs(|host, connection| drop(create(host, connection)));
    let creates = syncs(|host, connection| {
        for _ in 0..=REQUESTS {
            create(host, connection);
        }
    });
    assert_eq!(
        creates - one,
        REQUESTS,
        "a create must sync only its outcome, not its claim or its event"
    );
    let repeats = syncs(|host, connection| {
        let test = failed_test();
        for _ in 0..=REQUESTS {
            host.create(connection, &test).assert_status(200);
        }
    });
    assert_eq!(repeats, one);
}
