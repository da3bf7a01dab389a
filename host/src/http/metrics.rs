//! Answers `GET /metrics` for Prometheus: the counts since the start, and the state of the server
//! now.
//!
//! Names connections and connectors, so it needs an account. One that is limited to some
//! connections sees only these.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use tokio::task::spawn_blocking;

use crate::domain::{Account, ConnectionId, ConnectionRecord};
use crate::plugins::ConnectorStatus;
use crate::store::DoubtCounts;
use crate::telemetry::{self, ConnectionState, ServerState};

use super::problem::Problem;
use super::{AppState, health};

/// For each connection, the numbers of its defects in doubt, and of those that need a person.
type InDoubt = HashMap<ConnectionId, (u64, u64)>;

/// Answers `GET /metrics`.
pub(super) async fn show(
    State(app): State<Arc<AppState>>,
    Extension(account): Extension<Account>,
) -> Response {
    let (in_doubt, server) = tokio::join!(in_doubt(&app), server(&app));
    let services = &app.services;
    let all = services.connections.list().into_iter();
    let seen = all.filter(|it| account.sees(it.connection.id));
    let connections: Vec<_> = seen.map(|it| connection(&app, it, in_doubt.as_ref())).collect();
    let shows_unmatched = account.connections.is_none();
    let state = telemetry::State { connections, shows_unmatched, server };
    let metrics = Arc::clone(&services.metrics);
    match spawn_blocking(move || metrics.page(state)).await {
        Ok(Ok(page)) => ([(CONTENT_TYPE, telemetry::CONTENT_TYPE)], page).into_response(),
        Ok(Err(_)) | Err(_) => Problem::internal().into_response(),
    }
}

/// `None`: the store cannot be read, or does not answer in time.
async fn in_doubt(app: &AppState) -> Option<InDoubt> {
    let counts = health::in_time(app.services.store.count_doubts()).await;
    let counts = counts.inspect_err(|error| {
        tracing::warn!(%error, "cannot count the defects in doubt for the metrics");
    });
    let of_connection = |it: DoubtCounts| (it.connection, (it.in_doubt, it.need_person));
    Some(counts.ok()?.into_iter().map(of_connection).collect())
}

fn connection(
    app: &AppState,
    record: ConnectionRecord,
    in_doubt: Option<&InDoubt>,
) -> ConnectionState {
    let connection = record.connection;
    let open = app.services.connections.open_breakers(connection.id).len();
    ConnectionState {
        id: connection.id,
        name: connection.name,
        connector: connection.connector.to_string(),
        paused: connection.paused,
        open_breakers: u64::try_from(open).unwrap_or(u64::MAX),
        in_doubt: in_doubt.map(|all| all.get(&connection.id).copied().unwrap_or_default()),
    }
}

async fn server(app: &AppState) -> ServerState {
    let services = &app.services;
    let connectors = services.plugins.list().into_iter();
    let connectors = connectors.map(|it| (it.name, word(it.status))).collect();
    let (differences, ready) =
        tokio::join!(health::in_time(services.plugins.differences()), health::readiness(app));
    let differences = differences.ok();
    let connector_differences = differences.map(|all| u64::try_from(all.len()).unwrap_or(u64::MAX));
    let connector_changes = *services.plugins.changes().borrow();
    let queued = services.store.queue_lengths();
    ServerState {
        version: env!("CARGO_PKG_VERSION"),
        store_writable: ready.is_ok(),
        store_writes_waiting: queued.operations,
        store_history_waiting: queued.history,
        pool: services.sandbox.in_use(),
        connectors,
        connector_changes,
        connector_differences,
    }
}

fn word(status: ConnectorStatus) -> &'static str {
    match status {
        ConnectorStatus::Ready => "ready",
        ConnectorStatus::Compiling => "compiling",
        ConnectorStatus::Broken => "broken",
    }
}
