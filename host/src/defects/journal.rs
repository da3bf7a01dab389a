//! The journal of one run: each write is stored before its first byte is sent.
//!
//! Never sends anything. A write that cannot be journaled is not sent.

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

/// The purpose of the writes of a run.
#[derive(Debug, Clone)]
pub(super) enum Purpose {
    /// The writes create the defect. The snapshot is stored with each, so that a later search can
    /// use the same settings.
    Create(ConnectionSnapshot),
    /// The writes take this step.
    FollowUp(FollowUp),
}

/// The journal of the writes of one run.
pub(super) struct WriteJournal {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    lease: Lease,
    lease_ms: u64,
    marker: Marker,
    purpose: Purpose,
    /// Until when the lease is valid that the last mark renewed, as time since boot.
    live_until: Mutex<Duration>,
    first: Mutex<FirstWrite>,
    /// The reason why the host did not journal or send the last write.
    refused: Mutex<Option<Refusal>>,
}

impl WriteJournal {
    pub(super) fn new(leased: &LeasedDefect<'_>, marker: &Marker, purpose: Purpose) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::clone(&leased.deps.store),
            clock: Arc::clone(&leased.deps.clock),
            lease: leased.lease.clone(),
            lease_ms: leased.deps.config.now().lease_ms,
            marker: marker.clone(),
            purpose,
            live_until: Mutex::default(),
            first: Mutex::default(),
            refused: Mutex::default(),
        })
    }

    /// The outcome of the run. If the host itself refused the last write, an error that the
    /// connector then returned only reports this, so the host's reason takes its place. A returned
    /// value and a fault of the connector stay.
    pub(super) fn outcome_of_run<T>(&self, outcome: Result<T, Refusal>) -> Result<T, Refusal> {
        match (outcome, self.refused.lock().take()) {
            (Err(fault @ Refusal::ConnectorFault(_)), _) => Err(fault),
            (Err(_), Some(refused)) => Err(refused),
            (outcome, _) => outcome,
        }
    }

    /// A warning if the first write of the run does not contain the marker.
    pub(super) fn warning(&self) -> Option<String> {
        self.first.lock().warning()
    }

    async fn mark(&self, has_marker: bool) -> Result<(), StoreError> {
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
        let asked_at = self.clock.since_boot();
        match self.mark(has_marker).await {
            Ok(()) => {
                self.first.lock().mark(has_marker);
                *self.refused.lock() = None;
                *self.live_until.lock() = asked_at + Duration::from_millis(self.lease_ms);
                Ok(())
            }
            Err(error) => {
                let refusal = match &error {
                    StoreError::Fenced | StoreError::NotFound(_) => Refusal::RunStopped,
                    other => Refusal::StoreUnavailable(other.to_string()),
                };
                *self.refused.lock() = Some(refusal);
                Err(NotJournaled(error.to_string()))
            }
        }
    }

    fn may_send(&self) -> bool {
        let live = self.clock.since_boot() < *self.live_until.lock();
        if !live {
            *self.refused.lock() = Some(Refusal::RunStopped);
        }
        live
    }

    async fn unmark(&self) {
        let unmarked = match &self.purpose {
            Purpose::Create(_) => self.store.unmark(&self.lease, self.clock.now()).await,
            Purpose::FollowUp(step) => self.store.unmark_follow_up(&self.lease, step).await,
        };
        match unmarked {
            Ok(()) => self.first.lock().unmark(),
            Err(error) => {
                tracing::warn!(defect = %self.lease.defect, %error, "cannot unmark a write: it stays marked as sent");
            }
        }
    }
}
