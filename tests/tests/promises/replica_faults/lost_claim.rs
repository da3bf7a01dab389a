//! A crash of PostgreSQL while a server has just taken a lease: no other server gets the same
//! fence.

use std::time::{Duration, Instant};

use jackfield_tests::{Gate, Reply, failed_test, run_in_own_network, wait_for};

use super::Times;
use super::cluster::{Cluster, DATABASE, Replica, TRACKER};

#[test]
fn a_crash_of_the_database_gives_no_fence_twice() {
    let name = "replica_faults::lost_claim::a_crash_of_the_database_gives_no_fence_twice";
    if !run_in_own_network(name, &[TRACKER, DATABASE]) {
        return;
    }
    let cluster = Cluster::start(&Times::LONG.config());
    // What is not written at once is written after seconds: the crash comes before.
    cluster.postgres.query("ALTER SYSTEM SET wal_writer_delay = '10s'");
    cluster.postgres.query("SELECT pg_reload_conf()");
    let [first, second, _] = &cluster.replicas[..] else { panic!("three servers") };
    let (connection, proxy) = (&cluster.connection, &cluster.proxy);

    let test = failed_test();
    let row = || cluster.rows(std::slice::from_ref(&test)).remove(0);
    proxy.set_script(|_| Reply::reset());
    first.host.create(connection, &test).assert_problem(503, "tracker-unavailable");
    let failed = row();
    assert_eq!(failed.state, "failed");

    let (reads, writes) = (Gate::default(), Gate::default());
    let (held_reads, held_writes, address) = (reads.clone(), writes.clone(), first.address());
    proxy.set_script(move |exchange| {
        match exchange.client == address {
            true => held_reads.hold(),
            false if exchange.request.is_post() => held_writes.hold(),
            false => {}
        }
        exchange.pass()
    });
    let early = first.host.create_in_background(connection, &test);
    reads.await_held(1);
    cluster.postgres.kill();
    cluster.postgres.start_again();
    cluster.replicas.iter().for_each(Replica::await_ready);

    // The second server either waits for the first, or has a lease with another fence.
    let late = second.host.create_in_background(connection, &test);
    let deadline = Instant::now() + Duration::from_secs(3);
    wait_for("a lease of the second server, or time enough for it", 6, || {
        (writes.held() > 0 || Instant::now() >= deadline).then_some(())
    });
    println!("the row before the crash: {failed:?}, after it: {:?}", row());
    reads.open();
    let answer = early.answer();
    writes.open();
    println!("{answer:?}, {:?}", late.answer());
    let issues = cluster.project.issues_of(&test);
    assert_eq!(issues.len(), 1, "both servers had the fence of the other");
}
