//! Finds the rows that are due for a background search, and the known defects that show whether a
//! search works. Counts the defects in doubt. At the start of a server, recovers the rows of runs
//! that did not end.
//!
//! This file never decides that nothing was created.

use jiff::Timestamp;
use uuid::Uuid;

use super::columns::{hex_ids, to_i64, to_json};
use super::database::{Database, from_row, params};
use super::defect_records::DefectRow;
use super::follow_up_rows;
use crate::domain::{ConnectionId, ConnectionSnapshot, DefectId, DoubtfulDefect, Lease, Marker};
use crate::store::{ControlDefect, DoubtCounts, DueDefect, DueLimits, StoreError};

/// The wait before the second background search, and in most cases before the first, milliseconds.
/// Each further wait is twice as long, up to `SEARCH_WAIT_MS_MAX`.
pub(super) const SEARCH_WAIT_MS: i64 = 15_000;
/// Maximum wait before the next background search, milliseconds.
const SEARCH_WAIT_MS_MAX: i64 = 3_600_000;
/// Maximum number of known defects with which a search is checked.
const CONTROL_DEFECTS_MAX: i64 = 3;

/// The reason that people see for a row whose run stored no outcome.
const LOST_RUN_REASON: &str = "the run ended without a stored outcome after it had sent a write";
/// The detail that people see in an interrupted event.
const INTERRUPTED_EVENT_DETAIL: &str =
    "the server stopped while the event was in progress; the next request returns its outcome";

/// Leases a row that is due for a search, and sets the time of the next search.
pub(super) fn claim_search(
    db: &dyn Database,
    id: DefectId,
    now: Timestamp,
    lease_until: Timestamp,
) -> Result<Option<DoubtfulDefect>, StoreError> {
    let row: Option<DefectRow> = db.first_row(
        "UPDATE defects SET fence = fence + 1, lease_until = ?2,
             searches = searches + 1, next_search_at = ?3 + MIN(?5, ?4 << CAST(MIN(searches, 16) AS INTEGER))
         WHERE id = ?1 AND state IN ('in-doubt', 'created') AND next_search_at <= ?3
           AND COALESCE(lease_until, 0) <= ?3
         RETURNING *",
        params![
            id.0,
            lease_until.as_millisecond(),
            now.as_millisecond(),
            SEARCH_WAIT_MS,
            SEARCH_WAIT_MS_MAX
        ],
    )?;
    let Some(row) = row else { return Ok(None) };
    let lease = Lease { defect: id, fence: row.fence, until: lease_until };
    Ok(Some(row.into_doubtful_defect(lease)?))
}

/// Returns unleased rows whose next search is due. Leaves out rows that this process works on.
/// Before the query, moves the other rows in `sent` whose lease has ended to `in-doubt`.
pub(super) fn due_searches(
    db: &dyn Database,
    now: Timestamp,
    longest_run_ms: u64,
    rows_in_work: Vec<DefectId>,
    limits: DueLimits,
) -> Result<Vec<DueDefect>, StoreError> {
    let rows_in_work = to_json(&hex_ids(&rows_in_work))?;
    put_lost_runs_in_doubt(db, now, longest_run_ms, &rows_in_work)?;
    let rows: Vec<(Uuid, Uuid)> = db.all_rows(
        "SELECT id, connection_id FROM (
             SELECT id, connection_id, next_search_at, ROW_NUMBER() OVER (
                 PARTITION BY connection_id ORDER BY next_search_at) AS place
             FROM defects
             WHERE next_search_at <= ?1 AND state IN ('in-doubt', 'created') AND NOT released
               AND COALESCE(lease_until, 0) <= ?1 AND id NOT IN (SELECT unhex(value) FROM json_each(?3))
               AND connection_id IN (SELECT id FROM connections WHERE NOT deleted)) AS due
         WHERE place <= ?4 ORDER BY next_search_at LIMIT ?2",
        params![now.as_millisecond(), limits.total, rows_in_work, limits.per_connection],
    )?;
    Ok(rows.into_iter().map(DueDefect::from_ids).collect())
}

pub(super) fn control_defects(
    db: &dyn Database,
    connection: ConnectionId,
    snapshot: &ConnectionSnapshot,
    stored_by: Timestamp,
) -> Result<Vec<ControlDefect>, StoreError> {
    let rows: Vec<DefectRow> = db.all_rows(
        "SELECT * FROM defects
         WHERE connection_id = ? AND state = 'created' AND run_sha256 = ? AND run_settings = ?
           AND marked AND run_marked AND updated_at <= ?
         ORDER BY id DESC LIMIT ?",
        params![
            connection.0,
            &snapshot.connector_sha256,
            &snapshot.settings,
            stored_by.as_millisecond(),
            CONTROL_DEFECTS_MAX
        ],
    )?;
    let control = |row: DefectRow| {
        let marker = Marker::derive(connection, &row.test(), row.generation);
        Ok(ControlDefect { marker, key: row.id_and_defect()?.1.key })
    };
    rows.into_iter().map(control).collect()
}

/// Recovers a database that is not shared. Ends every lease, because no process that had one is
/// still running. A row in `sent` becomes `in-doubt`, unfinished events become interrupted, and all
/// waits begin again.
pub(super) fn recover(
    db: &dyn Database,
    now: Timestamp,
    longest_run_ms: u64,
) -> Result<(), StoreError> {
    db.change(
        "UPDATE defects SET lease_until = NULL, fence = fence + 1 WHERE lease_until IS NOT NULL",
        params![],
    )?;
    interrupt_events(db, i64::MAX)?;
    put_lost_runs_in_doubt(db, now, longest_run_ms, "[]")?;
    restart_waits_at_start(db, now, longest_run_ms)
}

/// Lets the waits begin again, because the clock may have been changed while the server did not
/// run, or the server may now run on another machine. No wait begins before `now`, so this is safe
/// while other servers work on the rows.
fn restart_waits_at_start(
    db: &dyn Database,
    now: Timestamp,
    longest_run_ms: u64,
) -> Result<(), StoreError> {
    db.change(
        "UPDATE defects SET wait_from = MAX(?1, MIN(COALESCE(wait_from, ?1), ?1 + ?2)),
             next_search_at = CASE WHEN state = 'in-doubt' AND needs_person IS NULL
                 THEN MIN(COALESCE(next_search_at, ?1 + ?3), ?1 + ?3) END
         WHERE state <> 'created'
           AND (state = 'in-doubt' OR state IN ('intent', 'failed') AND writes > 0)",
        params![now.as_millisecond(), to_i64(longest_run_ms), SEARCH_WAIT_MS],
    )?;
    follow_up_rows::restart_waits(db, now, longest_run_ms)
}

/// Recovers a shared database. Deletes the leases whose time is over, and moves their rows in
/// `sent` to `in-doubt`. The other leases stay, because other servers may have them. Unfinished
/// events that are old enough become interrupted, and all waits begin again.
pub(super) fn recover_shared(
    db: &dyn Database,
    now: Timestamp,
    longest_run_ms: u64,
) -> Result<(), StoreError> {
    put_lost_runs_in_doubt(db, now, longest_run_ms, "[]")?;
    db.change(
        "UPDATE defects SET lease_until = NULL, fence = fence + 1 WHERE lease_until <= ?1",
        params![now.as_millisecond()],
    )?;
    interrupt_overdue_events(db, now, longest_run_ms)?;
    restart_waits_at_start(db, now, longest_run_ms)
}

/// Marks the unfinished events that were received at least `longest_run_ms` ago as interrupted,
/// because their server has probably crashed. If the server has not crashed, it stores the real
/// outcome later.
pub(super) fn interrupt_overdue_events(
    db: &dyn Database,
    now: Timestamp,
    longest_run_ms: u64,
) -> Result<(), StoreError> {
    interrupt_events(db, now.as_millisecond().saturating_sub(to_i64(longest_run_ms)))
}

fn interrupt_events(db: &dyn Database, received_by: i64) -> Result<(), StoreError> {
    db.change(
        "UPDATE events SET outcome = 'interrupted', detail = ?1, defect_id = COALESCE(defect_id, (
             SELECT id FROM defects
             WHERE event_id = events.id AND state <> 'created' AND state <> 'failed' LIMIT 1))
         WHERE outcome = 'running' AND received_at <= ?2",
        params![INTERRUPTED_EVENT_DETAIL, received_by],
    )?;
    Ok(())
}

/// Lets all waits begin again, because the clock was changed. A write of a row in `sent` may still
/// be in progress for `longest_run_ms`, so the wait of this row begins only after that time.
pub(super) fn restart_waits(
    db: &dyn Database,
    now: Timestamp,
    longest_run_ms: u64,
) -> Result<(), StoreError> {
    db.change(
        "UPDATE defects SET wait_from = CASE state WHEN 'sent' THEN ?1 + ?3 ELSE ?1 END,
             next_search_at = MIN(next_search_at, ?1 + ?2)
         WHERE state <> 'created'
           AND (state IN ('sent', 'in-doubt') OR state IN ('intent', 'failed') AND writes > 0)",
        params![now.as_millisecond(), SEARCH_WAIT_MS, to_i64(longest_run_ms)],
    )?;
    follow_up_rows::restart_waits(db, now, longest_run_ms)
}

/// Moves all rows in `sent` whose lease has ended to `in-doubt`, except the rows that this process
/// works on.
fn put_lost_runs_in_doubt(
    db: &dyn Database,
    now: Timestamp,
    longest_run_ms: u64,
    rows_in_work: &str,
) -> Result<(), StoreError> {
    let lost: Vec<Uuid> = db.all_rows(
        "SELECT id FROM defects
         WHERE state <> 'created' AND state = 'sent' AND COALESCE(lease_until, 0) <= ?1
           AND id NOT IN (SELECT unhex(value) FROM json_each(?2))",
        params![now.as_millisecond(), rows_in_work],
    )?;
    for id in lost {
        put_lost_run_in_doubt(db, id, now, longest_run_ms)?;
    }
    Ok(())
}

/// Moves a row in `sent` whose run stored no outcome to `in-doubt`. Its last write counts as not
/// answered, and as ended `run_ms` after it was marked as sent.
pub(super) fn put_lost_run_in_doubt(
    db: &dyn Database,
    id: Uuid,
    now: Timestamp,
    run_ms: u64,
) -> Result<(), StoreError> {
    db.change(
        "UPDATE defects SET state = 'in-doubt', lease_until = NULL, reason = ?4, searches = 0,
             class = CASE class WHEN 'acknowledged' THEN class ELSE 'open' END,
             marked = marked AND (run_writes = 0 OR run_marked), run_writes = 0,
             write_ended_at = MAX(COALESCE(write_ended_at, 0), COALESCE(sent_at, updated_at) + ?3),
             wait_from = MAX(COALESCE(wait_from, 0), COALESCE(sent_at, updated_at) + ?3),
             settled = FALSE, needs_person = NULL, next_search_at = ?2, updated_at = ?2
         WHERE id = ?1",
        params![id, now.as_millisecond(), to_i64(run_ms), LOST_RUN_REASON],
    )?;
    Ok(())
}

struct DoubtCountRow {
    connection_id: Uuid,
    in_doubt: i64,
    need_person: i64,
}

from_row!(DoubtCountRow { connection_id, in_doubt, need_person });

pub(super) fn count(db: &dyn Database) -> Result<Vec<DoubtCounts>, StoreError> {
    let rows: Vec<DoubtCountRow> = db.all_rows(
        "SELECT connection_id,
             SUM(CASE WHEN state = 'in-doubt' THEN 1 ELSE 0 END) AS in_doubt,
             SUM(CASE WHEN needs_person IS NULL THEN 0 ELSE 1 END) AS need_person
         FROM defects
         WHERE state <> 'created'
           AND connection_id NOT IN (SELECT id FROM connections WHERE deleted)
         GROUP BY connection_id",
        params![],
    )?;
    let counts = rows.into_iter().map(|row| DoubtCounts {
        connection: ConnectionId(row.connection_id),
        in_doubt: u64::try_from(row.in_doubt).unwrap_or_default(),
        need_person: u64::try_from(row.need_person).unwrap_or_default(),
    });
    Ok(counts.collect())
}
