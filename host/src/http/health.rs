//! Health checks for supervisors and load balancers. `/healthz` shows whether the process runs, and
//! `/readyz` whether it can write to the store. A check never needs an account.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::store::StoreError;

use super::AppState;
use super::problem::Problem;

/// How long the result of a readiness check is used again. Without this, any client could make the
/// server write to the store as often as it likes.
const READINESS_CACHE_TIME: Duration = Duration::from_secs(1);
/// Maximum time until the store answers a check. It is short, because load balancers and Prometheus
/// stop waiting after time-outs of their own.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(super) struct ReadinessCache {
    last_check: Mutex<Option<(Instant, Result<(), StoreError>)>>,
}

/// Answers `GET /healthz`. Any answer shows that the process runs.
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// Answers `GET /readyz`.
pub(super) async fn ready(State(app): State<Arc<AppState>>) -> Response {
    match check_readiness(&app).await {
        Ok(()) => "ready\n".into_response(),
        Err(error) => Problem::store_unavailable(&error.to_string()).into_response(),
    }
}

/// Checks whether the server can write to the store. Returns the result of the last check if that
/// check is younger than [`READINESS_CACHE_TIME`].
pub(super) async fn check_readiness(app: &AppState) -> Result<(), StoreError> {
    let mut last_check = app.readiness_cache.last_check.lock().await;
    if let Some((_, ready)) =
        last_check.as_ref().filter(|(at, _)| at.elapsed() < READINESS_CACHE_TIME)
    {
        return ready.clone();
    }
    let ready = wait_for_store(app.services.store.check_writable()).await;
    *last_check = Some((Instant::now(), ready.clone()));
    ready
}

/// Waits for an answer of the store. Returns an error if the store does not answer within
/// [`CHECK_TIMEOUT`].
pub(super) async fn wait_for_store<T>(
    answer: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(CHECK_TIMEOUT, answer).await.unwrap_or_else(|_| {
        Err(StoreError::Unusable(format!(
            "the store did not answer within {} s: check the disk, or the connection to the database",
            CHECK_TIMEOUT.as_secs()
        )))
    })
}
