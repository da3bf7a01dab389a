//! The middleware of the console: adds the signed-in account to requests, renders problems as
//! pages, and limits what a page may do in a browser.

use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;

use crate::api;
use crate::domain::Account;
use crate::http::AppState;
use crate::http::problem::Problem;
use crate::http::session::Session;

use super::flash::Flash;
use super::page::{Layout, Section, render};
use super::theme::Theme;

/// A page may not contain inline scripts or styles, and may not load anything from other servers.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The signed-in person who sent a request, and the values that every page needs.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    pub(super) account: Account,
    /// The CSRF token, which each form must send back; empty if the request has no session.
    pub(super) csrf_token: String,
    /// The time of the request.
    pub(super) now: Timestamp,
    theme: Theme,
    /// The message that the page shows.
    flash: Option<Flash>,
    /// The path and query of the request.
    path: String,
}

impl Visitor {
    pub(super) fn layout(&self, section: Section, title: impl Into<String>) -> Layout {
        Layout {
            title: title.into(),
            section,
            account: self.account.clone(),
            csrf_token: self.csrf_token.clone(),
            theme: self.theme,
            flash: self.flash.clone(),
            path: self.path.clone(),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::unauthorized)
    }
}

/// Adds the [`Visitor`] to a request of a signed-in account, and renders problems as pages.
pub(super) async fn add_visitor(
    State(app): State<Arc<AppState>>,
    mut request: Request,
    next: Next,
) -> Response {
    let is_partial = is_partial_request(request.headers());
    let Some(account) = request.extensions().get::<Account>().cloned() else {
        // The body of a request without an account is never read, so it uses no memory.
        *request.body_mut() = Body::empty();
        return if is_partial { reload_page() } else { next.run(request).await };
    };
    // A client that sends a token in the header `Authorization` needs no CSRF token, because other
    // sites cannot make a browser send this header.
    let csrf = request.extensions().get::<Session>().map(|it| it.csrf_token.clone());
    let flash = Flash::from_cookie(request.headers());
    let visitor = Visitor {
        account,
        csrf_token: csrf.unwrap_or_default(),
        now: app.services.clock.now(),
        theme: Theme::from_cookie(request.headers()),
        flash: flash.clone(),
        path: request.uri().path_and_query().map_or("/", |it| it.as_str()).to_owned(),
    };
    let is_whole_page = request.method() == Method::GET && !is_partial;
    request.extensions_mut().insert(visitor.clone());
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = problem_response(&visitor, &problem, is_partial);
    }
    if flash.is_some() && is_whole_page {
        Flash::clear_cookie(&mut response);
    }
    response
}

/// htmx marks a request for a part of a page with this header.
const HX_REQUEST: HeaderName = HeaderName::from_static("hx-request");

/// Whether htmx requests only a part of a page.
pub(super) fn is_partial_request(headers: &HeaderMap) -> bool {
    headers.contains_key(HX_REQUEST)
}

/// Makes htmx reload the whole page, so that the browser gets the sign-in page.
fn reload_page() -> Response {
    let mut response = Problem::unauthorized().status().into_response();
    let refresh = HeaderName::from_static("hx-refresh");
    response.headers_mut().insert(refresh, HeaderValue::from_static("true"));
    response
}

#[derive(Template)]
#[template(path = "console/problem.html")]
struct ProblemPage {
    layout: Layout,
    problem: api::Problem,
    /// A sentence that tells the person how to solve the problem.
    remedy: &'static str,
    back_href: String,
}

/// The text of a problem, in place of a part of a page.
#[derive(Template)]
#[template(source = r#"<p class="error">{{ detail }}</p>"#, ext = "html")]
struct PartialProblem {
    detail: String,
}

fn problem_response(visitor: &Visitor, problem: &Problem, is_partial: bool) -> Response {
    let body = problem.body(&visitor.path);
    let page = if is_partial {
        render(&PartialProblem { detail: body.detail })
    } else {
        render(&problem_page(visitor, problem, body))
    };
    let status = problem.status();
    page.map_or_else(|_| problem.respond(&visitor.path), |page| (status, page).into_response())
}

fn problem_page(visitor: &Visitor, problem: &Problem, body: api::Problem) -> ProblemPage {
    ProblemPage {
        layout: visitor.layout(Section::Overview, body.title.clone()),
        problem: body,
        remedy: problem.remedy(),
        back_href: "/".to_owned(),
    }
}

/// Sets the headers that limit what a page may do in a browser. A browser may not cache a page,
/// because the page may show a token.
pub(super) async fn add_security_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let is_html = |kind: &HeaderValue| kind.as_bytes().starts_with(b"text/html");
    if headers.get(CONTENT_TYPE).is_some_and(is_html) {
        // With `no-referrer`, browsers would send forms with the header `Origin: null`, which the
        // check of the origin refuses.
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
