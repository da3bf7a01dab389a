//! `/api/v1/events`: what came in, what was answered, and what each run said, sent and used.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::dispatch::Dispatch;
use crate::domain::{Event, EventId, EventKind, LogLine, OutboundCall, RunReport, Usage};
use crate::store::EventFilter;

use super::super::AppState;
use super::super::problem::Problem;
use super::{
    ConnectionNames, Params, connection_id, connection_names, json as answer, page, page_size, with,
};

/// The events' routes.
pub(super) fn routes() -> Router<Arc<AppState>> {
    Router::new().route("/events", get(list)).route("/events/{id}", get(show))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    since: Option<String>,
    until: Option<String>,
    connection: Option<String>,
    kind: Option<String>,
    outcome: Option<String>,
    cursor: Option<String>,
    limit: Option<u32>,
}

async fn list(
    State(app): State<Arc<AppState>>,
    Params(wanted): Params<Wanted>,
) -> Result<Response, Problem> {
    let size = page_size(wanted.limit)?;
    let filter = filter(&app.dispatch, wanted, size)?;
    let store = app.dispatch.store();
    // What was answered before this request can be read by it.
    store.flush().await?;
    let (events, next) = page(store.events(&filter).await?, size, |event| event.id.to_string());
    let names = connection_names(&app.dispatch);
    let events: Vec<_> = events.iter().map(|event| shape(event, &names)).collect();
    Ok(answer(StatusCode::OK, &json!({"events": events, "next": next})))
}

async fn show(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let missing = || Problem::not_found("event");
    let id = EventId(Uuid::parse_str(&id).map_err(|_| missing())?);
    let store = app.dispatch.store();
    store.flush().await?;
    let (event, runs) = store.event(id).await?.ok_or_else(missing)?;
    let runs = runs.iter().map(run).collect();
    let event = shape(&event, &connection_names(&app.dispatch));
    Ok(answer(StatusCode::OK, &with(event, "runs", runs)))
}

fn filter(dispatch: &Dispatch, wanted: Wanted, size: u32) -> Result<EventFilter, Problem> {
    let connection = wanted.connection.map(|name| connection_id(dispatch, &name)).transpose()?;
    Ok(EventFilter {
        since: wanted.since.map(|text| instant("since", &text)).transpose()?,
        until: wanted.until.map(|text| instant("until", &text)).transpose()?,
        connection,
        kind: wanted.kind.map(|word| kind(&word)).transpose()?,
        outcome: wanted.outcome,
        before: wanted.cursor.map(|text| cursor(&text)).transpose()?.map(EventId),
        limit: size + 1,
    })
}

fn instant(name: &str, text: &str) -> Result<Timestamp, Problem> {
    text.parse().map_err(|_| {
        Problem::bad_request(format!(
            "`{name}` must be an instant like 2031-05-17T08:30:00Z, found {text:?}"
        ))
    })
}

fn kind(word: &str) -> Result<EventKind, Problem> {
    EventKind::from_word(word).ok_or_else(|| {
        let known = EventKind::ALL.map(EventKind::as_str).join(", ");
        Problem::bad_request(format!("`kind` is one of {known}, found {word:?}"))
    })
}

/// A page's `next`, given back.
pub(super) fn cursor(text: &str) -> Result<Uuid, Problem> {
    let wrong = || Problem::bad_request("`cursor` must be the `next` of the page before");
    Uuid::parse_str(text).map_err(|_| wrong())
}

fn shape(event: &Event, names: &ConnectionNames) -> Value {
    let request = &event.request;
    let headers = request.headers.iter().map(|(name, value)| json!({"name": name, "value": value}));
    json!({
        "id": event.id.to_string(),
        "connection": event.connection.map(|id| id.to_string()),
        "connection_name": event.connection.and_then(|id| names.get(&id)),
        "kind": event.kind.as_str(),
        "received_at": event.received_at.to_string(),
        "ms": event.ms,
        "status": event.status,
        "outcome": event.outcome.code,
        "detail": event.outcome.detail,
        "defect": event.defect.map(|id| id.to_string()),
        "request": {
            "method": request.method,
            "path": request.path,
            "headers": headers.collect::<Vec<_>>(),
            "body": request.body,
        },
    })
}

fn run(run: &RunReport) -> Value {
    json!({
        "call": run.call,
        "outcome": run.outcome,
        "detail": run.detail,
        "connector_version": run.connector_version,
        "connector_sha256": run.connector_sha256,
        "log": run.log.iter().map(log_line).collect::<Vec<_>>(),
        "calls": run.calls.iter().map(call).collect::<Vec<_>>(),
        "usage": usage(&run.usage),
    })
}

fn log_line(line: &LogLine) -> Value {
    json!({"at_ms": line.at_ms, "level": line.level.as_str(), "message": line.message})
}

fn call(call: &OutboundCall) -> Value {
    json!({
        "at_ms": call.at_ms,
        "method": call.method,
        "origin": call.origin,
        "path": call.path,
        "effect": call.effect.as_str(),
        "status": call.status,
        "ms": call.ms,
        "bytes": call.bytes,
        "error": call.error,
    })
}

fn usage(usage: &Usage) -> Value {
    json!({
        "memory_bytes": usage.memory_bytes,
        "cpu_ms": usage.cpu_ms,
        "run_ms": usage.run_ms,
        "outbound_calls": usage.outbound_calls,
        "response_body_bytes": usage.response_body_bytes,
        "request_body_bytes": usage.request_body_bytes,
        "log_bytes": usage.log_bytes,
        "handles": usage.handles,
        "turns": usage.turns,
        "yields": usage.yields,
        "waited_ticks": usage.waited_ticks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_filter_is_told_what_is_allowed() {
        assert!(kind("kpis").is_ok() && cursor(&Uuid::nil().to_string()).is_ok());
        assert!(instant("since", "2031-05-17T08:30:00.25Z").is_ok());
        let why = kind("nonsense").unwrap_err().outcome().detail;
        assert!(why.contains("create-defect"), "{why}");
        let why = instant("since", "yesterday").unwrap_err().outcome().detail;
        assert!(why.contains("since") && why.contains("yesterday"), "{why}");
        assert!(cursor("x").is_err());
    }
}
