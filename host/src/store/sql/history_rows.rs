//! Converts a batch of history records into rows, and writes the rows with few statements.
//!
//! Never decides what is recorded.

use std::collections::{BTreeMap, BTreeSet};

use super::database::Database;
use super::events::{ConnectionHealth, EventRow, LaterStepsAndRuns};
use super::unwritten_history::HistoryRecord;
use super::{counts, events, recordings};
use crate::domain::{Call, ConnectionId, EventId, RunRecording};
use crate::store::{CachedCounts, StoreError};

/// A change of the history: a new row, a changed row, or deleted rows.
pub(in crate::store) enum HistoryRow {
    /// The last success and the last error of a connection.
    ConnectionHealth(ConnectionId, ConnectionHealth),
    Event(Box<EventRow>),
    /// Steps and runs of an event that is already stored.
    LaterStepsAndRuns(LaterStepsAndRuns),
    Recordings(EventId, Vec<(Call, RunRecording)>),
    Counts(ConnectionId, String, CachedCounts),
    /// Deletes the oldest counts of a connection if it has counts of too many projects.
    SurplusCounts(ConnectionId),
}

/// The rows of a batch. Rows that several servers may change are sorted by their keys. So all
/// servers of a database lock these rows in the same order, and cannot deadlock.
pub(in crate::store) struct HistoryRows {
    /// All rows except those in `health`.
    pub(in crate::store) rows: Vec<HistoryRow>,
    /// The rows with the last success and the last error of each connection. Several servers change
    /// these rows, so they are written to a shared database in a separate short transaction.
    pub(in crate::store) health: Vec<HistoryRow>,
}

pub(in crate::store) fn make_rows(history: Vec<HistoryRecord>) -> HistoryRows {
    let mut health: BTreeMap<ConnectionId, ConnectionHealth> = BTreeMap::new();
    let (mut event_rows, mut recordings, mut counts) = (BTreeMap::new(), Vec::new(), Vec::new());
    for record in history {
        match record {
            HistoryRecord::Event { id, event, steps, mut runs } => {
                let run_recordings = recordings::take_recordings(&mut runs);
                if !run_recordings.is_empty() {
                    recordings.push(HistoryRow::Recordings(id, run_recordings));
                }
                let connection = event.as_ref().and_then(|event| Some((event.connection?, event)));
                if let Some((connection, event)) = connection {
                    health.entry(connection).or_default().add(event);
                }
                let row = match event {
                    Some(event) => EventRow::new(event, &steps, runs)
                        .map(|row| Some(HistoryRow::Event(Box::new(row)))),
                    None => LaterStepsAndRuns::new(id, &steps, runs)
                        .map(|later| later.map(HistoryRow::LaterStepsAndRuns)),
                };
                match row {
                    Ok(row) => event_rows.extend(row.map(|row| (id, row))),
                    Err(error) => log_unwritten(&error),
                }
            }
            HistoryRecord::Counts { connection, project, counts: counted } => {
                counts.push((connection, project, counted));
            }
            HistoryRecord::DiscardEvent(_) => {}
        }
    }
    counts.sort_by(|(a, a_project, _), (b, b_project, _)| (a, a_project).cmp(&(b, b_project)));
    let surplus: BTreeSet<_> = counts.iter().map(|(connection, ..)| *connection).collect();
    let counts =
        counts.into_iter().map(|(id, project, counts)| HistoryRow::Counts(id, project, counts));
    let surplus = surplus.into_iter().map(HistoryRow::SurplusCounts);
    let rows = event_rows.into_values().chain(recordings).chain(counts).chain(surplus).collect();
    let health =
        health.into_iter().map(|(id, health)| HistoryRow::ConnectionHealth(id, health)).collect();
    HistoryRows { rows, health }
}

/// If one row cannot be written, logs the error and returns false.
pub(in crate::store) fn write(rows: &[HistoryRow], db: &dyn Database) -> bool {
    let written = try_write(rows, db);
    if let Err(error) = &written {
        log_unwritten(error);
    }
    written.is_ok()
}

fn try_write(rows: &[HistoryRow], db: &dyn Database) -> Result<(), StoreError> {
    let new_events = rows.iter().filter_map(|row| match row {
        HistoryRow::Event(event) => Some(&**event),
        _ => None,
    });
    // Write events before recordings: a recording refers to its event.
    events::store(db, &new_events.collect::<Vec<_>>())?;
    for row in rows {
        match row {
            HistoryRow::Event(_) => {}
            HistoryRow::ConnectionHealth(id, health) => health.store(db, *id)?,
            HistoryRow::LaterStepsAndRuns(later) => later.store(db)?,
            HistoryRow::Recordings(event, runs) => recordings::store(db, *event, runs)?,
            HistoryRow::Counts(id, project, counts) => {
                counts::record(db, *id, project, counts, counts::NEWER_THAN_QUEUED_MS_MAX)?;
            }
            HistoryRow::SurplusCounts(id) => counts::delete_oldest(db, *id)?,
        }
    }
    Ok(())
}

fn log_unwritten(error: &StoreError) {
    tracing::debug!(%error, "a part of the history was not stored");
}
