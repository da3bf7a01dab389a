//! Standbys: an asynchronous one is reported, a synchronous one confirms each change, and a server
//! uses a standby only once it was promoted.

use jackfield_tests::{Guest, Reply, ScriptedServer, failed_test, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{Home, config, documented, setup};

pub(super) const SYNCHRONOUS: &str = "SELECT sync_state FROM pg_stat_replication";
pub(super) const SHORT: &str = "lease_ms = 2000\nsweep_ms = 500\nstore_statement_s = 2\nstore_connect_s = 2\n\
                     [create]\nin_doubt_s = 2\n[limits]\nrun_ms = 4000\ncreate_answer_ms = 3000";
/// Number of clicks of each thread, around the failover.
const CLICKS: usize = 4;

#[test]
fn doctor_warns_of_an_asynchronous_standby_and_of_commits_that_wait() {
    let primary = documented();
    let home = Home::new(&config("localhost", primary.port(), ""));
    let diagnosis = || home.diagnosis("database standbys");
    assert_eq!(diagnosis(), None);
    let standby = primary.standby();
    let (status, found) = diagnosis().expect("a finding");
    assert!(status == "warn" && found.contains("set synchronous_standby_names"), "{found}");
    primary.set("synchronous_standby_names", "*");
    primary.await_row("a synchronous standby", SYNCHRONOUS, "sync");
    let (status, found) = diagnosis().expect("a finding");
    assert!(status == "warn" && found.contains("GRANT pg_read_all_stats TO app"), "{found}");
    primary.query("GRANT pg_read_all_stats TO app");
    assert_eq!(diagnosis(), None);

    let set = |names: &str, state: &str| {
        primary.set("synchronous_standby_names", names);
        primary.await_row("the state of the standby", SYNCHRONOUS, state);
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
    let primary = documented();
    let standby = primary.standby();
    let home = Home::new(&config("localhost", standby.port(), ""));
    let says = ["standby", "let `store` name the primary"];
    home.assert_refused(&says);
    setup(&config("localhost", primary.port(), "")).start().stop();
    let sql = "SELECT count(*) FROM pg_database WHERE datname = 'app'";
    standby.await_row("the database at the standby", sql, "1");
    home.assert_refused(&says);
}

#[test]
fn no_write_is_sent_before_the_synchronous_standby_has_its_journal() {
    let primary = documented();
    // The servers do not depend on this default.
    primary.query("ALTER DATABASE app SET synchronous_commit = off");
    let standby = primary.standby();
    primary.set("synchronous_standby_names", "*");
    primary.await_row("a synchronous standby", SYNCHRONOUS, "sync");
    let tracker = ScriptedServer::start(|exchange| match exchange.request.is_post() {
        true => Reply::created(42),
        false => Reply::json(200, r#"{"issues":[]}"#),
    });
    let setup = setup(&config("localhost", primary.port(), "")).config(SHORT).guests(["good"]);
    let host = setup.start();
    let connection = host.connect("qa", "good", json!({"url": tracker.url()}), json!({}));
    let receiver = standby.query("SELECT pid FROM pg_stat_wal_receiver").remove(0);
    let receiver = Pid::from_raw(receiver.parse().expect("a number")).expect("a process");
    kill_process(receiver, Signal::STOP).expect("it is suspended");
    let test = failed_test();
    let refused = host.create(&connection, &test);
    kill_process(receiver, Signal::CONT).expect("it continues");
    assert!([503, 504].contains(&refused.status), "{refused:?}");
    assert_eq!(tracker.posts(), 0, "a write was sent that the standby does not know");
    let defect = host.create_until_final(&connection, &test).expect("the defect");
    assert_eq!((&defect["id"], tracker.posts()), (&json!("42"), 1));
}

#[test]
fn after_a_failover_to_a_synchronous_standby_each_click_has_its_defect() {
    let primary = documented();
    let mut standby = primary.standby();
    primary.set("synchronous_standby_names", "*");
    primary.await_row("a synchronous standby", SYNCHRONOUS, "sync");
    let setup = setup(&config("localhost", primary.port(), "")).config(SHORT);
    let fixture = setup.start_with_redmine("redmine", &Guest::example("redmine"), json!({}));
    fixture.click_while(CLICKS, |clicks| {
        fixture.await_posts(clicks / 2);
        primary.kill();
        // The address leads to the standby, which only reads.
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
