//! `/connections/{id}`: shows the health and the settings of one connection, with buttons for its
//! changes.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use crate::api::Connection;
use crate::connections::OpenBreaker;
use crate::console::frame::Visitor;
use crate::console::page::{Page, Section, render};
use crate::console::parts::{Action, Badge, When};
use crate::domain::Role;
use crate::http::admin::Id;
use crate::http::problem::Problem;
use crate::http::{AppState, admin};

use super::{find_connection, list, schema};

#[derive(Template)]
#[template(path = "console/connections/details.html")]
struct DetailsPage {
    page: Page,
    connection: Connection,
    status: Badge,
    actions: Vec<Action>,
    delete: Action,
    created: When,
    last_success: Option<When>,
    last_error: Option<(When, String)>,
    breakers: Vec<OpenBreaker>,
    recording_until: Option<When>,
    /// Starts or stops the recording of bodies.
    record: Action,
    settings: Vec<(String, String)>,
}

pub(in crate::console) async fn show(
    State(app): State<Arc<AppState>>,
    visitor: Visitor,
    Id(id): Id,
) -> Result<Response, Problem> {
    let record = find_connection(&app, &visitor, &id)?;
    let connection = admin::connections::connection(&app, &record);
    let when = |at| When::new(at, visitor.now);
    let path = format!("/connections/{}", connection.id);
    let subpage = |name: &str| format!("{path}/{name}");
    let recording_until = connection.recording_until.map(|until| when(until.0));
    let page = DetailsPage {
        page: visitor.page(Section::Connections, connection.name.clone()),
        status: list::status_badge(&connection),
        actions: actions(&visitor, &connection, subpage),
        delete: Action::link(&visitor, Role::Admin, "Delete", subpage("delete")).danger(),
        created: when(connection.created_at.0),
        last_success: connection.last_success_at.map(|at| when(at.0)),
        last_error: connection.last_error.clone().map(|error| (when(error.at.0), error.detail)),
        breakers: app.services.connections.open_breakers(record.connection.id),
        record: match recording_until {
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

fn actions(
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
