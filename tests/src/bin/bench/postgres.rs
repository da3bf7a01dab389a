//! Measures servers that share a PostgreSQL: what a create costs with one, two and three of them,
//! and what the syncs of the database cost. Everything runs on the cores of one machine, so it says
//! nothing of the throughput of several machines.

use std::time::Duration;

use jackfield_tests::{Connection, Postgres, Setup, TestHost, wait_for};

use crate::load::{Kind, Load, Outcome};
use crate::postgres_wire::{CountingRelay, Counts};
use crate::report::{Figure, Unit};
use crate::rounds::{Effort, rate};
use crate::scaling::MANY;
use crate::servers::{connect, guest, load};

const SUBJECT: &str = "postgres";
/// Number of concurrent creates at each server, when the cost of a create is measured.
const CONCURRENT: usize = 64;
/// Number of concurrent creates, when the syncs are measured.
const CONCURRENT_SYNCS: usize = 256;

pub(crate) fn run(effort: Effort) -> Vec<Figure> {
    let mut figures: Vec<_> = (1..=3).flat_map(|servers| cost(servers, effort)).collect();
    figures.extend(syncs(effort));
    figures
}

/// Measures what a create costs with this many servers.
fn cost(servers: usize, effort: Effort) -> Vec<Figure> {
    let postgres = Postgres::start();
    let relay = CountingRelay::to(postgres.port());
    let hosts: Vec<_> = (0..servers).map(|_| server(&postgres, relay.port()).start()).collect();
    let connections = connections(&hosts);
    let loads: Vec<_> = hosts.iter().map(|it| load(it, &connections, Kind::Create)).collect();
    at_all(&loads, Duration::from_secs(1));
    let mut rounds: [Vec<f64>; 4] = Default::default();
    for _ in 0..effort.rounds {
        let before = Spent::now(&hosts, &postgres, &relay);
        let events = at_all(&loads, effort.seconds);
        let spent = Spent::now(&hosts, &postgres, &relay).per_event(&before, events);
        for (values, value) in rounds.iter_mut().zip(spent) {
            values.push(value);
        }
    }
    let [servers_us, database_us, statements, round_trips] = rounds;
    let name = |what: &str| {
        let s = if servers == 1 { "" } else { "s" };
        format!("create, {servers} server{s} on PostgreSQL: {what}")
    };
    vec![
        Figure::of(SUBJECT, name("CPU of the servers"), Unit::Microseconds, servers_us),
        Figure::of(SUBJECT, name("CPU of PostgreSQL"), Unit::Microseconds, database_us),
        Figure::of(SUBJECT, name("statements"), Unit::Number, statements),
        Figure::of(SUBJECT, name("round trips"), Unit::Number, round_trips),
    ]
}

/// Compares creates with and without the syncs of the database, in turn.
fn syncs(effort: Effort) -> Vec<Figure> {
    let postgres = Postgres::start();
    let hosts = [server(&postgres, postgres.port()).start()];
    let load = load(&hosts[0], &connections(&hosts), Kind::Create);
    let (mut durable, mut unsynced) = (Vec::new(), Vec::new());
    without_failures(load.attempt(CONCURRENT_SYNCS, Duration::from_secs(1), None));
    for _ in 0..effort.rounds {
        for (fsync, outcomes) in [("on", &mut durable), ("off", &mut unsynced)] {
            postgres.query(&format!("ALTER SYSTEM SET fsync = {fsync}"));
            postgres.query("SELECT pg_reload_conf()");
            wait_for("the setting of the syncs", 30, || {
                (postgres.query("SHOW fsync") == [fsync]).then_some(())
            });
            let outcome = load.attempt(CONCURRENT_SYNCS, effort.seconds, None);
            outcomes.push(without_failures(outcome));
        }
    }
    let pairs = durable.iter().zip(&unsynced);
    let ratios = pairs.map(|(one, other)| one.per_second() / other.per_second()).collect();
    let (one, other) = ("create on PostgreSQL, durable", "create on PostgreSQL, no syncs");
    vec![
        Figure::of(SUBJECT, format!("{one} / {other}"), Unit::Ratio, ratios),
        rate(SUBJECT, one, &durable),
        rate(SUBJECT, other, &unsynced),
    ]
}

/// Prepares a server that reaches the database at this port.
fn server(postgres: &Postgres, port: u16) -> Setup {
    postgres
        .replica_at(port)
        .config(MANY)
        .env("JACKFIELD_WEBHOOK_REQUESTS_PER_S", "1000000")
        .plugin("instant", &guest("instant"))
}

/// Creates connections at the first server, and waits until all servers have them.
fn connections(hosts: &[TestHost]) -> Vec<Connection> {
    let made: Vec<_> = (0..8).map(|n| connect(&hosts[0], &format!("c{n}"), "instant")).collect();
    for host in hosts {
        host.await_connector("instant", "ready", None);
        wait_for("the connections at each server", 30, || {
            let found = host.admin().get("/connections").expect(200);
            (found["connections"].as_array().map(Vec::len) == Some(made.len())).then_some(())
        });
    }
    made
}

/// Puts all servers under load at the same time. Returns the number of events.
fn at_all(loads: &[Load], time: Duration) -> u64 {
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let started: Vec<_> =
            loads.iter().map(|load| scope.spawn(|| load.attempt(CONCURRENT, time, None))).collect();
        started.into_iter().map(|load| load.join().expect("the load ends")).collect()
    });
    outcomes.into_iter().map(|it| without_failures(it).requests).sum()
}

/// Checks that no request failed: a figure with failures would mean nothing.
fn without_failures(outcome: Outcome) -> Outcome {
    assert_eq!(outcome.failed, 0, "requests failed: {outcome:?}");
    outcome
}

/// What was spent since the start.
struct Spent {
    servers_ms: u64,
    database_ms: u64,
    counts: Counts,
}

impl Spent {
    fn now(hosts: &[TestHost], postgres: &Postgres, relay: &CountingRelay) -> Self {
        Self {
            servers_ms: hosts.iter().map(TestHost::cpu_ms).sum(),
            database_ms: postgres.cpu_ms(),
            counts: relay.counts(),
        }
    }

    /// Microseconds of the servers and of the database, statements and round trips of each event.
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
