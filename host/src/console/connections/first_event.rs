//! The page that waits until Test Manager has got a defect. Meanwhile, it shows the newest event of
//! a webhook request.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use crate::api::Event;
use crate::console::frame::Visitor;
use crate::console::page::{Layout, Section, render};
use crate::console::parts::RelativeTime;
use crate::domain::{Event as StoredEvent, EventKind};
use crate::http::AppState;
use crate::http::admin::Id;
use crate::http::problem::Problem;
use crate::store::EventFilter;

use super::find_connection;

#[derive(Template)]
#[template(path = "console/connections/first_event.html")]
struct FirstEventPage {
    layout: Layout,
    /// The path of the connection's page.
    connection_path: String,
    connection_name: String,
    /// The newest event that a webhook request caused, with its time. Only the last 20 events of
    /// the connection are searched.
    event: Option<(Event, RelativeTime)>,
    /// Whether the event was answered with a defect.
    has_defect: bool,
}

pub(in crate::console) async fn show_first_event(
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
        (
            Event::new(it, Some(connection.name.clone())),
            RelativeTime::new(it.received_at, visitor.now),
        )
    });
    let has_defect = event.is_some_and(|it| it.defect.is_some() && it.outcome.code.is_success());
    render(&FirstEventPage {
        layout: visitor.layout(Section::Connections, "First event"),
        connection_path: format!("/connections/{}", connection.id),
        connection_name: connection.name,
        event: event_and_time,
        has_defect,
    })
}

fn is_from_test_manager(event: &StoredEvent) -> bool {
    !matches!(event.kind, EventKind::Check | EventKind::Sweep | EventKind::FollowUp)
}
