//! Counts events, runs and reloads for Prometheus, and makes traces for OpenTelemetry.
//!
//! A text that a sender, a guest or a tracker chooses never becomes the value of a label. The
//! values are, for example, names of connections, granted origins, and words of fixed lists.

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

pub use metrics_page::{CONTENT_TYPE, ConnectionState, MetricsPageState, PoolState, ServerState};
pub use trace_parent::TraceParent;
pub use traces::{TraceError, TraceSettings, Traces};

/// The counts since the start of the server: for each connection, and for the server itself.
#[derive(Debug, Default)]
pub struct Metrics {
    connections: RwLock<HashMap<ConnectionId, Arc<Counts>>>,
    unmatched_requests: Counts,
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
            Some(id) => self.counts_of(id).count_event(kind, code, ms),
            None => self.unmatched_requests.count_event(kind, code, ms),
        }
    }

    /// Counts a run and its requests. `refusal` is the reason why the run failed.
    pub fn count_run(
        &self,
        connection: &Connection,
        report: &RunReport,
        refusal: Option<&Refusal>,
    ) {
        self.counts_of(connection.id).count_run(connection, report, refusal);
    }

    /// Counts a reload of the configuration that was applied.
    pub fn count_reload(&self) {
        self.reloads.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a reload of the configuration that was refused and changed nothing.
    pub fn count_refused_reload(&self) {
        self.refused_reloads.fetch_add(1, Ordering::Relaxed);
    }

    /// Removes the counts of a connection that was deleted.
    pub fn remove_connection(&self, id: ConnectionId) {
        self.connections.write().remove(&id);
    }

    /// Removes the counts of connections that do not exist, such as those of an event that ends
    /// after its connection was deleted.
    pub fn retain_connections(&self, exists: impl Fn(ConnectionId) -> bool) {
        let has_deleted = self.connections.read().keys().any(|id| !exists(*id));
        if has_deleted {
            self.connections.write().retain(|id, _| exists(*id));
        }
    }

    fn counts_of(&self, id: ConnectionId) -> Arc<Counts> {
        if let Some(counts) = self.connections.read().get(&id) {
            return Arc::clone(counts);
        }
        Arc::clone(self.connections.write().entry(id).or_default())
    }
}

#[cfg(test)]
mod tests;
