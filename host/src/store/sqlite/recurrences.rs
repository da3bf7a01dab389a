//! Recurrences: the failures of one test case, of which only the first one without a known defect
//! may create one.
//!
//! Is called inside the transaction that grants the right to create. Never moves a row.

use jiff::Timestamp;

use rusqlite::{Connection, params};

use super::defect_records::Row;
use super::statements::Statements as _;
use crate::domain::{ConnectionId, DefectId, FailedTest, Lease, Marker, Recurrence};
use crate::store::StoreError;

/// What is known of the other failures of a test case.
pub(super) enum Earlier {
    /// None has a defect.
    None,
    /// One of them is being created, or is in doubt and no person is needed.
    Unresolved,
    /// The newest of those with a known defect that was not released.
    Created(Box<Row>),
}

/// Looks up the other failures of the test case.
pub(super) fn earlier(
    db: &Connection,
    connection: ConnectionId,
    test: &FailedTest,
    now: Timestamp,
) -> Result<Earlier, StoreError> {
    let (execution, case, variation) = test.key();
    let created: Option<Row> = db.one(
        "SELECT * FROM defects
         WHERE connection_id = ?1 AND test_case_id = ?2 AND variation_id = ?3
           AND test_execution_id <> ?4 AND state = 'created' AND released = 0
         ORDER BY id DESC LIMIT 1",
        params![connection.0, case, variation, execution],
    )?;
    if let Some(row) = created {
        return Ok(Earlier::Created(Box::new(row)));
    }
    let unresolved: bool = db.only(
        "SELECT EXISTS (SELECT 1 FROM defects
         WHERE connection_id = ?1 AND test_case_id = ?2 AND variation_id = ?3
           AND test_execution_id <> ?4 AND released = 0 AND needs_person IS NULL
           AND (state IN ('sent', 'in-doubt') OR lease_until > ?5))",
        params![connection.0, case, variation, execution, now.as_millisecond()],
    )?;
    Ok(if unresolved { Earlier::Unresolved } else { Earlier::None })
}

impl Row {
    /// The recurrence of this row's defect, for the failed test whose row was leased.
    pub(super) fn recurrence(
        self,
        db: &Connection,
        lease: Lease,
        marker: Marker,
    ) -> Result<Recurrence, StoreError> {
        let (id, defect) = self.created()?;
        let original = self.recurrence_of.map_or(id, DefectId);
        let first: Option<Row> =
            db.one("SELECT * FROM defects WHERE id = ?", params![original.0])?;
        let seen = first.unwrap_or(self).seen()?;
        Ok(Recurrence { lease, marker, original, defect, seen })
    }
}
