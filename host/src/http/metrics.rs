//! Answers `GET /metrics` for Prometheus with the counts since the start of the server and the
//! current state of the server.
//!
//! The answer contains the names of connections and connectors, so a request needs an account. An
//! account that is limited to some connections never gets the names of other connections.

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

/// For each connection, the number of its defects in doubt, and the number of its defects that a
/// person should resolve.
type DoubtsByConnection = HashMap<ConnectionId, (u64, u64)>;

/// Answers `GET /metrics`.
pub(super) async fn show(
    State(app): State<Arc<AppState>>,
    Extension(account): Extension<Account>,
) -> Response {
    let (in_doubt, server) = tokio::join!(count_doubts(&app), server_state(&app));
    let services = &app.services;
    let records = services.connections.list().into_iter();
    let visible = records.filter(|record| account.sees(record.connection.id));
    let connections: Vec<_> =
        visible.map(|record| connection_state(&app, record, in_doubt.as_ref())).collect();
    let shows_unmatched = account.connections.is_none();
    let state = telemetry::MetricsPageState { connections, shows_unmatched, server };
    let metrics = Arc::clone(&services.metrics);
    match spawn_blocking(move || metrics.page(state)).await {
        Ok(Ok(page)) => ([(CONTENT_TYPE, telemetry::CONTENT_TYPE)], page).into_response(),
        Ok(Err(_)) | Err(_) => Problem::internal().into_response(),
    }
}

/// Returns `None` if the store cannot be read, or does not answer in time.
async fn count_doubts(app: &AppState) -> Option<DoubtsByConnection> {
    let counts = health::wait_for_store(app.services.store.count_doubts()).await;
    let counts = counts.inspect_err(|error| {
        tracing::warn!(%error, "cannot count the defects in doubt for the metrics");
    });
    let by_connection =
        |counts: DoubtCounts| (counts.connection, (counts.in_doubt, counts.need_person));
    Some(counts.ok()?.into_iter().map(by_connection).collect())
}

fn connection_state(
    app: &AppState,
    record: ConnectionRecord,
    in_doubt: Option<&DoubtsByConnection>,
) -> ConnectionState {
    let connection = record.connection;
    let open_breakers = app.services.connections.open_breakers(connection.id).len();
    ConnectionState {
        id: connection.id,
        name: connection.name,
        connector: connection.connector.to_string(),
        is_paused: connection.paused,
        open_breakers: u64::try_from(open_breakers).unwrap_or(u64::MAX),
        in_doubt: in_doubt.map(|all| all.get(&connection.id).copied().unwrap_or_default()),
    }
}

async fn server_state(app: &AppState) -> ServerState {
    let services = &app.services;
    let connectors = services.plugins.list().into_iter();
    let connectors = connectors.map(|info| (info.name, status_label(info.status))).collect();
    let (differences, ready) = tokio::join!(
        health::wait_for_store(services.plugins.differences()),
        health::check_readiness(app)
    );
    let differences = differences.ok();
    let connector_differences = differences.map(|all| u64::try_from(all.len()).unwrap_or(u64::MAX));
    let connector_changes = *services.plugins.changes().borrow();
    let queued = services.store.queue_lengths();
    ServerState {
        version: env!("CARGO_PKG_VERSION"),
        store_writable: ready.is_ok(),
        store_writes_waiting: queued.operations,
        store_history_waiting: queued.history,
        pool: services.sandbox.pool_state(),
        connectors,
        connector_changes,
        connector_differences,
    }
}

fn status_label(status: ConnectorStatus) -> &'static str {
    match status {
        ConnectorStatus::Ready => "ready",
        ConnectorStatus::Compiling => "compiling",
        ConnectorStatus::Broken => "broken",
    }
}
