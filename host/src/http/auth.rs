//! Identifies the account that sent a request: by a bearer token, by the headers of a trusted
//! proxy, or by the cookie of a session.
//!
//! This module never tells the client what is wrong with a token. The rate of failed logins is
//! limited for each client address.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use crate::accounts::TokenLogin;
use crate::config::PROXY_SECRET_HEADER;
use crate::store::StoreError;

use super::client_address::{client_of, limit_key};
use super::clients::mark_known;
use super::problem::Problem;
use super::proxy_user::{self, ProxyProof};
use super::session::{self, Session};
use super::{AppState, audit};

const TOO_MANY_FAILED_LOGINS: &str = "too many logins from this address failed";

/// A layer that refuses requests without an account. It adds the `Account` to the extensions of all
/// other requests, and the [`Session`] if there is one.
pub(super) async fn require_account(
    State(app): State<Arc<AppState>>,
    mut request: Request,
    next: Next,
) -> Response {
    match identify(&app, &mut request).await {
        Ok(true) => {
            mark_known(request.extensions());
            next.run(request).await
        }
        Ok(false) => {
            let response = Problem::unauthorized().into_response();
            session::remove_cookie(&app, &request, response)
        }
        Err(problem) => problem.into_response(),
    }
}

/// A layer like [`require_account`] that does not refuse requests without an account. Such requests
/// get no extension.
pub(crate) async fn find_account(
    State(app): State<Arc<AppState>>,
    mut request: Request,
    next: Next,
) -> Response {
    match identify(&app, &mut request).await {
        Ok(has_account) => {
            if has_account {
                mark_known(request.extensions());
            }
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Adds the account of a request to its extensions. Returns false if the request has no account. A
/// bearer token takes precedence over a person whom a proxy signed in, and such a person takes
/// precedence over a cookie.
async fn identify(app: &AppState, request: &mut Request) -> Result<bool, Problem> {
    if let Some(token) = bearer_token(request.headers()) {
        let token = token.to_owned();
        let client = client_of(request);
        let login = log_in_by_token(app, client, &token).await;
        audit::record_refused_login(
            app,
            (client, audit::sending_program(request)),
            audit::USE_TOKEN_ACTION,
            &login,
        )
        .await;
        let Some(login) = login? else { return Ok(false) };
        request.extensions_mut().insert(login.account);
        return Ok(true);
    }
    let config = app.services.config.current();
    let proof = proxy_user::check_proof(&config, app.services.proxy_secret.as_ref(), request)?;
    match proof {
        ProxyProof::Absent => {}
        ProxyProof::Wrong => count_wrong_proof(app, client_of(request)).await?,
        ProxyProof::Valid => {
            if let Some(account) = proxy_user::named_account(&config, request)? {
                let session = Session::of_proxy(account.clone(), &app.services.accounts);
                request.extensions_mut().insert(account);
                request.extensions_mut().insert(session);
                return Ok(true);
            }
        }
    }
    let Some(cookie) = session::cookie_of(app, request) else { return Ok(false) };
    let client = client_of(request);
    let login = async || Ok(app.services.accounts.session(cookie.reveal()).await?);
    let Some(session) = try_login(app, client, Some(NOT_VALID), login).await? else {
        return Ok(false);
    };
    request.extensions_mut().insert(session.account.clone());
    request.extensions_mut().insert(Session::new(session, &cookie));
    Ok(true)
}

const NOT_VALID: &str = "the token or the session is not valid";

/// Counts a request as a failed login, because the proxy's secret is missing or wrong.
async fn count_wrong_proof(app: &AppState, client: IpAddr) -> Result<(), Problem> {
    let why = format!(
        "the request names a person whom a proxy signed in, but its header {PROXY_SECRET_HEADER} does \
         not contain the value of `proxy_secret`"
    );
    try_login(app, client, Some(&why), async || Ok(None::<()>)).await.map(|_| ())
}

/// Finds the account that a token signs in. A client address with many failed logins must wait,
/// even if it now sends a valid token. Otherwise it could guess tokens without waiting.
pub(super) async fn log_in_by_token(
    app: &AppState,
    client: IpAddr,
    token: &str,
) -> Result<Option<TokenLogin>, Problem> {
    let login = async || app.services.accounts.by_token(token).await;
    try_login(app, client, Some(NOT_VALID), login).await
}

/// Refuses a client address with too many failed logins. Otherwise runs `login`. If the result is
/// `None`, counts a failed login and logs `why`, unless there are too many such lines in the log.
/// `why` is `None` if the caller logs the reason.
pub(super) async fn try_login<T>(
    app: &AppState,
    client: IpAddr,
    why: Option<&str>,
    login: impl AsyncFnOnce() -> Result<Option<T>, StoreError>,
) -> Result<Option<T>, Problem> {
    let now = Instant::now();
    let key = limit_key(client);
    if let Err(wait) = app.rate_limits.failed_logins.check(&key, now) {
        return Err(Problem::rate_limited(TOO_MANY_FAILED_LOGINS, wait));
    }
    let found = login().await?;
    if found.is_none() {
        let _ = app.rate_limits.failed_logins.count(&key, now);
        if let Some(why) = why
            && app.rate_limits.login_log_lines.count(&(), now).is_ok()
        {
            tracing::warn!(%client, "a login failed: {why}");
        }
    }
    Ok(found)
}

fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use crate::secret::Secret;

    use super::*;

    #[test]
    fn only_the_complete_token_with_the_scheme_bearer_is_accepted() {
        let token = Secret::new("a-token-of-the-admin".to_owned());
        let is_accepted = |value: &'static str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
            bearer_token(&headers).is_some_and(|sent| token.matches(sent))
        };
        assert!(is_accepted("Bearer a-token-of-the-admin"));
        assert!(is_accepted("bearer a-token-of-the-admin"));
        for wrong in ["", "Bearer", "Bearer ", "Bearer a-token", "Basic a-token-of-the-admin"] {
            assert!(!is_accepted(wrong), "{wrong}");
        }
        assert_eq!(bearer_token(&HeaderMap::new()), None);
    }
}
