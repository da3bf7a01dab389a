//! The page of one connection, with its health and its settings.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use crate::api::Connection;
use crate::connections::OpenBreaker;
use crate::console::frame::Visitor;
use crate::console::page::{Layout, Section, render};
use crate::console::parts::{Action, Badge, RelativeTime};
use crate::domain::Role;
use crate::http::admin::Id;
use crate::http::problem::Problem;
use crate::http::{AppState, admin};

use super::{find_connection, list, schema};

#[derive(Template)]
#[template(path = "console/connections/details.html")]
struct DetailsPage {
    layout: Layout,
    connection: Connection,
    status: Badge,
    /// The buttons at the top of the page.
    actions: Vec<Action>,
    delete_action: Action,
    created_at: RelativeTime,
    last_success_at: Option<RelativeTime>,
    /// The time and the text of the last error.
    last_error: Option<(RelativeTime, String)>,
    open_breakers: Vec<OpenBreaker>,
    /// The time until which bodies are recorded; `None` if they are not recorded.
    recording_until: Option<RelativeTime>,
    /// The button that starts or stops the recording of bodies.
    record_action: Action,
    /// Names and values.
    settings: Vec<(String, String)>,
}

pub(in crate::console) async fn show_connection(
    State(app): State<Arc<AppState>>,
    visitor: Visitor,
    Id(id): Id,
) -> Result<Response, Problem> {
    let record = find_connection(&app, &visitor, &id)?;
    let connection = admin::connections::to_api_connection(&app, &record);
    let when = |at| RelativeTime::new(at, visitor.now);
    let path = format!("/connections/{}", connection.id);
    let subpage = |name: &str| format!("{path}/{name}");
    let recording_until = connection.recording_until.map(|until| when(until.0));
    let page = DetailsPage {
        layout: visitor.layout(Section::Connections, connection.name.clone()),
        status: list::status_badge(&connection),
        actions: connection_actions(&visitor, &connection, subpage),
        delete_action: Action::link(&visitor, Role::Admin, "Delete", subpage("delete")).danger(),
        created_at: when(connection.created_at.0),
        last_success_at: connection.last_success_at.map(|at| when(at.0)),
        last_error: connection.last_error.clone().map(|error| (when(error.at.0), error.detail)),
        open_breakers: app.services.connections.open_breakers(record.connection.id),
        record_action: match recording_until {
            Some(_) => {
                let stop = subpage("stop-recording");
                Action::post(&visitor, Role::Author, "Stop recording", stop)
            }
            None => Action::link(&visitor, Role::Author, "Record bodies", subpage("record")),
        },
        recording_until,
        settings: connection
            .settings
            .iter()
            .map(|(name, value)| (name.clone(), schema::form_text(value)))
            .collect(),
        connection,
    };
    render(&page)
}

/// Returns the buttons at the top of the page.
fn connection_actions(
    visitor: &Visitor,
    connection: &Connection,
    subpage: impl Fn(&str) -> String,
) -> Vec<Action> {
    let pause = if connection.paused {
        Action::post(visitor, Role::Operator, "Resume", subpage("resume"))
    } else {
        Action::link(visitor, Role::Operator, "Pause", subpage("pause"))
    };
    let link = |role, label, name: &str| Action::link(visitor, role, label, subpage(name));
    vec![
        link(Role::Operator, "Try", "try").primary(),
        link(Role::Admin, "Edit", "edit"),
        pause,
        link(Role::Admin, "Rotate token", "rotate-token"),
    ]
}
