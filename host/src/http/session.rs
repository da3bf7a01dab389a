//! Signing in with a browser: the page, the cookie, and the session that pages use.
//!
//! The cookie cannot be read by scripts, and no other site can make a browser send it. A session's
//! CSRF token is made of the cookie, so it is not stored.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::Form;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest as _, FromRequestParts, Query, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY, SET_COOKIE,
};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use tokio::time::timeout;
use url::Url;

use crate::accounts::{Accounts, Intent, SESSION_S, TokenLogin};
use crate::domain::{self, Account, OutcomeCode, Via};
use crate::secret::{Secret, TokenHash};

use super::audit::{self, Caller};
use super::client_address::client_of;
use super::cookies::{CookieAttributes, SESSION};
use super::problem::Problem;
use super::{AppState, auth, same_site};

/// Nothing is loaded; forms go to this server.
const POLICY: &str =
    "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// Maximum size of the form to sign in, and the time for it to arrive: anybody may send it.
const FORM_BYTES_MAX: usize = 8 * 1024;
const FORM_TIMEOUT: Duration = Duration::from_secs(10);
/// A path that is only used to read other paths.
const NOWHERE: &str = "http://host.invalid/";

/// A request of a browser that is signed in. As an extractor, it sends other browsers to the page
/// that signs them in.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// Who signed in.
    pub(crate) account: Account,
    /// The text that each form must contain as its field `csrf`.
    pub(crate) csrf: String,
}

impl Session {
    pub(super) fn new(session: domain::Session, cookie: &Secret) -> Self {
        let of_cookie = Secret::new(format!("csrf {}", cookie.reveal()));
        let csrf = BASE64URL_NOPAD.encode(&TokenHash::of(of_cookie.reveal()).0);
        Self { account: session.account, csrf }
    }

    /// The session of a person whom a proxy signed in: it lasts as long as the proxy says.
    pub(super) fn of_proxy(account: Account, accounts: &Accounts) -> Self {
        let csrf = accounts.csrf_of_person(&account.name);
        Self { account, csrf }
    }

    pub(super) fn is_csrf(&self, given: &str) -> bool {
        Secret::new(self.csrf.clone()).matches(given)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Session {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let known = parts.extensions.get::<Self>().cloned();
        known.ok_or_else(|| redirect(&sign_in_path(&parts.uri)))
    }
}

/// The value of the session's cookie.
pub(super) fn cookie_of(app: &AppState, request: &Request) -> Option<Secret> {
    CookieAttributes::of(&app.services.config.now(), request).get(request.headers(), SESSION)
}

/// Makes the browser forget a cookie that is not valid, so that it does not send it again.
pub(super) fn without_cookie(
    app: &AppState,
    request: &Request,
    mut response: Response,
) -> Response {
    let cookies = CookieAttributes::of(&app.services.config.now(), request);
    if cookies.get(request.headers(), SESSION).is_some() {
        response.headers_mut().append(SET_COOKIE, cookies.remove(SESSION));
    }
    response
}

/// Sends a browser to the page that signs it in, and back afterwards.
pub(super) fn to_sign_in(request: &Request) -> Response {
    redirect(&sign_in_path(request.uri()))
}

fn sign_in_path(from: &Uri) -> String {
    with_next("/sign-in", from.path_and_query().map_or("/", |it| it.as_str()))
}

fn provider(app: &AppState, next: &str) -> Option<String> {
    app.services.oidc.as_ref().map(|_| with_next("/sign-in/oidc", next))
}

fn with_next(path: &str, next: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    format!("{path}?{}", query.append_pair("next", next).finish())
}

pub(super) fn redirect(to: &str) -> Response {
    let location = HeaderValue::try_from(to).unwrap_or_else(|_| HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(LOCATION, location), (CACHE_CONTROL, no_store())]).into_response()
}

fn no_store() -> HeaderValue {
    HeaderValue::from_static("no-store")
}

/// The path to go to after a sign-in: one of this server, whatever was asked for.
pub(super) fn local_path(asked: &str) -> String {
    let base = Url::parse(NOWHERE).ok();
    let joined = base.as_ref().and_then(|base| base.join(asked).ok());
    match (base, joined) {
        // A browser reads a path that begins with two slashes as another host.
        (Some(base), Some(url))
            if asked.starts_with('/')
                && url.origin() == base.origin()
                && !url.path().starts_with("//") =>
        {
            let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
            format!("{}{query}", url.path())
        }
        _ => "/".to_owned(),
    }
}

/// The page to sign in.
#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'a> {
    next: &'a str,
    error: Option<&'a str>,
    /// Where to sign in with the identity provider, if one is configured.
    provider: Option<String>,
}

/// The page to sign in, after a sign-in that failed.
pub(super) fn refused(app: &AppState, next: &str, status: StatusCode, why: &str) -> Response {
    html(status, &SignInPage { next, error: Some(why), provider: provider(app, next) })
}

/// A page that no cache keeps.
pub(super) fn html(status: StatusCode, page: &impl Template) -> Response {
    let headers = [
        (CACHE_CONTROL, no_store()),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        // With `no-referrer`, browsers would send the form with `Origin: null`.
        (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    ];
    match page.render() {
        Ok(page) => (status, headers, Html(page)).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot render a page");
            Problem::internal().into_response()
        }
    }
}

/// The query of the page to sign in.
#[derive(Deserialize)]
pub(crate) struct SignInQuery {
    #[serde(default)]
    pub(crate) next: String,
}

/// Answers `GET /sign-in`.
pub(crate) async fn page(
    State(app): State<Arc<AppState>>,
    Query(SignInQuery { next }): Query<SignInQuery>,
) -> Response {
    let next = local_path(&next);
    let page = SignInPage { next: &next, error: None, provider: provider(&app, &next) };
    html(StatusCode::OK, &page)
}

/// The form of the page to sign in.
#[derive(Deserialize)]
pub(crate) struct SignInForm {
    token: String,
    #[serde(default)]
    next: String,
}

/// Answers `POST /sign-in`: begins a session.
pub(crate) async fn sign_in(
    State(app): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, Problem> {
    let config = app.services.config.now();
    let (cookies, client) = (CookieAttributes::of(&config, &request), client_of(&request));
    if let Err(problem) = same_site::check_origin(&config, request.headers(), request.uri()) {
        let caller = Caller::unknown(client, Via::Console);
        audit::refused(&app, caller, (audit::BEGIN_SESSION, None), problem.code()).await;
        return Err(problem);
    }
    let (head, body) = request.into_parts();
    let body = match timeout(FORM_TIMEOUT, to_bytes(body, FORM_BYTES_MAX)).await {
        Ok(Ok(body)) => Body::from(body),
        Ok(Err(_)) | Err(_) => {
            return Err(Problem::bad_request(
                "the form is too large, or did not arrive completely",
            ));
        }
    };
    let form = Form::<SignInForm>::from_request(Request::from_parts(head, body), &()).await;
    let Form(SignInForm { token, next }) =
        form.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let (token, next) = (Secret::new(token).trimmed(), local_path(&next));
    let login = auth::by_token(&app, client, token.reveal()).await;
    audit::login_refused(&app, (client, Via::Console), audit::BEGIN_SESSION, &login).await;
    let Some(login) = login? else {
        let wrong = "This token is not valid.";
        return Ok(refused(&app, &next, StatusCode::UNAUTHORIZED, wrong));
    };
    let cookie = begin(&app, login, client).await?;
    let mut response = redirect(&next);
    response.headers_mut().append(SET_COOKIE, cookies.set(SESSION, &cookie, SESSION_S));
    Ok(response)
}

/// Begins a session, and records it in the audit log.
pub(super) async fn begin(
    app: &AppState,
    login: TokenLogin,
    client: IpAddr,
) -> Result<Secret, Problem> {
    let account = login.account.clone();
    let (_, cookie) = app.services.accounts.sign_in(login).await?;
    let action = audit::BEGIN_SESSION.to_owned();
    let intent = Intent { account: &account, client, via: Via::Console, action, object: None };
    app.services.audit.record(intent, OutcomeCode::Ok).await?;
    Ok(cookie)
}

/// Answers `POST /sign-out`: ends the session.
pub(crate) async fn sign_out(
    State(app): State<Arc<AppState>>,
    session: Session,
    request: Request,
) -> Result<Response, Problem> {
    if let Some(cookie) = cookie_of(&app, &request) {
        app.services.accounts.sign_out(cookie.reveal()).await?;
        tracing::info!(account = session.account.name, "signed out");
    }
    Ok(without_cookie(&app, &request, redirect("/sign-in")))
}
