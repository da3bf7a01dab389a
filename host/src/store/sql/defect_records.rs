//! Reads the rows of defects: the row of the newest generation of a failed test, or the complete
//! records that people see.
//!
//! This file never changes a row.

use uuid::Uuid;

use super::columns::{
    DefectJson, connection_ids_json, from_json, parse_stored_enum, time, time_opt,
};
use super::database::{Database, from_row, params};
use super::follow_up_rows;
use super::unreadable::Unreadable;
use crate::domain::{
    Claimed, ConnectionId, ConnectionSnapshot, DecidedDoubt, Defect, DefectId, DefectRecord,
    DefectState, Doubt, DoubtfulDefect, EventId, FailedTest, Lease, Marker, StringEnum as _,
    WriteClass,
};
use crate::store::{DefectFilter, StoreError};

pub(super) fn get(db: &dyn Database, id: DefectId) -> Result<Option<DefectRecord>, StoreError> {
    let row: Option<DefectRow> =
        db.first_row("SELECT * FROM defect_records WHERE id = ?", params![id.0])?;
    row.map(DefectRow::into_record).transpose()
}

pub(super) fn list(
    db: &dyn Database,
    filter: &DefectFilter,
) -> Result<Vec<DefectRecord>, StoreError> {
    let rows: Vec<DefectRow> = db.all_rows(
        "SELECT * FROM defect_records
         WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR connection_id = ?2)
           AND (?3 IS NULL OR id < ?3) AND (NOT ?5 OR needs_person IS NOT NULL)
           AND (?6 IS NULL OR connection_id IN (SELECT unhex(value) FROM json_each(?6)))
         ORDER BY id DESC LIMIT ?4",
        params![
            filter.state.map(DefectState::as_str),
            filter.connection.map(|id| id.0),
            filter.before.map(|id| id.0),
            filter.limit,
            filter.needs_person,
            connection_ids_json(filter.connections.as_ref())?
        ],
    )?;
    rows.into_iter().map(DefectRow::into_record).collect()
}

pub(super) fn read_newest_row(
    db: &dyn Database,
    connection: ConnectionId,
    test: &FailedTest,
) -> Result<Option<DefectRow>, StoreError> {
    let (execution, case, variation) = test.key();
    let row = db.first_row(
        "SELECT * FROM defects
         WHERE connection_id = ? AND test_execution_id = ? AND test_case_id = ?
           AND variation_id = ?
         ORDER BY generation DESC LIMIT 1",
        params![connection.0, execution, case, variation],
    )?;
    Ok(row)
}

/// A row of the table `defects` or of the view `defect_records`. Times are milliseconds since 1970.
pub(super) struct DefectRow {
    pub(super) id: Uuid,
    pub(super) connection_id: Uuid,
    pub(super) test_execution_id: Uuid,
    pub(super) test_case_id: Uuid,
    pub(super) variation_id: String,
    pub(super) generation: u32,
    pub(super) test_link: Option<String>,
    pub(super) state: String,
    /// Whether a person allowed another defect, in a new generation.
    pub(super) released: bool,
    pub(super) fence: i64,
    pub(super) lease_until: Option<i64>,
    /// Number of writes that may have been sent in this generation.
    pub(super) writes: u32,
    /// The class of the worst write. The next create after a decision to give up sets it to
    /// `refused`.
    pub(super) class: Option<String>,
    /// Whether one of the writes was answered 403.
    pub(super) forbidden: bool,
    /// Whether the first write of each run that is not counted in `run_writes` contained the
    /// marker.
    pub(super) marked: bool,
    /// Number of writes that the last run may have sent; 0 if it ended without a defect.
    pub(super) run_writes: u32,
    /// Whether the first write of the last run that sent a write contained the marker.
    pub(super) run_marked: bool,
    /// The settings of the connection during the last run that sent a write, or when a person
    /// adopted the defect, JSON.
    pub(super) run_settings: Option<String>,
    /// The granted origins of the connection at the same time as `run_settings`, JSON.
    pub(super) run_origins: Option<String>,
    /// The connector version of the last run that sent a write; NULL if a person adopted the
    /// defect.
    pub(super) run_sha256: Option<String>,
    /// The start of the waits ([`crate::domain::Waits`]): the end of the last write, or later.
    pub(super) wait_from: Option<i64>,
    /// Whether the doubt has ended since the last write, or the last run sent no write.
    pub(super) settled: bool,
    /// Number of background searches since the last run of `create`. The wait before the next
    /// search depends on it.
    pub(super) searches: u32,
    /// Why a person should resolve the defect.
    pub(super) needs_person: Option<String>,
    /// A person's decision that the next create will carry out.
    pub(super) decided: Option<String>,
    /// The fence of the last run that ended without a defect.
    pub(super) ended_fence: Option<i64>,
    /// The outcome of the last run that ended without a defect.
    pub(super) ended_code: Option<String>,
    /// When the last write was marked as sent; NULL if the last run sent none.
    pub(super) sent_at: Option<i64>,
    /// When the last write of a run without a defect ended, or the latest time at which it may have
    /// ended.
    pub(super) write_ended_at: Option<i64>,
    /// The defect in the tracker, JSON; NULL while it is not known.
    pub(super) defect: Option<String>,
    /// Why the row failed or is in doubt.
    pub(super) reason: Option<String>,
    /// The last event that stored an outcome in the row, or claimed the row for a click.
    pub(super) event_id: Option<Uuid>,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
    /// The row of the first failure, if the failed test is a recurrence.
    pub(super) recurrence_of: Option<Uuid>,
    /// The decisions of people, JSON. Only the view `defect_records` has this column.
    pub(super) decisions: Option<String>,
    /// The follow-up steps, JSON. Only the view `defect_records` has this column.
    pub(super) follow_ups: Option<String>,
}

from_row!(DefectRow {
    id, connection_id, test_execution_id, test_case_id, variation_id, generation, test_link,
    state, released, fence, lease_until, writes, class, forbidden, marked, run_writes, run_marked,
    run_settings, run_origins, run_sha256, wait_from, settled, searches, needs_person, decided, ended_fence,
    ended_code, sent_at, write_ended_at, defect, reason, event_id, created_at, updated_at,
    recurrence_of;
    optional decisions, follow_ups,
});

impl DefectRow {
    pub(super) fn test(&self) -> FailedTest {
        FailedTest::new(
            self.test_execution_id,
            self.test_case_id,
            Some(self.variation_id.clone()),
            self.test_link.clone(),
        )
    }

    pub(super) fn class(&self) -> Result<Option<WriteClass>, Unreadable> {
        self.class
            .as_deref()
            .map(|word| parse_stored_enum(word, "the class of its writes"))
            .transpose()
    }

    fn decided(&self) -> Result<Option<DecidedDoubt>, Unreadable> {
        self.decided
            .as_deref()
            .map(|word| parse_stored_enum(word, "the person's decision"))
            .transpose()
    }

    /// Returns the result of the run with the fence `awaited_fence`, if that run is the last one
    /// that ended without a defect.
    pub(super) fn result_of_awaited_run(
        &self,
        awaited_fence: Option<i64>,
    ) -> Result<Option<Claimed>, Unreadable> {
        if awaited_fence.is_none() || self.ended_fence != awaited_fence {
            return Ok(None);
        }
        let Some(code) = &self.ended_code else { return Ok(None) };
        let code = parse_stored_enum(code, "the outcome of its last run")?;
        Ok(Some(Claimed::Ended { code, detail: self.reason.clone().unwrap_or_default() }))
    }

    /// Converts the row into what a search under this lease needs.
    pub(super) fn into_doubtful_defect(self, lease: Lease) -> Result<DoubtfulDefect, Unreadable> {
        let connection = ConnectionId(self.connection_id);
        let doubt = Doubt {
            class: self.class()?.unwrap_or(WriteClass::Open),
            forbidden: self.forbidden,
            has_marker: self.marked && (self.run_writes == 0 || self.run_marked),
            wait_from: time(self.wait_from.unwrap_or(self.updated_at))?,
            decision: self.decided()?,
            has_ended: self.settled,
        };
        let created = self.stored_defect()?.map(|defect| defect.key);
        Ok(DoubtfulDefect {
            marker: Marker::derive(connection, &self.test(), self.generation),
            doubt,
            snapshot: self.snapshot()?,
            reason: self.reason.unwrap_or_default(),
            searches: self.searches,
            created,
            lease,
        })
    }

    /// Returns the settings, origins and connector version of the last run that sent a write.
    /// `None` if there is none, or if a person adopted the defect.
    fn snapshot(&self) -> Result<Option<ConnectionSnapshot>, Unreadable> {
        match &self.run_sha256 {
            Some(connector_sha256) => self.snapshot_with_connector(connector_sha256.clone()),
            None => Ok(None),
        }
    }

    /// Returns the settings and origins for requests to the tracker that has this row's defect.
    /// Unlike [`Self::snapshot`], this also returns them for a defect that a person adopted.
    pub(super) fn tracker_snapshot(&self) -> Result<Option<ConnectionSnapshot>, Unreadable> {
        self.snapshot_with_connector(self.run_sha256.clone().unwrap_or_default())
    }

    fn snapshot_with_connector(
        &self,
        connector_sha256: String,
    ) -> Result<Option<ConnectionSnapshot>, Unreadable> {
        let (Some(settings), Some(origins)) = (self.run_settings.clone(), &self.run_origins) else {
            return Ok(None);
        };
        let origins: Vec<String> = from_json(origins, "the origins of its last run")?;
        let origin = |text: String| {
            text.parse().map_err(|error| Unreadable::new("the origins of its last run", error))
        };
        let origins = origins.into_iter().map(origin).collect::<Result<_, Unreadable>>()?;
        Ok(Some(ConnectionSnapshot { settings, origins, connector_sha256 }))
    }

    fn stored_defect(&self) -> Result<Option<Defect>, Unreadable> {
        self.defect
            .as_deref()
            .map(|json| from_json::<DefectJson>(json, "its defect").map(Defect::from))
            .transpose()
    }

    pub(super) fn id_and_defect(&self) -> Result<(DefectId, Defect), Unreadable> {
        let defect = self.stored_defect()?;
        let defect = defect.ok_or_else(|| Unreadable::new("its defect", "the value is missing"))?;
        Ok((DefectId(self.id), defect))
    }

    pub(super) fn into_record(self) -> Result<DefectRecord, StoreError> {
        let id = self.id;
        self.try_into_record().map_err(|unreadable| unreadable.in_row("defect", id))
    }

    fn try_into_record(self) -> Result<DefectRecord, Unreadable> {
        let connection = ConnectionId(self.connection_id);
        let test = self.test();
        let decisions: Vec<(i64, String, String)> =
            from_json(self.decisions.as_deref().unwrap_or("[]"), "its decisions")?;
        let decisions =
            decisions.into_iter().map(|(at, who, decision)| Ok((time(at)?, who, decision)));
        Ok(DefectRecord {
            id: DefectId(self.id),
            connection,
            generation: self.generation,
            state: parse_stored_enum(&self.state, "its state")?,
            is_released: self.released,
            marker: Marker::derive(connection, &test, self.generation),
            test,
            defect: self.stored_defect()?,
            event: self.event_id.map(EventId),
            sent_at: time_opt(self.sent_at)?,
            write_ended_at: time_opt(self.write_ended_at)?,
            created_at: time(self.created_at)?,
            updated_at: time(self.updated_at)?,
            leased_until: time_opt(self.lease_until)?,
            writes: self.writes,
            class: self.class()?,
            decided: self.decided()?,
            reason: self.reason,
            needs_person: self.needs_person,
            decisions: decisions.collect::<Result<_, Unreadable>>()?,
            recurrence_of: self.recurrence_of.map(DefectId),
            follow_ups: follow_up_rows::parse_records(self.follow_ups.as_deref().unwrap_or("[]"))?,
        })
    }
}
