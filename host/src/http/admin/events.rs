//! `/api/v1/events`: the requests and answers, and for each run its log, its requests and its
//! usage.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use uuid::Uuid;

use crate::api::{Event, EventList, EventQuery, EventRecording, EventWithRuns, RecordedRun, Run};
use crate::domain::EventId;
use crate::http::AppState;
use crate::http::problem::Problem;
use crate::store::EventFilter;

use super::{Id, Params, connection_id, connection_names, page, page_size};

pub(in crate::http) async fn list(
    State(app): State<Arc<AppState>>,
    Params(query): Params<EventQuery>,
) -> Result<Json<EventList>, Problem> {
    let size = page_size(query.limit)?;
    let connection = query.connection.map(|name| connection_id(&app, &name)).transpose()?;
    let filter = EventFilter {
        since: query.since,
        until: query.until,
        connection,
        kind: query.kind.map(|kind| kind.0),
        outcome: query.outcome.map(|outcome| outcome.0),
        before: query.cursor.map(EventId),
        limit: size + 1,
    };
    // Write queued events first, so that the list contains every event that was answered before
    // this request.
    app.services.store.flush().await?;
    let (events, next) = page(app.services.store.events(&filter).await?, size, |it| it.id.0);
    let names = connection_names(&app);
    let name = |event: &crate::domain::Event| names.get(&event.connection?).cloned();
    let events = events.iter().map(|event| Event::new(event, name(event))).collect();
    Ok(Json(EventList { events, next }))
}

pub(in crate::http) async fn show(
    State(app): State<Arc<AppState>>,
    Id(id): Id,
) -> Result<Json<EventWithRuns>, Problem> {
    let missing = || Problem::no_such("event", &id);
    let event = EventId(Uuid::parse_str(&id).map_err(|_| missing())?);
    app.services.store.flush().await?;
    let (event, runs) = app.services.store.event(event).await?.ok_or_else(missing)?;
    let name = event.connection.and_then(|id| connection_names(&app).remove(&id));
    let runs = runs.into_iter().map(Run::from).collect();
    Ok(Json(EventWithRuns { event: Event::new(&event, name), runs }))
}

pub(in crate::http) async fn recording(
    State(app): State<Arc<AppState>>,
    Id(id): Id,
) -> Result<Json<EventRecording>, Problem> {
    let missing = || Problem::no_such("event", &id);
    let event = EventId(Uuid::parse_str(&id).map_err(|_| missing())?);
    app.services.store.flush().await?;
    app.services.store.event(event).await?.ok_or_else(missing)?;
    let runs = app.services.store.recording(event).await?;
    Ok(Json(EventRecording { runs: runs.into_iter().map(RecordedRun::from).collect() }))
}
