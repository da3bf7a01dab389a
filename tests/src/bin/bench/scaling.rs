//! Measures how the server scales with cores, concurrent requests, connections, events and
//! connectors.

use std::time::Duration;

use jackfield_tests::{Connection, TestHost};

use crate::load::{CONNECTIONS, Kind, LOAD_CORE, Load};
use crate::paced;
use crate::report::{Figure, Unit};
use crate::rounds::{Effort, rate};
use crate::servers::{connect, guest, load, on_cores, pinned, with_versions};

const SUBJECT: &str = "scaling";

/// The configuration for many concurrent requests of one address, which counts as a proxy.
pub(crate) const MANY: &str = "trusted_proxies = [\"127.0.0.1\"]\nconcurrent_runs_host = 1000\n\
    [limits]\nconcurrent_runs = 1000";

pub(crate) fn run(effort: Effort) -> Vec<Figure> {
    let mut figures = concurrent(effort);
    figures.extend(half_load(effort));
    figures.extend(connections(effort));
    figures.extend(events(effort));
    figures.extend(connectors(effort));
    figures
}

/// Measures one and two cores with 1 to 1,000 concurrent creates.
fn concurrent(effort: Effort) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (cores, label, load_core) in [("0", "1 core", Some(LOAD_CORE)), ("0,1", "2 cores", None)] {
        let host = on_cores(cores).config(MANY).plugin("instant", &guest("instant")).start();
        // Each connection has a limited queue of runs. Eight connections have room for all
        // requests.
        let connections: Vec<_> =
            (0..8).map(|n| connect(&host, &format!("c{n}"), "instant")).collect();
        for concurrent in [1, 8, 64, 256, 1_000] {
            let rounds: Vec<_> = (0..effort.rounds)
                .map(|_| {
                    let load = load(&host, &connections, Kind::Create);
                    load.attempt(concurrent, effort.seconds, load_core)
                })
                .collect();
            let name = format!("creates, {label}, {concurrent} concurrent");
            figures.push(rate(SUBJECT, &name, &rounds));
        }
    }
    figures
}

/// Measures latencies at half of the highest rate.
fn half_load(effort: Effort) -> Vec<Figure> {
    let host = pinned().plugin("instant", &guest("instant")).start();
    let connection = [connect(&host, "qa", "instant")];
    let mut figures = Vec::new();
    for (name, kind) in [("create", Kind::Create), ("KPI", Kind::NewCount)] {
        let load = load(&host, &connection, kind);
        let most = load.run(CONNECTIONS, effort.seconds).per_second();
        let rounds: Vec<_> =
            (0..effort.rounds).map(|_| paced::run(&load, most / 2.0, effort.seconds)).collect();
        let name = format!("{name} at half load");
        let ratios = rounds.iter().map(|round| round.p99_ms / round.p50_ms).collect();
        figures.push(Figure::of(SUBJECT, format!("{name}: p99 / p50"), Unit::Ratio, ratios));
        figures.push(rate(SUBJECT, &name, &rounds));
    }
    figures
}

/// A server, and the load that is put on it.
struct Side {
    host: TestHost,
    load: Load,
}

impl Side {
    /// Measures the server's CPU time for each event, in microseconds.
    fn cpu_us(&self, time: Duration) -> f64 {
        let before = self.host.cpu_ms();
        let outcome = self.load.run(CONNECTIONS, time);
        (self.host.cpu_ms() - before) as f64 * 1e3 / outcome.requests as f64
    }
}

/// Compares the CPU time of an event on a server that holds little and on one that holds much.
fn compare(name: &str, little: &Side, much: &Side, effort: Effort) -> Vec<Figure> {
    for side in [little, much] {
        side.load.run(CONNECTIONS, Duration::from_secs(1));
    }
    // The clock of CPU time has a resolution of 10 ms.
    let time = effort.seconds.max(Duration::from_secs(2));
    let (mut small, mut large) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        small.push(little.cpu_us(time));
        large.push(much.cpu_us(time));
    }
    let ratios = small.iter().zip(&large).map(|(small, large)| large / small).collect();
    vec![
        Figure::of(SUBJECT, format!("CPU per event: {name}"), Unit::Ratio, ratios),
        Figure::of(SUBJECT, format!("CPU per event, few: {name}"), Unit::Microseconds, small),
        Figure::of(SUBJECT, format!("CPU per event, many: {name}"), Unit::Microseconds, large),
    ]
}

/// Starts a server with one connector and this many connections, and a load of creates on all of
/// them.
fn with_connections(count: u32) -> Side {
    let host = pinned().plugin("instant", &guest("instant")).start();
    let connections: Vec<_> =
        (0..count).map(|n| connect(&host, &format!("c{n}"), "instant")).collect();
    let load = load(&host, &connections, Kind::Create);
    Side { host, load }
}

fn connections(effort: Effort) -> Vec<Figure> {
    let many = effort.pick(10_000, 200);
    let name = label(many, 10_000, "connections / 1");
    compare(&name, &with_connections(1), &with_connections(many), effort)
}

fn events(effort: Effort) -> Vec<Figure> {
    let many = effort.pick(1_000_000, 20_000);
    let (little, much) = (with_connections(1), with_connections(1));
    let mut stored = 0;
    let mut fill = much.load.clone();
    fill.kind = Kind::Count;
    while stored < u64::from(many) {
        stored += fill.run(CONNECTIONS, Duration::from_secs(5)).requests;
    }
    compare(&label(many, 1_000_000, "stored events / 0"), &little, &much, effort)
}

fn connectors(effort: Effort) -> Vec<Figure> {
    let many = effort.pick(1_000, 20);
    let name = label(many, 1_000, "connectors / 1");
    compare(&name, &with_connectors(1), &with_connectors(many), effort)
}

/// Starts a server with this many different connectors, each with a connection, and a load of
/// Defect KPIs on all of them.
fn with_connectors(count: u32) -> Side {
    let (host, names) = with_versions(pinned(), &guest("realistic"), count);
    let connections: Vec<Connection> =
        names.iter().map(|name| connect(&host, name, name)).collect();
    let load = load(&host, &connections, Kind::NewCount);
    Side { host, load }
}

/// Returns the name of the figure, by which its goal is found. A quick run, which measures less,
/// adds `(quick)`, so that the figure has no goal.
fn label(many: u32, full: u32, what: &str) -> String {
    let digits = many.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let quick = if many == full { "" } else { " (quick)" };
    format!("{grouped} {what}{quick}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goals::GOALS;

    #[test]
    fn only_a_full_run_has_the_name_of_a_goal() {
        let name = |many| format!("CPU per event: {}", label(many, 1_000_000, "stored events / 0"));
        assert_eq!(name(20_000), "CPU per event: 20,000 stored events / 0 (quick)");
        assert!(GOALS.iter().any(|goal| goal.figure == name(1_000_000)));
    }
}
