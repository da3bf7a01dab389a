//! The rows of one batch of the history: made of its records, and written with few statements.
//!
//! Never decides what is recorded. A row that cannot be written does not affect the others, if the
//! caller then writes each row alone.

use std::collections::{BTreeMap, BTreeSet};

use super::database::Database;
use super::events::{EventRow, Health, LaterParts};
use super::history::Record;
use super::{counts, events, recordings};
use crate::domain::{Call, ConnectionId, EventId, RunRecording};
use crate::store::{CachedCounts, StoreError};

/// One row of the history, or one change of a row.
pub(in crate::store) enum HistoryRow {
    /// The last success and the last error of a connection.
    Health(ConnectionId, Health),
    Event(Box<EventRow>),
    /// Steps and runs of an event that has its row.
    LaterParts(LaterParts),
    Recordings(EventId, Vec<(Call, RunRecording)>),
    Counts(ConnectionId, String, CachedCounts),
    /// Deletes the oldest counts of a connection that has those of too many projects.
    SurplusCounts(ConnectionId),
}

/// The rows of a batch. Rows that several servers change are sorted by their ids, so that the
/// servers of one database lock them in the same order.
pub(in crate::store) struct HistoryRows {
    pub(in crate::store) rows: Vec<HistoryRow>,
    /// The rows of connections, which all servers change. An engine with several servers writes
    /// them in a short transaction of their own, so that no server waits for the events of another.
    pub(in crate::store) health: Vec<HistoryRow>,
}

/// Makes the rows of a batch.
pub(in crate::store) fn rows(history: Vec<Record>) -> HistoryRows {
    let mut health: BTreeMap<ConnectionId, Health> = BTreeMap::new();
    let (mut event_rows, mut recordings, mut counts) = (BTreeMap::new(), Vec::new(), Vec::new());
    for record in history {
        match record {
            Record::Event(id, event, steps, mut runs) => {
                let recorded = recordings::take(&mut runs);
                if !recorded.is_empty() {
                    recordings.push(HistoryRow::Recordings(id, recorded));
                }
                let connection = event.as_ref().and_then(|event| Some((event.connection?, event)));
                if let Some((connection, event)) = connection {
                    health.entry(connection).or_default().add(event);
                }
                let row = match event {
                    Some(event) => EventRow::new(event, &steps, runs)
                        .map(|row| Some(HistoryRow::Event(Box::new(row)))),
                    None => LaterParts::new(id, &steps, runs)
                        .map(|parts| parts.map(HistoryRow::LaterParts)),
                };
                match row {
                    Ok(row) => event_rows.extend(row.map(|row| (id, row))),
                    Err(error) => log_unwritten(&error),
                }
            }
            Record::Counts { connection, project, counts: counted } => {
                counts.push((connection, project, counted));
            }
            Record::NoEvent(_) => {}
        }
    }
    counts.sort_by(|(a, a_project, _), (b, b_project, _)| (a, a_project).cmp(&(b, b_project)));
    let surplus: BTreeSet<_> = counts.iter().map(|(connection, ..)| *connection).collect();
    let counts =
        counts.into_iter().map(|(id, project, counts)| HistoryRow::Counts(id, project, counts));
    let surplus = surplus.into_iter().map(HistoryRow::SurplusCounts);
    let rows = event_rows.into_values().chain(recordings).chain(counts).chain(surplus).collect();
    let health = health.into_iter().map(|(id, health)| HistoryRow::Health(id, health)).collect();
    HistoryRows { rows, health }
}

/// Writes rows, all new events together; false if that failed.
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
    // Before their recordings, which refer to them.
    events::store(db, &new_events.collect::<Vec<_>>())?;
    for row in rows {
        match row {
            HistoryRow::Event(_) => {}
            HistoryRow::Health(id, health) => health.store(db, *id)?,
            HistoryRow::LaterParts(parts) => parts.store(db)?,
            HistoryRow::Recordings(event, runs) => recordings::store(db, *event, runs)?,
            HistoryRow::Counts(id, project, counts) => {
                counts::record(db, *id, project, counts, counts::WAITED_MAX_MS)?;
            }
            HistoryRow::SurplusCounts(id) => counts::delete_oldest(db, *id)?,
        }
    }
    Ok(())
}

fn log_unwritten(error: &StoreError) {
    tracing::debug!(%error, "a part of the history was not stored");
}
