//! Several servers share a PostgreSQL database. One server requests the counts of defects from the
//! tracker, and the other servers answer with the same counts.

use std::time::{Duration, Instant};

use jackfield_tests::{CuttableRelay, Postgres, Reply, TestHost, wait_for};
use serde_json::json;

use super::{CHANGE_MAX_S, RARE_SWEEPS_MS, add_connection, only_number, start_tracker};

/// The configured duration of a lease. A server that waits for the counts of another server tries
/// again to get the lease after this time, or as soon as a notification reports the counts.
const LEASE: Duration = Duration::from_secs(10);

fn runs_of_count(host: &TestHost) -> f64 {
    let page = host.metrics(host.admin_token());
    page.sum("jackfield_runs_total", &[("call", "count")]).unwrap_or_default()
}

#[test]
fn one_server_requests_counts_from_the_tracker_and_the_others_answer_with_the_same_counts() {
    let postgres = Postgres::start();
    let start = |fresh_ms: u32| {
        let config = format!(
            "kpi_fresh_ms = {fresh_ms}\nlease_ms = {}\nsweep_ms = {RARE_SWEEPS_MS}\n[limits]\n\
             run_ms = 60000\nkpi_answer_ms = 60000",
            LEASE.as_millis()
        );
        postgres.server_setup().config(&config).guests(["good"]).start()
    };
    let (a, b) = (start(600_000), start(600_000));
    let tracker = start_tracker();
    let connection = add_connection(&a, "good", json!({"url": tracker.url()}));
    b.await_connection("qa");
    let gate = tracker.hold_answers(|request| request.target == "/counts");
    let answers = std::thread::scope(|scope| {
        let request_kpis = |host| {
            let connection = &connection;
            scope.spawn(move || TestHost::kpis(host, connection, "QA"))
        };
        let lease_until = || only_number(&postgres, "SELECT lease_until FROM counts_leases");
        let first = request_kpis(&a);
        gate.await_held(1);
        let second = request_kpis(&b);
        let first_lease_until = lease_until();
        wait_for("the lease of the first server to be renewed", 30, || {
            (lease_until() > first_lease_until).then_some(())
        });
        assert!(!second.is_finished(), "the second request did not wait");
        let opened = Instant::now();
        gate.open();
        let answers = [first, second].map(|it| it.join().expect("an answer").expect(200));
        // The first server has just renewed its lease, after a third of the duration. So without a
        // notification, the second server would wait two thirds of the duration longer.
        assert!(opened.elapsed() < LEASE / 2, "{:?}", opened.elapsed());
        answers.map(|answer| answer["openDefects"].clone())
    });
    assert_eq!(answers, [json!(5), json!(5)]);
    assert_eq!((runs_of_count(&a), runs_of_count(&b)), (1.0, 0.0));

    // At this third server, counts are fresh for one second only. So this server requests new
    // counts from the tracker. The other two servers get the new counts without such a request.
    let c = start(1_000);
    tracker.set_script(|_| Reply::new(200, "6"));
    wait_for("the new counts", 30, || {
        let answer = c.kpis(&connection, "QA").expect(200);
        (answer["openDefects"] == 6).then_some(())
    });
    for host in [&a, &b] {
        wait_for("the new counts at the other servers", CHANGE_MAX_S, || {
            (host.kpis(&connection, "QA").expect(200)["openDefects"] == 6).then_some(())
        });
    }
    assert_eq!(
        (runs_of_count(&a), runs_of_count(&b)),
        (1.0, 0.0),
        "another server requested counts from the tracker, too"
    );
}

#[test]
fn counts_that_arrive_during_a_database_outage_are_answered_and_stored_later() {
    let postgres = Postgres::start();
    let relay = CuttableRelay::to_port(postgres.port());
    let config = "store_statement_s = 20\nstore_connect_s = 2\n[limits]\nkpi_answer_ms = 8000";
    let a = postgres.server_setup_at(relay.port()).config(config).guests(["good"]).start();
    let tracker = start_tracker();
    let connection = add_connection(&a, "good", json!({"url": tracker.url()}));
    let gate = tracker.hold_answers(|request| request.target == "/counts");
    let counts = std::thread::scope(|scope| {
        let kpis = scope.spawn(|| a.kpis(&connection, "QA"));
        gate.await_held(1);
        relay.cut();
        gate.open();
        kpis.join().expect("an answer").expect(200)
    });
    assert_eq!(counts["openDefects"], 5);
    assert_eq!(postgres.query("SELECT project FROM counts"), [""; 0]);
    relay.restore();
    wait_for("the counts in the database", 60, || {
        (postgres.query("SELECT project FROM counts") == ["QA"]).then_some(())
    });
}
