//! Claims a failed test for an event. A claim decides what the event does next: for example create
//! the defect, search for it first, or wait.
//!
//! A claim runs in one transaction. Only one of several concurrent claims gets the lease. Each
//! lease of a row has a larger fence than the lease before.

use jiff::Timestamp;
use uuid::Uuid;

use super::columns::parse_stored_enum;
use super::database::{Database, params};
use super::defect_records::{DefectRow, read_newest_row};
use super::doubts::{self, SEARCH_WAIT_MS};
use super::recurrences::{self, OtherFailure};
use crate::domain::{
    Claimed, ConnectionId, Defect, DefectId, DefectState, FailedTest, Lease, Marker,
    StringEnum as _,
};
use crate::store::{Claim, StoreError};

/// The reason that people see for a defect that is in doubt because the database was restored.
pub(super) const RESTORED_DATABASE_REASON: &str =
    "the database was restored, or fell behind, and may have lost this defect";

/// Returns the defect of a failed test, if its row is in `created` and was not released.
pub(super) fn created_defect(
    db: &dyn Database,
    connection: ConnectionId,
    test: &FailedTest,
) -> Result<Option<(DefectId, Defect)>, StoreError> {
    let Some(row) = read_newest_row(db, connection, test)? else { return Ok(None) };
    if row.released || row.state != DefectState::Created.as_str() {
        return Ok(None);
    }
    Ok(Some(row.id_and_defect()?))
}

/// Claims a failed test. In a database that fell behind, a failed test may have a defect, although
/// it has no row or its newest row was released before `restored_at`. Such a failed test is treated
/// as in doubt since `restored_at`.
pub(super) fn claim(
    db: &dyn Database,
    claim: &Claim,
    restored_at: Option<Timestamp>,
) -> Result<Claimed, StoreError> {
    let Some(row) = read_newest_row(db, claim.connection, &claim.test)? else {
        return match restored_at {
            None => claim_without_row(db, claim),
            Some(since) => insert_in_doubt(db, claim, 1, since),
        };
    };
    if !connection_exists(db, claim.connection)? {
        return Err(StoreError::NotFound("connection"));
    }
    if row.released {
        let generation = row.generation.saturating_add(1);
        let outdated = restored_at.filter(|at| row.updated_at < at.as_millisecond());
        return match outdated {
            None => insert_intent(db, claim, generation),
            Some(since) => insert_in_doubt(db, claim, generation, since),
        };
    }
    let state = parse_stored_enum::<DefectState>(&row.state, "its state")?;
    if state == DefectState::Created {
        let (id, defect) = row.id_and_defect()?;
        return Ok(Claimed::Created { id, defect });
    }
    if row.lease_until.is_some_and(|until| until > claim.now.as_millisecond()) {
        return Ok(Claimed::Busy { defect: DefectId(row.id), fence: row.fence });
    }
    if let Some(ended) = row.result_of_awaited_run(claim.awaited_fence)? {
        return Ok(ended);
    }
    // The row already existed, and its fence is raised. If a crash of the database lost the new
    // fence, another server could get the same fence while this server continues.
    db.make_durable()?;
    if row.writes == 0 {
        lease_for_create(db, &row, claim)
    } else {
        lease_for_search(db, &row, claim)
    }
}

/// If the claim must wait for a run, requests a notification about the end of the lease of that
/// run.
pub(super) fn request_lease_end_notice(
    db: &dyn Database,
    claimed: &Claimed,
) -> Result<(), StoreError> {
    if let Claimed::Busy { defect, .. } | Claimed::WaitsForFirst(defect) = claimed {
        let request =
            "UPDATE defects SET lease_end_wanted = TRUE WHERE id = ? AND NOT lease_end_wanted";
        db.change(request, params![defect.0])?;
    }
    Ok(())
}

fn claim_without_row(db: &dyn Database, claim: &Claim) -> Result<Claimed, StoreError> {
    match find_other_failure(db, claim)? {
        OtherFailure::None => insert_intent(db, claim, 1),
        OtherFailure::Unresolved(first) => Ok(Claimed::WaitsForFirst(first)),
        OtherFailure::Created(first) => {
            let lease = insert_row(db, claim, 1)?;
            let marker = Marker::derive(claim.connection, &claim.test, 1);
            Ok(Claimed::Recurs(Box::new(first.into_recurrence(db, lease, marker)?)))
        }
    }
}

fn find_other_failure(db: &dyn Database, claim: &Claim) -> Result<OtherFailure, StoreError> {
    match &claim.rows_in_work_if_recurrence {
        None => Ok(OtherFailure::None),
        Some(rows) => {
            recurrences::find_other_failure(db, claim.connection, &claim.test, rows, claim.now)
        }
    }
}

fn insert_intent(db: &dyn Database, claim: &Claim, generation: u32) -> Result<Claimed, StoreError> {
    let lease = insert_row(db, claim, generation)?;
    let marker = Marker::derive(claim.connection, &claim.test, generation);
    Ok(Claimed::Create { lease, marker, generation })
}

/// Inserts a row in the state that it would have if a write had been sent at `since` and not
/// answered.
fn insert_in_doubt(
    db: &dyn Database,
    claim: &Claim,
    generation: u32,
    since: Timestamp,
) -> Result<Claimed, StoreError> {
    let lease = insert_row(db, claim, generation)?;
    let row: DefectRow = db.required_row(
        "UPDATE defects SET state = 'in-doubt', class = 'open', writes = 1, wait_from = ?2,
             next_search_at = ?3, reason = ?4
         WHERE id = ?1 RETURNING *",
        params![
            lease.defect.0,
            since.as_millisecond(),
            claim.now.as_millisecond().saturating_add(SEARCH_WAIT_MS),
            RESTORED_DATABASE_REASON
        ],
    )?;
    Ok(Claimed::Search(Box::new(row.into_doubtful_defect(lease)?)))
}

fn insert_row(db: &dyn Database, claim: &Claim, generation: u32) -> Result<Lease, StoreError> {
    let id = DefectId(Uuid::now_v7());
    let (execution, case, variation) = claim.test.key();
    let inserted = db.change(
        "INSERT INTO defects (id, connection_id, test_execution_id, test_case_id, variation_id,
             generation, test_link, state, fence, lease_until, event_id,
             created_at, updated_at)
         SELECT ?1, id, ?3, ?4, ?5, ?6, ?7, 'intent', 1, ?8, ?9, ?10, ?10
         FROM connections WHERE id = ?2 AND NOT deleted",
        params![
            id.0,
            claim.connection.0,
            execution,
            case,
            variation,
            generation,
            claim.test.link,
            claim.lease_until.as_millisecond(),
            claim.event.0,
            claim.now.as_millisecond(),
        ],
    )?;
    if inserted == 0 {
        return Err(StoreError::NotFound("connection"));
    }
    Ok(Lease { defect: id, fence: 1, until: claim.lease_until })
}

fn connection_exists(db: &dyn Database, id: ConnectionId) -> Result<bool, StoreError> {
    let exists = "SELECT EXISTS (SELECT 1 FROM connections WHERE id = ? AND NOT deleted)";
    Ok(db.required_row(exists, params![id.0])?)
}

/// Leases a row for which no write was sent: a row in `failed`, or in `intent` without a valid
/// lease. If the failed test must wait for another failure, changes nothing.
fn lease_for_create(
    db: &dyn Database,
    row: &DefectRow,
    claim: &Claim,
) -> Result<Claimed, StoreError> {
    // Only a person can start a later generation, so a row of a later generation is never a
    // recurrence.
    let other_failure =
        if row.generation == 1 { find_other_failure(db, claim)? } else { OtherFailure::None };
    if let OtherFailure::Unresolved(first) = other_failure {
        return Ok(Claimed::WaitsForFirst(first));
    }
    let fence: i64 = db.required_row(
        "UPDATE defects SET state = 'intent', fence = fence + 1, lease_until = ?2, event_id = ?3,
             test_link = ?4, reason = NULL, updated_at = ?5
         WHERE id = ?1 RETURNING fence",
        params![
            row.id,
            claim.lease_until.as_millisecond(),
            claim.event.0,
            claim.test.link.as_deref(),
            claim.now.as_millisecond()
        ],
    )?;
    let lease = Lease { defect: DefectId(row.id), fence, until: claim.lease_until };
    let marker = Marker::derive(claim.connection, &claim.test, row.generation);
    match other_failure {
        OtherFailure::Created(first) => {
            Ok(Claimed::Recurs(Box::new(first.into_recurrence(db, lease, marker)?)))
        }
        OtherFailure::None | OtherFailure::Unresolved(_) => {
            Ok(Claimed::Create { lease, marker, generation: row.generation })
        }
    }
}

/// Leases a row for which a write was sent. If the last run stored no outcome, its write is treated
/// as sent and not answered.
fn lease_for_search(
    db: &dyn Database,
    row: &DefectRow,
    claim: &Claim,
) -> Result<Claimed, StoreError> {
    if row.state == DefectState::Sent.as_str() {
        doubts::put_lost_run_in_doubt(db, row.id, claim.now, claim.run_ms)?;
    }
    let row: DefectRow = db.required_row(
        "UPDATE defects SET fence = fence + 1, lease_until = ?2, event_id = ?3,
             state = CASE WHEN state = 'failed' OR class = 'refused' THEN 'failed'
                 ELSE 'in-doubt' END,
             next_search_at = CASE WHEN state = 'failed' OR class = 'refused' THEN next_search_at
                 ELSE COALESCE(next_search_at, ?4) END,
             updated_at = ?4
         WHERE id = ?1 RETURNING *",
        params![
            row.id,
            claim.lease_until.as_millisecond(),
            claim.event.0,
            claim.now.as_millisecond()
        ],
    )?;
    let lease = Lease { defect: DefectId(row.id), fence: row.fence, until: claim.lease_until };
    Ok(Claimed::Search(Box::new(row.into_doubtful_defect(lease)?)))
}
