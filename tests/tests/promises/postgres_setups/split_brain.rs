//! Tests two dangers of a failover. The old primary may continue to run. PostgreSQL may report a
//! commit as successful although the synchronous standby has not received it.

use std::thread;

use jackfield_tests::{Guest, Postgres, RedmineFixture, failed_test, wait_for};
use serde_json::{Value, json};

use super::standby::{
    SHORT_WAITS, ServerAtPrimary, assert_refused, start_with_synchronous_standby,
    while_standby_is_suspended,
};
use super::{config, setup};

/// The part of a query that selects the sessions whose commit waits for a synchronous standby. If
/// the wait is cancelled, PostgreSQL reports the commit as successful, and adds a warning.
const WAITING_SESSIONS_SQL: &str = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'";

/// While `work` runs, ends each wait for the standby with the SQL function `function`. Returns the
/// result of `work`, and how often the function was called.
fn while_ending_waits<T: Send>(
    primary: &Postgres,
    function: &str,
    work: impl FnOnce() -> T + Send,
) -> (T, usize) {
    thread::scope(|scope| {
        let work = scope.spawn(work);
        let mut ended_count = 0;
        while !work.is_finished() {
            ended_count +=
                primary.query(&format!("SELECT {function}(pid) {WAITING_SESSIONS_SQL}")).len();
        }
        (work.join().expect("no panic"), ended_count)
    })
}

#[test]
fn a_commit_whose_wait_for_the_standby_was_ended_does_not_count_as_stored() {
    let (primary, standby) = start_with_synchronous_standby();
    let server = ServerAtPrimary::start(&primary);
    for (writes, function) in ["pg_cancel_backend", "pg_terminate_backend"].iter().enumerate() {
        println!("{function}");
        let test = failed_test();
        let click = || server.host.create(&server.connection, &test);
        let (answer, ended_count) =
            while_standby_is_suspended(&standby, || while_ending_waits(&primary, function, click));
        assert_refused(&answer);
        assert_ne!(ended_count, 0, "no commit has waited");
        server.assert_write_count(writes);
        server.assert_created_once(&test, writes + 1);
    }
}

/// After a failover, one server still uses the old primary, and another server uses the new
/// primary.
#[test]
fn no_server_that_uses_the_old_primary_sends_a_write() {
    let (primary, standby) = start_with_synchronous_standby();
    let setup_at =
        |postgres: &Postgres| setup(&config("localhost", postgres.port(), "")).config(SHORT_WAITS);
    let redmine = Guest::example("redmine");
    let fixture = setup_at(&primary).start_with_redmine("redmine", &redmine, json!({}));
    let RedmineFixture { host: old, project, proxy, connection } = &fixture;
    let stored = failed_test();
    let id = fixture.create_until_final(&stored).expect("the defect")["id"].clone();

    // The failover happens while the proxy holds a write.
    let in_flight = failed_test();
    let gate = proxy.hold_requests(jackfield_tests::Request::is_post);
    let click = old.create_in_background(connection, &in_flight);
    gate.await_held(1);
    standby.promote();
    gate.open();
    assert_refused(&click.answer());
    wait_for("the server to refuse the old primary", 20, || {
        (old.anonymous().get("/readyz").status == 503).then_some(())
    });

    let tests = [failed_test(), failed_test()];
    let click = |test: &Value| assert_refused(&old.create(connection, test));
    tests.iter().for_each(click);
    // The server still refuses the clicks if a person ends the waits of commits for the standby.
    let (_, ended_count) = while_ending_waits(&primary, "pg_cancel_backend", || {
        tests.iter().for_each(click);
    });
    assert_ne!(ended_count, 0, "no commit has waited");
    let issues = |test: &Value| project.issues_of(test).len();
    assert_eq!(tests.each_ref().map(issues), [0, 0], "the old primary was used");

    let new = setup_at(&standby).plugin("redmine", &redmine).start();
    for test in tests.iter().chain([&in_flight]) {
        let defect = new.create_until_final(connection, test).expect("the defect");
        // The old server may still search in the tracker, and then find the defect there.
        let answer = old.create(connection, test);
        match answer.status {
            200 => assert_eq!(answer.json()["id"], defect["id"]),
            _ => assert_refused(&answer),
        }
        assert_eq!(issues(test), 1);
    }
    assert_eq!(new.create_until_final(connection, &stored).expect("the defect")["id"], id);
}
