//! The search for a defect in doubt: whether it is possible, with which settings it runs, and
//! whether a search that found nothing shows that it can see.
//!
//! Never creates anything, and never moves the row: the caller does.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{
    Defect, DoubtfulDefect, Next, Refusal, SeenByRun, Settings, Unresolvable, Waits,
};
use crate::egress::ActiveConnection;
use crate::store::StoreError;

use super::lease::LeasedDefect;

/// What a search came to.
pub(super) enum Searched {
    /// The oldest defect that contains the marker, and the keys of the others.
    Found(Defect, Vec<String>),
    /// None: what follows, and the refusal of a search that failed.
    Not(Next, Option<Refusal>),
}

impl LeasedDefect<'_> {
    /// Searches for a defect in doubt and says what follows.
    pub(super) async fn search(&self, doubtful: &DoubtfulDefect) -> Searched {
        let doubt = &doubtful.doubt;
        let Some(waits) = self.waits() else {
            return Searched::Not(doubt.without_search(Unresolvable::NoSearch), None);
        };
        if !doubt.has_marker {
            return Searched::Not(doubt.without_search(Unresolvable::NoMarker), None);
        }
        let active = self.as_seen(doubtful.seen.as_ref());
        let began_at = self.deps.clock.now();
        let mut found = match self.run_find(&active, &doubtful.marker).await {
            Ok(found) => found.into_iter(),
            Err(refusal) => {
                return Searched::Not(doubt.after_failed_search(&refusal), Some(refusal));
            }
        };
        if let Some(oldest) = found.next() {
            return Searched::Found(oldest, found.map(|defect| defect.key).collect());
        }
        match self.deps.restart_waits_after_a_step().await {
            Ok(false) => {}
            // The begin of the search cannot be compared with the wait.
            Ok(true) => return Searched::Not(Next::SearchAt(self.deps.clock.now()), None),
            Err(error) => return try_later(&error),
        }
        match doubt.after_none(began_at, waits) {
            Next::CreateIfSearchSees => {
                let indexed_by = before(began_at, waits.index_delay_ms);
                self.test_search(doubtful, &active, indexed_by).await
            }
            next => Searched::Not(next, None),
        }
    }

    /// How long to wait before a search is believed: the longest of what the connector and the
    /// connection say, and twice what was measured; `None` if the connector cannot search.
    pub(super) fn waits(&self) -> Option<Waits> {
        let connection = &self.active.connection;
        let declared_s = self.connector.manifest().index_delay_s?.max(connection.index_delay_s);
        let measured_ms = self.deps.connections.index_lag_ms(connection.id);
        let index_delay_ms = (u64::from(declared_s) * 1_000).max(measured_ms.saturating_mul(2));
        let in_doubt_ms = self.deps.config.in_doubt_s.map(|seconds| u64::from(seconds) * 1_000);
        Some(Waits { index_delay_ms, in_doubt_ms })
    }

    /// Searches the same way for the newest defects that the same connector made with the same
    /// settings, and that the tracker's search must find: those that were stored by `indexed_by`.
    async fn test_search(
        &self,
        doubtful: &DoubtfulDefect,
        active: &Arc<ActiveConnection>,
        indexed_by: Timestamp,
    ) -> Searched {
        // A row of an earlier version, or of a restored database, does not say what its write saw.
        let seen = match doubtful.seen.clone().map_or_else(|| self.seen_now(), Ok) {
            Ok(seen) => seen,
            Err(refusal) => return Searched::Not(Next::TryLater, Some(refusal)),
        };
        let id = self.active.connection.id;
        let controls = match self.deps.store.controls(id, &seen, indexed_by).await {
            Ok(controls) => controls,
            Err(error) => return try_later(&error),
        };
        for control in &controls {
            match self.run_find(active, &control.marker).await {
                Ok(found) if found.is_empty() => {}
                Ok(_) => return Searched::Not(Next::Create, None),
                Err(refusal) => {
                    let next = doubtful.doubt.after_failed_search(&refusal);
                    return Searched::Not(next, Some(refusal));
                }
            }
        }
        let keys = controls.into_iter().map(|control| control.key).collect();
        Searched::Not(doubtful.doubt.after_control(keys), None)
    }

    /// The connection as the write saw it, with today's secrets; as it is today where an origin of
    /// then is not granted any more.
    pub(super) fn as_seen(&self, seen: Option<&SeenByRun>) -> Arc<ActiveConnection> {
        let granted = &self.active.connection.grants.origins;
        let settings = seen
            .filter(|seen| seen.origins.iter().all(|origin| granted.contains(origin)))
            .and_then(|seen| serde_json::from_str::<Settings>(&seen.settings).ok())
            .filter(|settings| *settings != self.active.connection.settings);
        match settings {
            Some(settings) => Arc::new(self.active.with_settings(settings)),
            None => Arc::clone(self.active),
        }
    }
}

/// The store failed: the search is not believed.
fn try_later(error: &StoreError) -> Searched {
    Searched::Not(Next::TryLater, Some(Refusal::StoreUnavailable(error.to_string())))
}

/// The instant so many milliseconds earlier.
fn before(now: Timestamp, ms: u64) -> Timestamp {
    now.saturating_sub(Duration::from_millis(ms)).unwrap_or(Timestamp::MIN)
}
