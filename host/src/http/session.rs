//! The sign-in of browsers with a token: the sign-in page, the cookie, and the session that pages
//! use.
//!
//! Scripts cannot read the cookie, and another site can never make a browser send it. If a session
//! has a cookie, its CSRF token is derived from the cookie, so the token is not stored.

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
use super::cookies::{RequestCookies, SESSION_COOKIE};
use super::problem::Problem;
use super::{AppState, auth, same_site};

/// The content security policy of the sign-in pages. It makes browsers load nothing, and send forms
/// only to this server.
const POLICY: &str =
    "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// Maximum size of a sign-in form, bytes. It is small, because any client may send this form.
const FORM_BYTES_MAX: usize = 8 * 1024;
/// Maximum time until a sign-in form has arrived.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);
/// The base URL with which a path is parsed. No request is ever sent to it.
const PARSE_BASE: &str = "http://host.invalid/";

/// The session of a browser that is signed in. If a handler extracts it from a request without a
/// session, the browser is redirected to the sign-in page.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) account: Account,
    /// Each change that a page sends must contain this token, in the form field `csrf` or in the
    /// header `X-CSRF-Token`.
    pub(crate) csrf_token: String,
}

impl Session {
    pub(super) fn new(session: domain::Session, cookie: &Secret) -> Self {
        let csrf_input = Secret::new(format!("csrf {}", cookie.reveal()));
        let csrf = BASE64URL_NOPAD.encode(&TokenHash::of(csrf_input.reveal()).0);
        Self { account: session.account, csrf_token: csrf }
    }

    /// The session of a person whom a proxy signed in. It is valid only for one request, because
    /// the proxy names the person in each request.
    pub(super) fn of_proxy(account: Account, accounts: &Accounts) -> Self {
        let csrf = accounts.csrf_of_person(&account.name);
        Self { account, csrf_token: csrf }
    }

    pub(super) fn is_csrf_token(&self, text: &str) -> bool {
        Secret::new(self.csrf_token.clone()).matches(text)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Session {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let session = parts.extensions.get::<Self>().cloned();
        session.ok_or_else(|| redirect(&sign_in_path(&parts.uri)))
    }
}

pub(super) fn cookie_of(app: &AppState, request: &Request) -> Option<Secret> {
    RequestCookies::new(&app.services.config.current(), request)
        .get(request.headers(), SESSION_COOKIE)
}

/// If the request has the session cookie, adds a header that makes the browser delete it.
pub(super) fn remove_cookie(app: &AppState, request: &Request, mut response: Response) -> Response {
    let cookies = RequestCookies::new(&app.services.config.current(), request);
    if cookies.get(request.headers(), SESSION_COOKIE).is_some() {
        response.headers_mut().append(SET_COOKIE, cookies.remove(SESSION_COOKIE));
    }
    response
}

/// Redirects a browser to the sign-in page. After the sign-in, the browser is redirected back.
pub(super) fn redirect_to_sign_in(request: &Request) -> Response {
    redirect(&sign_in_path(request.uri()))
}

fn sign_in_path(from: &Uri) -> String {
    path_with_next("/sign-in", from.path_and_query().map_or("/", |path| path.as_str()))
}

/// The path that begins a sign-in with the identity provider, if one is configured.
fn provider_path(app: &AppState, next: &str) -> Option<String> {
    app.services.oidc.as_ref().map(|_| path_with_next("/sign-in/oidc", next))
}

fn path_with_next(path: &str, next: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    format!("{path}?{}", query.append_pair("next", next).finish())
}

/// Redirects a browser to this address, which it then requests with GET.
pub(super) fn redirect(to: &str) -> Response {
    let location = HeaderValue::try_from(to).unwrap_or_else(|_| HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(LOCATION, location), (CACHE_CONTROL, no_store())]).into_response()
}

fn no_store() -> HeaderValue {
    HeaderValue::from_static("no-store")
}

/// Checks the path to which a browser will be redirected after a sign-in. The result is always a
/// path of this server: any other text is replaced by `/`.
pub(super) fn local_path(requested: &str) -> String {
    let base = Url::parse(PARSE_BASE).ok();
    let joined = base.as_ref().and_then(|base| base.join(requested).ok());
    match (base, joined) {
        // A path must not begin with two slashes, because browsers read it as the address of
        // another host.
        (Some(base), Some(url))
            if requested.starts_with('/')
                && url.origin() == base.origin()
                && !url.path().starts_with("//") =>
        {
            let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
            format!("{}{query}", url.path())
        }
        _ => "/".to_owned(),
    }
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'a> {
    next: &'a str,
    error: Option<&'a str>,
    /// The path that begins a sign-in with the identity provider, if one is configured.
    provider: Option<String>,
}

/// Shows the sign-in page after a failed sign-in, with `why` as the error.
pub(super) fn sign_in_failed(
    app: &AppState,
    next: &str,
    status: StatusCode,
    why: &str,
) -> Response {
    render_page(status, &SignInPage { next, error: Some(why), provider: provider_path(app, next) })
}

/// Renders a page that no cache may store.
pub(super) fn render_page(status: StatusCode, page: &impl Template) -> Response {
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

#[derive(Deserialize)]
pub(crate) struct SignInQuery {
    #[serde(default)]
    pub(crate) next: String,
}

/// Answers `GET /sign-in`.
pub(crate) async fn show_sign_in_page(
    State(app): State<Arc<AppState>>,
    Query(SignInQuery { next }): Query<SignInQuery>,
) -> Response {
    let next = local_path(&next);
    let page = SignInPage { next: &next, error: None, provider: provider_path(&app, &next) };
    render_page(StatusCode::OK, &page)
}

#[derive(Deserialize)]
pub(crate) struct SignInForm {
    token: String,
    #[serde(default)]
    next: String,
}

/// Answers `POST /sign-in`. Begins a session if the token is valid.
pub(crate) async fn sign_in(
    State(app): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, Problem> {
    let config = app.services.config.current();
    let (cookies, client) = (RequestCookies::new(&config, &request), client_of(&request));
    if let Err(problem) = same_site::check_origin(&config, request.headers(), request.uri()) {
        let caller = Caller::not_signed_in(client, Via::Console);
        audit::record_refusal(&app, caller, (audit::BEGIN_SESSION_ACTION, None), problem.code())
            .await;
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
    let login = auth::log_in_by_token(&app, client, token.reveal()).await;
    audit::record_refused_login(&app, (client, Via::Console), audit::BEGIN_SESSION_ACTION, &login)
        .await;
    let Some(login) = login? else {
        let why = "This token is not valid.";
        return Ok(sign_in_failed(&app, &next, StatusCode::UNAUTHORIZED, why));
    };
    let cookie = begin(&app, login, client).await?;
    let mut response = redirect(&next);
    response.headers_mut().append(SET_COOKIE, cookies.set(SESSION_COOKIE, &cookie, SESSION_S));
    Ok(response)
}

/// Begins a session, and records it in the audit log. Returns the value of the session cookie.
pub(super) async fn begin(
    app: &AppState,
    login: TokenLogin,
    client: IpAddr,
) -> Result<Secret, Problem> {
    let account = login.account.clone();
    let (_, cookie) = app.services.accounts.sign_in(login).await?;
    let action = audit::BEGIN_SESSION_ACTION.to_owned();
    let intent = Intent { account: &account, client, via: Via::Console, action, object: None };
    app.services.audit.record(intent, OutcomeCode::Ok).await?;
    Ok(cookie)
}

/// Answers `POST /sign-out`. Ends the session that the cookie identifies, if there is one.
pub(crate) async fn sign_out(
    State(app): State<Arc<AppState>>,
    session: Session,
    request: Request,
) -> Result<Response, Problem> {
    if let Some(cookie) = cookie_of(&app, &request) {
        app.services.accounts.sign_out(cookie.reveal()).await?;
        tracing::info!(account = session.account.name, "signed out");
    }
    Ok(remove_cookie(&app, &request, redirect("/sign-in")))
}
