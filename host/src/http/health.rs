//! Whether the process lives (`/healthz`) and whether it can keep what it does (`/readyz`), for
//! supervisors and load balancers; and the front page until there is a console.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::AppState;
use super::problem::Problem;

/// `/`, `/healthz` and `/readyz`.
pub(super) fn routes(state: &Arc<AppState>) -> Router {
    Router::new()
        .route("/", get(front))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .with_state(Arc::clone(state))
}

async fn front(State(state): State<Arc<AppState>>) -> String {
    let readiness = match state.dispatch.store().ready().await {
        Ok(()) => "ready".to_owned(),
        Err(error) => format!("not ready: {error}"),
    };
    format!("Jackfield {}\n{readiness}\n", env!("CARGO_PKG_VERSION"))
}

async fn ready(State(state): State<Arc<AppState>>) -> Response {
    match state.dispatch.store().ready().await {
        Ok(()) => "ready\n".into_response(),
        Err(error) => Problem::store_down(&error.to_string()).into_response(),
    }
}
