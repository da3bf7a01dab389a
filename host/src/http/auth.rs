//! Authentication of the admin API: the admin token as bearer.
//!
//! Never says what is wrong with a token; compares in constant time.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::secret::Secret;

use super::AppState;
use super::problem::Problem;

/// Passes on only requests with the admin token.
pub(super) async fn require_admin(
    State(state): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Response {
    if is_admin(request.headers(), &state.admin_token) {
        next.run(request).await
    } else {
        Problem::unauthorized().into_response()
    }
}

fn is_admin(headers: &HeaderMap, token: &Secret) -> bool {
    let Some(value) = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let Some((scheme, given)) = value.split_once(' ') else { return false };
    scheme.eq_ignore_ascii_case("bearer") && token.matches(given.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_complete_token_as_bearer_is_accepted() {
        let token = Secret::new("a-token-of-the-admin".to_owned());
        let opens = |value: &'static str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
            is_admin(&headers, &token)
        };
        assert!(opens("Bearer a-token-of-the-admin"));
        assert!(opens("bearer a-token-of-the-admin"));
        for wrong in ["", "Bearer", "Bearer ", "Bearer a-token", "Basic a-token-of-the-admin"] {
            assert!(!opens(wrong), "{wrong}");
        }
        assert!(!is_admin(&HeaderMap::new(), &token));
    }
}
