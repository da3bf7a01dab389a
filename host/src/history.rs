//! The history: the only way to record an event or a run of an event. What is recorded is stored,
//! counted for `/metrics`, and exported as a trace if that is configured.
//!
//! Never waits: the store writes later.

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

/// Maximum number of events whose senders' traces are remembered; the oldest are forgotten.
const SENDERS_MAX: usize = 20_000;

/// Records events and their runs.
pub struct History {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    traces: Option<Arc<Traces>>,
    /// The traces that the senders of events named. They are kept after the end of an event,
    /// because a run may go on after the answer. The ids of events are in the order of time.
    sender_traces: Mutex<BTreeMap<EventId, TraceParent>>,
    /// Whether a sender has named a trace since the start.
    any_sender: AtomicBool,
}

impl History {
    /// Stores in `store`, counts in `metrics`, and exports to `traces`, if that is set.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, metrics: Arc<Metrics>, traces: Option<Arc<Traces>>) -> Self {
        let (sender_traces, any_sender) = Default::default();
        Self { store, metrics, traces, sender_traces, any_sender }
    }

    /// Remembers the trace that the sender of an event named.
    pub fn receive(&self, event: EventId, sender: Option<TraceParent>) {
        let Some(sender) = sender else { return };
        let mut sender_traces = self.sender_traces.lock();
        if sender_traces.len() >= SENDERS_MAX {
            sender_traces.pop_first();
        }
        sender_traces.insert(event, sender);
        self.any_sender.store(true, Ordering::Relaxed);
    }

    /// The span that names an event, and its trace, in the log. Not for events that are answered
    /// from memory: it allocates.
    #[must_use]
    pub fn span(&self, event: EventId) -> Span {
        let span = tracing::info_span!("event", id = %event, trace = field::Empty);
        if let Some(sender) = self.sender(event) {
            span.record("trace", field::display(format_args!("{:032x}", sender.trace)));
        } else if self.traces.is_some() {
            span.record("trace", field::display(event.0.simple()));
        }
        span
    }

    fn sender(&self, event: EventId) -> Option<TraceParent> {
        if !self.any_sender.load(Ordering::Relaxed) {
            return None;
        }
        self.sender_traces.lock().get(&event).copied()
    }

    /// The trace of an event, as a request to its tracker names it.
    #[must_use]
    pub fn trace(&self, event: EventId) -> TraceParent {
        let sender = self.sender(event);
        let (trace, (_, span)) = (event.0.as_u128(), event.0.as_u64_pair());
        let own = TraceParent { trace, span, is_sampled: false };
        let is_exported = self.traces.as_ref().is_some_and(|traces| traces.exports(event, sender));
        let trace = sender.unwrap_or(own);
        TraceParent { is_sampled: trace.is_sampled || is_exported, ..trace }
    }

    /// Records steps of an event. Call it shortly before the event or a run of it is recorded: they
    /// are stored together.
    pub fn record_timed_steps(&self, event: EventStart, steps: TimedSteps) {
        if steps.is_empty() {
            return;
        }
        if let Some(traces) = &self.traces {
            let sender = self.sender(event.id);
            steps.iter().for_each(|step| traces.step((event, sender), step));
        }
        self.store.record_timed_steps(event.id, steps);
    }

    /// Drops the runs and steps of an event that is not recorded, because it found nothing new.
    pub fn discard(&self, event: EventStart) {
        self.store.discard_event(event.id);
    }

    /// Stores an event that has begun, so that it can be found even if a crash interrupts it.
    pub fn begin(&self, event: Event) {
        self.store.record_event(event);
    }

    /// Records an event that has ended.
    pub fn end(&self, event: Event) {
        if let Some(traces) = &self.traces {
            traces.end(&event, self.sender(event.id));
        }
        self.end_unstored(event.connection, event.kind, event.outcome.code, event.ms);
        self.store.record_event(event);
    }

    /// Counts an event that has ended and is not stored, because there are too many of its kind.
    pub fn end_unstored(
        &self,
        connection: Option<ConnectionId>,
        kind: EventKind,
        code: OutcomeCode,
        ms: u64,
    ) {
        self.metrics.count_event(connection, kind, code, ms);
    }

    /// Records a run of an event.
    pub fn run<T>(
        &self,
        connection: &Connection,
        event: EventStart,
        report: RunReport,
        outcome: &Result<T, Refusal>,
    ) {
        self.metrics.count_run(connection, &report, outcome.as_ref().err());
        if let Some(traces) = &self.traces {
            traces.run(connection, (event, self.sender(event.id)), &report);
        }
        self.store.record_run(event.id, report);
    }

    /// Forgets the counts of a connection that was deleted.
    pub fn forget_counts(&self, connection: ConnectionId) {
        self.metrics.forget(connection);
    }

    /// Forgets the counts of connections that do not exist any more.
    pub fn retain_counts(&self, exists: impl Fn(ConnectionId) -> bool) {
        self.metrics.retain(exists);
    }
}
