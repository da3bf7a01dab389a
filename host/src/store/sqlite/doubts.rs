//! Defects in doubt: which are due for a search, and what a start makes of the rows of dead runs.
//!
//! Never decides that nothing was created: only a search or a person does.

use jiff::Timestamp;
use sqlx::sqlite::SqliteConnection;

use super::columns::{signed, time, uuid};
use super::defect_records::Row;
use crate::domain::{Claimed, ConnectionId, DefectId, DefectRecord, Lease, Marker, RunnerId};
use crate::store::StoreError;

/// The wait before the first search; it doubles with each search, up to the maximum.
pub(super) const SEARCH_WAIT_MS: i64 = 15_000;
const SEARCH_WAIT_MS_MAX: i64 = 3_600_000;

/// The reason of a doubt whose run did not store an outcome.
pub(super) const RUN_LOST: &str = "the run ended without an outcome after a write had left";
const INTERRUPTED: &str =
    "the host ended while the event was in progress; the next request returns its outcome";

/// Takes a lease on a row in doubt for a search by the sweep, and sets the time of the next one.
pub(super) async fn claim_doubtful(
    db: &mut SqliteConnection,
    id: DefectId,
    runner: RunnerId,
    now: Timestamp,
    lease_until: Timestamp,
) -> Result<Option<Claimed>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "UPDATE defects SET fence = fence + 1, lease_until = ?2, runner = ?3,
             searches = searches + 1, next_search_at = ?4 + MIN(?6, ?5 << MIN(searches, 16))
         WHERE id = ?1 AND state = 'in-doubt' AND COALESCE(lease_until, 0) <= ?4
         RETURNING *",
    )
    .bind(id.to_string())
    .bind(lease_until.as_millisecond())
    .bind(runner.0.to_string())
    .bind(now.as_millisecond())
    .bind(SEARCH_WAIT_MS)
    .bind(SEARCH_WAIT_MS_MAX)
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let lease = Lease { defect: id, fence: row.fence, until: lease_until };
    let write_ended_at = time(row.write_ended_at.unwrap_or(row.updated_at))?;
    let connection = ConnectionId(uuid(&row.connection_id)?);
    let marker = Marker::derive(connection, &row.test()?, row.generation);
    Ok(Some(Claimed::Find { lease, marker, write_ended_at, retry: row.retry }))
}

/// The rows in doubt whose next search is due. Rows in `sent` whose lease ended are in doubt, too.
pub(super) async fn due_doubts(
    db: &mut SqliteConnection,
    now: Timestamp,
    run_ms: u64,
    limit: u32,
) -> Result<Vec<DefectRecord>, StoreError> {
    doubt_lost_runs(db, now, run_ms).await?;
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT * FROM defect_records
         WHERE state = 'in-doubt' AND COALESCE(lease_until, 0) <= ?1
           AND COALESCE(next_search_at, 0) <= ?1
         ORDER BY next_search_at LIMIT ?2",
    )
    .bind(now.as_millisecond())
    .bind(limit)
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Row::record).collect()
}

/// Voids every lease: the processes that held them are dead. A row in `sent` becomes in doubt.
pub(super) async fn recover(
    db: &mut SqliteConnection,
    now: Timestamp,
    run_ms: u64,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE defects SET lease_until = NULL, fence = fence + 1 WHERE lease_until IS NOT NULL",
    )
    .execute(&mut *db)
    .await?;
    sqlx::query(
        "UPDATE events SET outcome = 'interrupted', detail = ?1, defect_id = COALESCE(defect_id, (
             SELECT id FROM defects
             WHERE event_id = events.id AND state IN ('intent', 'sent', 'in-doubt')))
         WHERE outcome = 'running'",
    )
    .bind(INTERRUPTED)
    .execute(&mut *db)
    .await?;
    doubt_lost_runs(db, now, run_ms).await
}

async fn doubt_lost_runs(
    db: &mut SqliteConnection,
    now: Timestamp,
    run_ms: u64,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE defects SET state = 'in-doubt', lease_until = NULL, reason = ?3, searches = 0,
             write_ended_at = COALESCE(sent_at, updated_at) + ?2, next_search_at = ?1,
             updated_at = ?1
         WHERE state = 'sent' AND COALESCE(lease_until, 0) <= ?1",
    )
    .bind(now.as_millisecond())
    .bind(signed(run_ms))
    .bind(RUN_LOST)
    .execute(db)
    .await?;
    Ok(())
}
