//! The last counts of each project, for the time when the tracker is down.
//!
//! Never stores more than 100 projects for each connection: the oldest counts are deleted.

use sqlx::sqlite::{SqliteConnection, SqlitePool};

use super::columns::{CountsJson, from_json, time, to_json};
use crate::domain::ConnectionId;
use crate::store::{CachedCounts, StoreError};

const PROJECTS_MAX: u32 = 100;

/// Stores counts, unless newer ones are stored.
pub(super) async fn record(
    db: &mut SqliteConnection,
    id: ConnectionId,
    project: String,
    cached: CachedCounts,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO counts (connection_id, project, counts, counted_at) VALUES (?, ?, ?, ?)
         ON CONFLICT (connection_id, project) DO UPDATE
             SET counts = excluded.counts, counted_at = excluded.counted_at
             WHERE excluded.counted_at >= counted_at",
    )
    .bind(id.to_string())
    .bind(&project)
    .bind(to_json(&CountsJson::from(cached.counts))?)
    .bind(cached.counted_at.as_millisecond())
    .execute(&mut *db)
    .await?;
    sqlx::query(
        "DELETE FROM counts WHERE connection_id = ?1 AND rowid IN (
             SELECT rowid FROM counts WHERE connection_id = ?1
             ORDER BY counted_at DESC, rowid DESC LIMIT -1 OFFSET ?2)",
    )
    .bind(id.to_string())
    .bind(PROJECTS_MAX)
    .execute(db)
    .await?;
    Ok(())
}

/// The stored counts of one project.
pub(super) async fn get(
    pool: &SqlitePool,
    id: ConnectionId,
    project: &str,
) -> Result<Option<CachedCounts>, StoreError> {
    let row: Option<(String, i64)> = sqlx::query_as(
        "SELECT counts, counted_at FROM counts WHERE connection_id = ? AND project = ?",
    )
    .bind(id.to_string())
    .bind(project)
    .fetch_optional(pool)
    .await?;
    let Some((counts, counted_at)) = row else { return Ok(None) };
    let counts = from_json::<CountsJson>(&counts, "the counts of a project")?.into();
    Ok(Some(CachedCounts { counts, counted_at: time(counted_at)? }))
}
