//! Signs browsers in with an identity provider: redirects a browser to the provider, and begins a
//! session when the browser comes back.
//!
//! This module never receives a password.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::Response;
use data_encoding::BASE64URL_NOPAD;
use tokio::time::Instant;

use crate::accounts::{SESSION_S, TokenLogin};
use crate::domain::Via;
use crate::oidc::{Callback, Oidc, OidcError, SignIn};
use crate::secret::Secret;

use super::client_address::client_of;
use super::cookies::{RequestCookies, SESSION_COOKIE, SIGN_IN_COOKIE};
use super::problem::Problem;
use super::same_site::authority;
use super::session::{self, SignInQuery, local_path, redirect};
use super::{AppState, audit, auth};

/// The lifetime of the cookie of a sign-in, seconds. The browser must be back by then.
const LOGIN_S_MAX: u64 = 10 * 60;

type App = State<Arc<AppState>>;

/// The page that a browser shows after a sign-in, and that opens the next page at once. A redirect
/// would not work, because browsers do not send a cookie with `SameSite=Strict` if another site
/// began the navigation.
#[derive(Template)]
#[template(path = "signed_in.html")]
struct SignedInPage<'a> {
    next: &'a str,
}

/// Answers `GET /sign-in/oidc`. Redirects the browser to the identity provider.
pub(super) async fn begin(
    State(app): App,
    Query(SignInQuery { next }): Query<SignInQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let (oidc, sign_in, next) = (configured_provider(&app)?, SignIn::fresh(), local_path(&next));
    let address = match oidc.begin(&sign_in, &redirect_uri(&app, &request)).await {
        Ok(address) => address,
        Err(error) => return Ok(failed_response(&app, &next, &error)),
    };
    let value =
        format!("{}.{}", sign_in.cookie().reveal(), BASE64URL_NOPAD.encode(next.as_bytes()));
    let cookies = RequestCookies::new(&app.services.config.current(), &request);
    let mut response = redirect(address.as_str());
    let cookie = cookies.set(SIGN_IN_COOKIE, &Secret::new(value), LOGIN_S_MAX);
    response.headers_mut().append(SET_COOKIE, cookie);
    Ok(response)
}

/// Answers `GET /sign-in/oidc/callback`, to which the identity provider redirects the browser back.
pub(super) async fn finish(
    State(app): App,
    Query(callback): Query<Callback>,
    request: Request,
) -> Result<Response, Problem> {
    let oidc = configured_provider(&app)?;
    let cookies = RequestCookies::new(&app.services.config.current(), &request);
    let Some((sign_in, next)) =
        cookies.get(request.headers(), SIGN_IN_COOKIE).and_then(parse_cookie)
    else {
        return Ok(failed_response(&app, "/", &OidcError::State));
    };
    let (client, redirect_uri) = (client_of(&request), redirect_uri(&app, &request));
    let mut failure = None;
    let attempt = async || match oidc.finish(&sign_in, callback, &redirect_uri).await {
        Ok(account) => Ok(Some(account)),
        Err(error) => {
            failure = Some(error);
            Ok(None)
        }
    };
    let account = auth::try_login(&app, client, None, attempt).await;
    audit::record_refused_login(
        &app,
        (client, Via::Console),
        audit::BEGIN_SESSION_ACTION,
        &account,
    )
    .await;
    let Some(account) = account? else {
        let error = failure.unwrap_or(OidcError::State);
        let mut response = failed_response(&app, &next, &error);
        response.headers_mut().append(SET_COOKIE, cookies.remove(SIGN_IN_COOKIE));
        return Ok(response);
    };
    let cookie = session::begin(&app, TokenLogin::of_person(account), client).await?;
    let mut response = session::render_page(StatusCode::OK, &SignedInPage { next: &next });
    let headers = response.headers_mut();
    headers.append(SET_COOKIE, cookies.set(SESSION_COOKIE, &cookie, SESSION_S));
    headers.append(SET_COOKIE, cookies.remove(SIGN_IN_COOKIE));
    Ok(response)
}

/// If no identity provider is configured, the problem has the status 404.
fn configured_provider(app: &AppState) -> Result<&Oidc, Problem> {
    app.services.oidc.as_ref().ok_or_else(|| Problem::not_found("page"))
}

/// The address of this server to which the identity provider redirects the browser back. The
/// provider accepts only addresses that are registered there.
fn redirect_uri(app: &AppState, request: &Request) -> String {
    const PATH: &str = "/sign-in/oidc/callback";
    match authority(request.headers(), request.uri()) {
        Some(authority) => {
            let config = app.services.config.current();
            let scheme = RequestCookies::new(&config, request).scheme();
            format!("{scheme}://{authority}{}{PATH}", config.path_prefix())
        }
        None => format!("{}{PATH}", app.base_url),
    }
}

/// Parses the cookie of a sign-in that has begun. Also returns the path to open after the sign-in.
fn parse_cookie(cookie: Secret) -> Option<(SignIn, String)> {
    let (random, next) = cookie.reveal().split_once('.')?;
    let next = String::from_utf8(BASE64URL_NOPAD.decode(next.as_bytes()).ok()?).ok()?;
    Some((SignIn::from_cookie(Secret::new(random.to_owned())), local_path(&next)))
}

fn failed_response(app: &AppState, next: &str, error: &OidcError) -> Response {
    let status = match error {
        OidcError::Provider(_) => StatusCode::BAD_GATEWAY,
        OidcError::NoRole { .. } => StatusCode::FORBIDDEN,
        OidcError::State | OidcError::Refused(_) | OidcError::IdToken(_) => {
            StatusCode::UNAUTHORIZED
        }
    };
    // Any client can cause any number of failed sign-ins, so the number of log lines is limited.
    if app.rate_limits.login_log_lines.count(&(), Instant::now()).is_ok() {
        tracing::warn!(%error, "a sign-in with the identity provider failed");
    }
    session::sign_in_failed(app, next, status, &error.public_message())
}
