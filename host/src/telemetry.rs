//! Counts events, runs and reloads for Prometheus, and makes traces for OpenTelemetry. The only
//! room with prometheus-client and opentelemetry.
//!
//! Allocates nothing for an event whose connection and kind were counted before. A text that a
//! sender, a guest or a tracker chooses never becomes a label: the labels are names of connections
//! and connectors, origins that a person granted, and words of fixed lists.

mod counts;
mod histogram;
mod metrics_page;
mod trace_parent;
mod traces;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::domain::{Connection, ConnectionId, EventKind, OutcomeCode, Refusal, RunReport};

use counts::Counts;

pub use metrics_page::{CONTENT_TYPE, ConnectionState, PoolState, ServerState, State};
pub use trace_parent::TraceParent;
pub use traces::{TraceError, TraceSettings, Traces};

/// What happened since the start, for each connection and for the server.
#[derive(Debug, Default)]
pub struct Metrics {
    connections: RwLock<HashMap<ConnectionId, Arc<Counts>>>,
    /// Events of requests that matched no connection.
    unmatched: Counts,
    reloads: AtomicU64,
    refused_reloads: AtomicU64,
}

impl Metrics {
    /// Counts an event that has ended.
    pub fn count_event(
        &self,
        connection: Option<ConnectionId>,
        kind: EventKind,
        code: OutcomeCode,
        ms: u64,
    ) {
        match connection {
            Some(id) => self.of(id).count_event(kind, code, ms),
            None => self.unmatched.count_event(kind, code, ms),
        }
    }

    /// Counts a run of a connection, with its requests; `refusal` says why it failed.
    pub fn count_run(
        &self,
        connection: &Connection,
        report: &RunReport,
        refusal: Option<&Refusal>,
    ) {
        self.of(connection.id).count_run(connection, report, refusal);
    }

    /// Counts a reload of the configuration.
    pub fn count_reload(&self) {
        self.reloads.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a reload of the configuration that was refused, and so changed nothing.
    pub fn count_refused_reload(&self) {
        self.refused_reloads.fetch_add(1, Ordering::Relaxed);
    }

    /// Forgets a connection that was deleted.
    pub fn forget(&self, id: ConnectionId) {
        self.connections.write().remove(&id);
    }

    /// Forgets the connections that do not exist: an event may end after its connection was
    /// deleted.
    pub fn retain(&self, exists: impl Fn(ConnectionId) -> bool) {
        let has_deleted = self.connections.read().keys().any(|id| !exists(*id));
        if has_deleted {
            self.connections.write().retain(|id, _| exists(*id));
        }
    }

    fn of(&self, id: ConnectionId) -> Arc<Counts> {
        if let Some(counts) = self.connections.read().get(&id) {
            return Arc::clone(counts);
        }
        Arc::clone(self.connections.write().entry(id).or_default())
    }
}

#[cfg(test)]
mod tests;
