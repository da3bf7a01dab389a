//! `/connections/{id}/first-event`: waits for the first request of Test Manager, and shows its
//! event.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use crate::api::Event;
use crate::console::frame::Visitor;
use crate::console::page::{Page, Section, render};
use crate::console::parts::When;
use crate::domain::{Event as StoredEvent, EventKind};
use crate::http::AppState;
use crate::http::admin::Id;
use crate::http::problem::Problem;
use crate::store::EventFilter;

use super::find_connection;

#[derive(Template)]
#[template(path = "console/connections/first_event.html")]
struct FirstEventPage {
    page: Page,
    path: String,
    name: String,
    /// The newest event that Test Manager caused; `None` before the first one.
    event: Option<(Event, When)>,
    /// Whether the event created a defect, so that the page need not wait any longer.
    has_defect: bool,
}

pub(in crate::console) async fn show(
    State(app): State<Arc<AppState>>,
    visitor: Visitor,
    Id(id): Id,
) -> Result<Response, Problem> {
    let connection = find_connection(&app, &visitor, &id)?.connection;
    app.services.store.flush().await?;
    let filter =
        EventFilter { connection: Some(connection.id), limit: 20, ..EventFilter::default() };
    let events = app.services.store.events(&filter).await?;
    let event = events.into_iter().find(is_from_test_manager);
    let event_and_time = event.as_ref().map(|it| {
        (Event::new(it, Some(connection.name.clone())), When::new(it.received_at, visitor.now))
    });
    let has_defect = event.is_some_and(|it| it.defect.is_some() && it.outcome.code.is_success());
    render(&FirstEventPage {
        page: visitor.page(Section::Connections, "First event"),
        path: format!("/connections/{}", connection.id),
        name: connection.name,
        event: event_and_time,
        has_defect,
    })
}

fn is_from_test_manager(event: &StoredEvent) -> bool {
    !matches!(event.kind, EventKind::Check | EventKind::Sweep | EventKind::FollowUp)
}
