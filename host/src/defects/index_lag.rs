//! Measures how late a tracker's search finds new records (the lag), by searching for records that
//! the connector has just created. Without this measurement, the host would trust a search too
//! early if a connector declared an index delay that is too short.
//!
//! The background work searches for one record of each connection at a time. A lag is measured only
//! if at least one search did not find the record.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::connections::RunRequester;
use crate::domain::{Call, Connection, ConnectionId, Marker, Settings, milliseconds};
use crate::runtime::RunInput;

use super::Defects;

/// A record that was not found by this age is no longer searched for.
const RECORD_AGE_MAX: Duration = Duration::from_secs(60 * 60);

/// The new records that are searched for, at most one for each connection.
#[derive(Clone, Default)]
pub(super) struct NewRecords(Arc<Mutex<HashMap<ConnectionId, NewRecord>>>);

/// A new record that no search has found yet.
#[derive(Clone)]
struct NewRecord {
    marker: Marker,
    /// The settings of the create, in which a routing rule may have replaced some. The connection's
    /// settings may have changed since.
    settings: Settings,
    /// The end of the create, as time since boot.
    created_at: Duration,
    /// The record's age when the last search did not find it; zero before the first search.
    missed_age: Duration,
}

impl NewRecord {
    /// Whether the next search is due. The waits grow with the record's age.
    fn is_due(&self, age: Duration) -> bool {
        age >= self.missed_age + self.missed_age / 2
    }
}

impl NewRecords {
    /// Does nothing if another record of the connection is already searched for.
    pub(super) fn add_record(
        &self,
        connection: &Connection,
        marker: &Marker,
        created_at: Duration,
    ) {
        self.0.lock().entry(connection.id).or_insert_with(|| NewRecord {
            marker: marker.clone(),
            settings: connection.settings.clone(),
            created_at,
            missed_age: Duration::ZERO,
        });
    }

    fn records(&self) -> Vec<(ConnectionId, NewRecord)> {
        self.0.lock().iter().map(|(id, created)| (*id, created.clone())).collect()
    }

    /// Records whether a search that began `age` after the create found the record. Returns the lag
    /// if the search measured it. Forgets the record if it was found or is too old.
    fn record_search(&self, id: ConnectionId, was_found: bool, age: Duration) -> Option<Duration> {
        let mut all = self.0.lock();
        let created = all.get_mut(&id)?;
        if !was_found && age < RECORD_AGE_MAX {
            created.missed_age = age;
            return None;
        }
        let created = all.remove(&id)?;
        (was_found && !created.missed_age.is_zero()).then_some(age)
    }
}

impl Defects {
    /// Searches for the new records, and stores each lag that is measured.
    pub async fn measure_index_lags(&self) {
        let new_records = &self.deps.process_state.new_records;
        for (id, created) in new_records.records() {
            let age = self.deps.clock.since_boot().saturating_sub(created.created_at);
            if !created.is_due(age) {
                continue;
            }
            let Some(found) = self.is_found(id, &created).await else {
                new_records.record_search(id, false, RECORD_AGE_MAX);
                continue;
            };
            let Some(lag) = new_records.record_search(id, found, age) else { continue };
            if let Err(error) = self.deps.store.record_index_lag(id, milliseconds(lag)).await {
                tracing::warn!(%error, "cannot store how late a search finds new records");
            }
        }
    }

    /// Whether a search finds the record; `None` if the connector cannot search, or if the search
    /// could not start or failed.
    async fn is_found(&self, id: ConnectionId, created: &NewRecord) -> Option<bool> {
        let connections = &self.deps.connections;
        let active = connections.active(id).filter(|active| !active.connection.paused)?;
        let connector = connections.connector_for(&active.connection).ok()?;
        connector.manifest().index_delay_s?;
        connections
            .allow_run(&active.connection, &connector, Call::Find, RunRequester::Background)
            .ok()?;
        let active = Arc::new(active.with_settings(created.settings.clone()));
        let run = RunInput::new(connector, active);
        let outcome = self.deps.sandbox.find(run, &created.marker).await.outcome;
        connections.record_outcome(id, Call::Find, created.marker.as_str(), &outcome);
        Some(!outcome.ok()?.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::FailedTest;

    #[test]
    fn a_lag_is_measured_only_if_a_search_missed_the_record() {
        let id = ConnectionId(Uuid::from_u128(1));
        let connector = "test".parse().unwrap();
        let connection =
            Connection::new(id, "qa".to_owned(), connector, jiff::Timestamp::UNIX_EPOCH);
        let test = FailedTest::new(Uuid::from_u128(2), Uuid::from_u128(3), None, None);
        let marker = Marker::derive(id, &test, 1);
        let seconds = Duration::from_secs;
        let new_records = NewRecords::default();
        new_records.add_record(&connection, &marker, seconds(100));
        assert_eq!(
            new_records.record_search(id, true, seconds(5)),
            None,
            "found by the first search"
        );
        new_records.add_record(&connection, &marker, seconds(100));
        new_records.add_record(&connection, &marker, seconds(999));
        assert_eq!(
            new_records.records()[0].1.created_at,
            seconds(100),
            "only one record at a time"
        );
        assert_eq!(new_records.record_search(id, false, seconds(5)), None);
        assert!(
            !new_records.records()[0].1.is_due(seconds(7))
                && new_records.records()[0].1.is_due(seconds(8))
        );
        assert_eq!(new_records.record_search(id, true, seconds(20)), Some(seconds(20)));
        new_records.add_record(&connection, &marker, seconds(100));
        assert_eq!(new_records.record_search(id, false, RECORD_AGE_MAX), None);
        assert!(new_records.records().is_empty(), "no search after the maximum age");
    }
}
