//! Who asks for a page, and what is around every answer of the console: problems become pages, and
//! headers limit what a page may do.

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
use super::page::{Page, Section, render};
use super::theme::Theme;

/// No script or style in a page, nothing from other servers, no frame around a page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A signed-in person's request.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    pub(super) account: Account,
    /// The value that each form must send back.
    pub(super) csrf: String,
    /// The time of the request.
    pub(super) now: Timestamp,
    theme: Theme,
    flash: Option<Flash>,
    path: String,
}

impl Visitor {
    /// What surrounds a page of this section: title, navigation, account, message.
    pub(super) fn page(&self, section: Section, title: impl Into<String>) -> Page {
        Page {
            title: title.into(),
            section,
            account: self.account.clone(),
            csrf: self.csrf.clone(),
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

/// Adds the [`Visitor`] to a request of an account, and answers problems as pages.
pub(super) async fn frame(
    State(app): State<Arc<AppState>>,
    mut request: Request,
    next: Next,
) -> Response {
    let is_part = is_part(request.headers());
    let Some(account) = request.extensions().get::<Account>().cloned() else {
        // The body of an unknown client is never read, so it takes no memory.
        *request.body_mut() = Body::empty();
        return if is_part { load_again() } else { next.run(request).await };
    };
    // A client with a token instead of a session needs no token against other sites.
    let csrf = request.extensions().get::<Session>().map(|it| it.csrf.clone());
    let flash = Flash::of(request.headers());
    let visitor = Visitor {
        account,
        csrf: csrf.unwrap_or_default(),
        now: app.services.clock.now(),
        theme: Theme::of(request.headers()),
        flash: flash.clone(),
        path: request.uri().path_and_query().map_or("/", |it| it.as_str()).to_owned(),
    };
    let is_whole_page = request.method() == Method::GET && !is_part;
    request.extensions_mut().insert(visitor.clone());
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = answer(&visitor, &problem, is_part);
    }
    if flash.is_some() && is_whole_page {
        Flash::clear(&mut response);
    }
    response
}

/// The header by which htmx says that it asks for a part of a page.
const HX: HeaderName = HeaderName::from_static("hx-request");

/// Whether a request asks for a part of a page, which a script puts into its place.
pub(super) fn is_part(headers: &HeaderMap) -> bool {
    headers.contains_key(HX)
}

/// Makes htmx load the whole page again, which leads to the sign-in page.
fn load_again() -> Response {
    let mut response = Problem::unauthorized().status().into_response();
    let refresh = HeaderName::from_static("hx-refresh");
    response.headers_mut().insert(refresh, HeaderValue::from_static("true"));
    response
}

#[derive(Template)]
#[template(path = "console/problem.html")]
struct ProblemPage {
    page: Page,
    problem: api::Problem,
    remedy: &'static str,
    back: String,
}

/// A problem in the place of a part of a page.
#[derive(Template)]
#[template(source = r#"<p class="error">{{ detail }}</p>"#, ext = "html")]
struct ProblemPart {
    detail: String,
}

fn answer(visitor: &Visitor, problem: &Problem, is_part: bool) -> Response {
    let shown = problem.body(&visitor.path);
    let page = if is_part {
        render(&ProblemPart { detail: shown.detail })
    } else {
        render(&problem_page(visitor, problem, shown))
    };
    let status = problem.status();
    page.map_or_else(|_| problem.respond(&visitor.path), |page| (status, page).into_response())
}

fn problem_page(visitor: &Visitor, problem: &Problem, shown: api::Problem) -> ProblemPage {
    ProblemPage {
        page: visitor.page(Section::Overview, shown.title.clone()),
        problem: shown,
        remedy: problem.remedy(),
        back: "/".to_owned(),
    }
}

/// Limits what a page may do in a browser. A page is never stored, because it may show a token.
pub(super) async fn limit_pages(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let is_page = |kind: &HeaderValue| kind.as_bytes().starts_with(b"text/html");
    if headers.get(CONTENT_TYPE).is_some_and(is_page) {
        // With `no-referrer`, browsers would send forms with `Origin: null`.
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
