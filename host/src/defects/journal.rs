//! The journal of one run: before the first byte of a write is sent, the write is marked in the row
//! of the defect or of the follow-up step.
//!
//! The journal itself never sends anything. A write that cannot be journaled is not sent.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::domain::{
    Clock, ConnectionSnapshot, FirstWrite, FollowUp, Journal, Lease, Marker, NotJournaled, Refusal,
    after,
};
use crate::store::{JournaledWrite, Store, StoreError};

use super::lease::LeasedDefect;

#[derive(Debug, Clone)]
pub(super) enum Purpose {
    /// The writes create the defect. The snapshot is stored with each write, so that a later search
    /// can use the same settings.
    Create(ConnectionSnapshot),
    FollowUp(FollowUp),
}

pub(super) struct WriteJournal {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    lease: Lease,
    /// The length of a renewed lease, milliseconds.
    lease_ms: u64,
    /// The marker that the first write should contain.
    marker: Marker,
    purpose: Purpose,
    /// The end of the lease that the last mark renewed, as time since boot; zero before the first
    /// mark.
    lease_ends_at: Mutex<Duration>,
    first_write: Mutex<FirstWrite>,
    /// The reason why the host refused the last write: it could not be journaled, or the lease had
    /// ended. `None` if the last write was not refused.
    host_refusal: Mutex<Option<Refusal>>,
}

impl WriteJournal {
    pub(super) fn new(leased: &LeasedDefect<'_>, marker: &Marker, purpose: Purpose) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::clone(&leased.deps.store),
            clock: Arc::clone(&leased.deps.clock),
            lease: leased.lease.clone(),
            lease_ms: leased.deps.config.current().lease_ms,
            marker: marker.clone(),
            purpose,
            lease_ends_at: Mutex::default(),
            first_write: Mutex::default(),
            host_refusal: Mutex::default(),
        })
    }

    /// Corrects the outcome of the run. If the host refused the last write and the connector
    /// returned an error, the host's own reason replaces this error. A returned value and a fault
    /// of the connector are not replaced.
    pub(super) fn correct_outcome<T>(&self, outcome: Result<T, Refusal>) -> Result<T, Refusal> {
        match (outcome, self.host_refusal.lock().take()) {
            (Err(fault @ Refusal::ConnectorFault(_)), _) => Err(fault),
            (Err(_), Some(host_refusal)) => Err(host_refusal),
            (outcome, _) => outcome,
        }
    }

    /// Returns a warning if the first write of the run does not contain the marker.
    pub(super) fn warning(&self) -> Option<String> {
        self.first_write.lock().warning()
    }

    async fn store_mark(&self, has_marker: bool) -> Result<(), StoreError> {
        let now = self.clock.now();
        let lease_until = after(now, self.lease_ms);
        match &self.purpose {
            Purpose::Create(run_snapshot) => {
                let snapshot = run_snapshot.clone();
                let write = JournaledWrite { has_marker, snapshot, lease_until };
                self.store.mark_sending(&self.lease, write, now).await
            }
            Purpose::FollowUp(step) => {
                self.store.mark_follow_up(&self.lease, step, has_marker, lease_until, now).await
            }
        }
    }
}

#[async_trait]
impl Journal for WriteJournal {
    fn marker(&self) -> &Marker {
        &self.marker
    }

    async fn mark_sending(&self, has_marker: bool) -> Result<(), NotJournaled> {
        let began_at = self.clock.since_boot();
        match self.store_mark(has_marker).await {
            Ok(()) => {
                self.first_write.lock().mark(has_marker);
                *self.host_refusal.lock() = None;
                *self.lease_ends_at.lock() = began_at + Duration::from_millis(self.lease_ms);
                Ok(())
            }
            Err(error) => {
                let refusal = match &error {
                    StoreError::Fenced | StoreError::NotFound(_) => Refusal::RunStopped,
                    other => Refusal::StoreUnavailable(other.to_string()),
                };
                *self.host_refusal.lock() = Some(refusal);
                Err(NotJournaled(error.to_string()))
            }
        }
    }

    fn may_send(&self) -> bool {
        let is_leased = self.clock.since_boot() < *self.lease_ends_at.lock();
        if !is_leased {
            *self.host_refusal.lock() = Some(Refusal::RunStopped);
        }
        is_leased
    }

    async fn unmark(&self) {
        let unmarked = match &self.purpose {
            Purpose::Create(_) => self.store.unmark_sending(&self.lease, self.clock.now()).await,
            Purpose::FollowUp(step) => self.store.unmark_follow_up(&self.lease, step).await,
        };
        match unmarked {
            Ok(()) => self.first_write.lock().unmark(),
            Err(error) => {
                let defect = self.lease.defect;
                tracing::warn!(%defect, %error, "cannot unmark a write that was not sent: it stays marked as sent");
            }
        }
    }
}
