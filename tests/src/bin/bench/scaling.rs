//! Measures how the server scales with cores, concurrent requests, connections, events and
//! connectors.

use std::time::Duration;

use jackfield_tests::{Connection, TestHost};

use crate::load::{CONNECTIONS, LOAD_CORE, Load, RequestKind};
use crate::paced;
use crate::report::{Figure, Unit};
use crate::rounds::{Effort, rate};
use crate::servers::{add_connection, guest, load, on_cores, pinned, with_versions};

const SUBJECT: &str = "scaling";

/// The configuration for many concurrent requests from one address. The address is a trusted proxy,
/// so that the limits for one client do not apply.
pub(crate) const MANY_RUNS: &str = "trusted_proxies = [\"127.0.0.1\"]\nconcurrent_runs_host = 1000\n\
    [limits]\nconcurrent_runs = 1000";

pub(crate) fn run(effort: Effort) -> Vec<Figure> {
    let mut figures = measure_concurrency(effort);
    figures.extend(measure_half_load(effort));
    figures.extend(compare_connections(effort));
    figures.extend(compare_events(effort));
    figures.extend(compare_connectors(effort));
    figures
}

/// Measures a server on one core and on two cores, with 1 to 1,000 concurrent creates.
fn measure_concurrency(effort: Effort) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (cores, label, load_core) in [("0", "1 core", Some(LOAD_CORE)), ("0,1", "2 cores", None)] {
        let host = on_cores(cores).config(MANY_RUNS).plugin("instant", &guest("instant")).start();
        // The queue of runs of each connection is limited. The queues of eight connections together
        // are long enough for all requests.
        let connections: Vec<_> =
            (0..8).map(|n| add_connection(&host, &format!("c{n}"), "instant")).collect();
        for concurrent in [1, 8, 64, 256, 1_000] {
            let rounds: Vec<_> = (0..effort.rounds)
                .map(|_| {
                    let load = load(&host, &connections, RequestKind::Create);
                    load.attempt(concurrent, effort.duration, load_core)
                })
                .collect();
            let name = format!("creates, {label}, {concurrent} concurrent");
            figures.push(rate(SUBJECT, &name, &rounds));
        }
    }
    figures
}

/// Measures latencies at half of the maximum rate.
fn measure_half_load(effort: Effort) -> Vec<Figure> {
    let host = pinned().plugin("instant", &guest("instant")).start();
    let connection = [add_connection(&host, "qa", "instant")];
    let mut figures = Vec::new();
    for (name, kind) in [("create", RequestKind::Create), ("KPI", RequestKind::NewCount)] {
        let load = load(&host, &connection, kind);
        let max_rate = load.run(CONNECTIONS, effort.duration).per_second();
        let rounds: Vec<_> = (0..effort.rounds)
            .map(|_| paced::run(&load, max_rate / 2.0, effort.duration))
            .collect();
        let name = format!("{name} at half load");
        let ratios = rounds.iter().map(|round| round.p99_ms / round.p50_ms).collect();
        figures.push(Figure::of(SUBJECT, format!("{name}: p99 / p50"), Unit::Ratio, ratios));
        figures.push(rate(SUBJECT, &name, &rounds));
    }
    figures
}

/// A server that is compared with another one, and its load.
struct LoadedServer {
    host: TestHost,
    load: Load,
}

impl LoadedServer {
    /// Measures the server's CPU time for each event, in microseconds.
    fn cpu_us(&self, time: Duration) -> f64 {
        let before = self.host.cpu_ms();
        let outcome = self.load.run(CONNECTIONS, time);
        (self.host.cpu_ms() - before) as f64 * 1e3 / outcome.requests as f64
    }
}

/// Compares the CPU time of an event on a server with few stored things and on a server with many.
fn compare(
    name: &str,
    with_few: &LoadedServer,
    with_many: &LoadedServer,
    effort: Effort,
) -> Vec<Figure> {
    for server in [with_few, with_many] {
        server.load.run(CONNECTIONS, Duration::from_secs(1));
    }
    // CPU time has a resolution of 10 ms, so a round must be long enough.
    let time = effort.duration.max(Duration::from_secs(2));
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        few.push(with_few.cpu_us(time));
        many.push(with_many.cpu_us(time));
    }
    let ratios = few.iter().zip(&many).map(|(few, many)| many / few).collect();
    vec![
        Figure::of(SUBJECT, format!("CPU per event: {name}"), Unit::Ratio, ratios),
        Figure::of(SUBJECT, format!("CPU per event, few: {name}"), Unit::Microseconds, few),
        Figure::of(SUBJECT, format!("CPU per event, many: {name}"), Unit::Microseconds, many),
    ]
}

/// Starts a server with one connector and this many connections. Its load sends creates to all
/// connections.
fn with_connections(count: u32) -> LoadedServer {
    let host = pinned().plugin("instant", &guest("instant")).start();
    let connections: Vec<_> =
        (0..count).map(|n| add_connection(&host, &format!("c{n}"), "instant")).collect();
    let load = load(&host, &connections, RequestKind::Create);
    LoadedServer { host, load }
}

fn compare_connections(effort: Effort) -> Vec<Figure> {
    let many = effort.pick(10_000, 200);
    let name = figure_name(many, 10_000, "connections / 1");
    compare(&name, &with_connections(1), &with_connections(many), effort)
}

fn compare_events(effort: Effort) -> Vec<Figure> {
    let many = effort.pick(1_000_000, 20_000);
    let (empty, filled) = (with_connections(1), with_connections(1));
    let mut stored = 0;
    let mut fill = filled.load.clone();
    fill.kind = RequestKind::Count;
    while stored < u64::from(many) {
        stored += fill.run(CONNECTIONS, Duration::from_secs(5)).requests;
    }
    compare(&figure_name(many, 1_000_000, "stored events / 0"), &empty, &filled, effort)
}

fn compare_connectors(effort: Effort) -> Vec<Figure> {
    let many = effort.pick(1_000, 20);
    let name = figure_name(many, 1_000, "connectors / 1");
    compare(&name, &with_connectors(1), &with_connectors(many), effort)
}

/// Starts a server with this many different connectors, each with one connection. Its load requests
/// Defect KPIs of all connections.
fn with_connectors(count: u32) -> LoadedServer {
    let (host, names) = with_versions(pinned(), &guest("realistic"), count);
    let connections: Vec<Connection> =
        names.iter().map(|name| add_connection(&host, name, name)).collect();
    let load = load(&host, &connections, RequestKind::NewCount);
    LoadedServer { host, load }
}

/// Returns the name of a figure. A goal has the same name as its figure. In a quick run, which
/// measures less, `(quick)` is added, so that the figure has no goal.
fn figure_name(many: u32, full: u32, what: &str) -> String {
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
        let name =
            |many| format!("CPU per event: {}", figure_name(many, 1_000_000, "stored events / 0"));
        assert_eq!(name(20_000), "CPU per event: 20,000 stored events / 0 (quick)");
        assert!(GOALS.iter().any(|goal| goal.figure == name(1_000_000)));
    }
}
