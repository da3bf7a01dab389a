//! Stores, limits and lists the recordings of runs. A recording is deleted at the latest with its
//! event.
//!
//! Nothing is stored for a connection whose recording was switched off.

use jiff::Timestamp;

use super::columns::{from_json, parse_stored_enum, to_i64, to_json};
use super::connections;
use super::database::{Database, from_row, params};
use crate::domain::StringEnum as _;
use crate::domain::{
    Call, ConnectionId, EventId, RECORDED_RUN_BYTES_MAX, RECORDINGS_BYTES_MAX, RecordedRun,
    RunRecording, RunReport, Settings,
};
use crate::store::StoreError;

/// Maximum number of recordings that one operation deletes.
const DELETES_MAX: u32 = 500;

/// Removes the recordings from runs that are about to be stored, and returns them.
pub(super) fn take_recordings(runs: &mut [RunReport]) -> Vec<(Call, RunRecording)> {
    runs.iter_mut().filter_map(|run| Some((run.call, run.recording.take()?))).collect()
}

/// Stores recordings of an event, if recording is switched on for its connection and the recordings
/// of the event are not too large. Then deletes the oldest recordings if the recordings of all
/// events together are too large.
pub(super) fn store(
    db: &dyn Database,
    event: EventId,
    recorded: &[(Call, RunRecording)],
) -> Result<(), StoreError> {
    for (call, RunRecording { input, exchanges, answer, missing }) in recorded {
        let (input, exchanges) = (to_json(input)?, to_json(exchanges)?);
        let answer = answer.as_ref().map(ToString::to_string);
        let answer_bytes = answer.as_ref().map_or(0, String::len);
        let bytes = to_i64((input.len() + exchanges.len() + answer_bytes) as u64);
        // Compare with twice the limit, because the JSON of the texts is longer than the texts.
        db.change(
            "INSERT INTO recordings (event_id, call, input, exchanges, missing, bytes, answer)
             SELECT e.id, ?2, ?3, ?4, ?5, ?6, ?8
             FROM events e JOIN connections c ON c.id = e.connection_id
             WHERE e.id = ?1 AND c.record_until IS NOT NULL AND NOT c.deleted
               AND ?6 + (SELECT COALESCE(SUM(bytes), 0) FROM recordings WHERE event_id = ?1) <= ?7",
            params![
                event.0,
                call.as_str(),
                input,
                exchanges,
                missing,
                bytes,
                to_i64(2 * RECORDED_RUN_BYTES_MAX),
                answer
            ],
        )?;
        delete_excess(db, RECORDINGS_BYTES_MAX)?;
    }
    Ok(())
}

/// Deletes the oldest recordings if all recordings together have more than `bytes_max` bytes, at
/// most [`DELETES_MAX`] at once.
pub(super) fn delete_excess(db: &dyn Database, bytes_max: u64) -> Result<(), StoreError> {
    let bytes: i64 = db.required_row("SELECT bytes FROM recordings_size", params![])?;
    let excess = bytes - to_i64(bytes_max);
    if excess > 0 {
        db.change(
            "DELETE FROM recordings WHERE seq IN (
                 SELECT seq FROM (
                     SELECT seq, SUM(bytes) OVER (ORDER BY seq) - bytes AS older_bytes
                     FROM (SELECT seq, bytes FROM recordings ORDER BY seq LIMIT ?2) AS oldest) AS old
                 WHERE older_bytes < ?1)",
            params![excess, DELETES_MAX],
        )?;
    }
    Ok(())
}

pub(super) fn set_recording_until(
    db: &dyn Database,
    id: ConnectionId,
    until: Option<Timestamp>,
    erase: bool,
) -> Result<(), StoreError> {
    let updated = db.change(
        "UPDATE connections SET record_until = ? WHERE id = ? AND NOT deleted",
        params![until.map(Timestamp::as_millisecond), id.0],
    )?;
    if updated == 0 {
        return Err(StoreError::NotFound("connection"));
    }
    if erase {
        db.change(
            "DELETE FROM recordings
             WHERE event_id IN (SELECT id FROM events WHERE connection_id = ?)",
            params![id.0],
        )?;
    }
    connections::notify(db, id)
}

pub(super) fn list(db: &dyn Database, event: EventId) -> Result<Vec<RecordedRun>, StoreError> {
    let rows: Vec<RecordingRow> = db.all_rows(
        "SELECT call, input, exchanges, answer, missing
         FROM recordings WHERE event_id = ? ORDER BY seq",
        params![event.0],
    )?;
    let recorded = rows.into_iter().map(|row| {
        let input = from_json::<Settings>(&row.input, "the input of a recording")?;
        let exchanges = from_json(&row.exchanges, "the exchanges of a recording")?;
        let answer = row.answer.map(|json| from_json(&json, "the answer of a recording"));
        let answer = answer.transpose()?;
        let recording = RunRecording { input, exchanges, answer, missing: row.missing };
        Ok(RecordedRun {
            call: parse_stored_enum(&row.call, "the call of a recording")?,
            recording,
        })
    });
    recorded
        .collect::<Result<_, super::unreadable::Unreadable>>()
        .map_err(|unreadable| unreadable.in_row("event", event))
}

struct RecordingRow {
    call: String,
    input: String,
    exchanges: String,
    answer: Option<String>,
    missing: Option<String>,
}

from_row!(RecordingRow { call, input, exchanges, answer, missing });
