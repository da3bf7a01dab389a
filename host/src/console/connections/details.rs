//! One connection: its health, its settings, and what may be done with it.

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

use super::{found, list, schema};

#[derive(Template)]
#[template(path = "console/connections/details.html")]
struct Details {
    page: Page,
    it: Connection,
    status: Badge,
    actions: Vec<Action>,
    delete: Action,
    created: When,
    last_success: Option<When>,
    last_error: Option<(When, String)>,
    breakers: Vec<OpenBreaker>,
    recording: Option<When>,
    record: Action,
    settings: Vec<(String, String)>,
}

pub(in crate::console) async fn show(
    State(app): State<Arc<AppState>>,
    visitor: Visitor,
    Id(id): Id,
) -> Result<Response, Problem> {
    let record = found(&app, &visitor, &id)?;
    let it = admin::connections::connection(&app, &record);
    let when = |at| When::new(at, visitor.now);
    let path = format!("/connections/{}", it.id);
    let to = |part: &str| format!("{path}/{part}");
    let recording = it.recording_until.map(|until| when(until.0));
    let page = Details {
        page: visitor.page(Section::Connections, it.name.clone()),
        status: list::status(&it),
        actions: actions(&visitor, &it, to),
        delete: Action::link(&visitor, Role::Admin, "Delete", to("delete")).danger(),
        created: when(it.created_at.0),
        last_success: it.last_success_at.map(|at| when(at.0)),
        last_error: it.last_error.clone().map(|error| (when(error.at.0), error.detail)),
        breakers: app.services.connections.open_breakers(record.connection.id),
        record: match recording {
            Some(_) => Action::post(&visitor, Role::Author, "Stop recording", to("stop-recording")),
            None => Action::link(&visitor, Role::Author, "Record bodies", to("record")),
        },
        recording,
        settings: it
            .settings
            .iter()
            .map(|(name, value)| (name.clone(), schema::shown(value)))
            .collect(),
        it,
    };
    render(&page)
}

fn actions(visitor: &Visitor, it: &Connection, to: impl Fn(&str) -> String) -> Vec<Action> {
    let pause = if it.paused {
        Action::post(visitor, Role::Operator, "Resume", to("resume"))
    } else {
        Action::link(visitor, Role::Operator, "Pause", to("pause"))
    };
    let link = |role, label, part: &str| Action::link(visitor, role, label, to(part));
    vec![
        link(Role::Operator, "Try", "try").primary(),
        link(Role::Admin, "Edit", "edit"),
        pause,
        link(Role::Admin, "Rotate token", "rotate-token"),
    ]
}
