//! What the host does by itself, round by round: it searches for defects in doubt whose button nobody
//! presses again, reads what other replicas changed, and forgets old events and
//! compiled code that nobody uses.
//!
//! Only ever runs `find`: it adopts or leaves a row as it is, never creates.

use std::time::Duration;

use futures_util::StreamExt;
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::domain::{
    Claimed, DefectRecord, Event, EventId, EventKind, Lease, Marker, Outcome, Received, Refusal,
    Verdict,
};
use crate::store::Retention;

use super::Dispatch;
use super::held::{Held, after};

/// Rows that one round looks at.
const ROUND_MAX: u32 = 16;
/// Searches at a time.
const AT_ONCE: usize = 4;
/// Requests that reached no connection and are kept: anybody can send those.
const NO_CONNECTION_MAX: u64 = 1_000;

impl Dispatch {
    /// Looks for defects in doubt until cancelled; also reads connections that other replicas
    /// changed. A search under way comes to its end.
    pub fn spawn_sweep(&self, cancel: CancellationToken) {
        let dispatch = self.clone();
        let pause = Duration::from_millis(self.config().sweep_ms);
        let mut versions = self.registry().changes();
        self.inner.tasks.spawn(cancel.clone().run_until_cancelled_owned(self.clone().restore()));
        self.inner.tasks.spawn(async move {
            let mut next = Instant::now() + pause;
            loop {
                tokio::select! {
                    () = cancel.cancelled() => return,
                    Ok(()) = versions.changed() => dispatch.follow_versions().await,
                    () = sleep_until(next) => {
                        dispatch.round().await;
                        next = Instant::now() + pause;
                    }
                }
            }
        });
    }

    async fn round(&self) {
        if let Err(error) = self.load().await {
            tracing::warn!(%error, "the connections could not be read again");
        }
        self.follow_versions().await;
        self.sweep().await;
        self.forget_old_events().await;
        let accepted = self.inner.directory.accepted().into_iter();
        self.registry().forget_unused(accepted.map(|(_, sha256)| sha256).collect()).await;
    }

    async fn restore(self) {
        self.registry().restore(self.inner.directory.accepted()).await;
    }

    async fn forget_old_events(&self) {
        let config = self.config();
        let kept = Duration::from_secs(u64::from(config.events_days) * 24 * 60 * 60);
        let retention = Retention {
            events_since: self.clock().now().saturating_sub(kept).unwrap_or(Timestamp::MIN),
            events_max: config.events_max,
            no_connection_max: NO_CONNECTION_MAX,
        };
        if let Err(error) = self.store().prune(retention).await {
            tracing::warn!(%error, "old events stay for now");
        }
    }

    async fn sweep(&self) {
        let run_ms = self.config().longest_run_ms();
        match self.store().due_doubts(self.clock().now(), run_ms, ROUND_MAX).await {
            Ok(due) => {
                futures_util::stream::iter(due)
                    .for_each_concurrent(AT_ONCE, |record| self.look_for(record))
                    .await;
            }
            Err(error) => tracing::warn!(%error, "defects in doubt could not be read"),
        }
    }

    async fn look_for(&self, record: DefectRecord) {
        let Some(entry) = self.inner.directory.by_id(record.connection) else { return };
        let now = self.clock().now();
        let until = after(now, self.config().lease_ms);
        let runner = self.inner.parts.runner;
        match self.store().claim_doubtful(record.id, runner, now, until).await {
            Ok(Some(Claimed::Find { lease, marker, .. })) => {
                let event = EventId::fresh();
                let held = Held { dispatch: self, access: &entry.access, lease, event };
                // Claimed also where it rests: the next round must come to the rows behind it.
                if entry.access.connection.paused {
                    held.leave().await;
                } else {
                    self.search(&held, &marker).await;
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(defect = %record.id, %error, "a defect in doubt was not claimed");
            }
        }
    }

    async fn search(&self, held: &Held<'_>, marker: &Marker) {
        let (received_at, began) = (self.clock().now(), Instant::now());
        let connector = match self.admit(held.access) {
            Ok(connector) => connector,
            // Nothing ran, so there is nothing to show; requests tell of the same refusal.
            Err(_) => return held.leave().await,
        };
        let end = held.find(connector, marker).await;
        let outcome = match end.outcome {
            Ok(Some(defect)) => match held.settle(&Verdict::Created(defect)).await {
                Ok(()) => Outcome::word("adopted"),
                Err(error) => Outcome::from(&Refusal::StoreDown(error.to_string())),
            },
            // A tracker that cannot search: only a person moves the row on.
            Ok(None) | Err(Refusal::Unsupported(_)) => return held.leave().await,
            Err(refusal) => {
                held.leave().await;
                Outcome::from(&refusal)
            }
        };
        let Lease { defect, .. } = held.lease;
        self.store().record_event(Event {
            id: held.event,
            connection: Some(held.access.connection.id),
            kind: EventKind::Sweep,
            received_at,
            ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            status: None,
            outcome,
            request: Received::default(),
            defect: Some(defect),
        });
        self.store().record_run(held.event, end.report);
    }
}
