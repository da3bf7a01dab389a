//! Decides whether a failed test is a recurrence: whether another failure of its test case, with
//! the same variation, has a defect. While no failure has a known defect, only one failure at a
//! time may create one.
//!
//! Other failures are looked up inside the transaction that grants the right to create. These
//! functions never change the state of a row.

use jiff::Timestamp;
use uuid::Uuid;

use super::columns::{hex_ids, to_json};
use super::database::{Database, params};
use super::defect_records::DefectRow;
use crate::domain::{
    ConnectionId, ConnectionSnapshot, DefectId, FailedTest, Lease, Marker, Recurrence,
};
use crate::store::StoreError;

/// The result of looking up the other failures of a test case.
pub(super) enum OtherFailure {
    /// No other failure is `Unresolved` or `Created`.
    None,
    /// A run works on the failure with this row, or this failure is in doubt. The row does not need
    /// a person.
    Unresolved(DefectId),
    /// Another failure has this created row. Neither this row nor its original (the row of the
    /// first failure) was released. If there are several such rows, this row changed last.
    Created(Box<DefectRow>),
}

pub(super) fn find_other_failure(
    db: &dyn Database,
    connection: ConnectionId,
    test: &FailedTest,
    rows_in_work: &[DefectId],
    now: Timestamp,
) -> Result<OtherFailure, StoreError> {
    if let Some(row) = read_created_row_of_other_failure(db, connection, test)? {
        return Ok(OtherFailure::Created(Box::new(row)));
    }
    let (execution, case, variation) = test.key();
    let unresolved: Option<Uuid> = db.first_row(
        "SELECT id FROM defects
         WHERE connection_id = ?1 AND test_case_id = ?2 AND variation_id = ?3
           AND test_execution_id <> ?4 AND NOT released AND needs_person IS NULL
           AND state <> 'created' AND (state IN ('sent', 'in-doubt') OR lease_until > ?5
                OR id IN (SELECT unhex(value) FROM json_each(?6)))
         ORDER BY id LIMIT 1",
        params![
            connection.0,
            case,
            variation,
            execution,
            now.as_millisecond(),
            to_json(&hex_ids(rows_in_work))?
        ],
    )?;
    Ok(unresolved.map_or(OtherFailure::None, |id| OtherFailure::Unresolved(DefectId(id))))
}

fn read_created_row_of_other_failure(
    db: &dyn Database,
    connection: ConnectionId,
    test: &FailedTest,
) -> Result<Option<DefectRow>, StoreError> {
    let (execution, case, variation) = test.key();
    Ok(db.first_row(
        "SELECT * FROM defects
         WHERE connection_id = ?1 AND test_case_id = ?2 AND variation_id = ?3
           AND test_execution_id <> ?4 AND state = 'created' AND NOT released
           AND NOT EXISTS (SELECT 1 FROM defects AS original
               WHERE original.id = defects.recurrence_of AND original.released)
         ORDER BY updated_at DESC, id DESC LIMIT 1",
        params![connection.0, case, variation, execution],
    )?)
}

pub(super) fn allow_create_anew(
    db: &dyn Database,
    lease: &Lease,
    closed_row: DefectId,
    rows_in_work: &[DefectId],
    now: Timestamp,
) -> Result<bool, StoreError> {
    let row: Option<DefectRow> = db.first_row(
        "SELECT * FROM defects WHERE id = ? AND fence = ?",
        params![lease.defect.0, lease.fence],
    )?;
    let row = row.ok_or(StoreError::Fenced)?;
    let latest =
        read_created_row_of_other_failure(db, ConnectionId(row.connection_id), &row.test())?;
    if latest.is_some_and(|latest| latest.id != closed_row.0) {
        return Ok(false);
    }
    let granted = db.change(
        "UPDATE defects SET creates_anew = TRUE
         WHERE id = ?1 AND fence = ?2 AND NOT EXISTS (SELECT 1 FROM defects
             WHERE connection_id = ?3 AND test_case_id = ?4 AND variation_id = ?5 AND id <> ?1
               AND creates_anew AND NOT released AND needs_person IS NULL
               AND (state IN ('sent', 'in-doubt') OR state <> 'created' AND (lease_until > ?6
                    OR id IN (SELECT unhex(value) FROM json_each(?7)))))",
        params![
            lease.defect.0,
            lease.fence,
            row.connection_id,
            row.test_case_id,
            &row.variation_id,
            now.as_millisecond(),
            to_json(&hex_ids(rows_in_work))?
        ],
    )?;
    Ok(granted == 1)
}

impl DefectRow {
    /// Makes the recurrence of the defect in this row. `lease` and `marker` are those of the new
    /// failure, not of this row.
    pub(super) fn into_recurrence(
        self,
        db: &dyn Database,
        lease: Lease,
        marker: Marker,
    ) -> Result<Recurrence, StoreError> {
        let (latest, defect) = self.id_and_defect()?;
        let original = self.recurrence_of.map_or(latest, DefectId);
        let snapshot = self.tracker_snapshot_of_original(db)?;
        Ok(Recurrence { lease, marker, original, defect, latest, snapshot })
    }

    /// Returns the settings and origins for requests to the tracker that has the defect. They are
    /// those of the run that created the defect, or of the connection when a person adopted it. If
    /// this row is a recurrence, they are those of the first failure.
    pub(super) fn tracker_snapshot_of_original(
        &self,
        db: &dyn Database,
    ) -> Result<Option<ConnectionSnapshot>, StoreError> {
        let Some(original) = self.recurrence_of else { return Ok(self.tracker_snapshot()?) };
        let original: Option<DefectRow> =
            db.first_row("SELECT * FROM defects WHERE id = ?", params![original])?;
        Ok(original.map(|row| row.tracker_snapshot()).transpose()?.flatten())
    }
}
