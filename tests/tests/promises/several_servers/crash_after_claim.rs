//! PostgreSQL crashes right after a server has taken a lease. No other server may get the same
//! fence afterwards.

use jackfield_tests::{Guest, Postgres, RedmineConnection, Reply, failed_test, wait_for};
use serde_json::json;

#[test]
fn after_a_crash_of_the_database_no_two_servers_have_the_same_fence() {
    let postgres = Postgres::start();
    // With this setting, PostgreSQL may need 10 s to write a commit that does not wait for the
    // disk. The crash happens earlier, so PostgreSQL would lose such a commit.
    postgres.query("ALTER SYSTEM SET wal_writer_delay = '10s'");
    postgres.query("SELECT pg_reload_conf()");
    wait_for("the setting", 30, || {
        (postgres.query("SHOW wal_writer_delay") == ["10s"]).then_some(())
    });
    let start = || postgres.server_setup().plugin("redmine", &Guest::example("redmine")).start();
    let (a, b) = (start(), start());
    // With a priority in the settings, the connector sends a read before its write.
    let redmine = a.add_redmine_connection("qa", "redmine", json!({"priority": "High"}));
    let RedmineConnection { project, proxy, connection } = redmine;
    b.await_connection("qa");

    let test = failed_test();
    let row = || {
        let sql = "SELECT state, fence, lease_until IS NOT NULL, event_id FROM defects";
        let rows = postgres.query(sql);
        let [only] = &rows[..] else { panic!("{rows:?}") };
        only.clone()
    };
    proxy.set_script(|_| Reply::reset());
    a.create(&connection, &test).assert_problem(503, "tracker-unavailable");
    assert!(row().starts_with("failed|1|f|"), "{}", row());

    proxy.forward_all();
    let gate = proxy.hold_requests(|_| true);
    let first_click = a.create_in_background(&connection, &test);
    gate.await_held(1);
    let leased = row();
    assert!(leased.starts_with("intent|2|t|"), "{leased}");
    postgres.kill();
    postgres.start_again();
    assert_eq!(row(), leased, "the crash lost the lease");

    for host in [&a, &b] {
        host.await_readiness(200);
    }
    let second_click = b.create_in_background(&connection, &test);
    gate.open();
    println!("{:?}, {:?}", first_click.answer(), second_click.answer());
    let defects = [&a, &b].map(|host| host.create_until_final(&connection, &test));
    assert_eq!(defects[0], defects[1]);
    assert_eq!(project.issues_of(&test).len(), 1, "two servers had the same fence");
}
