//! Measures how the server scales with the number of cores, of concurrent requests, of connections,
//! of stored events, and of connectors. Also measures latencies at half of the maximum rate.

use std::time::Duration;

use jackfield_tests::{Connection, TestHost};

use crate::load::{CLIENT_CONNECTIONS, LOAD_GENERATOR_CORE, Load, RequestKind};
use crate::paced;
use crate::report::{Figure, Unit};
use crate::rounds::{Effort, rate_figure};
use crate::servers::{
    add_connection, read_guest, setup_on_cores, setup_on_server_core, start_with_versions,
    webhook_load,
};

const MEASUREMENT: &str = "scaling";

/// The configuration of a server that gets many concurrent requests from one address. The address
/// is a trusted proxy, so that the limits for one client do not apply to it.
pub(crate) const MANY_RUNS_CONFIG: &str = "trusted_proxies = [\"127.0.0.1\"]\nconcurrent_runs_host = 1000\n\
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
    for (cores, label, load_core) in
        [("0", "1 core", Some(LOAD_GENERATOR_CORE)), ("0,1", "2 cores", None)]
    {
        let host = setup_on_cores(cores)
            .config(MANY_RUNS_CONFIG)
            .plugin("instant", &read_guest("instant"))
            .start();
        // The number of runs that may wait is limited for each connection. Eight connections
        // together may have enough waiting runs for all requests.
        let connections: Vec<_> =
            (0..8).map(|n| add_connection(&host, &format!("c{n}"), "instant")).collect();
        for concurrent in [1, 8, 64, 256, 1_000] {
            let rounds: Vec<_> = (0..effort.rounds)
                .map(|_| {
                    let load = webhook_load(&host, &connections, RequestKind::Create);
                    load.run_allowing_failures(concurrent, effort.duration, load_core)
                })
                .collect();
            let name = format!("creates, {label}, {concurrent} concurrent");
            figures.push(rate_figure(MEASUREMENT, &name, &rounds));
        }
    }
    figures
}

/// Measures latencies while a server gets requests at half of its maximum rate.
fn measure_half_load(effort: Effort) -> Vec<Figure> {
    let host = setup_on_server_core().plugin("instant", &read_guest("instant")).start();
    let connection = [add_connection(&host, "qa", "instant")];
    let mut figures = Vec::new();
    for (name, kind) in [("create", RequestKind::Create), ("KPI", RequestKind::NewCount)] {
        let load = webhook_load(&host, &connection, kind);
        let max_rate = load.run(CLIENT_CONNECTIONS, effort.duration).requests_per_second();
        let rounds: Vec<_> = (0..effort.rounds)
            .map(|_| paced::run(&load, max_rate / 2.0, effort.duration))
            .collect();
        let name = format!("{name} at half load");
        let ratios = rounds.iter().map(|round| round.p99_ms / round.p50_ms).collect();
        figures.push(Figure::from_rounds(
            MEASUREMENT,
            format!("{name}: p99 / p50"),
            Unit::Ratio,
            ratios,
        ));
        figures.push(rate_figure(MEASUREMENT, &name, &rounds));
    }
    figures
}

struct LoadedServer {
    host: TestHost,
    load: Load,
}

impl LoadedServer {
    fn cpu_us_per_event(&self, time: Duration) -> f64 {
        let before = self.host.cpu_ms();
        let outcome = self.load.run(CLIENT_CONNECTIONS, time);
        (self.host.cpu_ms() - before) as f64 * 1e3 / outcome.requests as f64
    }
}

/// Compares how much CPU time an event needs on two servers. One server has few connections, events
/// or connectors; the other server has many.
fn compare_cpu_per_event(
    name: &str,
    with_few: &LoadedServer,
    with_many: &LoadedServer,
    effort: Effort,
) -> Vec<Figure> {
    for server in [with_few, with_many] {
        server.load.run(CLIENT_CONNECTIONS, Duration::from_secs(1));
    }
    // CPU time has a resolution of 10 ms, so a round must be long enough.
    let time = effort.duration.max(Duration::from_secs(2));
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        few.push(with_few.cpu_us_per_event(time));
        many.push(with_many.cpu_us_per_event(time));
    }
    let ratios = few.iter().zip(&many).map(|(few, many)| many / few).collect();
    vec![
        Figure::from_rounds(MEASUREMENT, format!("CPU per event: {name}"), Unit::Ratio, ratios),
        Figure::from_rounds(
            MEASUREMENT,
            format!("CPU per event, few: {name}"),
            Unit::Microseconds,
            few,
        ),
        Figure::from_rounds(
            MEASUREMENT,
            format!("CPU per event, many: {name}"),
            Unit::Microseconds,
            many,
        ),
    ]
}

/// Starts a server with one connector and `count` connections. Its load sends creates to all
/// connections.
fn start_with_connections(count: u32) -> LoadedServer {
    let host = setup_on_server_core().plugin("instant", &read_guest("instant")).start();
    let connections: Vec<_> =
        (0..count).map(|n| add_connection(&host, &format!("c{n}"), "instant")).collect();
    let load = webhook_load(&host, &connections, RequestKind::Create);
    LoadedServer { host, load }
}

fn compare_connections(effort: Effort) -> Vec<Figure> {
    let many = effort.pick(10_000, 200);
    let name = figure_name(many, 10_000, "connections / 1");
    compare_cpu_per_event(&name, &start_with_connections(1), &start_with_connections(many), effort)
}

/// Compares a server that has no stored events at first and a server that has many stored events.
fn compare_events(effort: Effort) -> Vec<Figure> {
    let many = effort.pick(1_000_000, 20_000);
    let (empty, filled) = (start_with_connections(1), start_with_connections(1));
    let mut stored = 0;
    let mut fill = filled.load.clone();
    fill.kind = RequestKind::Count;
    while stored < u64::from(many) {
        stored += fill.run(CLIENT_CONNECTIONS, Duration::from_secs(5)).requests;
    }
    compare_cpu_per_event(
        &figure_name(many, 1_000_000, "stored events / 0"),
        &empty,
        &filled,
        effort,
    )
}

fn compare_connectors(effort: Effort) -> Vec<Figure> {
    let many = effort.pick(1_000, 20);
    let name = figure_name(many, 1_000, "connectors / 1");
    compare_cpu_per_event(&name, &start_with_connectors(1), &start_with_connectors(many), effort)
}

/// Starts a server with `count` different connectors, each with one connection. Its load requests
/// Defect KPIs from all connections.
fn start_with_connectors(count: u32) -> LoadedServer {
    let (host, names) =
        start_with_versions(setup_on_server_core(), &read_guest("realistic"), count);
    let connections: Vec<Connection> =
        names.iter().map(|name| add_connection(&host, name, name)).collect();
    let load = webhook_load(&host, &connections, RequestKind::NewCount);
    LoadedServer { host, load }
}

/// Returns the last part of a figure's name. If `many` is not `full`, this part ends with
/// `(quick)`, so that no goal has the same name.
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
    fn only_the_figure_of_a_full_measurement_has_the_name_of_a_goal() {
        let name =
            |many| format!("CPU per event: {}", figure_name(many, 1_000_000, "stored events / 0"));
        assert_eq!(name(20_000), "CPU per event: 20,000 stored events / 0 (quick)");
        assert!(GOALS.iter().any(|goal| goal.figure == name(1_000_000)));
    }
}
