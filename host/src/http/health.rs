//! Whether the process lives (`/healthz`) and whether it can keep what it does (`/readyz`), for
//! supervisors and load balancers; and the front page until there is a console.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::AppState;
use super::problem::Problem;

/// How long an answer of the store holds: asking it costs a write, and anybody may ask.
const HOLDS: Duration = Duration::from_secs(1);

/// The readiness that was found last, and when.
struct Health {
    app: Arc<AppState>,
    found: Mutex<Option<(Instant, Result<(), String>)>>,
}

/// `/`, `/healthz` and `/readyz`.
pub(super) fn routes(state: &Arc<AppState>) -> Router {
    let health = Health { app: Arc::clone(state), found: Mutex::default() };
    Router::new()
        .route("/", get(front))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .with_state(Arc::new(health))
}

impl Health {
    async fn readiness(&self) -> Result<(), String> {
        let mut found = self.found.lock().await;
        if let Some((_, ready)) = found.as_ref().filter(|(at, _)| at.elapsed() < HOLDS) {
            return ready.clone();
        }
        let ready = self.app.dispatch.store().ready().await.map_err(|error| error.to_string());
        *found = Some((Instant::now(), ready.clone()));
        ready
    }
}

async fn front(State(health): State<Arc<Health>>) -> String {
    let readiness = match health.readiness().await {
        Ok(()) => "ready".to_owned(),
        Err(error) => format!("not ready: {error}"),
    };
    format!("Jackfield {}\n{readiness}\n", env!("CARGO_PKG_VERSION"))
}

async fn ready(State(health): State<Arc<Health>>) -> Response {
    match health.readiness().await {
        Ok(()) => "ready\n".into_response(),
        Err(error) => Problem::store_down(&error).into_response(),
    }
}
