//! Writes the page that Prometheus reads, in the text format of OpenMetrics.
//!
//! The page never shows a connection that is not in [`MetricsPageState`], because an account may be
//! limited to some connections.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::domain::{ConnectionId, StringEnum as _};

use super::Metrics;
use super::counts::Counts;
use super::histogram::{Histogram, to_seconds};

/// The media type of the page.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The current state of one connection.
#[derive(Debug, Clone)]
pub struct ConnectionState {
    /// The id of the connection, by which its events are counted.
    pub id: ConnectionId,
    /// The name of the connection.
    pub name: String,
    /// The name of the connection's connector.
    pub connector: String,
    /// Whether the connection is paused, so that its webhooks are refused.
    pub is_paused: bool,
    /// The number of the connection's circuit breakers that are open.
    pub open_breakers: u64,
    /// The number of the connection's defects in doubt, and the number of its defects that a person
    /// should resolve; absent if the store cannot be read.
    pub in_doubt: Option<(u64, u64)>,
}

/// The runs, slots and memory that are in use, and their limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolState {
    /// The number of runs in progress.
    pub runs: u64,
    /// Maximum number of runs in progress.
    pub runs_max: u64,
    /// The number of runs that wait for a permit.
    pub waiting: u64,
    /// The number of slots of the engine's pool that runs use.
    pub slots: u64,
    /// The number of all slots of the engine's pool.
    pub slots_max: u64,
    /// The memory that is charged to runs and to the host's requests, bytes.
    pub memory_bytes: u64,
    /// Maximum of `memory_bytes`.
    pub memory_bytes_max: u64,
}

/// The current state of the server.
#[derive(Debug, Clone)]
pub struct ServerState {
    /// The version of the server.
    pub version: &'static str,
    /// Whether the store can be written.
    pub store_writable: bool,
    /// The number of changes that are queued or are being written to the store.
    pub store_writes_waiting: u64,
    /// The number of events, each with its runs, and of counts that are not stored yet.
    pub store_history_waiting: u64,
    /// The runs, slots and memory that are in use.
    pub pool: PoolState,
    /// The name and the status of each connector.
    pub connectors: Vec<(String, &'static str)>,
    /// The number of scans of the plugins folder that changed a connector.
    pub connector_changes: u64,
    /// The number of connectors of which the servers of one database use different versions; absent
    /// if the store cannot be read.
    pub connector_differences: Option<u64>,
}

/// The state of the connections and of the server, which the page shows in addition to the counts.
#[derive(Debug, Clone)]
pub struct MetricsPageState {
    /// The connections to show.
    pub connections: Vec<ConnectionState>,
    /// Whether requests that matched no connection are shown.
    pub shows_unmatched: bool,
    /// The state of the server.
    pub server: ServerState,
}

impl Metrics {
    /// Writes the page.
    ///
    /// # Errors
    /// The library cannot write the page.
    pub fn page(self: &Arc<Self>, state: MetricsPageState) -> Result<String, fmt::Error> {
        let MetricsPageState { connections, shows_unmatched, server } = state;
        let counts = self.connections.read();
        let with_counts = |connection: ConnectionState| {
            (counts.get(&connection.id).cloned().unwrap_or_default(), connection)
        };
        let connections = connections.into_iter().map(with_counts).collect();
        drop(counts);
        let page = Page { metrics: Arc::clone(self), connections, shows_unmatched, server };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(page));
        let mut page = String::new();
        text::encode(&mut page, &registry)?;
        Ok(page)
    }
}

#[derive(Debug)]
struct Page {
    metrics: Arc<Metrics>,
    connections: Vec<(Arc<Counts>, ConnectionState)>,
    shows_unmatched: bool,
    server: ServerState,
}

type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

struct Metric<'e> {
    encoder: MetricEncoder<'e>,
}

impl Metric<'_> {
    fn write_counter<const N: usize>(&mut self, labels: Labels<'_, N>, value: u64) -> fmt::Result {
        self.encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    /// `ms` is the value in milliseconds.
    fn write_counter_seconds<const N: usize>(
        &mut self,
        labels: Labels<'_, N>,
        ms: u64,
    ) -> fmt::Result {
        let value = to_seconds(ms);
        self.encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    fn write_gauge<const N: usize>(&mut self, labels: Labels<'_, N>, value: u64) -> fmt::Result {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.encoder.encode_family(&labels)?.encode_gauge(&value)
    }

    fn write_single_counter(&mut self, value: u64) -> fmt::Result {
        self.encoder.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    fn write_single_gauge(&mut self, value: u64) -> fmt::Result {
        self.encoder.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))
    }

    fn write_histogram<const N: usize>(
        &mut self,
        labels: Labels<'_, N>,
        histogram: &Histogram,
    ) -> fmt::Result {
        let buckets = histogram.buckets();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let mut series = self.encoder.encode_family(&labels)?;
        series.encode_histogram::<NoLabelSet>(histogram.sum_s(), count, &buckets, None)
    }
}

fn begin_metric<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    kind: MetricType,
    name: &'e str,
    help: &str,
) -> Result<Metric<'e>, fmt::Error> {
    Ok(Metric { encoder: encoder.encode_descriptor(name, help, None, kind)? })
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        self.encode_events(encoder)?;
        self.encode_runs(encoder)?;
        self.encode_usage(encoder)?;
        self.encode_requests(encoder)?;
        self.encode_connection_states(encoder)?;
        self.encode_pool(encoder)?;
        self.encode_server(encoder)
    }
}

/// The labels that each series of a connection has.
fn connection_labels(connection: &ConnectionState) -> Labels<'_, 2> {
    [("connection", &connection.name), ("connector", &connection.connector)]
}

fn connection_labels_and_one<'a>(
    state: &'a ConnectionState,
    name: &'static str,
    value: &'a str,
) -> Labels<'a, 3> {
    let [connection, connector] = connection_labels(state);
    [connection, connector, (name, value)]
}

fn connection_labels_and_two<'a>(
    state: &'a ConnectionState,
    first: (&'static str, &'a str),
    second: (&'static str, &'a str),
) -> Labels<'a, 4> {
    let [connection, connector] = connection_labels(state);
    [connection, connector, first, second]
}

impl Page {
    /// If `shows_unmatched` is true, the counts of requests that matched no connection are the
    /// last, with empty labels.
    fn counts_with_labels(&self) -> impl Iterator<Item = (&Counts, Labels<'_, 2>)> {
        let connections = self
            .connections
            .iter()
            .map(|(counts, connection)| (&**counts, connection_labels(connection)));
        let unmatched_requests =
            (&self.metrics.unmatched_requests, [("connection", ""), ("connector", "")]);
        connections.chain(self.shows_unmatched.then_some(unmatched_requests))
    }

    fn encode_events(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Events that have ended, including events that are not stored";
        let mut events = begin_metric(encoder, MetricType::Counter, "jackfield_events", help)?;
        for (counts, [connection, connector]) in self.counts_with_labels() {
            for (kind, outcomes) in counts.events() {
                for (code, count) in outcomes.by_code() {
                    let kind = ("kind", kind.as_str());
                    let labels = [connection, connector, kind, ("outcome", code.as_str())];
                    events.write_counter(labels, count)?;
                }
            }
        }
        let help = "Time from a request to its answer, or duration of a background task";
        let name = "jackfield_event_duration_seconds";
        let mut durations = begin_metric(encoder, MetricType::Histogram, name, help)?;
        for (counts, [connection, connector]) in self.counts_with_labels() {
            for (kind, outcomes) in counts.events() {
                let labels = [connection, connector, ("kind", kind.as_str())];
                durations.write_histogram(labels, &outcomes.durations)?;
            }
        }
        Ok(())
    }

    fn encode_runs(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Calls of connectors for events";
        let mut runs = begin_metric(encoder, MetricType::Counter, "jackfield_runs", help)?;
        for (counts, connection) in &self.connections {
            for (call, outcomes) in counts.runs() {
                for (code, count) in outcomes.by_code() {
                    let outcome = ("outcome", code.as_str());
                    let labels =
                        connection_labels_and_two(connection, ("call", call.as_str()), outcome);
                    runs.write_counter(labels, count)?;
                }
            }
        }
        let help = "Time from the start of a run to its end";
        let name = "jackfield_run_duration_seconds";
        let mut durations = begin_metric(encoder, MetricType::Histogram, name, help)?;
        for (counts, connection) in &self.connections {
            for (call, outcomes) in counts.runs() {
                durations.write_histogram(
                    connection_labels_and_one(connection, "call", call.as_str()),
                    &outcomes.durations,
                )?;
            }
        }
        Ok(())
    }

    fn encode_usage(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "CPU time of runs";
        let mut cpu =
            begin_metric(encoder, MetricType::Counter, "jackfield_run_cpu_seconds", help)?;
        for (counts, connection) in &self.connections {
            cpu.write_counter_seconds(connection_labels(connection), counts.cpu_ms())?;
        }
        let help = "The most memory that a run used since the start";
        let name = "jackfield_run_memory_peak_bytes";
        let mut memory = begin_metric(encoder, MetricType::Gauge, name, help)?;
        for (counts, connection) in &self.connections {
            memory.write_gauge(connection_labels(connection), counts.memory_peak_bytes())?;
        }
        let help = "Runs that trapped or threw an exception";
        let mut traps = begin_metric(encoder, MetricType::Counter, "jackfield_traps", help)?;
        for (counts, connection) in &self.connections {
            traps.write_counter(connection_labels(connection), counts.traps())?;
        }
        let help = "Runs that a limit ended";
        let mut limits = begin_metric(encoder, MetricType::Counter, "jackfield_limit_hits", help)?;
        for (counts, connection) in &self.connections {
            for (limit, count) in counts.limits() {
                limits
                    .write_counter(connection_labels_and_one(connection, "limit", limit), count)?;
            }
        }
        Ok(())
    }

    fn encode_requests(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests of runs to trackers and Test Manager, including refused requests";
        let name = "jackfield_outbound_requests";
        let mut requests = begin_metric(encoder, MetricType::Counter, name, help)?;
        for (counts, connection) in &self.connections {
            counts.for_each_origin(|outbound| {
                outbound.by_class().try_for_each(|(class, count)| {
                    let origin = ("origin", outbound.origin.as_str());
                    let labels = connection_labels_and_two(connection, origin, ("status", class));
                    requests.write_counter(labels, count)
                })
            })?;
        }
        let help = "Time from the beginning of a request to its end";
        let name = "jackfield_outbound_duration_seconds";
        let mut durations = begin_metric(encoder, MetricType::Histogram, name, help)?;
        for (counts, connection) in &self.connections {
            counts.for_each_origin(|outbound| {
                let labels = connection_labels_and_one(connection, "origin", &outbound.origin);
                durations.write_histogram(labels, &outbound.durations)
            })?;
        }
        Ok(())
    }

    fn encode_connection_states(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauges =
            |name: &str, help: &str, value: fn(&ConnectionState) -> Option<u64>| -> fmt::Result {
                let mut gauge = begin_metric(encoder, MetricType::Gauge, name, help)?;
                for (_, connection) in &self.connections {
                    if let Some(value) = value(connection) {
                        gauge.write_gauge(connection_labels(connection), value)?;
                    }
                }
                Ok(())
            };
        let help = "Defects in doubt: it is not known whether the tracker created them";
        gauges("jackfield_defects_in_doubt", help, |connection| Some(connection.in_doubt?.0))?;
        let help = "Defects that a person should resolve";
        gauges("jackfield_defects_need_person", help, |connection| Some(connection.in_doubt?.1))?;
        let help = "Circuit breakers that are open";
        gauges("jackfield_circuit_breakers_open", help, |connection| {
            Some(connection.open_breakers)
        })?;
        let help = "1 if the connection is paused";
        gauges("jackfield_connection_paused", help, |connection| Some(connection.is_paused.into()))
    }

    fn encode_pool(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let pool = self.server.pool;
        for (name, help, value) in [
            ("jackfield_runs_active", "Runs in progress", pool.runs),
            ("jackfield_runs_max", "Maximum number of runs in progress", pool.runs_max),
            ("jackfield_runs_waiting", "Runs that wait for a permit", pool.waiting),
            ("jackfield_instance_slots_used", "Slots of the pool that runs use", pool.slots),
            ("jackfield_instance_slots", "Slots of the pool", pool.slots_max),
            (
                "jackfield_run_memory_bytes",
                "Memory that is charged to runs and requests of the host",
                pool.memory_bytes,
            ),
            ("jackfield_run_memory_max_bytes", "Maximum memory of all runs", pool.memory_bytes_max),
            (
                "jackfield_store_writable",
                "1 if the store can be written",
                self.server.store_writable.into(),
            ),
            (
                "jackfield_store_writes_waiting",
                "Changes that wait to be stored; their requests wait, too",
                self.server.store_writes_waiting,
            ),
            (
                "jackfield_store_history_waiting",
                "Events, runs and counts that wait to be stored",
                self.server.store_history_waiting,
            ),
        ] {
            begin_metric(encoder, MetricType::Gauge, name, help)?.write_single_gauge(value)?;
        }
        Ok(())
    }

    fn encode_server(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Reloads of the configuration";
        let name = "jackfield_configuration_reloads";
        let mut reloads = begin_metric(encoder, MetricType::Counter, name, help)?;
        let Metrics { reloads: applied, refused_reloads: refused, .. } = &*self.metrics;
        for (result, count) in [("applied", applied), ("refused", refused)] {
            reloads.write_counter([("result", result)], count.load(Ordering::Relaxed))?;
        }
        let help = "Scans of the plugins folder that changed a connector";
        let name = "jackfield_connector_changes";
        let mut changes = begin_metric(encoder, MetricType::Counter, name, help)?;
        changes.write_single_counter(self.server.connector_changes)?;
        let help = "The status of each connector in the plugins folder";
        let name = "jackfield_connector_status";
        let mut status = begin_metric(encoder, MetricType::Gauge, name, help)?;
        for (connector, word) in &self.server.connectors {
            status.write_gauge([("connector", connector), ("status", word)], 1)?;
        }
        if let Some(count) = self.server.connector_differences {
            let help = "Connectors of which the servers of one database use different versions";
            let name = "jackfield_connector_differences";
            begin_metric(encoder, MetricType::Gauge, name, help)?.write_single_gauge(count)?;
        }
        let help = "The version of the server";
        let mut build = begin_metric(encoder, MetricType::Gauge, "jackfield_build_info", help)?;
        build.write_gauge([("version", self.server.version)], 1)
    }
}
