//! The page that Prometheus reads: the counts of [`Metrics`], and the state of the server at this
//! moment, in the text format of OpenMetrics.
//!
//! Shows only the connections that it is given, because an account may be limited to some.

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
use super::histogram::{Histogram, seconds};

/// The media type of the page.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One connection, as it is now.
#[derive(Debug, Clone)]
pub struct ConnectionState {
    /// The id by which its events are counted.
    pub id: ConnectionId,
    /// The name of the connection.
    pub name: String,
    /// The name of its connector.
    pub connector: String,
    /// Whether its webhooks are refused.
    pub paused: bool,
    /// How many of its circuit breakers are open.
    pub open_breakers: u64,
    /// The numbers of its defects in doubt, and of those that need a person; absent: the store
    /// cannot be read.
    pub in_doubt: Option<(u64, u64)>,
}

/// The runs, slots and memory that are in use, and their limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolState {
    /// Runs in progress.
    pub runs: u64,
    /// Maximum number of runs.
    pub runs_max: u64,
    /// Runs that wait for a permit.
    pub waiting: u64,
    /// Slots of the engine's pool that runs use.
    pub slots: u64,
    /// All slots of the pool.
    pub slots_max: u64,
    /// Bytes of memory that are charged to runs.
    pub memory_bytes: u64,
    /// Maximum bytes.
    pub memory_bytes_max: u64,
}

/// The server, as it is now.
#[derive(Debug, Clone)]
pub struct ServerState {
    /// The version of the server.
    pub version: &'static str,
    /// Whether the store can be written.
    pub store_writable: bool,
    /// Changes that wait for the store's writing thread, and callers with them.
    pub store_writes_waiting: u64,
    /// Parts of the history that wait to be stored.
    pub store_history_waiting: u64,
    /// What runs use.
    pub pool: PoolState,
    /// The name of each connector, and the word for its status.
    pub connectors: Vec<(String, &'static str)>,
    /// Scans of the plugins folder that changed a connector.
    pub connector_changes: u64,
    /// Connectors of which the servers of one database use different versions; absent: the store
    /// cannot be read.
    pub connector_differences: Option<u64>,
}

/// What the page shows besides the counts.
#[derive(Debug, Clone)]
pub struct State {
    /// The connections to show.
    pub connections: Vec<ConnectionState>,
    /// Whether requests that matched no connection are shown.
    pub shows_unmatched: bool,
    /// The server.
    pub server: ServerState,
}

impl Metrics {
    /// Writes the page.
    ///
    /// # Errors
    /// The library cannot write the page.
    pub fn page(self: &Arc<Self>, state: State) -> Result<String, fmt::Error> {
        let State { connections, shows_unmatched, server } = state;
        let all = self.connections.read();
        let counted = |it: ConnectionState| (all.get(&it.id).cloned().unwrap_or_default(), it);
        let connections = connections.into_iter().map(counted).collect();
        drop(all);
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

/// The labels of one series.
type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

/// What writes the series of one metric.
struct Metric<'e> {
    encoder: MetricEncoder<'e>,
}

impl Metric<'_> {
    fn counter<const N: usize>(&mut self, labels: Labels<'_, N>, value: u64) -> fmt::Result {
        self.encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    fn seconds<const N: usize>(&mut self, labels: Labels<'_, N>, ms: u64) -> fmt::Result {
        let value = seconds(ms);
        self.encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    fn gauge<const N: usize>(&mut self, labels: Labels<'_, N>, value: u64) -> fmt::Result {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.encoder.encode_family(&labels)?.encode_gauge(&value)
    }

    /// The only series of a counter without labels.
    fn total(&mut self, value: u64) -> fmt::Result {
        self.encoder.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    /// The only series of a gauge without labels.
    fn value(&mut self, value: u64) -> fmt::Result {
        self.encoder.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))
    }

    fn histogram<const N: usize>(&mut self, labels: Labels<'_, N>, of: &Histogram) -> fmt::Result {
        let buckets = of.buckets();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let mut series = self.encoder.encode_family(&labels)?;
        series.encode_histogram::<NoLabelSet>(of.sum_s(), count, &buckets, None)
    }
}

/// Begins a metric.
fn metric<'e>(
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
        self.events(encoder)?;
        self.runs(encoder)?;
        self.usage(encoder)?;
        self.requests(encoder)?;
        self.state_of_connections(encoder)?;
        self.pool(encoder)?;
        self.server(encoder)
    }
}

/// The labels that each series of a connection has.
fn labels(it: &ConnectionState) -> Labels<'_, 2> {
    [("connection", &it.name), ("connector", &it.connector)]
}

/// The same, and one more.
fn labels_and<'a>(it: &'a ConnectionState, name: &'static str, value: &'a str) -> Labels<'a, 3> {
    let [connection, connector] = labels(it);
    [connection, connector, (name, value)]
}

/// The same, and two more.
fn labels_and_two<'a>(
    it: &'a ConnectionState,
    first: (&'static str, &'a str),
    second: (&'static str, &'a str),
) -> Labels<'a, 4> {
    let [connection, connector] = labels(it);
    [connection, connector, first, second]
}

impl Page {
    /// The counts of each connection, and those of requests that matched none, whose labels are
    /// empty.
    fn with_unmatched(&self) -> impl Iterator<Item = (&Counts, Labels<'_, 2>)> {
        let all = self.connections.iter().map(|(counts, it)| (&**counts, labels(it)));
        let unmatched = (&self.metrics.unmatched, [("connection", ""), ("connector", "")]);
        all.chain(self.shows_unmatched.then_some(unmatched))
    }

    fn events(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Events that have ended, also those that are not stored";
        let mut events = metric(encoder, MetricType::Counter, "jackfield_events", help)?;
        for (counts, [connection, connector]) in self.with_unmatched() {
            for (kind, ends) in counts.events() {
                for (code, count) in ends.by_code() {
                    let kind = ("kind", kind.as_str());
                    let labels = [connection, connector, kind, ("outcome", code.as_str())];
                    events.counter(labels, count)?;
                }
            }
        }
        let help = "Time from a request to its answer, or of a task in the background";
        let name = "jackfield_event_duration_seconds";
        let mut durations = metric(encoder, MetricType::Histogram, name, help)?;
        for (counts, [connection, connector]) in self.with_unmatched() {
            for (kind, ends) in counts.events() {
                let labels = [connection, connector, ("kind", kind.as_str())];
                durations.histogram(labels, &ends.durations)?;
            }
        }
        Ok(())
    }

    fn runs(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Calls of connectors for events";
        let mut runs = metric(encoder, MetricType::Counter, "jackfield_runs", help)?;
        for (counts, it) in &self.connections {
            for (call, ends) in counts.runs() {
                for (code, count) in ends.by_code() {
                    let outcome = ("outcome", code.as_str());
                    let labels = labels_and_two(it, ("call", call.as_str()), outcome);
                    runs.counter(labels, count)?;
                }
            }
        }
        let help = "Time from the start of a run to its end";
        let name = "jackfield_run_duration_seconds";
        let mut durations = metric(encoder, MetricType::Histogram, name, help)?;
        for (counts, it) in &self.connections {
            for (call, ends) in counts.runs() {
                durations.histogram(labels_and(it, "call", call.as_str()), &ends.durations)?;
            }
        }
        Ok(())
    }

    fn usage(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Computing time of runs";
        let mut cpu = metric(encoder, MetricType::Counter, "jackfield_run_cpu_seconds", help)?;
        for (counts, it) in &self.connections {
            cpu.seconds(labels(it), counts.cpu_ms())?;
        }
        let help = "The most memory that a run used since the start";
        let name = "jackfield_run_memory_peak_bytes";
        let mut memory = metric(encoder, MetricType::Gauge, name, help)?;
        for (counts, it) in &self.connections {
            memory.gauge(labels(it), counts.memory_peak())?;
        }
        let help = "Runs that trapped or threw an exception";
        let mut traps = metric(encoder, MetricType::Counter, "jackfield_traps", help)?;
        for (counts, it) in &self.connections {
            traps.counter(labels(it), counts.traps())?;
        }
        let help = "Runs that a limit ended";
        let mut limits = metric(encoder, MetricType::Counter, "jackfield_limit_hits", help)?;
        for (counts, it) in &self.connections {
            for (limit, count) in counts.limits() {
                limits.counter(labels_and(it, "limit", limit), count)?;
            }
        }
        Ok(())
    }

    fn requests(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests of runs to trackers and Test Manager, also refused ones";
        let name = "jackfield_outbound_requests";
        let mut requests = metric(encoder, MetricType::Counter, name, help)?;
        for (counts, it) in &self.connections {
            counts.each_origin(|outbound| {
                outbound.by_class().try_for_each(|(class, count)| {
                    let origin = ("origin", outbound.origin.as_str());
                    let labels = labels_and_two(it, origin, ("status", class));
                    requests.counter(labels, count)
                })
            })?;
        }
        let help = "Time of a request from its connect to the last byte of its answer";
        let name = "jackfield_outbound_duration_seconds";
        let mut durations = metric(encoder, MetricType::Histogram, name, help)?;
        for (counts, it) in &self.connections {
            counts.each_origin(|outbound| {
                let labels = labels_and(it, "origin", &outbound.origin);
                durations.histogram(labels, &outbound.durations)
            })?;
        }
        Ok(())
    }

    fn state_of_connections(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauges =
            |name: &str, help: &str, value: fn(&ConnectionState) -> Option<u64>| -> fmt::Result {
                let mut gauge = metric(encoder, MetricType::Gauge, name, help)?;
                for (_, it) in &self.connections {
                    if let Some(value) = value(it) {
                        gauge.gauge(labels(it), value)?;
                    }
                }
                Ok(())
            };
        let help = "Defects of which it is not known whether the tracker created them";
        gauges("jackfield_defects_in_doubt", help, |it| Some(it.in_doubt?.0))?;
        let help = "Defects that only a person can resolve";
        gauges("jackfield_defects_need_person", help, |it| Some(it.in_doubt?.1))?;
        let help = "Circuit breakers that are open";
        gauges("jackfield_circuit_breakers_open", help, |it| Some(it.open_breakers))?;
        let help = "1 if the connection is paused";
        gauges("jackfield_connection_paused", help, |it| Some(it.paused.into()))
    }

    fn pool(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let pool = self.server.pool;
        for (name, help, value) in [
            ("jackfield_runs_active", "Runs in progress", pool.runs),
            ("jackfield_runs_max", "Maximum number of runs in progress", pool.runs_max),
            ("jackfield_runs_waiting", "Runs that wait for a permit", pool.waiting),
            ("jackfield_instance_slots_used", "Slots of the pool that runs use", pool.slots),
            ("jackfield_instance_slots", "Slots of the pool", pool.slots_max),
            ("jackfield_run_memory_bytes", "Memory of all runs in progress", pool.memory_bytes),
            ("jackfield_run_memory_max_bytes", "Maximum memory of all runs", pool.memory_bytes_max),
            (
                "jackfield_store_writable",
                "1 if the store can be written",
                self.server.store_writable.into(),
            ),
            (
                "jackfield_store_writes_waiting",
                "Changes that wait to be stored, and requests with them",
                self.server.store_writes_waiting,
            ),
            (
                "jackfield_store_history_waiting",
                "Events, runs and counts that wait to be stored",
                self.server.store_history_waiting,
            ),
        ] {
            metric(encoder, MetricType::Gauge, name, help)?.value(value)?;
        }
        Ok(())
    }

    fn server(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Reloads of the configuration";
        let name = "jackfield_configuration_reloads";
        let mut reloads = metric(encoder, MetricType::Counter, name, help)?;
        let Metrics { reloads: applied, refused_reloads: refused, .. } = &*self.metrics;
        for (result, count) in [("applied", applied), ("refused", refused)] {
            reloads.counter([("result", result)], count.load(Ordering::Relaxed))?;
        }
        let help = "Scans of the plugins folder that changed a connector";
        let name = "jackfield_connector_changes";
        let mut changes = metric(encoder, MetricType::Counter, name, help)?;
        changes.total(self.server.connector_changes)?;
        let help = "The status of each connector in the plugins folder";
        let name = "jackfield_connector_status";
        let mut status = metric(encoder, MetricType::Gauge, name, help)?;
        for (connector, word) in &self.server.connectors {
            status.gauge([("connector", connector), ("status", word)], 1)?;
        }
        if let Some(count) = self.server.connector_differences {
            let help = "Connectors of which the servers of one database use different versions";
            let name = "jackfield_connector_differences";
            metric(encoder, MetricType::Gauge, name, help)?.value(count)?;
        }
        let help = "The version of the server";
        let mut build = metric(encoder, MetricType::Gauge, "jackfield_build_info", help)?;
        build.gauge([("version", self.server.version)], 1)
    }
}
