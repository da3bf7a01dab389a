//! Finds who sent a request: by a bearer token, or by the cookie of a session.
//!
//! Never says what is wrong with a token. Failed logins are logged, and their rate is limited for
//! each client address.

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

const TOO_MANY: &str = "too many logins from this address failed";

/// Lets only requests of an account pass. Its `Account` becomes an extension of the request; its
/// [`Session`] too, if a cookie named it.
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
            let refused = Problem::unauthorized().into_response();
            session::without_cookie(&app, &request, refused)
        }
        Err(problem) => problem.into_response(),
    }
}

/// Like [`require_account`], but lets other requests pass too, without these extensions.
pub(crate) async fn find_account(
    State(app): State<Arc<AppState>>,
    mut request: Request,
    next: Next,
) -> Response {
    match identify(&app, &mut request).await {
        Ok(is_known) => {
            if is_known {
                mark_known(request.extensions());
            }
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Adds the account of a request to its extensions; false if it has none. A bearer token counts
/// before a person whom a proxy signed in, and that person before a cookie.
async fn identify(app: &AppState, request: &mut Request) -> Result<bool, Problem> {
    if let Some(given) = bearer(request.headers()) {
        let given = given.to_owned();
        let client = client_of(request);
        let login = by_token(app, client, &given).await;
        audit::login_refused(app, (client, audit::via(request)), audit::USE_TOKEN, &login).await;
        let Some(login) = login? else { return Ok(false) };
        request.extensions_mut().insert(login.account);
        return Ok(true);
    }
    let config = app.services.config.now();
    let proof = proxy_user::proof(&config, app.services.proxy_secret.as_ref(), request)?;
    match proof {
        ProxyProof::Absent => {}
        ProxyProof::Wrong => refuse_proxy(app, client_of(request)).await?,
        ProxyProof::Valid => {
            if let Some(account) = proxy_user::account(&config, request)? {
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
    let Some(found) = limited(app, client, login).await? else { return Ok(false) };
    request.extensions_mut().insert(found.account.clone());
    request.extensions_mut().insert(Session::new(found, &cookie));
    Ok(true)
}

/// A request that names a person without the proxy's secret counts as a login that failed.
async fn refuse_proxy(app: &AppState, client: IpAddr) -> Result<(), Problem> {
    if app.rate_limits.login_lines.take(&(), Instant::now()).is_ok() {
        tracing::warn!(
            "a request names a person whom a proxy signed in, and its header {PROXY_SECRET_HEADER} \
             is missing or is not `proxy_secret`"
        );
    }
    limited(app, client, async || Ok(None::<()>)).await.map(|_| ())
}

/// Whom a token signs in. An address with many failed logins must wait, even if it now sends the
/// right token. Otherwise the wait would not slow down guessing.
pub(super) async fn by_token(
    app: &AppState,
    client: IpAddr,
    given: &str,
) -> Result<Option<TokenLogin>, Problem> {
    limited(app, client, async || app.services.accounts.by_token(given).await).await
}

/// Tries a login, and counts it if it fails.
pub(super) async fn limited<T>(
    app: &AppState,
    client: IpAddr,
    login: impl AsyncFnOnce() -> Result<Option<T>, StoreError>,
) -> Result<Option<T>, Problem> {
    let now = Instant::now();
    let key = limit_key(client);
    if let Err(wait) = app.rate_limits.logins.check(&key, now) {
        return Err(Problem::rate_limited(TOO_MANY, wait));
    }
    let found = login().await?;
    if found.is_none() {
        let _ = app.rate_limits.logins.take(&key, now);
        if app.rate_limits.login_lines.take(&(), now).is_ok() {
            tracing::warn!(%client, "a login failed: the token or the session is not valid");
        }
    }
    Ok(found)
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
