//! Tests standbys. `doctor` reports an asynchronous standby. A synchronous standby must confirm
//! each change. A server uses a standby only after the standby was promoted.

use jackfield_tests::{
    Answer, Connection, Guest, Postgres, Reply, ScriptedServer, TestHost, failed_test, wait_for,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{CommandFolder, config, setup, start_postgres};

/// Returns for each connected standby whether it must confirm commits, such as `sync` or `async`.
const SYNC_STATE_SQL: &str = "SELECT sync_state FROM pg_stat_replication";
/// Shorter waits than the defaults, so that the tests end sooner.
pub(super) const SHORT_WAITS: &str = "lease_ms = 2000\nsweep_ms = 500\nstore_statement_s = 2\nstore_connect_s = 2\n\
                     [create]\nin_doubt_s = 2\n[limits]\nrun_ms = 4000\ncreate_answer_ms = 3000";
/// For how many failed tests each thread sends clicks before, during and after the failover.
const CLICKS_PER_THREAD: usize = 4;

/// Starts a primary, and a standby that must confirm each commit.
pub(super) fn start_with_synchronous_standby() -> (Postgres, Postgres) {
    let primary = start_postgres();
    let standby = primary.standby();
    primary.set("synchronous_standby_names", "*");
    primary.await_row("a synchronous standby", SYNC_STATE_SQL, "sync");
    (primary, standby)
}

/// Runs `work` while the standby receives no changes, so that commits wait for the standby.
pub(super) fn while_standby_is_suspended<T>(standby: &Postgres, work: impl FnOnce() -> T) -> T {
    let receiver = standby.query("SELECT pid FROM pg_stat_wal_receiver").remove(0);
    let receiver = Pid::from_raw(receiver.parse().expect("a number")).expect("a process");
    kill_process(receiver, Signal::STOP).expect("the process is suspended");
    let done = work();
    kill_process(receiver, Signal::CONT).expect("the process continues");
    done
}

#[track_caller]
pub(super) fn assert_refused(answer: &Answer) {
    assert!([503, 504].contains(&answer.status), "{answer:?}");
}

/// A server that uses the primary, and a tracker whose search finds nothing.
pub(super) struct ServerAtPrimary {
    tracker: ScriptedServer,
    pub(super) host: TestHost,
    pub(super) connection: Connection,
}

impl ServerAtPrimary {
    pub(super) fn start(primary: &Postgres) -> Self {
        let tracker = ScriptedServer::start(|exchange| match exchange.request.is_post() {
            true => Reply::created(42),
            false => Reply::json(200, r#"{"issues":[]}"#),
        });
        let setup = setup(&config("localhost", primary.port(), "")).config(SHORT_WAITS);
        let host = setup.guests(["good"]).start();
        let connection =
            host.add_connection("qa", "good", json!({"url": tracker.url()}), json!({}));
        Self { tracker, host, connection }
    }

    #[track_caller]
    pub(super) fn assert_write_count(&self, count: usize) {
        assert_eq!(self.tracker.posts(), count, "the tracker received a wrong number of writes");
    }

    /// `writes` includes the writes of earlier clicks.
    #[track_caller]
    pub(super) fn assert_created_once(&self, test: &Value, writes: usize) {
        let defect = self.host.create_until_final(&self.connection, test).expect("the defect");
        assert_eq!((&defect["id"], self.tracker.posts()), (&json!("42"), writes));
    }
}

#[test]
fn doctor_warns_of_an_asynchronous_standby_and_of_commits_that_wait() {
    let primary = start_postgres();
    let home = CommandFolder::new(&config("localhost", primary.port(), ""));
    let diagnosis = || home.diagnose("database standbys");
    assert_eq!(diagnosis(), None);
    let standby = primary.standby();
    let (status, found) = diagnosis().expect("a finding");
    assert!(status == "warn" && found.contains("set synchronous_standby_names"), "{found}");
    primary.set("synchronous_standby_names", "*");
    primary.await_row("a synchronous standby", SYNC_STATE_SQL, "sync");
    let (status, found) = diagnosis().expect("a finding");
    assert!(status == "warn" && found.contains("GRANT pg_read_all_stats TO app"), "{found}");
    primary.query("GRANT pg_read_all_stats TO app");
    assert_eq!(diagnosis(), None);

    let set = |names: &str, state: &str| {
        primary.set("synchronous_standby_names", names);
        primary.await_row("the state of the standby", SYNC_STATE_SQL, state);
    };
    for (names, state) in [
        ("another", "async"),
        ("ANY 2 (walreceiver, another)", "quorum"),
        ("2(*)", "sync"),
        ("first 2 (*)", "sync"),
    ] {
        set(names, state);
        let (status, found) = diagnosis().expect("a finding");
        assert_eq!(status, "fail", "{found}");
        for words in [names, "(walreceiver)", "each commit waits", "application_name"] {
            assert!(found.contains(words), "no {words} in: {found}");
        }
    }
    for (names, state) in [("ANY 1 (another, walreceiver)", "quorum"), ("WALRECEIVER", "sync")] {
        set(names, state);
        assert_eq!(diagnosis(), None, "{names}");
    }

    standby.kill();
    let connected = "SELECT count(*) FROM pg_stat_replication";
    primary.await_row("the end of the standby", connected, "0");
    let (status, found) = diagnosis().expect("a finding");
    assert!(status == "fail" && found.contains("no standby is connected"), "{found}");
}

#[test]
fn a_server_refuses_a_standby_whether_its_schema_exists_or_not() {
    let primary = start_postgres();
    let standby = primary.standby();
    let home = CommandFolder::new(&config("localhost", standby.port(), ""));
    let words = ["standby", "let `store` name the primary"];
    home.assert_refused(&words);
    setup(&config("localhost", primary.port(), "")).start().stop();
    let sql = "SELECT count(*) FROM pg_database WHERE datname = 'app'";
    standby.await_row("the database at the standby", sql, "1");
    home.assert_refused(&words);
}

#[test]
fn no_write_is_sent_before_the_synchronous_standby_has_stored_its_journal_row() {
    let (primary, standby) = start_with_synchronous_standby();
    // The servers must not depend on the default of the database, which this statement weakens.
    primary.query("ALTER DATABASE app SET synchronous_commit = off");
    let server = ServerAtPrimary::start(&primary);
    let test = failed_test();
    let answer =
        while_standby_is_suspended(&standby, || server.host.create(&server.connection, &test));
    assert_refused(&answer);
    server.assert_write_count(0);
    server.assert_created_once(&test, 1);
}

#[test]
fn each_click_gets_its_defect_after_a_failover_to_a_synchronous_standby() {
    let (primary, mut standby) = start_with_synchronous_standby();
    let setup = setup(&config("localhost", primary.port(), "")).config(SHORT_WAITS);
    let fixture = setup.start_with_redmine("redmine", &Guest::example("redmine"), json!({}));
    fixture.click_while(CLICKS_PER_THREAD, |clicks| {
        fixture.await_posts(clicks / 2);
        primary.kill();
        // The standby now has the address of the primary, but accepts only reads.
        standby.move_to_port_of(&primary);
        wait_for("the server to refuse the standby", 20, || {
            let answer = fixture.host.anonymous().get("/readyz");
            (answer.status == 503 && answer.body.contains("it is a standby")).then_some(())
        });
        let read = fixture.host.admin().get("/defects");
        assert_eq!(read.status, 503, "the standby was read: {read:?}");
        standby.promote();
    });
}
