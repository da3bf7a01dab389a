//! A defect's row while this process holds its lease: what runs under it, and how it is given back.
//!
//! The lease is renewed as long as a run lasts; a run whose lease cannot be renewed is stopped
//! before the lease ends, so that two processes never write for one failed test.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::connector::{Access, Connector, Run, RunEnd};
use crate::domain::{
    Clock, Defect, EventId, FailedTest, Journal, Lease, Marker, NotJournalled, Verdict,
};
use crate::store::{Store, StoreError};

use super::Dispatch;

/// A held row.
pub(super) struct Held<'a> {
    pub(super) dispatch: &'a Dispatch,
    pub(super) access: &'a Arc<Access>,
    pub(super) lease: Lease,
    pub(super) event: EventId,
}

impl Held<'_> {
    /// Runs `create`; its writes are journalled under the lease.
    pub(super) async fn create(
        &self,
        connector: Arc<Connector>,
        test: &FailedTest,
        marker: &Marker,
    ) -> RunEnd<Defect> {
        let journal = Arc::new(DefectJournal {
            store: self.dispatch.store().clone(),
            clock: self.dispatch.clock().clone(),
            lease: self.lease.clone(),
        });
        let run = self.run(connector);
        let stop = run.stop.clone();
        let sandbox = &self.dispatch.inner.parts.sandbox;
        let end = self.keep(stop, sandbox.create(run, test, marker, journal)).await;
        self.dispatch.note_run(self.access, &end.outcome);
        end
    }

    /// Runs `find`.
    pub(super) async fn find(
        &self,
        connector: Arc<Connector>,
        marker: &Marker,
    ) -> RunEnd<Option<Defect>> {
        let run = self.run(connector);
        let stop = run.stop.clone();
        let end = self.keep(stop, self.dispatch.inner.parts.sandbox.find(run, marker)).await;
        self.dispatch.note_run(self.access, &end.outcome);
        end
    }

    /// Moves a row in doubt back to `intent`, as a person asked.
    pub(super) async fn create_after_all(&self) -> Result<(), StoreError> {
        let now = self.dispatch.clock().now();
        self.dispatch.store().create_after_all(&self.lease, now).await
    }

    /// Moves the row and gives the lease back.
    pub(super) async fn settle(&self, verdict: &Verdict) -> Result<(), StoreError> {
        let now = self.dispatch.clock().now();
        self.dispatch.store().settle(&self.lease, verdict, self.event, now).await
    }

    /// Gives the lease back and leaves the row as it is. Where that fails, the lease ends by itself.
    pub(super) async fn leave(&self) {
        if let Err(error) = self.settle(&Verdict::Unchanged).await {
            tracing::warn!(defect = %self.lease.defect, %error, "a lease was not given back");
        }
    }

    fn run(&self, connector: Arc<Connector>) -> Run {
        Run { connector, access: self.access.clone(), stop: CancellationToken::new() }
    }

    /// Renews the lease until the run ends. A stopped run is still awaited: its writes come to
    /// their end.
    async fn keep<T>(&self, stop: CancellationToken, run: impl Future<Output = T>) -> T {
        let mut run = std::pin::pin!(run);
        tokio::select! {
            biased;
            end = &mut run => return end,
            () = self.renew() => stop.cancel(),
        }
        run.await
    }

    /// Returns when the lease is lost or about to end.
    async fn renew(&self) {
        let store = self.dispatch.store();
        let lease_ms = self.dispatch.config().lease_ms;
        let third = Duration::from_millis(lease_ms / 3);
        let mut until = Instant::now() + left(&self.lease, self.dispatch.clock().now());
        loop {
            sleep(third).await;
            let (asked, now) = (Instant::now(), self.dispatch.clock().now());
            let renewed = store.renew(&self.lease, after(now, lease_ms));
            match timeout(third, renewed).await {
                Ok(Ok(())) => until = asked + Duration::from_millis(lease_ms),
                Ok(Err(StoreError::Fenced | StoreError::NotFound(_))) => return,
                Ok(Err(_)) | Err(_) if Instant::now() + third >= until => return,
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }
}

/// So many milliseconds after an instant.
pub(super) fn after(now: Timestamp, ms: u64) -> Timestamp {
    now.saturating_add(Duration::from_millis(ms)).unwrap_or(Timestamp::MAX)
}

fn left(lease: &Lease, now: Timestamp) -> Duration {
    Duration::try_from(lease.until.duration_since(now)).unwrap_or_default()
}

/// The gate that writes of one run pass.
struct DefectJournal {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    lease: Lease,
}

#[async_trait]
impl Journal for DefectJournal {
    async fn sent(&self) -> Result<(), NotJournalled> {
        let moved = self.store.sent(&self.lease, self.clock.now()).await;
        moved.map_err(|error| NotJournalled(error.to_string()))
    }

    async fn unsent(&self) {
        if let Err(error) = self.store.unsent(&self.lease, self.clock.now()).await {
            tracing::warn!(defect = %self.lease.defect, %error, "a write stays marked as sent");
        }
    }
}
