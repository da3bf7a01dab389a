//! Measures servers that share a PostgreSQL database: the cost of a create with one, two and three
//! servers, and the cost of the database's syncs. All processes run on one machine, so the results
//! do not show the throughput of several machines.

use std::time::Duration;

use jackfield_tests::{Connection, Postgres, Setup, TestHost, wait_for};

use crate::load::{Load, Outcome, RequestKind};
use crate::postgres_wire::{CountingRelay, Counts};
use crate::report::{Figure, Unit};
use crate::rounds::{Effort, rate};
use crate::scaling::MANY_RUNS;
use crate::servers::{add_connection, guest, load};

const SUBJECT: &str = "postgres";
/// Number of concurrent creates at each server, when the cost of a create is measured.
const CONCURRENT: usize = 64;
/// Number of concurrent creates, when the syncs are measured.
const CONCURRENT_SYNCS: usize = 256;

pub(crate) fn run(effort: Effort) -> Vec<Figure> {
    let mut figures: Vec<_> = (1..=3).flat_map(|servers| measure_cost(servers, effort)).collect();
    figures.extend(compare_syncs(effort));
    figures
}

/// Measures the CPU time, statements and round trips of a create with this many servers.
fn measure_cost(servers: usize, effort: Effort) -> Vec<Figure> {
    let postgres = Postgres::start();
    let relay = CountingRelay::to(postgres.port());
    let hosts: Vec<_> =
        (0..servers).map(|_| server_setup(&postgres, relay.port()).start()).collect();
    let connections = create_connections(&hosts);
    let loads: Vec<_> =
        hosts.iter().map(|it| load(it, &connections, RequestKind::Create)).collect();
    load_all(&loads, Duration::from_secs(1));
    let mut rounds: [Vec<f64>; 4] = Default::default();
    for _ in 0..effort.rounds {
        let before = Costs::now(&hosts, &postgres, &relay);
        let events = load_all(&loads, effort.duration);
        let costs = Costs::now(&hosts, &postgres, &relay).per_event(&before, events);
        for (values, value) in rounds.iter_mut().zip(costs) {
            values.push(value);
        }
    }
    let [servers_us, database_us, statements, round_trips] = rounds;
    let name = |what: &str| {
        let plural = if servers == 1 { "" } else { "s" };
        format!("create, {servers} server{plural} on PostgreSQL: {what}")
    };
    vec![
        Figure::of(SUBJECT, name("CPU of the servers"), Unit::Microseconds, servers_us),
        Figure::of(SUBJECT, name("CPU of PostgreSQL"), Unit::Microseconds, database_us),
        Figure::of(SUBJECT, name("statements"), Unit::Number, statements),
        Figure::of(SUBJECT, name("round trips"), Unit::Number, round_trips),
    ]
}

/// Compares creates with and without the syncs of the database, in alternating rounds.
fn compare_syncs(effort: Effort) -> Vec<Figure> {
    let postgres = Postgres::start();
    let hosts = [server_setup(&postgres, postgres.port()).start()];
    let load = load(&hosts[0], &create_connections(&hosts), RequestKind::Create);
    let (mut durable, mut unsynced) = (Vec::new(), Vec::new());
    without_failures(load.attempt(CONCURRENT_SYNCS, Duration::from_secs(1), None));
    for _ in 0..effort.rounds {
        for (fsync, outcomes) in [("on", &mut durable), ("off", &mut unsynced)] {
            postgres.query(&format!("ALTER SYSTEM SET fsync = {fsync}"));
            postgres.query("SELECT pg_reload_conf()");
            wait_for("the setting fsync", 30, || {
                (postgres.query("SHOW fsync") == [fsync]).then_some(())
            });
            let outcome = load.attempt(CONCURRENT_SYNCS, effort.duration, None);
            outcomes.push(without_failures(outcome));
        }
    }
    let pairs = durable.iter().zip(&unsynced);
    let ratios =
        pairs.map(|(durable, unsynced)| durable.per_second() / unsynced.per_second()).collect();
    let (durable_name, unsynced_name) =
        ("create on PostgreSQL, durable", "create on PostgreSQL, no syncs");
    vec![
        Figure::of(SUBJECT, format!("{durable_name} / {unsynced_name}"), Unit::Ratio, ratios),
        rate(SUBJECT, durable_name, &durable),
        rate(SUBJECT, unsynced_name, &unsynced),
    ]
}

/// Prepares a server that connects to the database by this port.
fn server_setup(postgres: &Postgres, port: u16) -> Setup {
    postgres
        .server_setup_at(port)
        .config(MANY_RUNS)
        .env("JACKFIELD_WEBHOOK_REQUESTS_PER_S", "1000000")
        .plugin("instant", &guest("instant"))
}

/// Creates connections at the first server, and waits until all servers have them.
fn create_connections(hosts: &[TestHost]) -> Vec<Connection> {
    let created: Vec<_> =
        (0..8).map(|n| add_connection(&hosts[0], &format!("c{n}"), "instant")).collect();
    for host in hosts {
        host.await_connector("instant", "ready", None);
        wait_for("the connections at each server", 30, || {
            let listed = host.admin().get("/connections").expect(200);
            (listed["connections"].as_array().map(Vec::len) == Some(created.len())).then_some(())
        });
    }
    created
}

/// Puts all servers under load at the same time. Returns the number of events.
fn load_all(loads: &[Load], time: Duration) -> u64 {
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            loads.iter().map(|load| scope.spawn(|| load.attempt(CONCURRENT, time, None))).collect();
        threads.into_iter().map(|thread| thread.join().expect("the load ends")).collect()
    });
    outcomes.into_iter().map(|it| without_failures(it).requests).sum()
}

/// Checks that no request failed: with failed requests, the result would be useless.
fn without_failures(outcome: Outcome) -> Outcome {
    assert_eq!(outcome.failed, 0, "requests failed: {outcome:?}");
    outcome
}

/// The CPU time, statements and round trips since the start.
struct Costs {
    servers_ms: u64,
    database_ms: u64,
    counts: Counts,
}

impl Costs {
    fn now(hosts: &[TestHost], postgres: &Postgres, relay: &CountingRelay) -> Self {
        Self {
            servers_ms: hosts.iter().map(TestHost::cpu_ms).sum(),
            database_ms: postgres.cpu_ms(),
            counts: relay.counts(),
        }
    }

    /// Returns the costs of each event since `before`: microseconds of the servers and of the
    /// database, statements, and round trips.
    fn per_event(&self, before: &Self, events: u64) -> [f64; 4] {
        let events = events as f64;
        [
            (self.servers_ms - before.servers_ms) as f64 * 1e3 / events,
            (self.database_ms - before.database_ms) as f64 * 1e3 / events,
            (self.counts.statements - before.counts.statements) as f64 / events,
            (self.counts.round_trips - before.counts.round_trips) as f64 / events,
        ]
    }
}
