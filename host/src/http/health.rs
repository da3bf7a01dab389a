//! Health checks for supervisors and load balancers: whether the process runs (`/healthz`), and
//! whether it can write to the store (`/readyz`).

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
/// Maximum time of a check. Load balancers and Prometheus stop waiting after their own time-outs.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Stores the last result of the readiness check, and the time of that check.
#[derive(Default)]
pub(super) struct ReadinessCache {
    last: Mutex<Option<(Instant, Result<(), StoreError>)>>,
}

/// Answers `GET /healthz`: every answer means that the process runs.
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// Answers `GET /readyz`: whether the server can write to the store.
pub(super) async fn ready(State(app): State<Arc<AppState>>) -> Response {
    match check_readiness(&app).await {
        Ok(()) => "ready\n".into_response(),
        Err(error) => Problem::store_unavailable(&error.to_string()).into_response(),
    }
}

/// Checks whether the server can write to the store.
pub(super) async fn check_readiness(app: &AppState) -> Result<(), StoreError> {
    let mut last = app.readiness_cache.last.lock().await;
    if let Some((_, ready)) = last.as_ref().filter(|(at, _)| at.elapsed() < CACHE_TIME) {
        return ready.clone();
    }
    let ready = with_timeout(app.services.store.ready()).await;
    *last = Some((Instant::now(), ready.clone()));
    ready
}

/// Waits for an answer of the store. Returns an error if there is no answer within
/// [`CHECK_TIMEOUT`].
pub(super) async fn with_timeout<T>(
    answer: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(CHECK_TIMEOUT, answer).await.unwrap_or_else(|_| {
        Err(StoreError::Unusable(format!(
            "the store did not answer within {} s: check the disk, or the connection to the database",
            CHECK_TIMEOUT.as_secs()
        )))
    })
}
