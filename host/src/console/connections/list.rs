//! The table of all connections with their health.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use crate::api::{Connection, ConnectionStatus};
use crate::console::frame::Visitor;
use crate::console::page::{Page, Section, render};
use crate::console::parts::{Action, Badge, Tone, When};
use crate::domain::Role;
use crate::http::problem::Problem;
use crate::http::{AppState, admin};

/// A row of the table.
#[derive(Debug)]
pub(in crate::console) struct ConnectionRow {
    pub(in crate::console) id: String,
    pub(in crate::console) name: String,
    pub(in crate::console) connector: String,
    pub(in crate::console) status: Badge,
    pub(in crate::console) breaker: Option<Badge>,
    pub(in crate::console) recording: Option<Badge>,
    pub(in crate::console) last_success: Option<When>,
    pub(in crate::console) last_error: Option<(When, String)>,
}

#[derive(Template)]
#[template(path = "console/connections/list.html")]
struct List {
    page: Page,
    rows: Vec<ConnectionRow>,
    create: Action,
}

pub(in crate::console) async fn show(
    State(app): State<Arc<AppState>>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let create = Action::link(&visitor, Role::Admin, "New connection", "/connections/new".into());
    render(&List {
        page: visitor.page(Section::Connections, "Connections"),
        rows: rows(&app, &visitor),
        create: create.primary().of_whole_server(&visitor),
    })
}

/// The connections that the visitor sees, by name.
pub(in crate::console) fn rows(app: &AppState, visitor: &Visitor) -> Vec<ConnectionRow> {
    let seen = app.services.connections.list().into_iter();
    let seen = seen.filter(|it| visitor.account.sees(it.connection.id));
    let row = |record| {
        let shown = admin::connections::connection(app, &record);
        let open = app.services.connections.open_breakers(record.connection.id);
        let calls: Vec<_> = open.iter().map(|it| it.call.to_string()).collect();
        ConnectionRow {
            id: shown.id.to_string(),
            name: shown.name.clone(),
            connector: shown.connector.clone(),
            status: status(&shown),
            breaker: (!calls.is_empty())
                .then(|| Badge::new(Tone::Bad, format!("breaker open: {}", calls.join(", ")))),
            recording: shown.recording_until.map(|_| Badge::new(Tone::Info, "recording")),
            last_success: shown.last_success_at.map(|it| When::new(it.0, visitor.now)),
            last_error: shown.last_error.map(|it| (When::new(it.at.0, visitor.now), it.detail)),
        }
    };
    seen.map(row).collect()
}

/// Whether the webhooks of a connection are answered.
pub(super) fn status(connection: &Connection) -> Badge {
    let (tone, word) = match connection.status.0 {
        ConnectionStatus::Active => (Tone::Ok, "active"),
        ConnectionStatus::Paused => (Tone::Muted, "paused"),
        ConnectionStatus::NeedsConsent => (Tone::Warn, "needs consent"),
        ConnectionStatus::ConnectorUnavailable => (Tone::Bad, "connector unavailable"),
    };
    Badge::new(tone, word)
}
