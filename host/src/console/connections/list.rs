//! `/connections`: the table of all connections with their health. The overview page shows it, too.

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
struct ListPage {
    page: Page,
    rows: Vec<ConnectionRow>,
    create: Action,
}

pub(in crate::console) async fn show(
    State(app): State<Arc<AppState>>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let create = Action::link(&visitor, Role::Admin, "New connection", "/connections/new".into());
    render(&ListPage {
        page: visitor.page(Section::Connections, "Connections"),
        rows: connection_rows(&app, &visitor),
        create: create.primary().for_all_connections(&visitor),
    })
}

/// A row for each connection that the visitor may see, sorted by name.
pub(in crate::console) fn connection_rows(app: &AppState, visitor: &Visitor) -> Vec<ConnectionRow> {
    let all = app.services.connections.list().into_iter();
    let visible = all.filter(|it| visitor.account.sees(it.connection.id));
    let row = |record| {
        let connection = admin::connections::connection(app, &record);
        let breakers = app.services.connections.open_breakers(record.connection.id);
        let calls: Vec<_> = breakers.iter().map(|it| it.call.to_string()).collect();
        ConnectionRow {
            id: connection.id.to_string(),
            name: connection.name.clone(),
            connector: connection.connector.clone(),
            status: status_badge(&connection),
            breaker: (!calls.is_empty())
                .then(|| Badge::new(Tone::Bad, format!("breaker open: {}", calls.join(", ")))),
            recording: connection.recording_until.map(|_| Badge::new(Tone::Info, "recording")),
            last_success: connection.last_success_at.map(|at| When::new(at.0, visitor.now)),
            last_error: connection
                .last_error
                .map(|error| (When::new(error.at.0, visitor.now), error.detail)),
        }
    };
    visible.map(row).collect()
}

/// A badge that says whether the webhooks of a connection are answered.
pub(super) fn status_badge(connection: &Connection) -> Badge {
    let (tone, text) = match connection.status.0 {
        ConnectionStatus::Active => (Tone::Ok, "active"),
        ConnectionStatus::Paused => (Tone::Muted, "paused"),
        ConnectionStatus::NeedsConsent => (Tone::Warn, "needs consent"),
        ConnectionStatus::ConnectorUnavailable => (Tone::Bad, "connector unavailable"),
    };
    Badge::new(tone, text)
}
