//! An old primary that goes on after a failover, and commits that its synchronous standby does not
//! have although PostgreSQL reports success.

use std::thread;

use jackfield_tests::{
    Answer, Guest, Postgres, RedmineFixture, Reply, ScriptedServer, failed_test, wait_for,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::standby::{SHORT, SYNCHRONOUS};
use super::{config, documented, setup};

/// The sessions that wait for a synchronous standby. PostgreSQL ends the wait of those that are
/// cancelled, reports their commits as successful, and adds a warning.
const WAITING: &str = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'";

fn with_synchronous_standby() -> (Postgres, Postgres) {
    let primary = documented();
    let standby = primary.standby();
    primary.set("synchronous_standby_names", "*");
    primary.await_row("a synchronous standby", SYNCHRONOUS, "sync");
    (primary, standby)
}

/// Ends each wait for the standby by this function while `work` runs. Returns its result, and the
/// number of waits.
fn while_waits_are_ended<T: Send>(
    primary: &Postgres,
    function: &str,
    work: impl FnOnce() -> T + Send,
) -> (T, usize) {
    thread::scope(|scope| {
        let work = scope.spawn(work);
        let mut ended = 0;
        while !work.is_finished() {
            ended += primary.query(&format!("SELECT {function}(pid) {WAITING}")).len();
        }
        (work.join().expect("no panic"), ended)
    })
}

#[test]
fn a_commit_whose_wait_for_the_standby_is_ended_is_not_taken_as_stored() {
    let (primary, standby) = with_synchronous_standby();
    let tracker = ScriptedServer::start(|exchange| match exchange.request.is_post() {
        true => Reply::created(42),
        false => Reply::json(200, r#"{"issues":[]}"#),
    });
    let setup = setup(&config("localhost", primary.port(), "")).config(SHORT).guests(["good"]);
    let host = setup.start();
    let connection = host.connect("qa", "good", json!({"url": tracker.url()}), json!({}));
    let receiver = standby.query("SELECT pid FROM pg_stat_wal_receiver").remove(0);
    let receiver = Pid::from_raw(receiver.parse().expect("a number")).expect("a process");
    for (index, function) in ["pg_cancel_backend", "pg_terminate_backend"].iter().enumerate() {
        let test = failed_test();
        kill_process(receiver, Signal::STOP).expect("it is suspended");
        let (refused, ended) =
            while_waits_are_ended(&primary, function, || host.create(&connection, &test));
        kill_process(receiver, Signal::CONT).expect("it continues");
        assert!([503, 504].contains(&refused.status), "{function}: {refused:?}");
        assert_ne!(ended, 0, "{function}: no commit has waited");
        assert_eq!(tracker.posts(), index, "{function}: the standby does not know this write");
        let defect = host.create_until_final(&connection, &test).expect("the defect");
        assert_eq!((&defect["id"], tracker.posts()), (&json!("42"), index + 1), "{function}");
    }
}

/// A server that still reaches the old primary, and one at the new primary.
#[test]
fn no_server_at_an_old_primary_that_goes_on_sends_a_write() {
    let (primary, standby) = with_synchronous_standby();
    let at = |postgres: &Postgres| setup(&config("localhost", postgres.port(), "")).config(SHORT);
    let redmine = Guest::example("redmine");
    let fixture = at(&primary).start_with_redmine("redmine", &redmine, json!({}));
    let RedmineFixture { host: old, project, proxy, connection } = &fixture;
    let stored = failed_test();
    let id = fixture.create_until_final(&stored).expect("the defect")["id"].clone();

    // The failover comes while a write is on its way.
    let in_flight = failed_test();
    let gate = proxy.hold_requests(jackfield_tests::Request::is_post);
    let click = old.create_in_background(connection, &in_flight);
    gate.await_held(1);
    standby.promote();
    gate.open();
    assert_refused(&click.answer());
    wait_for("the old primary to be no longer used", 20, || {
        (old.anonymous().get("/readyz").status == 503).then_some(())
    });

    let tests = [failed_test(), failed_test()];
    let click = |test: &Value| assert_refused(&old.create(connection, test));
    tests.iter().for_each(click);
    // A person who ends the waits does not change this.
    let (_, ended) = while_waits_are_ended(&primary, "pg_cancel_backend", || {
        tests.iter().for_each(click);
    });
    assert_ne!(ended, 0, "no commit has waited");
    let issues = |test: &Value| project.issues_of(test).len();
    assert_eq!(tests.each_ref().map(issues), [0, 0], "the old primary was used");

    let new = at(&standby).plugin("redmine", &redmine).start();
    for test in tests.iter().chain([&in_flight]) {
        let defect = new.create_until_final(connection, test).expect("the defect");
        // A search reads only the tracker, so it may find the defect.
        let answer = old.create(connection, test);
        match answer.status {
            200 => assert_eq!(answer.json()["id"], defect["id"]),
            _ => assert_refused(&answer),
        }
        assert_eq!(issues(test), 1);
    }
    assert_eq!(new.create_until_final(connection, &stored).expect("the defect")["id"], id);
}

#[track_caller]
fn assert_refused(answer: &Answer) {
    assert!([503, 504].contains(&answer.status), "{answer:?}");
}
