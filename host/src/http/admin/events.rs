//! `/api/v1/events`: the requests and answers, and for each run its log, its requests and its
//! usage.

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

use super::{Id, Params, connection_names, page, page_size, visible_connection};

type App = State<Arc<AppState>>;
type Caller = Extension<Account>;

pub(crate) async fn list(
    State(app): App,
    Extension(account): Caller,
    Params(query): Params<EventQuery>,
) -> Result<Json<EventList>, Problem> {
    let size = page_size(query.limit)?;
    let named = query.connection.map(|name| visible_connection(&app, &account, &name));
    let filter = EventFilter {
        since: query.since,
        until: query.until,
        connection: named.transpose()?,
        connections: account.connections.clone(),
        kind: query.kind.map(|kind| kind.0),
        outcome: query.outcome.map(|outcome| outcome.0),
        search: query.search.filter(|it| !it.trim().is_empty()).map(|it| EventSearch::new(&it)),
        before: query.cursor.map(EventId),
        limit: size + 1,
    };
    // Write queued events first, so that the list contains every event that was answered before
    // this request.
    app.services.store.flush().await?;
    let (events, next) = page(app.services.store.events(&filter).await?, size, |it| it.id.0);
    let names = connection_names(&app);
    let name = |event: &domain::Event| names.get(&event.connection?).cloned();
    let events = events.iter().map(|event| shown(&account, event, name(event))).collect();
    Ok(Json(EventList { events, next }))
}

pub(crate) async fn show(
    State(app): App,
    Extension(account): Caller,
    Id(id): Id,
) -> Result<Json<EventWithRuns>, Problem> {
    let WholeEvent { event, steps, runs } = read(&app, &account, &id).await?;
    let name = event.connection.and_then(|id| connection_names(&app).remove(&id));
    let steps = steps.iter().map(Step::from).collect();
    let runs = runs.into_iter().map(Run::from).collect();
    Ok(Json(EventWithRuns { event: shown(&account, &event, name), steps, runs }))
}

pub(crate) async fn recording(
    State(app): App,
    Extension(account): Caller,
    Id(id): Id,
) -> Result<Json<EventRecording>, Problem> {
    let WholeEvent { event, .. } = read(&app, &account, &id).await?;
    let runs = app.services.store.recording(event.id).await?;
    Ok(Json(EventRecording { runs: runs.into_iter().map(RecordedRun::from).collect() }))
}

/// Reads an event that the account sees.
pub(crate) async fn read(
    app: &AppState,
    account: &Account,
    id: &str,
) -> Result<WholeEvent, Problem> {
    let missing = || Problem::no_such("event", id);
    let event = EventId(Uuid::parse_str(id).map_err(|_| missing())?);
    app.services.store.flush().await?;
    let found = app.services.store.event(event).await?;
    found.filter(|found| sees(account, found.event.connection)).ok_or_else(missing)
}

/// Only an account that sees all connections sees events without one.
fn sees(account: &Account, connection: Option<ConnectionId>) -> bool {
    connection.map_or(account.connections.is_none(), |id| account.sees(id))
}

/// The event as the account may see it: without the body, if its role is too low.
fn shown(account: &Account, event: &domain::Event, connection_name: Option<String>) -> Event {
    let mut event = Event::new(event, connection_name);
    if !account.may(Role::Operator) {
        event.request.body = None;
    }
    event
}
