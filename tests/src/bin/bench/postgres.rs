//! Measures servers that share a PostgreSQL database: the costs of a create with one, two and three
//! servers, and the costs of the database's syncs. All processes run on one machine, so the figures
//! do not show the throughput of several machines.

use std::time::Duration;

use jackfield_tests::{Connection, Postgres, Setup, TestHost, wait_for};

use crate::load::{Load, Outcome, RequestKind};
use crate::postgres_wire::{CountingRelay, WireCounts};
use crate::report::{Figure, Unit};
use crate::rounds::{Effort, rate_figure};
use crate::scaling::MANY_RUNS_CONFIG;
use crate::servers::{add_connection, read_guest, webhook_load};

const MEASUREMENT: &str = "postgres";
/// Number of concurrent creates at each server, while the cost of a create is measured.
const CONCURRENT_CREATES_PER_SERVER: usize = 64;
/// Number of concurrent creates, while the cost of syncs is measured.
const CONCURRENT_SYNCED_CREATES: usize = 256;

pub(crate) fn run(effort: Effort) -> Vec<Figure> {
    let mut figures: Vec<_> =
        (1..=3).flat_map(|servers| measure_create_costs(servers, effort)).collect();
    figures.extend(compare_syncs(effort));
    figures
}

/// Measures how much CPU time, how many statements and how many round trips a create needs.
fn measure_create_costs(servers: usize, effort: Effort) -> Vec<Figure> {
    let postgres = Postgres::start();
    let relay = CountingRelay::start(postgres.port());
    let hosts: Vec<_> =
        (0..servers).map(|_| server_setup(&postgres, relay.port()).start()).collect();
    let connections = create_connections(&hosts);
    let loads: Vec<_> =
        hosts.iter().map(|it| webhook_load(it, &connections, RequestKind::Create)).collect();
    run_all_loads(&loads, Duration::from_secs(1));
    let mut rounds: [Vec<f64>; 4] = Default::default();
    for _ in 0..effort.rounds {
        let before = Costs::read(&hosts, &postgres, &relay);
        let events = run_all_loads(&loads, effort.duration);
        let costs = Costs::read(&hosts, &postgres, &relay).per_event(&before, events);
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
        Figure::from_rounds(
            MEASUREMENT,
            name("CPU of the servers"),
            Unit::Microseconds,
            servers_us,
        ),
        Figure::from_rounds(
            MEASUREMENT,
            name("CPU of PostgreSQL"),
            Unit::Microseconds,
            database_us,
        ),
        Figure::from_rounds(MEASUREMENT, name("statements"), Unit::Number, statements),
        Figure::from_rounds(MEASUREMENT, name("round trips"), Unit::Number, round_trips),
    ]
}

/// Compares the creates per second while the database syncs and while it does not, in alternating
/// rounds.
fn compare_syncs(effort: Effort) -> Vec<Figure> {
    let postgres = Postgres::start();
    let hosts = [server_setup(&postgres, postgres.port()).start()];
    let load = webhook_load(&hosts[0], &create_connections(&hosts), RequestKind::Create);
    let (mut durable, mut unsynced) = (Vec::new(), Vec::new());
    assert_no_failures(load.run_allowing_failures(
        CONCURRENT_SYNCED_CREATES,
        Duration::from_secs(1),
        None,
    ));
    for _ in 0..effort.rounds {
        for (fsync, outcomes) in [("on", &mut durable), ("off", &mut unsynced)] {
            postgres.query(&format!("ALTER SYSTEM SET fsync = {fsync}"));
            postgres.query("SELECT pg_reload_conf()");
            wait_for("the setting fsync", 30, || {
                (postgres.query("SHOW fsync") == [fsync]).then_some(())
            });
            let outcome =
                load.run_allowing_failures(CONCURRENT_SYNCED_CREATES, effort.duration, None);
            outcomes.push(assert_no_failures(outcome));
        }
    }
    let pairs = durable.iter().zip(&unsynced);
    let ratios = pairs
        .map(|(durable, unsynced)| durable.requests_per_second() / unsynced.requests_per_second())
        .collect();
    let (durable_name, unsynced_name) =
        ("create on PostgreSQL, durable", "create on PostgreSQL, no syncs");
    vec![
        Figure::from_rounds(
            MEASUREMENT,
            format!("{durable_name} / {unsynced_name}"),
            Unit::Ratio,
            ratios,
        ),
        rate_figure(MEASUREMENT, durable_name, &durable),
        rate_figure(MEASUREMENT, unsynced_name, &unsynced),
    ]
}

fn server_setup(postgres: &Postgres, port: u16) -> Setup {
    postgres
        .server_setup_at(port)
        .config(MANY_RUNS_CONFIG)
        .env("JACKFIELD_WEBHOOK_REQUESTS_PER_S", "1000000")
        .plugin("instant", &read_guest("instant"))
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

/// Puts all servers under load at the same time. Returns the number of requests that were answered.
fn run_all_loads(loads: &[Load], time: Duration) -> u64 {
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let threads: Vec<_> = loads
            .iter()
            .map(|load| {
                scope
                    .spawn(|| load.run_allowing_failures(CONCURRENT_CREATES_PER_SERVER, time, None))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("the load ends")).collect()
    });
    outcomes.into_iter().map(|it| assert_no_failures(it).requests).sum()
}

/// Panics if a request failed, because the outcome would be useless then.
fn assert_no_failures(outcome: Outcome) -> Outcome {
    assert_eq!(outcome.failed, 0, "requests failed: {outcome:?}");
    outcome
}

/// The costs since the start of the servers and the database.
struct Costs {
    servers_cpu_ms: u64,
    database_cpu_ms: u64,
    counts: WireCounts,
}

impl Costs {
    fn read(hosts: &[TestHost], postgres: &Postgres, relay: &CountingRelay) -> Self {
        Self {
            servers_cpu_ms: hosts.iter().map(TestHost::cpu_ms).sum(),
            database_cpu_ms: postgres.cpu_ms(),
            counts: relay.counts(),
        }
    }

    /// Returns how much one event has cost since `before` was read. The four numbers are the
    /// microseconds of CPU time of the servers and of the database, the statements, and the round
    /// trips.
    fn per_event(&self, before: &Self, events: u64) -> [f64; 4] {
        let events = events as f64;
        [
            (self.servers_cpu_ms - before.servers_cpu_ms) as f64 * 1e3 / events,
            (self.database_cpu_ms - before.database_cpu_ms) as f64 * 1e3 / events,
            (self.counts.statements - before.counts.statements) as f64 / events,
            (self.counts.round_trips - before.counts.round_trips) as f64 / events,
        ]
    }
}
