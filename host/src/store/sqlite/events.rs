//! Events and their runs: written lazily, deleted in small steps.
//!
//! Never delays a request for long. A power cut may lose a part of the history, never a defect.

use jiff::Timestamp;

use rusqlite::{Connection, params};

use super::columns::{ReceivedJson, from_json, known_word, time, to_i64, to_json, uuid};
use super::errors::Unreadable;
use super::run_json::RunJson;
use super::statements::{Statements as _, from_row};
use crate::domain::{
    ConnectionId, DefectId, Event, EventId, EventKind, Outcome, OutcomeCode, RunReport,
    StringEnum as _, shortened,
};
use crate::store::{EventFilter, Retention, StoreError};

/// Maximum number of events that one operation deletes, so that no request waits for long.
const DELETES_MAX: u32 = 500;

/// Most bytes of a detail.
const DETAIL_BYTES_MAX: usize = 4 * 1024;

/// Stores an event, or the newer state of a stored one.
pub(super) fn record(db: &Connection, mut event: Event) -> Result<(), StoreError> {
    event.outcome.detail = shortened(&event.outcome.detail, DETAIL_BYTES_MAX);
    db.change(
        "INSERT INTO events (id, connection_id, kind, received_at, ms, status, outcome, detail,
             request, defect_id)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET connection_id = excluded.connection_id,
             kind = excluded.kind, received_at = excluded.received_at, ms = excluded.ms,
             status = excluded.status, outcome = excluded.outcome, detail = excluded.detail,
             request = excluded.request, defect_id = excluded.defect_id",
        params![
            event.id.to_string(),
            event.connection.map(|id| id.to_string()),
            event.kind.as_str(),
            event.received_at.as_millisecond(),
            to_i64(event.ms),
            event.status,
            event.outcome.code.as_str(),
            event.outcome.detail,
            to_json(&ReceivedJson::from(event.request))?,
            event.defect.map(|id| id.to_string())
        ],
    )?;
    Ok(())
}

/// What events say of their connection.
#[derive(Debug, Default)]
pub(super) struct Health {
    last_success_at: Option<i64>,
    last_error: Option<(i64, String)>,
}

impl Health {
    /// Adds what one event says.
    pub(super) fn add(&mut self, event: &Event) {
        let at = event.received_at.as_millisecond();
        if event.outcome.code.is_success() {
            self.last_success_at = self.last_success_at.max(Some(at));
            return;
        }
        let is_request =
            matches!(event.kind, EventKind::CreateDefect | EventKind::Kpis | EventKind::Check);
        let failed = is_request && event.status.is_some_and(|status| status >= 400);
        if failed && self.last_error.as_ref().is_none_or(|(last, _)| *last <= at) {
            let Outcome { code, detail } = &event.outcome;
            let detail = if detail.is_empty() { code.as_str() } else { detail };
            self.last_error = Some((at, shortened(detail, DETAIL_BYTES_MAX)));
        }
    }

    /// Stores it, unless something newer is stored.
    pub(super) fn store(self, db: &Connection, id: ConnectionId) -> Result<(), StoreError> {
        let id = id.to_string();
        if let Some(at) = self.last_success_at {
            db.change(
                "UPDATE connections SET last_success_at = MAX(COALESCE(last_success_at, ?2), ?2)
                 WHERE id = ?1",
                params![id, at],
            )?;
        }
        if let Some((at, detail)) = self.last_error {
            db.change(
                "UPDATE connections SET last_error_at = ?2, last_error = ?3
                 WHERE id = ?1 AND COALESCE(last_error_at, ?2) <= ?2",
                params![id, at, detail],
            )?;
        }
        Ok(())
    }
}

/// Stores a run of an event; the event itself may be stored later.
pub(super) fn record_run(
    db: &Connection,
    event: EventId,
    mut run: RunReport,
) -> Result<(), StoreError> {
    run.detail = shortened(&run.detail, DETAIL_BYTES_MAX);
    db.change(
        "INSERT INTO runs (event_id, seq, report)
         SELECT ?1, COALESCE(MAX(seq), 0) + 1, ?2 FROM runs WHERE event_id = ?1",
        params![event.to_string(), to_json(&RunJson::from(run))?],
    )?;
    Ok(())
}

/// Events, newest first. An event that cannot be read is logged and left out: one row must not
/// make the whole history unreadable.
pub(super) fn list(db: &Connection, filter: &EventFilter) -> Result<Vec<Event>, StoreError> {
    let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let mut events = Vec::new();
    let mut before = filter.before.map(|id| id.to_string());
    loop {
        let missing = limit - events.len();
        let rows = page(db, filter, before.as_deref(), missing)?;
        let is_last = rows.len() < missing;
        before = rows.last().map(|row| row.id.clone());
        for row in rows {
            match row.event() {
                Ok(event) => events.push(event),
                Err(error) => tracing::warn!(%error, "an event is left out of the list"),
            }
        }
        if is_last || events.len() >= limit {
            return Ok(events);
        }
    }
}

fn page(
    db: &Connection,
    filter: &EventFilter,
    before: Option<&str>,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    let rows = db.all(
        "SELECT * FROM events
         WHERE (?1 IS NULL OR received_at >= ?1) AND (?2 IS NULL OR received_at < ?2)
           AND (?3 IS NULL OR connection_id = ?3) AND (?4 IS NULL OR kind = ?4)
           AND (?5 IS NULL OR outcome = ?5) AND (?6 IS NULL OR id < ?6)
           AND COALESCE(connection_id, '') NOT IN (SELECT id FROM connections WHERE deleted = 1)
         ORDER BY id DESC LIMIT ?7",
        params![
            filter.since.map(Timestamp::as_millisecond),
            filter.until.map(Timestamp::as_millisecond),
            filter.connection.map(|id| id.to_string()),
            filter.kind.map(EventKind::as_str),
            filter.outcome.map(OutcomeCode::as_str),
            before,
            i64::try_from(limit).unwrap_or(i64::MAX)
        ],
    )?;
    Ok(rows)
}

/// One event with its runs.
pub(super) fn get(
    db: &Connection,
    id: EventId,
) -> Result<Option<(Event, Vec<RunReport>)>, StoreError> {
    let row: Option<Row> = db.one("SELECT * FROM events WHERE id = ?", params![id.to_string()])?;
    let Some(row) = row else { return Ok(None) };
    let reports: Vec<String> =
        db.all("SELECT report FROM runs WHERE event_id = ? ORDER BY seq", params![id.to_string()])?;
    let runs = reports.iter().map(|json| from_json::<RunJson>(json, "its report")?.try_into());
    let runs: Result<Vec<RunReport>, Unreadable> = runs.collect();
    let runs = runs.map_err(|unreadable| unreadable.in_row("run of event", id))?;
    Ok(Some((row.event()?, runs)))
}

/// What the retention deletes.
#[derive(Debug, Clone)]
pub(super) struct Excess {
    received_before: Timestamp,
    /// This event and all older ones.
    up_to: Option<String>,
    /// Of the requests that reached no connection, this one and all older ones.
    no_connection_up_to: Option<String>,
    events_bytes_max: u64,
}

/// Finds what the retention deletes. It only reads: counting a long history delays no write.
pub(super) fn find_excess(db: &Connection, retention: Retention) -> Result<Excess, StoreError> {
    let up_to = db.one(
        "SELECT id FROM events ORDER BY id DESC LIMIT 1 OFFSET ?",
        params![to_i64(retention.events_max)],
    )?;
    let no_connection_up_to = db.one(
        "SELECT id FROM events WHERE kind = ? ORDER BY id DESC LIMIT 1 OFFSET ?",
        params![EventKind::NoConnection.as_str(), to_i64(retention.no_connection_max)],
    )?;
    let confirmed: bool = db.only(
        "SELECT EXISTS (SELECT 1 FROM events WHERE received_at BETWEEN ? AND ?)",
        params![retention.events_since.as_millisecond(), retention.confirmed_by.as_millisecond()],
    )?;
    let received_before = if confirmed { retention.events_since } else { Timestamp::MIN };
    let events_bytes_max = retention.events_bytes_max;
    Ok(Excess { received_before, up_to, no_connection_up_to, events_bytes_max })
}

/// Deletes some of the excess; false: no event is left to delete.
pub(super) fn delete_some(db: &Connection, excess: Excess) -> Result<bool, StoreError> {
    let received_before = excess.received_before.as_millisecond();
    let deleted = db.change(
        "DELETE FROM events WHERE id IN (
             SELECT id FROM events WHERE received_at < ?1
             UNION ALL SELECT id FROM events WHERE id <= ?2
             UNION ALL SELECT id FROM events WHERE kind = ?4 AND id <= ?3
             UNION ALL SELECT id FROM (
                 SELECT id, SUM(bytes) OVER (ORDER BY id) - bytes AS older_bytes
                 FROM (
                     SELECT id, 500 + length(CAST(request AS BLOB)) + length(CAST(detail AS BLOB))
                         + COALESCE((SELECT SUM(100 + length(CAST(report AS BLOB))) FROM runs
                             WHERE event_id = events.id), 0) AS bytes
                     FROM events ORDER BY id LIMIT ?5))
             WHERE older_bytes < (SELECT bytes FROM history_size) - ?6
             LIMIT ?5)",
        params![
            received_before,
            excess.up_to,
            excess.no_connection_up_to,
            EventKind::NoConnection.as_str(),
            DELETES_MAX,
            to_i64(excess.events_bytes_max)
        ],
    )?;
    // Runs whose event was dropped: ids grow with time, so older than every event is old enough.
    db.change("DELETE FROM runs WHERE event_id < (SELECT MIN(id) FROM events)", [])?;
    // Tokens that expired before the oldest event.
    db.change("DELETE FROM tokens WHERE expires_at < ?", params![received_before])?;
    Ok(deleted > 0)
}

struct Row {
    id: String,
    connection_id: Option<String>,
    kind: String,
    received_at: i64,
    ms: i64,
    status: Option<u16>,
    outcome: String,
    detail: String,
    request: String,
    defect_id: Option<String>,
}

from_row!(Row {
    id,
    connection_id,
    kind,
    received_at,
    ms,
    status,
    outcome,
    detail,
    request,
    defect_id,
});

impl Row {
    fn event(self) -> Result<Event, StoreError> {
        let id = self.id.clone();
        self.read_event().map_err(|unreadable| unreadable.in_row("event", id))
    }

    fn read_event(self) -> Result<Event, Unreadable> {
        Ok(Event {
            id: EventId(uuid(&self.id)?),
            connection: self.connection_id.as_deref().map(uuid).transpose()?.map(ConnectionId),
            kind: known_word(&self.kind, "its kind")?,
            received_at: time(self.received_at)?,
            ms: u64::try_from(self.ms).unwrap_or_default(),
            status: self.status,
            outcome: Outcome {
                code: known_word(&self.outcome, "its outcome")?,
                detail: self.detail,
            },
            request: from_json::<ReceivedJson>(&self.request, "its request")?.into(),
            defect: self.defect_id.as_deref().map(uuid).transpose()?.map(DefectId),
        })
    }
}
