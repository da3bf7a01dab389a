//! A defect's row while this process leases it: what runs under the lease, and how it is given back.
//!
//! The lease is renewed as long as a run lasts. A run whose lease cannot be renewed is stopped before the
//! lease ends, so that two processes never write for one failed test.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::domain::{
    Clock, Defect, EventId, FailedTest, Journal, Lease, Marker, NotJournaled, Refusal, Verdict,
    after,
};
use crate::egress::ActiveConnection;
use crate::runtime::{Connector, Run, RunEnd};
use crate::store::{Store, StoreError};

use super::Parts;

/// A leased row, and what runs for it.
pub(super) struct LeasedDefect<'a> {
    pub(super) parts: &'a Parts,
    pub(super) active: &'a Arc<ActiveConnection>,
    pub(super) connector: &'a Arc<Connector>,
    pub(super) lease: Lease,
    pub(super) event: EventId,
}

impl LeasedDefect<'_> {
    /// Asks the circuit breaker whether a run may start.
    pub(super) fn admit(&self) -> Result<(), Refusal> {
        self.parts.connections.admit(&self.active.connection, self.connector)
    }

    /// Runs `create`; its writes are journaled under the lease.
    pub(super) async fn create(&self, test: &FailedTest, marker: &Marker) -> RunEnd<Defect> {
        let journal = Arc::new(DefectJournal {
            store: Arc::clone(&self.parts.store),
            clock: Arc::clone(&self.parts.clock),
            lease: self.lease.clone(),
        });
        let run = self.run();
        let stop = run.stop.clone();
        let end = self.renewing(stop, self.parts.sandbox.create(run, test, marker, journal)).await;
        self.parts.connections.record_run(self.active.connection.id, &end.outcome);
        end
    }

    /// Runs `find`.
    pub(super) async fn find(&self, marker: &Marker) -> RunEnd<Option<Defect>> {
        let run = self.run();
        let stop = run.stop.clone();
        let end = self.renewing(stop, self.parts.sandbox.find(run, marker)).await;
        self.parts.connections.record_run(self.active.connection.id, &end.outcome);
        end
    }

    /// Moves a row in doubt back to `intent`, as a person asked.
    pub(super) async fn back_to_intent(&self) -> Result<(), StoreError> {
        self.parts.store.back_to_intent(&self.lease, self.parts.clock.now()).await
    }

    /// Moves the row as the verdict says and gives the lease back.
    pub(super) async fn store_outcome(&self, verdict: &Verdict) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        self.parts.store.store_outcome(&self.lease, verdict, self.event, now).await
    }

    /// Gives the lease back and leaves the row as it is. Where that fails, the lease ends by itself.
    pub(super) async fn release(&self) {
        if let Err(error) = self.parts.store.release(&self.lease).await {
            tracing::warn!(defect = %self.lease.defect, %error, "cannot give a lease back");
        }
    }

    fn run(&self) -> Run {
        let (connector, active) = (Arc::clone(self.connector), Arc::clone(self.active));
        Run { connector, active, stop: CancellationToken::new() }
    }

    /// Renews the lease until the run ends. A stopped run is still awaited, so that its writes are
    /// complete.
    async fn renewing<T>(&self, stop: CancellationToken, run: impl Future<Output = T>) -> T {
        let mut run = std::pin::pin!(run);
        tokio::select! {
            biased;
            end = &mut run => return end,
            () = self.renew_until_lost() => stop.cancel(),
        }
        run.await
    }

    /// Returns when the lease is lost or about to end.
    async fn renew_until_lost(&self) {
        let lease_ms = self.parts.config.lease_ms;
        let third = Duration::from_millis(lease_ms / 3);
        let left = self.lease.until.duration_since(self.parts.clock.now());
        let mut until = Instant::now() + Duration::try_from(left).unwrap_or_default();
        loop {
            sleep(third).await;
            let asked_at = Instant::now();
            let next = after(self.parts.clock.now(), lease_ms);
            match timeout(third, self.parts.store.renew(&self.lease, next)).await {
                Ok(Ok(())) => until = asked_at + Duration::from_millis(lease_ms),
                Ok(Err(StoreError::Fenced | StoreError::NotFound(_))) => return,
                Ok(Err(_)) | Err(_) if Instant::now() + third >= until => return,
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }
}

/// What the writes of one run must pass before their first byte leaves.
struct DefectJournal {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    lease: Lease,
}

#[async_trait]
impl Journal for DefectJournal {
    async fn mark_sending(&self) -> Result<(), NotJournaled> {
        let moved = self.store.mark_sending(&self.lease, self.clock.now()).await;
        moved.map_err(|error| NotJournaled(error.to_string()))
    }

    async fn unmark(&self) {
        if let Err(error) = self.store.unmark(&self.lease, self.clock.now()).await {
            tracing::warn!(defect = %self.lease.defect, %error, "a write stays marked as sent");
        }
    }
}
