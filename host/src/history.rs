//! The history is the only way to record an event or a run of an event: it stores, counts and
//! traces them. `http` limits the rate of some events; events that exceed this rate are only
//! counted.
//!
//! Recording never waits, because the store writes later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tracing::{Span, field};

use crate::domain::{
    Connection, ConnectionId, Event, EventId, EventKind, EventStart, OutcomeCode, Refusal,
    RunReport, TimedSteps,
};
use crate::store::Store;
use crate::telemetry::{Metrics, TraceParent, Traces};

/// Maximum number of events whose sender's trace is kept in memory; the oldest are removed first.
const SENDER_TRACES_MAX: usize = 20_000;

/// Records events and their runs.
pub struct History {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    /// Exports traces; `None` if no export is configured.
    traces: Option<Arc<Traces>>,
    /// The traces that senders named in their requests. A trace is kept after the answer, because a
    /// run may continue longer. The keys are in the order of time, so the first one is the oldest.
    sender_traces: Mutex<BTreeMap<EventId, TraceParent>>,
    /// Whether any sender has named a trace since the server started.
    has_sender_traces: AtomicBool,
}

impl History {
    /// Makes a history from its parts.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, metrics: Arc<Metrics>, traces: Option<Arc<Traces>>) -> Self {
        let (sender_traces, has_sender_traces) = Default::default();
        Self { store, metrics, traces, sender_traces, has_sender_traces }
    }

    /// Stores in memory the trace that the sender of an event named in its request.
    pub fn keep_sender_trace(&self, event: EventId, sender: Option<TraceParent>) {
        let Some(sender) = sender else { return };
        let mut sender_traces = self.sender_traces.lock();
        if sender_traces.len() >= SENDER_TRACES_MAX {
            sender_traces.pop_first();
        }
        sender_traces.insert(event, sender);
        self.has_sender_traces.store(true, Ordering::Relaxed);
    }

    /// Makes a span, which adds the id and the trace of an event to lines of the log. Making a span
    /// allocates memory, so do not make one for events that are answered from memory.
    #[must_use]
    pub fn span(&self, event: EventId) -> Span {
        let span = tracing::info_span!("event", id = %event, trace = field::Empty);
        if let Some(sender) = self.sender_trace(event) {
            span.record("trace", field::display(format_args!("{:032x}", sender.trace)));
        } else if self.traces.is_some() {
            span.record("trace", field::display(event.0.simple()));
        }
        span
    }

    fn sender_trace(&self, event: EventId) -> Option<TraceParent> {
        if !self.has_sender_traces.load(Ordering::Relaxed) {
            return None;
        }
        self.sender_traces.lock().get(&event).copied()
    }

    /// Returns the trace that the runs of this event name in their requests to the tracker.
    #[must_use]
    pub fn trace(&self, event: EventId) -> TraceParent {
        let sender = self.sender_trace(event);
        let (trace, (_, span)) = (event.0.as_u128(), event.0.as_u64_pair());
        let own_trace = TraceParent { trace, span, is_sampled: false };
        let is_exported = self.traces.as_ref().is_some_and(|traces| traces.exports(event, sender));
        let trace = sender.unwrap_or(own_trace);
        TraceParent { is_sampled: trace.is_sampled || is_exported, ..trace }
    }

    /// Records steps of an event. Call this shortly before the event or one of its runs is
    /// recorded, so that all are stored together.
    pub fn record_timed_steps(&self, event: EventStart, steps: TimedSteps) {
        if steps.is_empty() {
            return;
        }
        if let Some(traces) = &self.traces {
            let sender = self.sender_trace(event.id);
            steps.iter().for_each(|step| traces.export_step((event, sender), step));
        }
        self.store.record_timed_steps(event.id, steps);
    }

    /// Drops the runs and steps of an event that is not recorded.
    pub fn discard(&self, event: EventStart) {
        self.store.discard_event(event.id);
    }

    /// Queues an event that has begun, so that people can find it while it is in progress.
    pub fn record_begin(&self, event: Event) {
        self.store.record_event(event);
    }

    /// Records an event that has ended.
    pub fn record_end(&self, event: Event) {
        if let Some(traces) = &self.traces {
            traces.export_event(&event, self.sender_trace(event.id));
        }
        self.count_end(event.connection, event.kind, event.outcome.code, event.ms);
        self.store.record_event(event);
    }

    /// Counts an event that has ended, but does not store it.
    pub fn count_end(
        &self,
        connection: Option<ConnectionId>,
        kind: EventKind,
        code: OutcomeCode,
        ms: u64,
    ) {
        self.metrics.count_event(connection, kind, code, ms);
    }

    /// Records a run of an event.
    pub fn record_run<T>(
        &self,
        connection: &Connection,
        event: EventStart,
        report: RunReport,
        outcome: &Result<T, Refusal>,
    ) {
        self.metrics.count_run(connection, &report, outcome.as_ref().err());
        if let Some(traces) = &self.traces {
            traces.export_run(connection, (event, self.sender_trace(event.id)), &report);
        }
        self.store.record_run(event.id, report);
    }

    /// Removes the metrics of a connection that was deleted.
    pub fn remove_metrics(&self, connection: ConnectionId) {
        self.metrics.remove_connection(connection);
    }

    /// Removes the metrics of connections that no longer exist.
    pub fn retain_metrics(&self, exists: impl Fn(ConnectionId) -> bool) {
        self.metrics.retain_connections(exists);
    }
}
