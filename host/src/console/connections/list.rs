//! The table of the connections that the visitor may see, with their health.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use crate::api::{Connection, ConnectionStatus};
use crate::console::frame::Visitor;
use crate::console::page::{Layout, Section, render};
use crate::console::parts::{Action, Badge, RelativeTime, Tone};
use crate::domain::Role;
use crate::http::problem::Problem;
use crate::http::{AppState, admin};

#[derive(Debug)]
pub(in crate::console) struct ConnectionRow {
    pub(in crate::console) id: String,
    pub(in crate::console) name: String,
    pub(in crate::console) connector: String,
    pub(in crate::console) status: Badge,
    /// The calls whose circuit breakers are open.
    pub(in crate::console) breaker_badge: Option<Badge>,
    /// `None` if the connection does not record bodies.
    pub(in crate::console) recording_badge: Option<Badge>,
    pub(in crate::console) last_success_at: Option<RelativeTime>,
    /// The time and the text of the last error.
    pub(in crate::console) last_error: Option<(RelativeTime, String)>,
}

#[derive(Template)]
#[template(path = "console/connections/list.html")]
struct ConnectionsPage {
    layout: Layout,
    connection_rows: Vec<ConnectionRow>,
    create_action: Action,
}

pub(in crate::console) async fn list_connections(
    State(app): State<Arc<AppState>>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let create = Action::link(&visitor, Role::Admin, "New connection", "/connections/new".into());
    render(&ConnectionsPage {
        layout: visitor.layout(Section::Connections, "Connections"),
        connection_rows: connection_rows(&app, &visitor),
        create_action: create.primary().for_all_connections(&visitor),
    })
}

/// Returns the rows of the connections that the visitor may see, sorted by name.
pub(in crate::console) fn connection_rows(app: &AppState, visitor: &Visitor) -> Vec<ConnectionRow> {
    let all = app.services.connections.list().into_iter();
    let visible = all.filter(|it| visitor.account.sees(it.connection.id));
    let row = |record| {
        let connection = admin::connections::to_api_connection(app, &record);
        let breakers = app.services.connections.open_breakers(record.connection.id);
        let calls: Vec<_> = breakers.iter().map(|it| it.call.to_string()).collect();
        ConnectionRow {
            id: connection.id.to_string(),
            name: connection.name.clone(),
            connector: connection.connector.clone(),
            status: status_badge(&connection),
            breaker_badge: (!calls.is_empty())
                .then(|| Badge::new(Tone::Bad, format!("breaker open: {}", calls.join(", ")))),
            recording_badge: connection
                .recording_until
                .map(|_| Badge::new(Tone::Info, "recording")),
            last_success_at: connection
                .last_success_at
                .map(|at| RelativeTime::new(at.0, visitor.now)),
            last_error: connection
                .last_error
                .map(|error| (RelativeTime::new(error.at.0, visitor.now), error.detail)),
        }
    };
    visible.map(row).collect()
}

pub(super) fn status_badge(connection: &Connection) -> Badge {
    let (tone, text) = match connection.status.0 {
        ConnectionStatus::Active => (Tone::Ok, "active"),
        ConnectionStatus::Paused => (Tone::Muted, "paused"),
        ConnectionStatus::NeedsConsent => (Tone::Warn, "needs consent"),
        ConnectionStatus::ConnectorUnavailable => (Tone::Bad, "connector unavailable"),
    };
    Badge::new(tone, text)
}
