//! Carries out a person's decision about a defect: adopt, retry, give up or release.
//!
//! A row that a run has leased is never changed. Each decision raises the fence, so that an earlier
//! run cannot change the row afterwards, except to store the defect that it created or found.

use jiff::Timestamp;

use super::columns::{DefectJson, time, to_json};
use super::database::{Database, params};
use super::defect_records::DefectRow;
use super::doubts;
use crate::domain::{Decision, DefectId};
use crate::store::StoreError;

pub(super) fn decide(
    db: &dyn Database,
    id: DefectId,
    decision: Decision,
    by: String,
    now: Timestamp,
    longest_run_ms: u64,
) -> Result<(), StoreError> {
    let row: Option<DefectRow> =
        db.first_row("SELECT * FROM defects WHERE id = ?", params![id.0])?;
    let row = row.ok_or(StoreError::NotFound("defect"))?;
    check_allowed(&row, &decision, now)?;
    if row.state == "sent" {
        doubts::put_lost_run_in_doubt(db, row.id, now, longest_run_ms)?;
    }
    apply_decision(db, &row, &decision, &by, now)?;
    db.change(
        "INSERT INTO decisions (defect_id, at, who, decision) VALUES (?, ?, ?, ?)",
        params![row.id, now.as_millisecond(), by, decision.as_str()],
    )?;
    Ok(())
}

fn check_allowed(row: &DefectRow, decision: &Decision, now: Timestamp) -> Result<(), StoreError> {
    if row.released {
        return conflict(
            "this defect is already released; the next request creates another defect".to_owned(),
        );
    }
    if let Some(until) = row.lease_until.filter(|until| *until > now.as_millisecond()) {
        let until = time(until)?;
        return conflict(format!(
            "a run is working on this defect until {until}; try again after that"
        ));
    }
    // A row in `sent` without a lease is in doubt, even if no background search has moved it yet.
    let is_allowed = match decision {
        Decision::Adopt(_) => matches!(row.state.as_str(), "in-doubt" | "sent" | "failed"),
        Decision::Retry | Decision::GiveUp => {
            matches!(row.state.as_str(), "in-doubt" | "sent")
                || row.state == "failed" && row.needs_person.is_some()
        }
        Decision::Release => matches!(row.state.as_str(), "created" | "failed"),
    };
    if is_allowed {
        return Ok(());
    }
    let required = match decision {
        Decision::Adopt(_) => "in doubt or failed",
        Decision::Retry | Decision::GiveUp => "in doubt, or failed and needs a person",
        Decision::Release => "created or failed: resolve it with adopt, retry or give-up first",
    };
    conflict(format!(
        "this defect is {}; `{}` is possible only for a defect that is {required}",
        row.state,
        decision.as_str()
    ))
}

fn conflict(text: String) -> Result<(), StoreError> {
    Err(StoreError::Conflict(text))
}

fn apply_decision(
    db: &dyn Database,
    row: &DefectRow,
    decision: &Decision,
    by: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    match decision {
        // It is not certain that the record that a person found contains the marker. So
        // `run_sha256` is NULL, and this record is not used to check that a search works.
        Decision::Adopt(defect) => db.change(
            "UPDATE defects SET state = 'created', defect = ?3, reason = NULL, needs_person = NULL,
                 decided = NULL, run_sha256 = NULL, next_search_at = NULL, lease_until = NULL,
                 (run_settings, run_origins) = (SELECT settings, json_extract(grants, '$.origins')
                     FROM connections WHERE id = defects.connection_id),
                 fence = fence + 1, updated_at = ?2
             WHERE id = ?1",
            params![
                row.id,
                now.as_millisecond(),
                to_json(&DefectJson::from(defect.clone()))?,
            ],
        )?,
        // The index delay begins again now, because a late write may have created a record just
        // before the decision.
        Decision::Retry => db.change(
            "UPDATE defects SET decided = 'retry', needs_person = NULL, lease_until = NULL,
                 next_search_at = COALESCE(next_search_at, ?2),
                 wait_from = MAX(COALESCE(wait_from, ?2), ?2), fence = fence + 1, updated_at = ?2
             WHERE id = ?1",
            params![row.id, now.as_millisecond()],
        )?,
        Decision::GiveUp => db.change(
            "UPDATE defects SET state = 'failed', reason = ?3, decided = 'give-up',
                 needs_person = NULL, next_search_at = NULL, lease_until = NULL, fence = fence + 1,
                 class = COALESCE(class, 'open'), wait_from = MAX(COALESCE(wait_from, ?2), ?2),
                 updated_at = ?2
             WHERE id = ?1",
            params![row.id, now.as_millisecond(), format!("given up by {by}")],
        )?,
        Decision::Release => db.change(
            "UPDATE defects SET released = TRUE, lease_until = NULL, fence = fence + 1, updated_at = ?2
             WHERE id = ?1",
            params![row.id, now.as_millisecond()],
        )?,
    };
    Ok(())
}
