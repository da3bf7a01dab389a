//! Authentication of the admin API: the admin token as bearer token.
//!
//! Never says what is wrong with a token. Compares tokens in constant time. Failed logins are
//! logged, and their rate is limited for each client address.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::AppState;
use super::client_address::{client_of, limit_key};
use super::clients::mark_known;
use super::problem::Problem;

const TOO_MANY: &str = "too many logins from this address failed";

/// Lets only requests with the admin token pass. An address with many failed logins must wait, even
/// if it now sends the right token. Otherwise the wait would not slow down guessing.
pub(super) async fn require_admin(
    State(state): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(given) = bearer(request.headers()) else {
        return Problem::unauthorized().into_response();
    };
    let (client, now) = (client_of(&request), Instant::now());
    if let Err(wait) = state.rate_limits.logins.check(&limit_key(client), now) {
        return Problem::rate_limited(TOO_MANY, wait).into_response();
    }
    if state.admin_token.matches(given) {
        mark_known(request.extensions());
        return next.run(request).await;
    }
    let _ = state.rate_limits.logins.take(&limit_key(client), now);
    if state.rate_limits.login_lines.take(&(), now).is_ok() {
        tracing::warn!(%client, "a login failed: the admin token is wrong");
    }
    Problem::unauthorized().into_response()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, given) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| given.trim())
}

#[cfg(test)]
mod tests {
    use crate::secret::Secret;

    use super::*;

    #[test]
    fn only_the_complete_token_as_bearer_is_accepted() {
        let token = Secret::new("a-token-of-the-admin".to_owned());
        let opens = |value: &'static str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
            bearer(&headers).is_some_and(|given| token.matches(given))
        };
        assert!(opens("Bearer a-token-of-the-admin"));
        assert!(opens("bearer a-token-of-the-admin"));
        for wrong in ["", "Bearer", "Bearer ", "Bearer a-token", "Basic a-token-of-the-admin"] {
            assert!(!opens(wrong), "{wrong}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
