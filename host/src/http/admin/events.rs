//! Handlers of `/api/v1/events`, which return the webhook requests with their answers, and for each
//! run its log, its requests to the tracker and its usage of limits.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use uuid::Uuid;

use crate::api::{
    Event, EventList, EventQuery, EventRecording, EventWithRuns, RecordedRun, Run, Step,
};
use crate::domain::{self, Account, ConnectionId, EventId, EventSearch, Role};
use crate::http::AppState;
use crate::http::problem::Problem;
use crate::store::{EventFilter, WholeEvent};

use super::{Id, Params, connection_names, page_size, truncate_to_page, visible_connection_id};

type App = State<Arc<AppState>>;
type SignedIn = Extension<Account>;

pub(crate) async fn list(
    State(app): App,
    Extension(account): SignedIn,
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
    // Write queued events first, so that the list contains every event that was answered before
    // this request.
    app.services.store.flush().await?;
    let events = app.services.store.events(&filter).await?;
    let (events, next) = truncate_to_page(events, size, |event| event.id.0);
    let names = connection_names(&app);
    let name = |event: &domain::Event| names.get(&event.connection?).cloned();
    let events = events.iter().map(|event| event_for(&account, event, name(event))).collect();
    Ok(Json(EventList { events, next }))
}

pub(crate) async fn show(
    State(app): App,
    Extension(account): SignedIn,
    Id(id): Id,
) -> Result<Json<EventWithRuns>, Problem> {
    let WholeEvent { event, steps, runs } = read(&app, &account, &id).await?;
    let name = event.connection.and_then(|id| connection_names(&app).remove(&id));
    let steps = steps.iter().map(Step::from).collect();
    let runs = runs.into_iter().map(Run::from).collect();
    Ok(Json(EventWithRuns { event: event_for(&account, &event, name), steps, runs }))
}

pub(crate) async fn recording(
    State(app): App,
    Extension(account): SignedIn,
    Id(id): Id,
) -> Result<Json<EventRecording>, Problem> {
    let WholeEvent { event, .. } = read(&app, &account, &id).await?;
    let runs = app.services.store.recording(event.id).await?;
    Ok(Json(EventRecording { runs: runs.into_iter().map(RecordedRun::from).collect() }))
}

/// Reads an event that the account may see.
pub(crate) async fn read(
    app: &AppState,
    account: &Account,
    id: &str,
) -> Result<WholeEvent, Problem> {
    let no_such_event = || Problem::no_such("event", id);
    let event = EventId(Uuid::parse_str(id).map_err(|_| no_such_event())?);
    app.services.store.flush().await?;
    let found = app.services.store.event(event).await?;
    found.filter(|found| may_see(account, found.event.connection)).ok_or_else(no_such_event)
}

/// Whether an account may see the events of this connection. Only an account that sees all
/// connections may see events that belong to no connection.
fn may_see(account: &Account, connection: Option<ConnectionId>) -> bool {
    connection.map_or(account.connections.is_none(), |id| account.sees(id))
}

/// Converts an event for an account. The body is removed if the role of the account is too low.
fn event_for(account: &Account, event: &domain::Event, connection_name: Option<String>) -> Event {
    let mut event = Event::new(event, connection_name);
    if !account.may(Role::Operator) {
        event.request.body = None;
    }
    event
}
