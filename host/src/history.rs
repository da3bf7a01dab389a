//! The history: the only way to record an event or a run. What is recorded is stored, and counted for
//! `/metrics`.
//!
//! Never waits: the store writes later.

use std::sync::Arc;

use crate::domain::{
    Connection, ConnectionId, Event, EventId, EventKind, OutcomeCode, Refusal, RunReport,
};
use crate::store::Store;
use crate::telemetry::Metrics;

/// Records events and their runs.
pub struct History {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
}

impl History {
    /// Stores in `store`, and counts in `metrics`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, metrics: Arc<Metrics>) -> Self {
        Self { store, metrics }
    }

    /// Stores an event that has begun, so that it can be found even if a crash interrupts it.
    pub fn begin(&self, event: Event) {
        self.store.record_event(event);
    }

    /// Records an event that has ended.
    pub fn end(&self, event: Event) {
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
        event: EventId,
        report: RunReport,
        outcome: &Result<T, Refusal>,
    ) {
        self.metrics.count_run(connection, &report, outcome.as_ref().err());
        self.store.record_run(event, report);
    }

    /// Forgets the counts of a connection that was deleted.
    pub fn forget(&self, connection: ConnectionId) {
        self.metrics.forget(connection);
    }
}
