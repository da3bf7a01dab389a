//! The moves of a defect's row by the run that holds its lease.
//!
//! Each move carries the lease's fence and changes nothing if the row has a newer one. A run that
//! lost its lease can never move the row again.

use jiff::Timestamp;
use sqlx::sqlite::SqliteConnection;

use super::columns::{DefectJson, to_json};
use super::doubts::SEARCH_WAIT_MS;
use crate::domain::{DefectState, EventId, Lease, Verdict, Words};
use crate::store::StoreError;

/// Extends a lease, also one that has ended, unless another runner took it over.
pub(super) async fn renew(
    db: &mut SqliteConnection,
    lease: Lease,
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
    require_one(moved.rows_affected())
}

/// Moves the row to `sent`. The lease must not have ended, even if no other runner took it.
pub(super) async fn mark_sending(
    db: &mut SqliteConnection,
    lease: Lease,
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
    require_one(moved.rows_affected())
}

/// Undoes one [`mark_sending`]. When none is left, the row is in `intent` again.
pub(super) async fn unmark(
    db: &mut SqliteConnection,
    lease: Lease,
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
    require_one(moved.rows_affected())
}

/// Ends a run. The lease may have ended, if no other runner moved the row since. A row in doubt
/// never becomes `failed` here: only a person gives it up.
pub(super) async fn store_outcome(
    db: &mut SqliteConnection,
    lease: Lease,
    verdict: Verdict,
    event: EventId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (state, defect, reason, ended) = match verdict {
        Verdict::Created(defect) => (DefectState::Created, Some(defect), None, None),
        Verdict::Failed(refusal) => (DefectState::Failed, None, Some(refusal.to_string()), None),
        Verdict::InDoubt { reason, write_ended_at } => {
            (DefectState::InDoubt, None, Some(reason), Some(write_ended_at))
        }
    };
    let defect = defect.map(|defect| to_json(&DefectJson::from(defect))).transpose()?;
    let moved = sqlx::query(
        "UPDATE defects SET state = ?3, lease_until = NULL, defect = ?4, reason = ?5,
             write_ended_at = COALESCE(?6, write_ended_at), searches = 0, next_search_at = ?7,
             retry = 0, event_id = ?8, updated_at = ?9
         WHERE id = ?1 AND fence = ?2 AND released = 0
           AND (state IN ('intent', 'sent') OR state = 'in-doubt' AND ?3 <> 'failed')",
    )
    .bind(lease.defect.to_string())
    .bind(lease.fence)
    .bind(state.as_str())
    .bind(defect)
    .bind(reason)
    .bind(ended.map(Timestamp::as_millisecond))
    .bind(now.as_millisecond().saturating_add(SEARCH_WAIT_MS))
    .bind(event.to_string())
    .bind(now.as_millisecond())
    .execute(db)
    .await?;
    require_one(moved.rows_affected())
}

/// Moves a row in doubt back to `intent`, if a person asked for a retry.
pub(super) async fn back_to_intent(
    db: &mut SqliteConnection,
    lease: Lease,
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
    require_one(moved.rows_affected())
}

/// Releases the lease without changing the state.
pub(super) async fn release(db: &mut SqliteConnection, lease: Lease) -> Result<(), StoreError> {
    let moved = sqlx::query(
        "UPDATE defects SET lease_until = NULL
         WHERE id = ?1 AND fence = ?2 AND state IN ('intent', 'sent', 'in-doubt')",
    )
    .bind(lease.defect.to_string())
    .bind(lease.fence)
    .execute(db)
    .await?;
    require_one(moved.rows_affected())
}

/// The row was not moved if its fence is newer, its state does not fit, or it was deleted.
fn require_one(moved: u64) -> Result<(), StoreError> {
    if moved == 1 { Ok(()) } else { Err(StoreError::Fenced) }
}
