//! A defect's row and its moves: the SQL that claims a failed test, lets a write out and settles it.
//!
//! Every move is one transaction of the writer. A move under a lease carries its fence and changes
//! nothing where the fence is older: whoever was fenced out can never move the row again.

use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use uuid::Uuid;

use super::columns::{DefectJson, signed, time, to_json, uuid, word};
use super::records::{Row, newest};
use crate::domain::{
    Claimed, ConnectionId, Defect, DefectId, DefectRecord, DefectState, EventId, FailedTest, Lease,
    Marker, RunnerId, Verdict,
};
use crate::store::{Claim, StoreError};

/// Wait before the first look for a defect in doubt; doubles with each look, up to the last.
const FIRST_LOOK_MS: i64 = 15_000;
const LAST_LOOK_MS: i64 = 3_600_000;

/// The defect of a failed test whose newest row says `created`.
pub(super) async fn known(
    pool: &SqlitePool,
    connection: ConnectionId,
    test: &FailedTest,
) -> Result<Option<(DefectId, Defect)>, StoreError> {
    match newest(pool, connection, test).await? {
        Some(row) if row.state == DefectState::Created.as_str() && !row.closed => {
            row.known_defect()?.map(|defect| Ok((row.id()?, defect))).transpose()
        }
        _ => Ok(None),
    }
}

/// Claims a failed test.
pub(super) async fn claim(
    db: &mut SqliteConnection,
    claim: Claim<'_>,
) -> Result<Claimed, StoreError> {
    let Some(row) = newest(&mut *db, claim.connection, claim.test).await? else {
        return begin(db, claim, 1).await;
    };
    if row.closed {
        return begin(db, claim, row.generation.saturating_add(1)).await;
    }
    let state = word(DefectState::from_word(&row.state), "a state")?;
    if state == DefectState::Created {
        return row.created();
    }
    if let Some(until) = row.lease_until.filter(|until| *until > claim.now.as_millisecond()) {
        return Ok(Claimed::Busy { until: time(until)? });
    }
    match state {
        DefectState::Sent | DefectState::InDoubt => look_for(db, &row, &claim).await,
        _ => run_again(db, &row, &claim).await,
    }
}

/// First claim of a generation: the row appears in `intent`.
async fn begin(
    db: &mut SqliteConnection,
    claim: Claim<'_>,
    generation: u32,
) -> Result<Claimed, StoreError> {
    let id = DefectId(Uuid::now_v7());
    let marker = Marker::derive(claim.connection, claim.test, generation);
    let (execution, case, variation) = claim.test.key();
    let inserted = sqlx::query(
        "INSERT INTO defects (id, connection_id, test_execution_id, test_case_id, variation_id,
             generation, test_link, marker, state, fence, lease_until, runner, event_id,
             created_at, updated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'intent', 1, ?, ?, ?, ?, ?)",
    )
    .bind(id.to_string())
    .bind(claim.connection.to_string())
    .bind(execution)
    .bind(case)
    .bind(variation)
    .bind(generation)
    .bind(claim.test.link.as_deref())
    .bind(marker.as_str())
    .bind(claim.lease_until.as_millisecond())
    .bind(claim.runner.0.to_string())
    .bind(claim.event.to_string())
    .bind(claim.now.as_millisecond())
    .bind(claim.now.as_millisecond())
    .execute(db)
    .await;
    match inserted {
        Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
            Err(StoreError::NotFound("connection"))
        }
        Err(error) => Err(error.into()),
        Ok(_) => {
            let lease = Lease { defect: id, fence: 1, until: claim.lease_until };
            Ok(Claimed::Create { lease, marker, generation })
        }
    }
}

/// Takes a row over from which provably nothing left: `failed`, or `intent` with a dead lease.
async fn run_again(
    db: &mut SqliteConnection,
    row: &Row,
    claim: &Claim<'_>,
) -> Result<Claimed, StoreError> {
    sqlx::query(
        "UPDATE defects SET state = 'intent', fence = fence + 1, lease_until = ?2, runner = ?3,
             event_id = ?4, test_link = ?5, reason = NULL, writes = 0, sent_at = NULL,
             write_ended_at = NULL, updated_at = ?6
         WHERE id = ?1",
    )
    .bind(&row.id)
    .bind(claim.lease_until.as_millisecond())
    .bind(claim.runner.0.to_string())
    .bind(claim.event.to_string())
    .bind(claim.test.link.as_deref())
    .bind(claim.now.as_millisecond())
    .execute(db)
    .await?;
    Ok(Claimed::Create {
        lease: row.next_lease(claim.lease_until)?,
        marker: Marker::derive(claim.connection, claim.test, row.generation),
        generation: row.generation,
    })
}

/// Takes a row over from which something may have left: `in-doubt`, or `sent` with a dead lease.
async fn look_for(
    db: &mut SqliteConnection,
    row: &Row,
    claim: &Claim<'_>,
) -> Result<Claimed, StoreError> {
    let ended = match row.state.as_str() {
        "sent" => row.sent_at.map(|at| at.saturating_add(signed(claim.run_ms))),
        _ => row.write_ended_at,
    };
    let ended = ended.unwrap_or(row.updated_at);
    sqlx::query(
        "UPDATE defects SET state = 'in-doubt', fence = fence + 1, lease_until = ?2, runner = ?3,
             event_id = ?4, write_ended_at = ?5, reason = COALESCE(reason, ?6),
             next_look_at = COALESCE(next_look_at, ?7), updated_at = ?7
         WHERE id = ?1",
    )
    .bind(&row.id)
    .bind(claim.lease_until.as_millisecond())
    .bind(claim.runner.0.to_string())
    .bind(claim.event.to_string())
    .bind(ended)
    .bind(LOST)
    .bind(claim.now.as_millisecond())
    .execute(db)
    .await?;
    Ok(Claimed::Find {
        lease: row.next_lease(claim.lease_until)?,
        marker: Marker::derive(claim.connection, claim.test, row.generation),
        write_ended_at: time(ended)?,
        retry: row.retry,
    })
}

/// A row in doubt for which nothing was found goes back to `intent`, where a person asked for that.
pub(super) async fn create_after_all(
    db: &mut SqliteConnection,
    lease: &Lease,
    now: Timestamp,
) -> Result<(), StoreError> {
    let moved = sqlx::query(
        "UPDATE defects SET state = 'intent', retry = 0, reason = NULL, writes = 0, sent_at = NULL,
             write_ended_at = NULL, updated_at = ?3
         WHERE id = ?1 AND fence = ?2 AND lease_until > ?3 AND state = 'in-doubt' AND retry = 1",
    )
    .bind(lease.defect.to_string())
    .bind(lease.fence)
    .bind(now.as_millisecond())
    .execute(db)
    .await?;
    fenced_unless(moved.rows_affected())
}

const LOST: &str = "the run ended without word after a write was let out";
const CUT_OFF: &str = "the host ended while this ran; the next click answers what became of it";

/// Takes a lease on a row in doubt that nobody holds, for a look of the sweep; each is followed by a longer
/// wait.
pub(super) async fn claim_doubtful(
    db: &mut SqliteConnection,
    id: DefectId,
    runner: RunnerId,
    now: Timestamp,
    lease_until: Timestamp,
) -> Result<Option<Claimed>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "UPDATE defects SET fence = fence + 1, lease_until = ?2, runner = ?3, looks = looks + 1,
             next_look_at = ?4 + MIN(?6, ?5 << MIN(looks, 16))
         WHERE id = ?1 AND state = 'in-doubt' AND COALESCE(lease_until, 0) <= ?4
         RETURNING *",
    )
    .bind(id.to_string())
    .bind(lease_until.as_millisecond())
    .bind(runner.0.to_string())
    .bind(now.as_millisecond())
    .bind(FIRST_LOOK_MS)
    .bind(LAST_LOOK_MS)
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let lease = Lease { defect: id, fence: row.fence, until: lease_until };
    let write_ended_at = time(row.write_ended_at.unwrap_or(row.updated_at))?;
    let marker =
        Marker::derive(ConnectionId(uuid(&row.connection_id)?), &row.test()?, row.generation);
    Ok(Some(Claimed::Find { lease, marker, write_ended_at, retry: row.retry }))
}

/// Rows in doubt that are due for a look; `sent` rows that nobody holds any more become such.
pub(super) async fn due_doubts(
    db: &mut SqliteConnection,
    now: Timestamp,
    run_ms: u64,
    limit: u32,
) -> Result<Vec<DefectRecord>, StoreError> {
    doubt_lost_writes(db, now, run_ms).await?;
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT * FROM defect_records
         WHERE state = 'in-doubt' AND COALESCE(lease_until, 0) <= ?1
           AND COALESCE(next_look_at, 0) <= ?1
         ORDER BY next_look_at LIMIT ?2",
    )
    .bind(now.as_millisecond())
    .bind(limit)
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Row::record).collect()
}

/// Voids every lease: the processes that held them are dead. What was `sent` is in doubt now.
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
    .bind(CUT_OFF)
    .execute(&mut *db)
    .await?;
    doubt_lost_writes(db, now, run_ms).await
}

async fn doubt_lost_writes(
    db: &mut SqliteConnection,
    now: Timestamp,
    run_ms: u64,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE defects SET state = 'in-doubt', lease_until = NULL, reason = ?3, looks = 0,
             write_ended_at = COALESCE(sent_at, updated_at) + ?2, next_look_at = ?1,
             updated_at = ?1
         WHERE state = 'sent' AND COALESCE(lease_until, 0) <= ?1",
    )
    .bind(now.as_millisecond())
    .bind(signed(run_ms))
    .bind(LOST)
    .execute(db)
    .await?;
    Ok(())
}

/// Prolongs a lease that nobody took over.
pub(super) async fn renew(
    db: &mut SqliteConnection,
    lease: &Lease,
    until: Timestamp,
) -> Result<(), StoreError> {
    let moved = sqlx::query(
        "UPDATE defects SET lease_until = ?3
         WHERE id = ?1 AND fence = ?2 AND lease_until IS NOT NULL",
    )
    .bind(lease.defect.to_string())
    .bind(lease.fence)
    .bind(until.as_millisecond())
    .execute(db)
    .await?;
    fenced_unless(moved.rows_affected())
}

/// Lets a write out: the lease must be live, not only unclaimed by others.
pub(super) async fn sent(
    db: &mut SqliteConnection,
    lease: &Lease,
    now: Timestamp,
) -> Result<(), StoreError> {
    let moved = sqlx::query(
        "UPDATE defects SET state = 'sent', writes = writes + 1, sent_at = ?3, updated_at = ?3
         WHERE id = ?1 AND fence = ?2 AND lease_until > ?3 AND state IN ('intent', 'sent')",
    )
    .bind(lease.defect.to_string())
    .bind(lease.fence)
    .bind(now.as_millisecond())
    .execute(db)
    .await?;
    fenced_unless(moved.rows_affected())
}

/// Takes one `sent` back; with the last of them the row is in `intent` again.
pub(super) async fn unsent(
    db: &mut SqliteConnection,
    lease: &Lease,
    now: Timestamp,
) -> Result<(), StoreError> {
    let moved = sqlx::query(
        "UPDATE defects SET writes = writes - 1, updated_at = ?3,
             state = CASE WHEN writes = 1 THEN 'intent' ELSE 'sent' END,
             sent_at = CASE WHEN writes = 1 THEN NULL ELSE sent_at END
         WHERE id = ?1 AND fence = ?2 AND state = 'sent' AND writes > 0",
    )
    .bind(lease.defect.to_string())
    .bind(lease.fence)
    .bind(now.as_millisecond())
    .execute(db)
    .await?;
    fenced_unless(moved.rows_affected())
}

/// Ends a run. A lease that ran out may still settle, as long as nobody moved the row since. What is
/// in doubt never fails here: only a person gives it up.
pub(super) async fn settle(
    db: &mut SqliteConnection,
    lease: &Lease,
    verdict: &Verdict,
    event: EventId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (state, defect, reason, ended) = match verdict {
        Verdict::Unchanged => return give_back(db, lease).await,
        Verdict::Created(defect) => (DefectState::Created, Some(defect.clone()), None, None),
        Verdict::Failed(refusal) => (DefectState::Failed, None, Some(refusal.to_string()), None),
        Verdict::InDoubt { reason, write_ended_at } => {
            (DefectState::InDoubt, None, Some(reason.clone()), Some(*write_ended_at))
        }
    };
    let defect = defect.map(|defect| to_json(&DefectJson::from(defect))).transpose()?;
    let moved = sqlx::query(
        "UPDATE defects SET state = ?3, lease_until = NULL, defect = ?4, reason = ?5,
             write_ended_at = COALESCE(?6, write_ended_at), looks = 0, next_look_at = ?7, retry = 0,
             event_id = ?8, updated_at = ?9
         WHERE id = ?1 AND fence = ?2 AND closed = 0
           AND (state IN ('intent', 'sent') OR state = 'in-doubt' AND ?3 <> 'failed')",
    )
    .bind(lease.defect.to_string())
    .bind(lease.fence)
    .bind(state.as_str())
    .bind(defect)
    .bind(reason)
    .bind(ended.map(Timestamp::as_millisecond))
    .bind(now.as_millisecond().saturating_add(FIRST_LOOK_MS))
    .bind(event.to_string())
    .bind(now.as_millisecond())
    .execute(db)
    .await?;
    fenced_unless(moved.rows_affected())
}

/// Gives the lease back and leaves the row as it is.
async fn give_back(db: &mut SqliteConnection, lease: &Lease) -> Result<(), StoreError> {
    let moved = sqlx::query(
        "UPDATE defects SET lease_until = NULL
         WHERE id = ?1 AND fence = ?2 AND state IN ('intent', 'sent', 'in-doubt')",
    )
    .bind(lease.defect.to_string())
    .bind(lease.fence)
    .execute(db)
    .await?;
    fenced_unless(moved.rows_affected())
}

fn fenced_unless(moved: u64) -> Result<(), StoreError> {
    if moved == 1 { Ok(()) } else { Err(StoreError::Fenced) }
}
