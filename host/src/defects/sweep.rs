//! The background search for defects in doubt that nobody clicks again.
//!
//! Only ever runs `find`: it adopts a defect or leaves the row as it is, and never creates.

use futures_util::StreamExt;
use tokio::time::Instant;

use crate::domain::{
    Claimed, DefectRecord, Event, EventId, EventKind, Marker, Outcome, OutcomeCode, Received,
    Refusal, Verdict, after, milliseconds,
};

use super::Defects;
use super::lease::LeasedDefect;

/// Rows that one round searches for.
const ROUND_MAX: u32 = 16;
/// Searches at a time.
const CONCURRENT_MAX: usize = 4;

impl Defects {
    /// Searches for the defects in doubt that are due.
    pub async fn sweep(&self) {
        let run_ms = self.parts.config.longest_run_ms();
        match self.parts.store.due_doubts(self.parts.clock.now(), run_ms, ROUND_MAX).await {
            Ok(due) => {
                futures_util::stream::iter(due)
                    .for_each_concurrent(CONCURRENT_MAX, |record| self.search_for(record))
                    .await;
            }
            Err(error) => tracing::warn!(%error, "cannot read the defects in doubt"),
        }
    }

    async fn search_for(&self, record: DefectRecord) {
        let Some(active) = self.parts.connections.active(record.connection) else { return };
        let now = self.parts.clock.now();
        let until = after(now, self.parts.config.lease_ms);
        let claimed = self.parts.store.claim_doubtful(record.id, self.parts.runner, now, until);
        let (lease, marker) = match claimed.await {
            Ok(Some(Claimed::Find { lease, marker, .. })) => (lease, marker),
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(defect = %record.id, %error, "cannot claim a defect in doubt");
                return;
            }
        };
        // Rows of paused and unavailable connections are claimed too, so that their back-off advances and
        // later rows get their turn. Nothing runs for them, so there is no event to show.
        let serving = self.parts.connections.serving(&active.connection);
        let (Ok(connector), false) = (serving, active.connection.paused) else {
            if let Err(error) = self.parts.store.release(&lease).await {
                tracing::warn!(defect = %record.id, %error, "cannot give a lease back");
            }
            return;
        };
        let (parts, event) = (&self.parts, EventId::fresh());
        let leased = LeasedDefect { parts, active: &active, connector: &connector, lease, event };
        match leased.admit() {
            Ok(()) => self.search(&leased, &marker).await,
            Err(_) => leased.release().await,
        }
    }

    async fn search(&self, leased: &LeasedDefect<'_>, marker: &Marker) {
        let (received_at, started) = (self.parts.clock.now(), Instant::now());
        let end = leased.find(marker).await;
        let outcome = match end.outcome {
            Ok(Some(defect)) => match leased.store_outcome(&Verdict::Created(defect)).await {
                Ok(()) => Outcome::from(OutcomeCode::Adopted),
                Err(error) => Outcome::from(&Refusal::StoreUnavailable(error.to_string())),
            },
            // Where the tracker cannot search, only a person moves the row on.
            Ok(None) | Err(Refusal::Unsupported(_)) => return leased.release().await,
            Err(refusal) => {
                leased.release().await;
                Outcome::from(&refusal)
            }
        };
        self.parts.store.record_event(Event {
            id: leased.event,
            connection: Some(leased.active.connection.id),
            kind: EventKind::Sweep,
            received_at,
            ms: milliseconds(started.elapsed()),
            status: None,
            outcome,
            request: Received::default(),
            defect: Some(leased.lease.defect),
        });
        self.parts.store.record_run(leased.event, end.report);
    }
}
