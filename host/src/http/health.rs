//! Answers supervisors and load balancers: whether the process runs (`/healthz`), and whether it
//! can write to the store (`/readyz`).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::store::StoreError;

use super::AppState;
use super::problem::Problem;

/// How long a readiness result is reused. Each check writes to the store, and anyone may send this
/// request.
const CACHE_TIME: Duration = Duration::from_secs(1);
/// Maximum time of a check: load balancers and Prometheus have time-outs of their own.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The last result of the readiness check, and the time of the check.
#[derive(Default)]
pub(super) struct Health {
    last: Mutex<Option<(Instant, Result<(), StoreError>)>>,
}

/// Answers `GET /healthz`: the process runs.
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// Answers `GET /readyz`: whether the store can be written.
pub(super) async fn ready(State(app): State<Arc<AppState>>) -> Response {
    match readiness(&app).await {
        Ok(()) => "ready\n".into_response(),
        Err(error) => Problem::store_unavailable(&error.to_string()).into_response(),
    }
}

/// Whether the store can be written.
pub(super) async fn readiness(app: &AppState) -> Result<(), StoreError> {
    let mut last = app.health.last.lock().await;
    if let Some((_, ready)) = last.as_ref().filter(|(at, _)| at.elapsed() < CACHE_TIME) {
        return ready.clone();
    }
    let ready = in_time(app.services.store.ready()).await;
    *last = Some((Instant::now(), ready.clone()));
    ready
}

/// The answer of the store, or an error if it takes too long for who watches the server.
pub(super) async fn in_time<T>(
    answer: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(ANSWER_MAX, answer).await.unwrap_or_else(|_| {
        Err(StoreError::Unusable(format!(
            "the store did not answer within {} s: check the disk, or the connection to the database",
            ANSWER_MAX.as_secs()
        )))
    })
}
