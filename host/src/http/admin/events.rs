//! Handlers of `/api/v1/events`. An account never gets events of connections that it may not see.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use uuid::Uuid;

use crate::api::{
    Event, EventList, EventQuery, EventRecording, EventWithRuns, RecordedRun, Run, Step,
};
use crate::domain::{self, Account, ConnectionId, EventId, EventSearch, Role};
use crate::http::AppState;
use crate::http::problem::Problem;
use crate::json::Json;
use crate::store::{EventFilter, WholeEvent};

use super::{Id, Params, connection_names, page_size, truncate_to_page, visible_connection_id};

type App = State<Arc<AppState>>;
type SignedInAccount = Extension<Account>;

/// Answers `GET /events`.
pub(crate) async fn list(
    State(app): App,
    Extension(account): SignedInAccount,
    Params(query): Params<EventQuery>,
) -> Result<Json<EventList>, Problem> {
    let size = page_size(query.limit)?;
    let connection = query.connection.map(|name| visible_connection_id(&app, &account, &name));
    let filter = EventFilter {
        since: query.since,
        until: query.until,
        connection: connection.transpose()?,
        connections: account.connections.clone(),
        kind: query.kind.map(|kind| kind.0),
        outcome: query.outcome.map(|outcome| outcome.0),
        search: query
            .search
            .filter(|text| !text.trim().is_empty())
            .map(|text| EventSearch::new(&text)),
        before: query.cursor.map(EventId),
        limit: size + 1,
    };
    // Store the events in the queue first, so that the list contains every recorded event that was
    // answered before this request arrived.
    app.services.store.flush().await?;
    let events = app.services.store.events(&filter).await?;
    let (events, next) = truncate_to_page(events, size, |event| event.id.0);
    let names = connection_names(&app);
    let name = |event: &domain::Event| names.get(&event.connection?).cloned();
    let events =
        events.iter().map(|event| to_visible_event(&account, event, name(event))).collect();
    Ok(Json(EventList { events, next }))
}

/// Answers `GET /events/{id}`.
pub(crate) async fn show(
    State(app): App,
    Extension(account): SignedInAccount,
    Id(id): Id,
) -> Result<Json<EventWithRuns>, Problem> {
    let WholeEvent { event, steps, runs } = find_visible_event(&app, &account, &id).await?;
    let name = event.connection.and_then(|id| connection_names(&app).remove(&id));
    let steps = steps.iter().map(Step::from).collect();
    let runs = runs.into_iter().map(Run::from).collect();
    Ok(Json(EventWithRuns { event: to_visible_event(&account, &event, name), steps, runs }))
}

/// Answers `GET /events/{id}/recording`.
pub(crate) async fn recording(
    State(app): App,
    Extension(account): SignedInAccount,
    Id(id): Id,
) -> Result<Json<EventRecording>, Problem> {
    let WholeEvent { event, .. } = find_visible_event(&app, &account, &id).await?;
    let runs = app.services.store.recording(event.id).await?;
    Ok(Json(EventRecording { runs: runs.into_iter().map(RecordedRun::from).collect() }))
}

/// Reads an event with its steps and runs. An event that the account may not see is not found.
pub(crate) async fn find_visible_event(
    app: &AppState,
    account: &Account,
    id: &str,
) -> Result<WholeEvent, Problem> {
    let no_such_event = || Problem::no_such("event", id);
    let event = EventId(Uuid::parse_str(id).map_err(|_| no_such_event())?);
    app.services.store.flush().await?;
    let found = app.services.store.event(event).await?;
    found
        .filter(|found| may_see_events_of(account, found.event.connection))
        .ok_or_else(no_such_event)
}

/// Whether an account may see the events of this connection. Only an account that sees all
/// connections may see events that belong to no connection.
fn may_see_events_of(account: &Account, connection: Option<ConnectionId>) -> bool {
    connection.map_or(account.connections.is_none(), |id| account.sees(id))
}

/// The body of the request is removed if the role of the account is too low to see it.
fn to_visible_event(
    account: &Account,
    event: &domain::Event,
    connection_name: Option<String>,
) -> Event {
    let mut event = Event::new(event, connection_name);
    if !account.may(Role::Operator) {
        event.request.body = None;
    }
    event
}
