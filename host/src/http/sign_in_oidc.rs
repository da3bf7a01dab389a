//! Signing in with an identity provider: sends the browser there, and begins a session when it
//! comes back.

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
use crate::oidc::{Callback, Login, Oidc, OidcError};
use crate::secret::Secret;

use super::client_address::client_of;
use super::cookies::{CookieAttributes, LOGIN, SESSION};
use super::problem::Problem;
use super::same_site::authority;
use super::session::{self, SignInQuery, local_path, redirect};
use super::{AppState, audit, auth};

/// How long a sign-in may take, seconds.
const LOGIN_S: u64 = 10 * 60;

type App = State<Arc<AppState>>;

/// The page that leads on after a sign-in. A redirect would not do: browsers send no `Strict`
/// cookie when another site began the navigation.
#[derive(Template)]
#[template(path = "signed_in.html")]
struct SignedInPage<'a> {
    next: &'a str,
}

/// Answers `GET /sign-in/oidc`: sends the browser to the provider.
pub(super) async fn begin(
    State(app): App,
    Query(SignInQuery { next }): Query<SignInQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let (oidc, login, next) = (provider(&app)?, Login::fresh(), local_path(&next));
    let address = match oidc.begin(&login, &redirect_uri(&app, &request)).await {
        Ok(address) => address,
        Err(error) => return Ok(failed(&app, &next, &error)),
    };
    let value = format!("{}.{}", login.cookie().reveal(), BASE64URL_NOPAD.encode(next.as_bytes()));
    let cookies = CookieAttributes::of(&app.services.config.now(), &request);
    let mut response = redirect(address.as_str());
    let cookie = cookies.set(LOGIN, &Secret::new(value), LOGIN_S);
    response.headers_mut().append(SET_COOKIE, cookie);
    Ok(response)
}

/// Answers `GET /sign-in/oidc/callback`: the browser comes back.
pub(super) async fn finish(
    State(app): App,
    Query(callback): Query<Callback>,
    request: Request,
) -> Result<Response, Problem> {
    let oidc = provider(&app)?;
    let cookies = CookieAttributes::of(&app.services.config.now(), &request);
    let Some((login, next)) = cookies.get(request.headers(), LOGIN).and_then(read) else {
        return Ok(failed(&app, "/", &OidcError::State));
    };
    let (client, redirect_uri) = (client_of(&request), redirect_uri(&app, &request));
    let mut why = None;
    let attempt = async || match oidc.finish(&login, callback, &redirect_uri).await {
        Ok(account) => Ok(Some(account)),
        Err(error) => {
            why = Some(error);
            Ok(None)
        }
    };
    let account = auth::limited(&app, client, attempt).await;
    audit::login_refused(&app, (client, Via::Console), audit::BEGIN_SESSION, &account).await;
    let Some(account) = account? else {
        let mut response = failed(&app, &next, &why.unwrap_or(OidcError::State));
        response.headers_mut().append(SET_COOKIE, cookies.remove(LOGIN));
        return Ok(response);
    };
    let cookie = session::begin(&app, TokenLogin::of_person(account), client).await?;
    let mut response = session::html(StatusCode::OK, &SignedInPage { next: &next });
    let headers = response.headers_mut();
    headers.append(SET_COOKIE, cookies.set(SESSION, &cookie, SESSION_S));
    headers.append(SET_COOKIE, cookies.remove(LOGIN));
    Ok(response)
}

fn provider(app: &AppState) -> Result<&Oidc, Problem> {
    app.services.oidc.as_ref().ok_or_else(|| Problem::not_found("page"))
}

/// The address to which the provider sends the browser back: that of this server, as the browser
/// knows it. The provider accepts only addresses that are registered there.
fn redirect_uri(app: &AppState, request: &Request) -> String {
    const PATH: &str = "/sign-in/oidc/callback";
    match authority(request.headers(), request.uri()) {
        Some(authority) => {
            let config = app.services.config.now();
            let scheme = CookieAttributes::of(&config, request).scheme();
            format!("{scheme}://{authority}{}{PATH}", config.path_prefix())
        }
        None => format!("{}{PATH}", app.base_url),
    }
}

/// The sign-in of a cookie, and the path that follows it.
fn read(cookie: Secret) -> Option<(Login, String)> {
    let (random, next) = cookie.reveal().split_once('.')?;
    let next = String::from_utf8(BASE64URL_NOPAD.decode(next.as_bytes()).ok()?).ok()?;
    Some((Login::of_cookie(Secret::new(random.to_owned())), local_path(&next)))
}

fn failed(app: &AppState, next: &str, error: &OidcError) -> Response {
    let status = match error {
        OidcError::Provider(_) => StatusCode::BAD_GATEWAY,
        OidcError::NoRole { .. } => StatusCode::FORBIDDEN,
        OidcError::State | OidcError::Refused(_) | OidcError::IdToken(_) => {
            StatusCode::UNAUTHORIZED
        }
    };
    // Anybody can make a sign-in fail as often as they like.
    if app.rate_limits.login_lines.take(&(), Instant::now()).is_ok() {
        tracing::warn!(%error, "a sign-in with the identity provider failed");
    }
    session::refused(app, next, status, &error.shown())
}
