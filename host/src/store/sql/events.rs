//! Stores, lists and deletes events with their runs.
//!
//! One operation deletes at most [`DELETES_MAX`] events, so that requests do not wait for long.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use uuid::Uuid;

use super::columns::{
    ReceivedJson, connection_ids_json, from_json, parse_stored_enum, time, to_i64, to_json,
};
use super::database::{Database, from_row, params};
use super::event_search as search;
use super::run_json::{self, RunJson};
use super::unreadable::Unreadable;
use super::values::Value;
use crate::domain::{
    ConnectionId, DefectId, Event, EventId, EventKind, Outcome, OutcomeCode, RunReport,
    StringEnum as _, TimedSteps, searchable_words, shortened,
};
use crate::store::{EventFilter, Retention, StoreError, WholeEvent};

/// Maximum number of events that one operation deletes.
const DELETES_MAX: u32 = 500;

/// Maximum size of the detail of an event or of a run, bytes.
const DETAIL_BYTES_MAX: usize = 4 * 1024;

/// The estimated size of an event's row without its texts, bytes.
const ROW_BYTES: usize = 300;

/// A row of the table `events` that will be written.
pub(in crate::store) struct EventRow {
    id: Uuid,
    connection_id: Option<Uuid>,
    kind: &'static str,
    /// When the request arrived or the task began, milliseconds since 1970.
    received_at: i64,
    /// The duration of the event, milliseconds.
    ms: i64,
    status: Option<u16>,
    outcome: &'static str,
    detail: String,
    request: String,
    defect_id: Option<Uuid>,
    steps: Option<String>,
    runs: Option<String>,
    /// The estimated size of the row and of its words, bytes.
    bytes: usize,
    /// The words of `detail`, for the search.
    words: BTreeSet<String>,
}

impl EventRow {
    pub(super) fn new(
        event: Event,
        steps: &TimedSteps,
        runs: Vec<RunReport>,
    ) -> Result<Self, StoreError> {
        let detail = shortened(&event.outcome.detail, DETAIL_BYTES_MAX);
        let request = to_json(&ReceivedJson::from(event.request))?;
        let (steps, runs, words) =
            (run_json::steps_json(steps), runs_json(runs)?, searchable_words(&detail));
        let parts_bytes = [&steps, &runs].into_iter().flatten().map(String::len).sum::<usize>();
        let bytes = ROW_BYTES
            + request.len()
            + detail.len()
            + search::word_rows_bytes(&words)
            + parts_bytes;
        Ok(Self {
            id: event.id.0,
            connection_id: event.connection.map(|id| id.0),
            kind: event.kind.as_str(),
            received_at: event.received_at.as_millisecond(),
            ms: to_i64(event.ms),
            status: event.status,
            outcome: event.outcome.code.as_str(),
            detail,
            request,
            defect_id: event.defect.map(|id| id.0),
            steps,
            runs,
            bytes,
            words,
        })
    }

    fn params(&self) -> Vec<Value<'_>> {
        params![
            self.id,
            self.connection_id,
            self.kind,
            self.received_at,
            self.ms,
            self.status,
            self.outcome,
            self.detail,
            self.request,
            self.defect_id,
            self.steps,
            self.runs,
            self.bytes
        ]
        .to_vec()
    }
}

/// Inserts new events. If an event is already stored, updates its row, and adds the new steps and
/// runs to the stored ones. `rows` has at most one row for each event.
pub(super) fn store(db: &dyn Database, rows: &[&EventRow]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let params: Vec<_> = rows.iter().map(|row| row.params()).collect();
    db.insert_rows(
        "INSERT INTO events (id, connection_id, kind, received_at, ms, status, outcome, detail,
             request, defect_id, steps, runs, bytes)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET connection_id = excluded.connection_id,
             kind = excluded.kind, received_at = excluded.received_at, ms = excluded.ms,
             status = excluded.status, outcome = excluded.outcome, detail = excluded.detail,
             request = excluded.request, defect_id = excluded.defect_id,
             bytes = excluded.bytes + COALESCE(octet_length(events.steps), 0)
                 + COALESCE(octet_length(events.runs), 0),
             steps = CASE WHEN events.steps IS NULL OR excluded.steps IS NULL
                 THEN COALESCE(excluded.steps, events.steps)
                 ELSE rtrim(events.steps, ']') || ',' || ltrim(excluded.steps, '[') END,
             runs = CASE WHEN events.runs IS NULL OR excluded.runs IS NULL
                 THEN COALESCE(excluded.runs, events.runs)
                 ELSE rtrim(events.runs, ']') || ',' || ltrim(excluded.runs, '[') END",
        &params,
    )?;
    search::store_words(db, rows.iter().map(|row| (row.id, &row.words)))
}

/// Steps and runs of an event that were recorded after the event was stored.
pub(in crate::store) struct LaterStepsAndRuns {
    event: EventId,
    steps: Option<String>,
    runs: Option<String>,
}

impl LaterStepsAndRuns {
    /// Returns `None` if there are no steps and no runs.
    pub(super) fn new(
        event: EventId,
        steps: &TimedSteps,
        runs: Vec<RunReport>,
    ) -> Result<Option<Self>, StoreError> {
        let (steps, runs) = (run_json::steps_json(steps), runs_json(runs)?);
        let has_any = steps.is_some() || runs.is_some();
        Ok(has_any.then_some(Self { event, steps, runs }))
    }

    /// Adds the steps and runs to the stored event. Drops them if the event is not stored.
    pub(super) fn store(&self, db: &dyn Database) -> Result<(), StoreError> {
        db.change(
            "UPDATE events SET
                 bytes = bytes + COALESCE(octet_length(?2), 0) + COALESCE(octet_length(?3), 0),
                 steps = CASE WHEN steps IS NULL OR ?2 IS NULL THEN COALESCE(?2, steps)
                     ELSE rtrim(steps, ']') || ',' || ltrim(?2, '[') END,
                 runs = CASE WHEN runs IS NULL OR ?3 IS NULL THEN COALESCE(?3, runs)
                     ELSE rtrim(runs, ']') || ',' || ltrim(?3, '[') END
             WHERE id = ?1",
            params![self.event.0, self.steps, self.runs],
        )?;
        Ok(())
    }
}

fn runs_json(runs: Vec<RunReport>) -> Result<Option<String>, StoreError> {
    if runs.is_empty() {
        return Ok(None);
    }
    let with_short_detail = |run: RunReport| {
        RunJson::from(RunReport { detail: shortened(&run.detail, DETAIL_BYTES_MAX), ..run })
    };
    to_json(&runs.into_iter().map(with_short_detail).collect::<Vec<_>>()).map(Some)
}

/// The last success and the last error of a connection, from the events of one batch.
#[derive(Debug, Default)]
pub(in crate::store) struct ConnectionHealth {
    last_success_at: Option<i64>,
    last_error: Option<(i64, String)>,
}

impl ConnectionHealth {
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

    /// Stores the last success and the last error, unless newer ones are already stored.
    pub(super) fn store(&self, db: &dyn Database, id: ConnectionId) -> Result<(), StoreError> {
        let id = id.0;
        if let Some(at) = self.last_success_at {
            db.change(
                "UPDATE connections SET last_success_at = MAX(COALESCE(last_success_at, ?2), ?2)
                 WHERE id = ?1",
                params![id, at],
            )?;
        }
        if let Some((at, detail)) = &self.last_error {
            db.change(
                "UPDATE connections SET last_error_at = ?2, last_error = ?3
                 WHERE id = ?1 AND COALESCE(last_error_at, ?2) <= ?2",
                params![id, at, detail],
            )?;
        }
        Ok(())
    }
}

/// Returns the events that meet the conditions of the filter, newest first. Logs an event that
/// cannot be read and omits it, so that one damaged row does not make the whole list fail.
pub(super) fn list(db: &dyn Database, filter: &EventFilter) -> Result<Vec<Event>, StoreError> {
    let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let mut events = Vec::new();
    let mut before = filter.before.map(|id| id.0);
    loop {
        let missing = limit - events.len();
        let rows = read_page(db, filter, before, missing)?;
        let is_last = rows.len() < missing;
        before = rows.last().map(|row| row.id);
        for row in rows {
            match row.into_event() {
                Ok(event) => events.push(event),
                Err(error) => {
                    tracing::warn!(%error, "an event cannot be read; it is omitted from the list")
                }
            }
        }
        if is_last || events.len() >= limit {
            return Ok(events);
        }
    }
}

/// Returns the rows of events that are older than `before`, newest first. An event that several
/// statements find is returned once.
fn read_page(
    db: &dyn Database,
    filter: &EventFilter,
    before: Option<Uuid>,
    limit: usize,
) -> Result<Vec<StoredEvent>, StoreError> {
    let since = filter.since.map(Timestamp::as_millisecond);
    let until = filter.until.map(Timestamp::as_millisecond);
    let (connection, kind) = (filter.connection.map(|id| id.0), filter.kind.map(EventKind::as_str));
    let outcome = filter.outcome.map(OutcomeCode::as_str);
    let connections = connection_ids_json(filter.connections.as_ref())?;
    let rows_max = i64::try_from(limit).unwrap_or(i64::MAX);
    let conditions: &[_] =
        params![since, until, connection, kind, outcome, before, rows_max, connections];
    let mut found = BTreeMap::new();
    for query in search::make_queries(filter.search.as_ref()) {
        let rows: Vec<StoredEvent> =
            db.all_rows(query.sql, &[conditions, &query.search_params[..]].concat())?;
        found.extend(rows.into_iter().map(|row| (row.id, row)));
    }
    Ok(found.into_values().rev().take(limit).collect())
}

pub(super) fn get(db: &dyn Database, id: EventId) -> Result<Option<WholeEvent>, StoreError> {
    let row: Option<StoredEvent> =
        db.first_row("SELECT * FROM events WHERE id = ?", params![id.0])?;
    let Some(mut row) = row else { return Ok(None) };
    let (steps, runs) = (row.steps.take(), row.runs.take());
    let steps =
        steps.map_or_else(|| Ok(TimedSteps::default()), |json| run_json::parse_steps(&json));
    let runs = from_json::<Vec<RunJson>>(runs.as_deref().unwrap_or("[]"), "its runs")
        .and_then(|runs| runs.into_iter().map(RunReport::try_from).collect());
    let unreadable = |unreadable: Unreadable| unreadable.in_row("event", id);
    let (steps, runs) = (steps.map_err(unreadable)?, runs.map_err(unreadable)?);
    Ok(Some(WholeEvent { event: row.into_event()?, steps, runs }))
}

/// The limits that decide which events exceed the retention.
#[derive(Debug, Clone)]
pub(super) struct ExcessEvents {
    /// Events that were received before this instant are deleted.
    received_before: Timestamp,
    /// Set if there are too many events: this event and all older events are deleted.
    newest_excess_event: Option<Uuid>,
    /// Set if there are too many events of requests that matched no connection: this event and all
    /// older events of this kind are deleted.
    newest_excess_no_connection_event: Option<Uuid>,
    /// The oldest events are deleted until all events together have at most this size, bytes.
    events_bytes_max: u64,
}

/// Finds the limits that decide which events exceed the retention. This function does not write, so
/// that a reading thread can call it: with a long history, it would delay the writing thread.
pub(super) fn find_excess(
    db: &dyn Database,
    retention: Retention,
) -> Result<ExcessEvents, StoreError> {
    let newest_excess_event = db.first_row(
        "SELECT id FROM events ORDER BY id DESC LIMIT 1 OFFSET ?",
        params![to_i64(retention.events_max)],
    )?;
    let newest_excess_no_connection_event = db.first_row(
        "SELECT id FROM events WHERE kind = 'no-connection' ORDER BY id DESC LIMIT 1 OFFSET ?",
        params![to_i64(retention.no_connection_events_max)],
    )?;
    let confirmed: bool = db.required_row(
        "SELECT EXISTS (SELECT 1 FROM events WHERE received_at BETWEEN ? AND ? ORDER BY id DESC)",
        params![retention.events_since.as_millisecond(), retention.confirmed_by.as_millisecond()],
    )?;
    let received_before = if confirmed { retention.events_since } else { Timestamp::MIN };
    let events_bytes_max = retention.events_bytes_max;
    Ok(ExcessEvents {
        received_before,
        newest_excess_event,
        newest_excess_no_connection_event,
        events_bytes_max,
    })
}

/// Deletes events that are too old, or above the maximum number or size, at most [`DELETES_MAX`] at
/// once. Returns false if no event was deleted.
pub(super) fn delete_some(db: &dyn Database, excess: ExcessEvents) -> Result<bool, StoreError> {
    let received_before = excess.received_before.as_millisecond();
    let deleted = db.change(
        "DELETE FROM events WHERE id IN (
             SELECT id FROM (
                 SELECT id, received_at, SUM(bytes) OVER (ORDER BY id) - bytes AS older_bytes
                 FROM (SELECT id, received_at, bytes FROM events ORDER BY id LIMIT ?4) AS oldest) AS old
             WHERE received_at < ?1 OR id <= ?2
                 OR older_bytes < (SELECT bytes FROM history_size) - ?5
             UNION SELECT id FROM events WHERE kind = 'no-connection' AND id <= ?3
             LIMIT ?4)",
        params![
            received_before,
            excess.newest_excess_event,
            excess.newest_excess_no_connection_event,
            DELETES_MAX,
            to_i64(excess.events_bytes_max)
        ],
    )?;
    // Also delete the webhook tokens that expired before `received_before`.
    db.change("DELETE FROM tokens WHERE expires_at < ?", params![received_before])?;
    Ok(deleted > 0)
}

/// A row of the table `events` that was read.
struct StoredEvent {
    id: Uuid,
    connection_id: Option<Uuid>,
    kind: String,
    /// When the event was received, milliseconds since 1970.
    received_at: i64,
    /// The duration of the event, milliseconds.
    ms: i64,
    status: Option<u16>,
    outcome: String,
    detail: String,
    request: String,
    defect_id: Option<Uuid>,
    steps: Option<String>,
    runs: Option<String>,
}

from_row!(StoredEvent {
    id,
    connection_id,
    kind,
    received_at,
    ms,
    status,
    outcome,
    detail,
    request,
    defect_id;
    optional steps, runs,
});

impl StoredEvent {
    fn into_event(self) -> Result<Event, StoreError> {
        let id = self.id;
        self.try_into_event().map_err(|unreadable| unreadable.in_row("event", id))
    }

    fn try_into_event(self) -> Result<Event, Unreadable> {
        Ok(Event {
            id: EventId(self.id),
            connection: self.connection_id.map(ConnectionId),
            kind: parse_stored_enum(&self.kind, "its kind")?,
            received_at: time(self.received_at)?,
            ms: u64::try_from(self.ms).unwrap_or_default(),
            status: self.status,
            outcome: Outcome {
                code: parse_stored_enum(&self.outcome, "its outcome")?,
                detail: self.detail,
            },
            request: from_json::<ReceivedJson>(&self.request, "its request")?.into(),
            defect: self.defect_id.map(DefectId),
        })
    }
}
