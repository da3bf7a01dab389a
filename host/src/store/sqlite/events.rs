//! Events and their runs: written lazily, deleted in small steps.
//!
//! Never delays a request for long. A power cut may lose a part of the history, never a defect.

use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnection, SqlitePool};

use super::columns::{ReceivedJson, from_json, from_row, known_word, time, to_i64, to_json, uuid};
use super::errors::Unreadable;
use super::run_json::RunJson;
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
pub(super) async fn record(db: &mut SqliteConnection, mut event: Event) -> Result<(), StoreError> {
    event.outcome.detail = shortened(&event.outcome.detail, DETAIL_BYTES_MAX);
    update_connection(db, &event).await?;
    sqlx::query(
        "INSERT INTO events (id, connection_id, kind, received_at, ms, status, outcome, detail,
             request, defect_id)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET connection_id = excluded.connection_id,
             kind = excluded.kind, received_at = excluded.received_at, ms = excluded.ms,
             status = excluded.status, outcome = excluded.outcome, detail = excluded.detail,
             request = excluded.request, defect_id = excluded.defect_id",
    )
    .bind(event.id.to_string())
    .bind(event.connection.map(|id| id.to_string()))
    .bind(event.kind.as_str())
    .bind(event.received_at.as_millisecond())
    .bind(to_i64(event.ms))
    .bind(event.status)
    .bind(event.outcome.code.as_str())
    .bind(event.outcome.detail)
    .bind(to_json(&ReceivedJson::from(event.request))?)
    .bind(event.defect.map(|id| id.to_string()))
    .execute(db)
    .await?;
    Ok(())
}

/// Stores an event as its connection's last success or last error.
async fn update_connection(db: &mut SqliteConnection, event: &Event) -> Result<(), StoreError> {
    let Some(connection) = event.connection else { return Ok(()) };
    let at = event.received_at.as_millisecond();
    if event.outcome.code.is_success() {
        sqlx::query(
            "UPDATE connections SET last_success_at = MAX(COALESCE(last_success_at, ?2), ?2)
             WHERE id = ?1",
        )
        .bind(connection.to_string())
        .bind(at)
        .execute(db)
        .await?;
        return Ok(());
    }
    let is_request =
        matches!(event.kind, EventKind::CreateDefect | EventKind::Kpis | EventKind::Check);
    if is_request && event.status.is_some_and(|status| status >= 400) {
        let Outcome { code, detail } = &event.outcome;
        let detail = if detail.is_empty() { code.as_str() } else { detail };
        sqlx::query(
            "UPDATE connections SET last_error_at = ?2, last_error = ?3
             WHERE id = ?1 AND COALESCE(last_error_at, ?2) <= ?2",
        )
        .bind(connection.to_string())
        .bind(at)
        .bind(detail)
        .execute(db)
        .await?;
    }
    Ok(())
}

/// Stores a run of an event; the event itself may be stored later.
pub(super) async fn record_run(
    db: &mut SqliteConnection,
    event: EventId,
    mut run: RunReport,
) -> Result<(), StoreError> {
    run.detail = shortened(&run.detail, DETAIL_BYTES_MAX);
    sqlx::query(
        "INSERT INTO runs (event_id, seq, report)
         SELECT ?1, COALESCE(MAX(seq), 0) + 1, ?2 FROM runs WHERE event_id = ?1",
    )
    .bind(event.to_string())
    .bind(to_json(&RunJson::from(run))?)
    .execute(db)
    .await?;
    Ok(())
}

/// Events, newest first. An event that cannot be read is logged and left out: one row must not
/// make the whole history unreadable.
pub(super) async fn list(
    pool: &SqlitePool,
    filter: &EventFilter,
) -> Result<Vec<Event>, StoreError> {
    let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let mut events = Vec::new();
    let mut before = filter.before.map(|id| id.to_string());
    loop {
        let missing = limit - events.len();
        let rows = page(pool, filter, before.as_deref(), missing).await?;
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

async fn page(
    pool: &SqlitePool,
    filter: &EventFilter,
    before: Option<&str>,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    let rows = sqlx::query_as(
        "SELECT * FROM events
         WHERE (?1 IS NULL OR received_at >= ?1) AND (?2 IS NULL OR received_at < ?2)
           AND (?3 IS NULL OR connection_id = ?3) AND (?4 IS NULL OR kind = ?4)
           AND (?5 IS NULL OR outcome = ?5) AND (?6 IS NULL OR id < ?6)
           AND COALESCE(connection_id, '') NOT IN (SELECT id FROM connections WHERE deleted = 1)
         ORDER BY id DESC LIMIT ?7",
    )
    .bind(filter.since.map(Timestamp::as_millisecond))
    .bind(filter.until.map(Timestamp::as_millisecond))
    .bind(filter.connection.map(|id| id.to_string()))
    .bind(filter.kind.map(EventKind::as_str))
    .bind(filter.outcome.map(OutcomeCode::as_str))
    .bind(before)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await?;
    Ok(rows)
}

/// One event with its runs.
pub(super) async fn get(
    pool: &SqlitePool,
    id: EventId,
) -> Result<Option<(Event, Vec<RunReport>)>, StoreError> {
    let row: Option<Row> = sqlx::query_as("SELECT * FROM events WHERE id = ?")
        .bind(id.to_string())
        .fetch_optional(pool)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let reports: Vec<String> =
        sqlx::query_scalar("SELECT report FROM runs WHERE event_id = ? ORDER BY seq")
            .bind(id.to_string())
            .fetch_all(pool)
            .await?;
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
pub(super) async fn find_excess(
    pool: &SqlitePool,
    retention: Retention,
) -> Result<Excess, StoreError> {
    let up_to = sqlx::query_scalar("SELECT id FROM events ORDER BY id DESC LIMIT 1 OFFSET ?")
        .bind(to_i64(retention.events_max))
        .fetch_optional(pool)
        .await?;
    let no_connection_up_to = sqlx::query_scalar(
        "SELECT id FROM events WHERE kind = ? ORDER BY id DESC LIMIT 1 OFFSET ?",
    )
    .bind(EventKind::NoConnection.as_str())
    .bind(to_i64(retention.no_connection_max))
    .fetch_optional(pool)
    .await?;
    let confirmed: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM events WHERE received_at BETWEEN ? AND ?)",
    )
    .bind(retention.events_since.as_millisecond())
    .bind(retention.confirmed_by.as_millisecond())
    .fetch_one(pool)
    .await?;
    let received_before = if confirmed { retention.events_since } else { Timestamp::MIN };
    let events_bytes_max = retention.events_bytes_max;
    Ok(Excess { received_before, up_to, no_connection_up_to, events_bytes_max })
}

/// Deletes some of the excess; false: no event is left to delete.
pub(super) async fn delete_some(
    db: &mut SqliteConnection,
    excess: Excess,
) -> Result<bool, StoreError> {
    let received_before = excess.received_before.as_millisecond();
    let deleted = sqlx::query(
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
    )
    .bind(received_before)
    .bind(excess.up_to)
    .bind(excess.no_connection_up_to)
    .bind(EventKind::NoConnection.as_str())
    .bind(DELETES_MAX)
    .bind(to_i64(excess.events_bytes_max))
    .execute(&mut *db)
    .await?;
    // Runs whose event was dropped: ids grow with time, so older than every event is old enough.
    sqlx::query("DELETE FROM runs WHERE event_id < (SELECT MIN(id) FROM events)")
        .execute(&mut *db)
        .await?;
    // Tokens that expired before the oldest event.
    sqlx::query("DELETE FROM tokens WHERE expires_at < ?")
        .bind(received_before)
        .execute(db)
        .await?;
    Ok(deleted.rows_affected() > 0)
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
