//! An old primary that goes on after a failover, and commits that its synchronous standby does not
//! have although PostgreSQL reports success.

use std::thread;

use jackfield_tests::{Guest, Postgres, RedmineFixture, failed_test, wait_for};
use serde_json::{Value, json};

use super::standby::{
    SHORT_WAITS, ServerAtPrimary, assert_refused, while_suspended, with_synchronous_standby,
};
use super::{config, setup};

/// The sessions that wait for a synchronous standby. PostgreSQL ends the wait of those that are
/// cancelled, reports their commits as successful, and adds a warning.
const WAITING: &str = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'";

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
    let server = ServerAtPrimary::start(&primary);
    for (writes, function) in ["pg_cancel_backend", "pg_terminate_backend"].iter().enumerate() {
        println!("{function}");
        let test = failed_test();
        let click = || server.host.create(&server.connection, &test);
        let (answer, ended) =
            while_suspended(&standby, || while_waits_are_ended(&primary, function, click));
        assert_refused(&answer);
        assert_ne!(ended, 0, "no commit has waited");
        server.assert_writes(writes);
        server.assert_created_once(&test, writes + 1);
    }
}

/// A server that still reaches the old primary, and one at the new primary.
#[test]
fn no_server_at_an_old_primary_that_goes_on_sends_a_write() {
    let (primary, standby) = with_synchronous_standby();
    let at =
        |postgres: &Postgres| setup(&config("localhost", postgres.port(), "")).config(SHORT_WAITS);
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
