//! Searches for a defect in doubt. This file decides whether a search is possible, which settings
//! it uses, and whether a search that found nothing can be trusted.
//!
//! This file never creates a defect and never changes the state of the row.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{
    ConnectionSnapshot, Defect, Doubt, DoubtAction, DoubtfulDefect, EmptySearchDecision, Refusal,
    Settings, UnresolvableReason, Waits,
};
use crate::egress::ActiveConnection;
use crate::store::{ControlDefect, StoreError};

use super::lease::LeasedDefect;

pub(super) enum SearchResult {
    /// The oldest defect that contains the marker (the connector returns this defect first), and
    /// the keys of the other defects that contain the marker.
    Found(Defect, Vec<String>),
    /// No defect was found. The values are the next step and, if the search failed, the reason.
    NotFound(DoubtAction, Option<Refusal>),
}

impl LeasedDefect<'_> {
    pub(super) async fn search(&self, doubtful: &DoubtfulDefect) -> SearchResult {
        let doubt = &doubtful.doubt;
        let Some(waits) = self.search_waits() else {
            return SearchResult::NotFound(
                doubt.action_without_search(UnresolvableReason::NoSearch),
                None,
            );
        };
        if !doubt.has_marker {
            return SearchResult::NotFound(
                doubt.action_without_search(UnresolvableReason::NoMarker),
                None,
            );
        }
        let active = self.with_snapshot(doubtful.snapshot.as_ref());
        let began_at = self.deps.clock.now();
        let mut found = match self.run_find(&active, &doubtful.marker).await {
            Ok(found) => found.into_iter(),
            Err(refusal) => {
                return SearchResult::NotFound(
                    doubt.action_after_failed_search(&refusal),
                    Some(refusal),
                );
            }
        };
        if let Some(oldest) = found.next() {
            return SearchResult::Found(oldest, found.map(|defect| defect.key).collect());
        }
        match self.deps.restart_waits_if_clock_stepped().await {
            Ok(false) => {}
            // The start of the search cannot be compared with the wait, because the clock stepped.
            Ok(true) => {
                return SearchResult::NotFound(DoubtAction::SearchAt(self.deps.clock.now()), None);
            }
            Err(error) => return try_later(&error),
        }
        match doubt.decide_after_empty_search(began_at, waits) {
            EmptySearchDecision::CheckSearch => {
                let indexed_by = milliseconds_before(began_at, waits.index_delay_ms);
                self.run_control_search(doubtful, &active, indexed_by).await
            }
            EmptySearchDecision::Decided(next) => SearchResult::NotFound(next, None),
        }
    }

    /// Returns how long to wait before a search that finds nothing is trusted. The index delay is
    /// the longest of three values: the delay that the connector declares, the delay that the
    /// connection sets, and twice the measured delay. `None` if the connector cannot search.
    pub(super) fn search_waits(&self) -> Option<Waits> {
        let connection = &self.active.connection;
        let declared_s = self.connector.manifest().index_delay_s?.max(connection.index_delay_s);
        let measured_ms = self.deps.connections.index_lag_ms(connection.id);
        let index_delay_ms = (u64::from(declared_s) * 1_000).max(measured_ms.saturating_mul(2));
        let in_doubt_ms =
            self.deps.config.current().in_doubt_s.map(|seconds| u64::from(seconds) * 1_000);
        Some(Waits { index_delay_ms, in_doubt_ms })
    }

    /// Checks that the search works: if the same version of the connector created other defects
    /// with the same settings, the search must find one of the newest. Only defects that were
    /// stored at `indexed_by` or earlier count.
    async fn run_control_search(
        &self,
        doubtful: &DoubtfulDefect,
        active: &Arc<ActiveConnection>,
        indexed_by: Timestamp,
    ) -> SearchResult {
        // Rows that an earlier version of Jackfield wrote, and rows of a restored database, may
        // have no snapshot.
        let run_snapshot = doubtful.snapshot.clone().unwrap_or_else(|| self.snapshot_now());
        let id = self.active.connection.id;
        let controls = match self.deps.store.control_defects(id, &run_snapshot, indexed_by).await {
            Ok(controls) => controls,
            Err(error) => return try_later(&error),
        };
        let find = |control: ControlDefect| async move {
            let found = self.run_find(active, &control.marker).await;
            found.map(|found| !found.is_empty())
        };
        match control_search(&doubtful.doubt, controls, find).await {
            Ok(next) => SearchResult::NotFound(next, None),
            Err(refusal) => {
                let next = doubtful.doubt.action_after_failed_search(&refusal);
                SearchResult::NotFound(next, Some(refusal))
            }
        }
    }

    /// Does the same as [`Self::with_snapshot`], for calls that get the key of a defect. Returns
    /// `None` if an origin of the earlier run is no longer granted, because the same key may be
    /// another defect in another tracker.
    pub(super) fn in_same_tracker(
        &self,
        run_snapshot: Option<&ConnectionSnapshot>,
    ) -> Option<Arc<ActiveConnection>> {
        let is_granted = run_snapshot.is_none_or(|snapshot| self.grants_all(snapshot));
        is_granted.then(|| self.with_snapshot(run_snapshot))
    }

    fn grants_all(&self, run_snapshot: &ConnectionSnapshot) -> bool {
        let granted = &self.active.connection.grants.origins;
        run_snapshot.origins.iter().all(|origin| granted.contains(origin))
    }

    /// Returns the connection with the settings that an earlier run used, and with the current
    /// secrets. If that run is not known, or one of its origins is no longer granted, the current
    /// settings are used.
    pub(super) fn with_snapshot(
        &self,
        run_snapshot: Option<&ConnectionSnapshot>,
    ) -> Arc<ActiveConnection> {
        let settings = run_snapshot
            .filter(|snapshot| self.grants_all(snapshot))
            .and_then(|snapshot| serde_json::from_str::<Settings>(&snapshot.settings).ok())
            .filter(|settings| *settings != self.active.connection.settings);
        match settings {
            Some(settings) => Arc::new(self.active.with_settings(settings)),
            None => Arc::clone(&self.active),
        }
    }
}

/// Checks that a search works: if there are known records in `controls`, `find` must find at least
/// one of them. Otherwise an earlier search that found nothing cannot be trusted. Returns `Err` if
/// one of these searches failed.
pub(super) async fn control_search<F: Future<Output = Result<bool, Refusal>>>(
    doubt: &Doubt,
    controls: Vec<ControlDefect>,
    find: impl Fn(ControlDefect) -> F,
) -> Result<DoubtAction, Refusal> {
    let mut not_found = Vec::new();
    for control in controls {
        let key = control.key.clone();
        if find(control).await? {
            return Ok(DoubtAction::Create);
        }
        not_found.push(key);
    }
    Ok(doubt.action_after_control_search(not_found))
}

fn try_later(error: &StoreError) -> SearchResult {
    SearchResult::NotFound(
        DoubtAction::TryLater,
        Some(Refusal::StoreUnavailable(error.to_string())),
    )
}

fn milliseconds_before(now: Timestamp, ms: u64) -> Timestamp {
    now.saturating_sub(Duration::from_millis(ms)).unwrap_or(Timestamp::MIN)
}
