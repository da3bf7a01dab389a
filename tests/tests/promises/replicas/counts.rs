//! Counts of several servers on one PostgreSQL: one of them asks the tracker, and the others answer
//! with what it was told.

use std::time::{Duration, Instant};

use jackfield_tests::{Cable, Postgres, Reply, TestHost, wait_for};
use serde_json::json;

use super::{CHANGED_S, RARE_SWEEPS_MS, connect, only_number, tracker};

/// A server that waits for the counts of another one asks again after a lease by itself.
const LEASE: Duration = Duration::from_secs(10);

/// How often a server has asked the tracker for counts.
fn counted(host: &TestHost) -> f64 {
    let page = host.metrics(host.admin_token());
    page.sum("jackfield_runs_total", &[("call", "count")]).unwrap_or_default()
}

#[test]
fn one_server_asks_the_tracker_for_counts_and_the_others_answer_with_them() {
    let postgres = Postgres::start();
    let start = |fresh_ms: u32| {
        let config = format!(
            "kpi_fresh_ms = {fresh_ms}\nlease_ms = {}\nsweep_ms = {RARE_SWEEPS_MS}\n[limits]\n\
             run_ms = 60000\nkpi_answer_ms = 60000",
            LEASE.as_millis()
        );
        postgres.replica().config(&config).guests(["good"]).start()
    };
    let (a, b) = (start(600_000), start(600_000));
    let tracker = tracker();
    let connection = connect(&a, "good", json!({"url": tracker.url()}));
    b.await_connection("qa");
    let gate = tracker.hold_answers(|request| request.target == "/counts");
    let answers = std::thread::scope(|scope| {
        let kpis = |host| {
            let connection = &connection;
            scope.spawn(move || TestHost::kpis(host, connection, "QA"))
        };
        let lease_until = || only_number(&postgres, "SELECT lease_until FROM counts_leases");
        let first = kpis(&a);
        gate.await_held(1);
        let second = kpis(&b);
        let before = lease_until();
        wait_for("the lease of the first server to be renewed", 30, || {
            (lease_until() > before).then_some(())
        });
        assert!(!second.is_finished(), "it did not wait");
        let opened = Instant::now();
        gate.open();
        let answers = [first, second].map(|it| it.join().expect("an answer").expect(200));
        // The renewal came after a third of the lease, so it would ask again after two thirds.
        assert!(opened.elapsed() < LEASE / 2, "{:?}", opened.elapsed());
        answers.map(|answer| answer["openDefects"].clone())
    });
    assert_eq!(answers, [json!(5), json!(5)]);
    assert_eq!((counted(&a), counted(&b)), (1.0, 0.0));

    // The counts of this server are fresh for a second only, so it asks the tracker. The others are
    // told the new counts and do not ask.
    let c = start(1_000);
    tracker.set_script(|_| Reply::new(200, "6"));
    wait_for("the new counts", 30, || {
        let answer = c.kpis(&connection, "QA").expect(200);
        (answer["openDefects"] == 6).then_some(())
    });
    for host in [&a, &b] {
        wait_for("the new counts at the others", CHANGED_S, || {
            (host.kpis(&connection, "QA").expect(200)["openDefects"] == 6).then_some(())
        });
    }
    assert_eq!((counted(&a), counted(&b)), (1.0, 0.0), "another server asked the tracker, too");
}

#[test]
fn counts_that_arrive_while_the_database_is_away_are_answered_and_stored_later() {
    let postgres = Postgres::start();
    let cable = Cable::to(postgres.port());
    let config = "store_statement_s = 20\nstore_connect_s = 2\n[limits]\nkpi_answer_ms = 8000";
    let a = postgres.replica_at(cable.port()).config(config).guests(["good"]).start();
    let tracker = tracker();
    let connection = connect(&a, "good", json!({"url": tracker.url()}));
    let gate = tracker.hold_answers(|request| request.target == "/counts");
    let counted = std::thread::scope(|scope| {
        let kpis = scope.spawn(|| a.kpis(&connection, "QA"));
        gate.await_held(1);
        cable.cut();
        gate.open();
        kpis.join().expect("an answer").expect(200)
    });
    assert_eq!(counted["openDefects"], 5);
    assert_eq!(postgres.query("SELECT project FROM counts"), [""; 0]);
    cable.restore();
    wait_for("the counts in the database", 60, || {
        (postgres.query("SELECT project FROM counts") == ["QA"]).then_some(())
    });
}
