//! Reads and changes the rows of follow-up steps. An attempt at a step changes its row only under
//! the lease of its defect.
//!
//! This file never decides whether a step is done.

use jiff::Timestamp;
use uuid::Uuid;

use super::columns::{from_json, hex_ids, parse_stored_enum, time, time_opt, to_i64, to_json};
use super::database::{Database, from_row, params};
use super::defect_records::DefectRow;
use super::unreadable::Unreadable;
use crate::domain::{
    ConnectionId, DefectId, Doubt, DueFollowUps, FollowUp, FollowUpEnd, FollowUpKind,
    FollowUpRecord, Lease, Marker, StringEnum as _, WriteClass,
};
use crate::store::{ControlDefect, DueDefect, DueLimits, StoreError};

/// The wait after the first attempt, milliseconds. The wait doubles with each attempt, up to
/// `RETRY_WAIT_MS_MAX`.
const RETRY_WAIT_MS: i64 = 15_000;
/// Maximum wait before the next attempt, milliseconds.
const RETRY_WAIT_MS_MAX: i64 = 3_600_000;
/// Maximum number of known comments with which a search for comments is checked.
const CONTROL_COMMENTS_MAX: i64 = 3;

pub(super) fn add(
    db: &dyn Database,
    id: DefectId,
    steps: &[FollowUpKind],
    now: Timestamp,
) -> Result<(), StoreError> {
    for step in steps {
        insert_step(db, id, *step, "", now)?;
    }
    Ok(())
}

/// Inserts a step that is due at once. Does nothing if the defect already has this step.
fn insert_step(
    db: &dyn Database,
    id: DefectId,
    step: FollowUpKind,
    name: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    db.change(
        "INSERT INTO follow_ups (defect_id, step, name, next_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT DO NOTHING",
        params![id.0, step.as_str(), name, now.as_millisecond()],
    )?;
    Ok(())
}

/// Returns unleased defects with due steps, except defects that this process works on.
pub(super) fn list_due(
    db: &dyn Database,
    now: Timestamp,
    rows_in_work: Vec<DefectId>,
    limits: DueLimits,
) -> Result<Vec<DueDefect>, StoreError> {
    let rows_in_work = hex_ids(&rows_in_work);
    let rows: Vec<(Uuid, Uuid)> = db.all_rows(
        "SELECT id, connection_id FROM (
             SELECT d.id, d.connection_id, f.next_at, ROW_NUMBER() OVER (
                 PARTITION BY d.connection_id ORDER BY f.next_at) AS place
             FROM (SELECT defect_id, MIN(next_at) AS next_at FROM follow_ups
                   WHERE next_at <= ?1 GROUP BY +defect_id) AS f
             JOIN defects AS d ON d.id = f.defect_id
             WHERE d.state = 'created' AND COALESCE(d.lease_until, 0) <= ?1
               AND d.id NOT IN (SELECT unhex(value) FROM json_each(?3))
               AND d.connection_id IN (SELECT id FROM connections WHERE NOT deleted)) AS due
         WHERE place <= ?4 ORDER BY next_at LIMIT ?2",
        params![now.as_millisecond(), limits.total, to_json(&rows_in_work)?, limits.per_connection],
    )?;
    Ok(rows.into_iter().map(DueDefect::from_ids).collect())
}

/// Leases a defect and returns its due steps, in their order. A comment is not due before the step
/// that opens its defect again. Sets the time of each returned step's next attempt. A write without
/// a stored result counts as ended `longest_run_ms` after it was marked as sent.
pub(super) fn claim(
    db: &dyn Database,
    id: DefectId,
    now: Timestamp,
    lease_until: Timestamp,
    longest_run_ms: u64,
) -> Result<Option<DueFollowUps>, StoreError> {
    let now_ms = now.as_millisecond();
    // Postpone a comment to the time of the step that opens its defect again.
    db.change(
        "UPDATE follow_ups SET next_at = reopen.next_at
         FROM (SELECT next_at FROM follow_ups
               WHERE defect_id = ?1 AND step = 'reopen' AND next_at > ?2) AS reopen
         WHERE defect_id = ?1 AND step = 'comment' AND follow_ups.next_at IS NOT NULL",
        params![id.0, now_ms],
    )?;
    let row: Option<DefectRow> = db.first_row(
        "UPDATE defects SET fence = fence + 1, lease_until = ?2
         WHERE id = ?1 AND state = 'created' AND COALESCE(lease_until, 0) <= ?3
           AND EXISTS (SELECT 1 FROM follow_ups WHERE defect_id = ?1 AND next_at <= ?3)
         RETURNING *",
        params![id.0, lease_until.as_millisecond(), now_ms],
    )?;
    let Some(row) = row else { return Ok(None) };
    db.change(
        "UPDATE follow_ups SET state = 'due',
             class = CASE class WHEN 'acknowledged' THEN class ELSE 'open' END,
             wait_from = MAX(COALESCE(wait_from, 0), sent_at + ?2)
         WHERE defect_id = ?1 AND state = 'sent'",
        params![id.0, to_i64(longest_run_ms)],
    )?;
    let mut steps: Vec<StepRow> = db.all_rows(
        "SELECT * FROM follow_ups WHERE defect_id = ? AND next_at <= ?
         ORDER BY step, name",
        params![id.0, now_ms],
    )?;
    let order =
        |step: &StepRow| FollowUpKind::ALL.iter().position(|kind| kind.as_str() == step.step);
    steps.sort_by_key(order);
    let mut follow_ups = Vec::new();
    for step in steps {
        let wait = RETRY_WAIT_MS.checked_shl(step.claims.min(16)).unwrap_or(RETRY_WAIT_MS_MAX);
        db.change(
            "UPDATE follow_ups SET claims = claims + 1, next_at = ?4
             WHERE defect_id = ?1 AND step = ?2 AND name = ?3",
            params![
                id.0,
                &step.step,
                &step.name,
                now_ms.saturating_add(wait.min(RETRY_WAIT_MS_MAX))
            ],
        )?;
        follow_ups.push(step.into_follow_up()?);
    }
    let lease = Lease { defect: id, fence: row.fence, until: lease_until };
    let test = row.test();
    let (_, defect) = row.id_and_defect()?;
    let snapshot = row.tracker_snapshot_of_original(db)?;
    let marker = Marker::derive(ConnectionId(row.connection_id), &test, row.generation);
    Ok(Some(DueFollowUps { lease, test, marker, key: defect.key, snapshot, steps: follow_ups }))
}

/// Marks that a write of a step is about to be sent, and renews the lease. Fails if the lease has
/// ended.
pub(super) fn mark_sending(
    db: &dyn Database,
    lease: &Lease,
    step: &FollowUp,
    has_marker: bool,
    lease_until: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    let renewed = db.change(
        "UPDATE defects SET lease_until = ?4 WHERE id = ?1 AND fence = ?2 AND lease_until > ?3",
        params![lease.defect.0, lease.fence, now.as_millisecond(), lease_until.as_millisecond()],
    )?;
    require_changed_row(renewed)?;
    let marked = db.change(
        "UPDATE follow_ups SET state = 'sent', writes = writes + 1, marked = marked AND ?4,
             sent_at = ?5, updated_at = ?5
         WHERE defect_id = ?1 AND step = ?2 AND name = ?3",
        params![lease.defect.0, step.kind.as_str(), &step.name, has_marker, now.as_millisecond()],
    )?;
    require_changed_row(marked)
}

/// Undoes one [`mark_sending`]. Call this only if it is certain that the tracker did not process
/// this write.
pub(super) fn unmark(db: &dyn Database, lease: &Lease, step: &FollowUp) -> Result<(), StoreError> {
    let unmarked = db.change(
        "UPDATE follow_ups SET writes = writes - 1, state = 'due'
         WHERE defect_id = ?1 AND step = ?3 AND name = ?4 AND state = 'sent'
           AND EXISTS (SELECT 1 FROM defects WHERE id = ?1 AND fence = ?2)",
        params![lease.defect.0, lease.fence, step.kind.as_str(), &step.name],
    )?;
    require_changed_row(unmarked)
}

pub(super) fn end_attempt(
    db: &dyn Database,
    lease: &Lease,
    step: &FollowUp,
    end: FollowUpEnd,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (state, at, sent, reason) = match end {
        FollowUpEnd::Done => ("done", None, None, None),
        FollowUpEnd::Missing(names) => {
            for name in names {
                insert_step(db, lease.defect, FollowUpKind::Attach, &name, now)?;
            }
            ("done", None, None, None)
        }
        FollowUpEnd::GivenUp(why) => ("given-up", None, None, Some(why)),
        FollowUpEnd::Again { sent, at, reason } => ("due", at, sent, Some(reason)),
    };
    // The row of the step stores the worst class of all its writes.
    let before = step.doubt.as_ref().map(|doubt| doubt.class);
    let class =
        sent.as_ref().map(|sent| before.map_or(sent.class, |before| before.max(sent.class)));
    let forbidden = sent.as_ref().is_some_and(|sent| sent.forbidden);
    let ended_at = sent.as_ref().map(|sent| sent.ended_at.as_millisecond());
    let stored = db.change(
        "UPDATE follow_ups SET state = ?5, tries = tries + 1, reason = ?6,
             forbidden = forbidden OR ?7, updated_at = ?8,
             next_at = CASE ?5 WHEN 'due' THEN COALESCE(?9, next_at) END,
             wait_from = MAX(COALESCE(wait_from, ?10), COALESCE(?10, wait_from)),
             class = COALESCE(?11, class)
         WHERE defect_id = ?1 AND step = ?3 AND name = ?4
           AND EXISTS (SELECT 1 FROM defects WHERE id = ?1 AND fence = ?2)",
        params![
            lease.defect.0,
            lease.fence,
            step.kind.as_str(),
            &step.name,
            state,
            reason,
            forbidden,
            now.as_millisecond(),
            at.map(Timestamp::as_millisecond),
            ended_at,
            class.map(WriteClass::as_str),
        ],
    )?;
    require_changed_row(stored)
}

pub(super) fn control_comments(
    db: &dyn Database,
    connection: ConnectionId,
) -> Result<Vec<ControlDefect>, StoreError> {
    let rows: Vec<DefectRow> = db.all_rows(
        "SELECT d.* FROM defects AS d CROSS JOIN follow_ups AS f
         WHERE f.defect_id = d.id AND d.connection_id = ? AND f.step = 'comment' AND f.state = 'done' AND f.marked
           AND f.writes > 0
         ORDER BY d.id DESC LIMIT ?",
        params![connection.0, CONTROL_COMMENTS_MAX],
    )?;
    let control = |row: DefectRow| {
        let marker = Marker::derive(connection, &row.test(), row.generation);
        Ok(ControlDefect { marker, key: row.id_and_defect()?.1.key })
    };
    rows.into_iter().map(control).collect()
}

/// Lets the waits of all unfinished steps begin again, because the clock may have been changed.
pub(super) fn restart_waits(
    db: &dyn Database,
    now: Timestamp,
    longest_run_ms: u64,
) -> Result<(), StoreError> {
    db.change(
        "UPDATE follow_ups SET wait_from = MAX(?1, MIN(COALESCE(wait_from, ?1), ?1 + ?2)),
             sent_at = MIN(sent_at, ?1),
             next_at = MIN(next_at, ?1 + ?3)
         WHERE next_at IS NOT NULL",
        params![now.as_millisecond(), to_i64(longest_run_ms), RETRY_WAIT_MS],
    )?;
    Ok(())
}

pub(super) fn parse_records(json: &str) -> Result<Vec<FollowUpRecord>, Unreadable> {
    /// The columns of a step: kind, name, state, tries, writes, class, reason, and time of the next
    /// attempt.
    type Columns = (String, String, String, u32, u32, Option<String>, Option<String>, Option<i64>);
    let steps: Vec<Columns> = from_json(json, "its follow-up steps")?;
    let mut records = Vec::new();
    for (step, name, state, tries, writes, class, reason, next_at) in steps {
        records.push(FollowUpRecord {
            kind: parse_stored_enum(&step, "the kind of a follow-up step")?,
            name,
            state: parse_stored_enum(&state, "the state of a follow-up step")?,
            tries,
            writes,
            class: class
                .map(|word| parse_stored_enum(&word, "the write class of a follow-up step"))
                .transpose()?,
            reason,
            next_at: time_opt(next_at)?,
        });
    }
    records.sort_by(|a, b| (a.kind as u8, &a.name).cmp(&(b.kind as u8, &b.name)));
    Ok(records)
}

/// A row of `follow_ups`.
struct StepRow {
    step: String,
    name: String,
    tries: u32,
    /// How many times the step was claimed, also if no run could start.
    claims: u32,
    /// Number of the step's writes that may have been sent.
    writes: u32,
    /// The class of the worst write.
    class: Option<String>,
    /// Whether one of the writes was answered 403.
    forbidden: bool,
    /// Whether each write contained the marker.
    marked: bool,
    /// The instant from which the waits ([`crate::domain::Waits`]) are counted, milliseconds since
    /// 1970: the end of the last write, or later.
    wait_from: Option<i64>,
    updated_at: i64,
}

from_row!(StepRow {
    step,
    name,
    tries,
    claims,
    writes,
    class,
    forbidden,
    marked,
    wait_from,
    updated_at,
});

impl StepRow {
    fn into_follow_up(self) -> Result<FollowUp, Unreadable> {
        let class: Option<WriteClass> = self
            .class
            .map(|word| parse_stored_enum(&word, "the write class of a follow-up step"))
            .transpose()?;
        let doubt = Doubt {
            class: class.unwrap_or(WriteClass::Open),
            forbidden: self.forbidden,
            has_marker: self.marked,
            wait_from: time(self.wait_from.unwrap_or(self.updated_at))?,
            decision: None,
            has_ended: false,
        };
        Ok(FollowUp {
            kind: parse_stored_enum(&self.step, "the kind of a follow-up step")?,
            name: self.name,
            doubt: (self.writes > 0).then_some(doubt),
            tries: self.tries.saturating_add(1),
        })
    }
}

/// Fails if no row was changed, for example because the lease was lost or has ended.
fn require_changed_row(changed: usize) -> Result<(), StoreError> {
    if changed == 1 { Ok(()) } else { Err(StoreError::Fenced) }
}
