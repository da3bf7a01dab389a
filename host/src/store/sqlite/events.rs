//! Events and the runs beside them, written lazily and forgotten in small steps.
//!
//! Never in the way of a click: what is lost here is history, not a defect.

use jiff::Timestamp;
use sqlx::FromRow;
use sqlx::sqlite::{SqliteConnection, SqlitePool};

use super::columns::{ReceivedJson, RunJson, from_json, signed, time, to_json, uuid, word};
use crate::domain::{ConnectionId, DefectId, Event, EventId, EventKind, Outcome, RunReport};
use crate::store::{EventFilter, Retention, StoreError};

/// Events that one step of the pruning deletes at most, so that no click waits for long.
const PRUNED_AT_ONCE: u32 = 500;

/// Keeps an event, or the newer state of one that is kept already.
pub(super) async fn record(db: &mut SqliteConnection, event: Event) -> Result<(), StoreError> {
    remember_outcome(db, &event).await?;
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
    .bind(signed(event.ms))
    .bind(event.status)
    .bind(event.outcome.code)
    .bind(event.outcome.detail)
    .bind(to_json(&ReceivedJson::from(event.request))?)
    .bind(event.defect.map(|id| id.to_string()))
    .execute(db)
    .await?;
    Ok(())
}

/// A connection's last success or error.
async fn remember_outcome(db: &mut SqliteConnection, event: &Event) -> Result<(), StoreError> {
    let Some(connection) = event.connection else { return Ok(()) };
    let at = event.received_at.as_millisecond();
    let success = ["created", "repeated", "adopted", "counted", "cached"]
        .contains(&event.outcome.code.as_str());
    if success {
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
    let asked = matches!(event.kind, EventKind::CreateDefect | EventKind::Kpis | EventKind::Check);
    if asked && event.status.is_some_and(|status| status >= 400) {
        let words = &event.outcome;
        let detail = if words.detail.is_empty() { &words.code } else { &words.detail };
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

/// Keeps a run beside its event, which may be recorded later.
pub(super) async fn record_run(
    db: &mut SqliteConnection,
    event: EventId,
    run: RunReport,
) -> Result<(), StoreError> {
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

/// Events, newest first.
pub(super) async fn list(
    pool: &SqlitePool,
    filter: &EventFilter,
) -> Result<Vec<Event>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT * FROM events
         WHERE (?1 IS NULL OR received_at >= ?1) AND (?2 IS NULL OR received_at < ?2)
           AND (?3 IS NULL OR connection_id = ?3) AND (?4 IS NULL OR kind = ?4)
           AND (?5 IS NULL OR outcome = ?5) AND (?6 IS NULL OR id < ?6)
         ORDER BY id DESC LIMIT ?7",
    )
    .bind(filter.since.map(Timestamp::as_millisecond))
    .bind(filter.until.map(Timestamp::as_millisecond))
    .bind(filter.connection.map(|id| id.to_string()))
    .bind(filter.kind.map(EventKind::as_str))
    .bind(filter.outcome.as_deref())
    .bind(filter.before.map(|id| id.to_string()))
    .bind(filter.limit)
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Row::event).collect()
}

/// One event with its runs.
pub(super) async fn one(
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
    let runs = reports.iter().map(|json| from_json::<RunJson>(json)?.try_into());
    Ok(Some((row.event()?, runs.collect::<Result<_, _>>()?)))
}

/// The newest events that are too many: of all, and of those that reached no connection. Found by
/// reading, so that no click waits while a long history is counted.
pub(super) async fn too_many(
    pool: &SqlitePool,
    retention: Retention,
) -> Result<(Option<String>, Option<String>), StoreError> {
    let of_all = sqlx::query_scalar("SELECT id FROM events ORDER BY id DESC LIMIT 1 OFFSET ?")
        .bind(signed(retention.events_max))
        .fetch_optional(pool)
        .await?;
    let of_nobody = sqlx::query_scalar(
        "SELECT id FROM events WHERE kind = ? ORDER BY id DESC LIMIT 1 OFFSET ?",
    )
    .bind(EventKind::NoConnection.as_str())
    .bind(signed(retention.no_connection_max))
    .fetch_optional(pool)
    .await?;
    Ok((of_all, of_nobody))
}

/// Forgets a few of what the retention lets go, from those that are [`too_many`] down; false: nothing is
/// left to forget.
pub(super) async fn prune_some(
    db: &mut SqliteConnection,
    since: Timestamp,
    (of_all, of_nobody): &(Option<String>, Option<String>),
) -> Result<bool, StoreError> {
    let gone = sqlx::query(
        "DELETE FROM events WHERE id IN (
             SELECT id FROM events WHERE received_at < ?1
             UNION ALL SELECT id FROM events WHERE id <= ?2
             UNION ALL SELECT id FROM events WHERE kind = ?4 AND id <= ?3
             LIMIT ?5)",
    )
    .bind(since.as_millisecond())
    .bind(of_all)
    .bind(of_nobody)
    .bind(EventKind::NoConnection.as_str())
    .bind(PRUNED_AT_ONCE)
    .execute(&mut *db)
    .await?;
    // A run whose event was never kept goes with the events of its time; ids grow with time.
    sqlx::query("DELETE FROM runs WHERE event_id < (SELECT MIN(id) FROM events)")
        .execute(&mut *db)
        .await?;
    // A token that ended before the oldest event is of no use to anybody.
    sqlx::query("DELETE FROM tokens WHERE expires_at < ?")
        .bind(since.as_millisecond())
        .execute(db)
        .await?;
    Ok(gone.rows_affected() > 0)
}

#[derive(FromRow)]
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

impl Row {
    fn event(self) -> Result<Event, StoreError> {
        Ok(Event {
            id: EventId(uuid(&self.id)?),
            connection: self.connection_id.as_deref().map(uuid).transpose()?.map(ConnectionId),
            kind: word(EventKind::from_word(&self.kind), "an event's kind")?,
            received_at: time(self.received_at)?,
            ms: u64::try_from(self.ms).unwrap_or_default(),
            status: self.status,
            outcome: Outcome { code: self.outcome, detail: self.detail },
            request: from_json::<ReceivedJson>(&self.request)?.into(),
            defect: self.defect_id.as_deref().map(uuid).transpose()?.map(DefectId),
        })
    }
}
