//! Stores the last counts of each project.
//!
//! When a connection has counts of more than 100 projects, only the newest 80 stay.

use super::columns::{CountsJson, from_json, time, to_json};
use super::database::{Database, params};
use crate::domain::{ConnectionId, after};
use crate::store::{CachedCounts, StoreError};

/// Maximum number of projects of a connection whose counts are stored.
const PROJECTS_MAX: i64 = 100;
/// How many projects remain after a deletion. Each deletion removes several projects, because
/// finding the oldest ones takes longer than storing a project.
const PROJECTS_AFTER_DELETION: i64 = 80;
/// Maximum number of projects that one operation deletes. There are never so many, but SQLite
/// requires a limit before an offset.
const DELETES_MAX: u32 = 100_000;
/// How much newer stored counts may be than counts that waited in the queue of the history,
/// milliseconds. If the stored counts are even newer, the clock was set back after they were
/// stored.
pub(super) const NEWER_THAN_QUEUED_MS_MAX: u64 = 10 * 60 * 1_000;

/// Stores counts, unless newer counts are stored. Stored counts that are newer by more than
/// `newer_max_ms` are replaced, because they were stored before the clock was set back.
pub(super) fn record(
    db: &dyn Database,
    id: ConnectionId,
    project: &str,
    cached: &CachedCounts,
    newer_max_ms: u64,
) -> Result<(), StoreError> {
    let newest_valid = after(cached.counted_at, newer_max_ms);
    db.change(
        "INSERT INTO counts (connection_id, project, counts, counted_at) VALUES (?, ?, ?, ?)
         ON CONFLICT (connection_id, project) DO UPDATE
             SET counts = excluded.counts, counted_at = excluded.counted_at
             WHERE excluded.counted_at >= counts.counted_at OR counts.counted_at > ?",
        params![
            id.0,
            project,
            to_json(&CountsJson::from(cached.counts.clone()))?,
            cached.counted_at.as_millisecond(),
            newest_valid.as_millisecond()
        ],
    )?;
    Ok(())
}

/// Deletes the oldest counts of a connection that has counts of too many projects. Call this after
/// [`record`].
pub(super) fn delete_oldest(db: &dyn Database, id: ConnectionId) -> Result<(), StoreError> {
    let sql = "SELECT COUNT(*) FROM counts WHERE connection_id = ?";
    let stored: i64 = db.required_row(sql, params![id.0])?;
    if stored <= PROJECTS_MAX {
        return Ok(());
    }
    db.change(
        "DELETE FROM counts WHERE connection_id = ?1 AND rowid IN (
             SELECT rowid FROM counts WHERE connection_id = ?1
             ORDER BY counted_at DESC, rowid DESC LIMIT ?3 OFFSET ?2)",
        params![id.0, PROJECTS_AFTER_DELETION, DELETES_MAX],
    )?;
    Ok(())
}

pub(super) fn get(
    db: &dyn Database,
    id: ConnectionId,
    project: &str,
) -> Result<Option<CachedCounts>, StoreError> {
    let row: Option<(String, i64)> = db.first_row(
        "SELECT counts, counted_at FROM counts WHERE connection_id = ? AND project = ?",
        params![id.0, project],
    )?;
    let Some((counts, counted_at)) = row else { return Ok(None) };
    let counts = from_json::<CountsJson>(&counts, "the counts of a project")?.into();
    Ok(Some(CachedCounts { counts, counted_at: time(counted_at)? }))
}

pub(super) fn last_project(
    db: &dyn Database,
    id: ConnectionId,
) -> Result<Option<String>, StoreError> {
    let sql = "SELECT project FROM counts WHERE connection_id = ?
               ORDER BY counted_at DESC, rowid DESC LIMIT 1";
    Ok(db.first_row(sql, params![id.0])?)
}
