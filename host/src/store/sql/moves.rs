//! The changes of a defect's row by the event that has leased the row.
//!
//! Each change passes the fence of the lease, and changes nothing if the row has a newer fence. So
//! an event that lost its lease can never change the row again. There is one exception:
//! [`store_outcome`] may still store a known defect.

use jiff::Timestamp;

use super::columns::{DefectJson, to_json};
use super::database::{Database, params};
use super::defect_records::DefectRow;
use super::doubts::SEARCH_WAIT_MS;
use super::follow_up_rows;
use super::recurrences::{self, OtherFailure};
use crate::domain::{
    Claimed, ConnectionId, Defect, DefectId, EventId, FollowUpKind, Lease, Marker, NotCreated,
    RowEnd, SearchEnd, StringEnum as _, WriteClass,
};
use crate::store::{JournaledWrite, StoreError};

/// Extends a lease, even if its time is over, unless the lease was lost or given back.
pub(super) fn renew(db: &dyn Database, lease: Lease, until: Timestamp) -> Result<(), StoreError> {
    let moved = db.change(
        "UPDATE defects SET lease_until = ?3
         WHERE id = ?1 AND fence = ?2 AND lease_until IS NOT NULL",
        params![lease.defect.0, lease.fence, until.as_millisecond()],
    )?;
    require_changed_row(moved)
}

/// Moves the row to `sent` and renews the lease. Fails if the lease has ended, even if no other run
/// has taken over the row.
pub(super) fn mark_sending(
    db: &dyn Database,
    lease: Lease,
    write: JournaledWrite,
    now: Timestamp,
) -> Result<(), StoreError> {
    let JournaledWrite { has_marker, snapshot, lease_until } = write;
    let origins: Vec<_> = snapshot.origins.iter().map(ToString::to_string).collect();
    let moved = db.change(
        "UPDATE defects SET state = 'sent', writes = writes + 1, run_writes = run_writes + 1,
             run_marked = CASE run_writes WHEN 0 THEN ?4 ELSE run_marked END,
             run_settings = ?5, run_origins = ?6, run_sha256 = ?7, lease_until = ?8,
             sent_at = ?3, updated_at = ?3
         WHERE id = ?1 AND fence = ?2 AND lease_until > ?3 AND state IN ('intent', 'sent')",
        params![
            lease.defect.0,
            lease.fence,
            now.as_millisecond(),
            has_marker,
            snapshot.settings,
            to_json(&origins)?,
            snapshot.connector_sha256,
            lease_until.as_millisecond()
        ],
    )?;
    require_changed_row(moved)
}

/// Undoes one [`mark_sending`]. If that was the only write of the run, moves the row back to
/// `intent`.
pub(super) fn unmark_sending(
    db: &dyn Database,
    lease: Lease,
    now: Timestamp,
) -> Result<(), StoreError> {
    let moved = db.change(
        "UPDATE defects SET writes = writes - 1, run_writes = run_writes - 1, updated_at = ?3,
             state = CASE run_writes WHEN 1 THEN 'intent' ELSE 'sent' END,
             sent_at = CASE run_writes WHEN 1 THEN NULL ELSE sent_at END
         WHERE id = ?1 AND fence = ?2 AND state = 'sent' AND run_writes > 0",
        params![lease.defect.0, lease.fence, now.as_millisecond()],
    )?;
    require_changed_row(moved)
}

pub(super) fn store_outcome(
    db: &dyn Database,
    lease: Lease,
    end: RowEnd,
    steps: &[FollowUpKind],
    event: EventId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let id = lease.defect;
    let moved = match end {
        RowEnd::Created(defect) => store_defect(db, lease, defect, true, event, now)?,
        RowEnd::Found(defect) => store_defect(db, lease, defect, false, event, now)?,
        RowEnd::Recurs { defect, original } => {
            let moved = store_defect(db, lease, defect, false, event, now)?;
            db.change(
                "UPDATE defects SET recurrence_of = ? WHERE id = ?",
                params![original.0, id.0],
            )?;
            moved
        }
        RowEnd::NotCreated(not_created) => {
            store_failure(db, lease, not_created, event, now)?;
            true
        }
    };
    if moved { follow_up_rows::add(db, id, steps, now) } else { Ok(()) }
}

/// Stores a known defect. If the lease was lost, stores it only if the row is in doubt or failed
/// and has no lease. If a run created the defect, and the class of the writes of earlier runs is
/// worse than `refused`, schedules a search for a second record. Returns false if an earlier commit
/// of this run, whose success the run did not learn, has already stored a defect with this key.
fn store_defect(
    db: &dyn Database,
    lease: Lease,
    defect: Defect,
    is_created_by_run: bool,
    event: EventId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let key = defect.key.clone();
    let moved = db.change(
        "UPDATE defects SET state = 'created', defect = ?3, lease_until = NULL, reason = NULL,
             needs_person = NULL, decided = NULL, searches = 0, event_id = ?4, updated_at = ?5,
             next_search_at =
                 CASE WHEN ?6 AND class <> 'refused' THEN ?7 END
         WHERE id = ?1 AND NOT released AND (
             fence = ?2 AND state <> 'created'
             OR fence > ?2 AND state IN ('in-doubt', 'failed') AND lease_until IS NULL)",
        params![
            lease.defect.0,
            lease.fence,
            to_json(&DefectJson::from(defect))?,
            event.0,
            now.as_millisecond(),
            is_created_by_run,
            now.as_millisecond().saturating_add(SEARCH_WAIT_MS)
        ],
    )?;
    if moved == 1 {
        return Ok(true);
    }
    let is_stored: bool = db.required_row(
        "SELECT EXISTS (
             SELECT 1 FROM defects
             WHERE id = ? AND fence = ? AND state = 'created' AND key = ? AND NOT released)",
        params![lease.defect.0, lease.fence, key],
    )?;
    if is_stored { Ok(false) } else { Err(StoreError::Fenced) }
}

/// Stores the end of a run that created no defect, or of which it is not known whether it created
/// one. The row keeps the latest end of all writes of its generation.
fn store_failure(
    db: &dyn Database,
    lease: Lease,
    not_created: NotCreated,
    event: EventId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let row: Option<DefectRow> = db.first_row(
        "SELECT * FROM defects
         WHERE id = ? AND fence = ? AND NOT released AND state IN ('intent', 'sent')",
        params![lease.defect.0, lease.fence],
    )?;
    let row = row.ok_or(StoreError::Fenced)?;
    let (state, class) = not_created.state_after(row.class()?);
    let NotCreated { refusal, sent } = not_created;
    let ended_at = sent.as_ref().map(|sent| sent.ended_at.as_millisecond());
    let reason = match &sent {
        Some(sent) => format!("{}, then {refusal}", sent.reason),
        None => refusal.to_string(),
    };
    let moved = db.change(
        "UPDATE defects SET state = ?3, lease_until = NULL, class = ?4,
             forbidden = forbidden OR ?5, marked = marked AND (run_writes = 0 OR run_marked), run_writes = 0,
             write_ended_at = MAX(COALESCE(write_ended_at, ?6), COALESCE(?6, write_ended_at)),
             wait_from = MAX(COALESCE(wait_from, ?6), COALESCE(?6, wait_from)),
             settled = ?6 IS NULL, needs_person = NULL, searches = 0,
             next_search_at = CASE ?3 WHEN 'in-doubt' THEN ?7 END,
             reason = ?8, ended_fence = ?2, ended_code = ?9, event_id = ?10, updated_at = ?11
         WHERE id = ?1 AND fence = ?2",
        params![
            lease.defect.0,
            lease.fence,
            state.as_str(),
            class.map(WriteClass::as_str),
            sent.as_ref().is_some_and(|sent| sent.forbidden),
            ended_at,
            now.as_millisecond().saturating_add(SEARCH_WAIT_MS),
            reason,
            refusal.code().as_str(),
            event.0,
            now.as_millisecond(),
        ],
    )?;
    require_changed_row(moved)
}

/// Moves a row whose doubt has ended back to `intent`, under the lease of the search. If the failed
/// test must wait for another failure, changes nothing.
pub(super) fn move_back_to_intent(
    db: &dyn Database,
    lease: Lease,
    rows_in_work_if_recurrence: Option<&[DefectId]>,
    now: Timestamp,
) -> Result<Claimed, StoreError> {
    let row: Option<DefectRow> =
        db.first_row("SELECT * FROM defects WHERE id = ?", params![lease.defect.0])?;
    let row = row.ok_or(StoreError::NotFound("defect"))?;
    let (connection, test) = (ConnectionId(row.connection_id), row.test());
    let other_failure = match rows_in_work_if_recurrence.filter(|_| row.generation == 1) {
        Some(rows_in_work) => {
            recurrences::find_other_failure(db, connection, &test, rows_in_work, now)?
        }
        None => OtherFailure::None,
    };
    if let OtherFailure::Unresolved(first) = other_failure {
        return Ok(Claimed::WaitsForFirst(first));
    }
    let moved = db.change(
        "UPDATE defects SET state = 'intent', reason = NULL, needs_person = NULL, settled = TRUE,
             class = CASE decided WHEN 'give-up' THEN 'refused' ELSE class END, decided = NULL,
             marked = marked AND (run_writes = 0 OR run_marked), run_writes = 0, sent_at = NULL,
             next_search_at = NULL, updated_at = ?3
         WHERE id = ?1 AND fence = ?2 AND lease_until > ?3 AND state IN ('in-doubt', 'failed')",
        params![lease.defect.0, lease.fence, now.as_millisecond()],
    )?;
    require_changed_row(moved)?;
    let (generation, marker) = (row.generation, Marker::derive(connection, &test, row.generation));
    match other_failure {
        OtherFailure::Created(first) => {
            Ok(Claimed::Recurs(Box::new(first.into_recurrence(db, lease, marker)?)))
        }
        OtherFailure::None | OtherFailure::Unresolved(_) => {
            Ok(Claimed::Create { lease, marker, generation })
        }
    }
}

pub(super) fn end_search(
    db: &dyn Database,
    lease: Lease,
    end: SearchEnd,
    now: Timestamp,
) -> Result<(), StoreError> {
    let moved = match end {
        SearchEnd::DoubtEnded => db.change(
            "UPDATE defects SET lease_until = NULL, state = 'failed', settled = TRUE,
                 needs_person = NULL, next_search_at = NULL, updated_at = ?3
             WHERE id = ?1 AND fence = ?2 AND state IN ('in-doubt', 'failed')",
            params![lease.defect.0, lease.fence, now.as_millisecond()],
        )?,
        SearchEnd::NeedsPerson(why) => db.change(
            "UPDATE defects SET lease_until = NULL, needs_person = ?4, next_search_at = NULL,
                 updated_at = ?3
             WHERE id = ?1 AND fence = ?2 AND state IN ('in-doubt', 'failed')",
            params![lease.defect.0, lease.fence, now.as_millisecond(), why],
        )?,
        SearchEnd::Failed(why) => db.change(
            "UPDATE defects SET lease_until = NULL, needs_person = ?3
             WHERE id = ?1 AND fence = ?2 AND state IN ('in-doubt', 'failed')",
            params![lease.defect.0, lease.fence, why],
        )?,
        SearchEnd::SearchAt(at) => db.change(
            "UPDATE defects SET lease_until = NULL, needs_person = NULL, next_search_at = ?3
             WHERE id = ?1 AND fence = ?2 AND state IN ('in-doubt', 'failed', 'created')",
            params![lease.defect.0, lease.fence, at.map(Timestamp::as_millisecond)],
        )?,
        SearchEnd::SearchBy(at) => db.change(
            "UPDATE defects SET lease_until = NULL, needs_person = NULL,
                 next_search_at = MIN(next_search_at, ?3)
             WHERE id = ?1 AND fence = ?2 AND state = 'in-doubt'",
            params![lease.defect.0, lease.fence, at.as_millisecond()],
        )?,
    };
    require_changed_row(moved)
}

pub(super) fn give_back(db: &dyn Database, lease: Lease) -> Result<(), StoreError> {
    let moved = db.change(
        "UPDATE defects SET lease_until = NULL WHERE id = ?1 AND fence = ?2",
        params![lease.defect.0, lease.fence],
    )?;
    require_changed_row(moved)
}

/// Fails if no row was changed. Then the row has a newer fence, the lease has ended, the state of
/// the row does not allow the change, or the row was deleted.
fn require_changed_row(moved: usize) -> Result<(), StoreError> {
    if moved == 1 { Ok(()) } else { Err(StoreError::Fenced) }
}
