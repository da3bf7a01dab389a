//! The last known counts of each project, for when the tracker is down.
//!
//! Never grows past a hundred projects a connection: the oldest go.

use sqlx::sqlite::{SqliteConnection, SqlitePool};

use super::columns::{CountsJson, from_json, time, to_json};
use crate::domain::ConnectionId;
use crate::store::{KnownCounts, StoreError};

const PROJECTS: u32 = 100;

/// Remembers counts, unless newer ones are known.
pub(super) async fn record(
    db: &mut SqliteConnection,
    id: ConnectionId,
    project: &str,
    known: KnownCounts,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO counts (connection_id, project, counts, counted_at) VALUES (?, ?, ?, ?)
         ON CONFLICT (connection_id, project) DO UPDATE
             SET counts = excluded.counts, counted_at = excluded.counted_at
             WHERE excluded.counted_at >= counted_at",
    )
    .bind(id.to_string())
    .bind(project)
    .bind(to_json(&CountsJson::from(known.counts))?)
    .bind(known.counted_at.as_millisecond())
    .execute(&mut *db)
    .await?;
    sqlx::query(
        "DELETE FROM counts WHERE connection_id = ?1 AND rowid IN (
             SELECT rowid FROM counts WHERE connection_id = ?1
             ORDER BY counted_at DESC, rowid DESC LIMIT -1 OFFSET ?2)",
    )
    .bind(id.to_string())
    .bind(PROJECTS)
    .execute(db)
    .await?;
    Ok(())
}

/// The last known counts of one project.
pub(super) async fn known(
    pool: &SqlitePool,
    id: ConnectionId,
    project: &str,
) -> Result<Option<KnownCounts>, StoreError> {
    let row: Option<(String, i64)> = sqlx::query_as(
        "SELECT counts, counted_at FROM counts WHERE connection_id = ? AND project = ?",
    )
    .bind(id.to_string())
    .bind(project)
    .fetch_optional(pool)
    .await?;
    let Some((counts, counted_at)) = row else { return Ok(None) };
    let counts = from_json::<CountsJson>(&counts)?.into();
    Ok(Some(KnownCounts { counts, counted_at: time(counted_at)? }))
}
