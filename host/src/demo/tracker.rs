//! The sample tracker of `jackfield demo`. It answers the part of Redmine's REST API that the
//! Redmine connector uses, and has pages for people. It stores everything in memory.
//!
//! It is not part of the server.

mod api;
mod files;
mod issues;
mod pages;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use parking_lot::{Mutex, MutexGuard};
use tokio::net::TcpListener;

use files::FILE_BYTES_MAX;
use issues::TrackerData;

/// The identifier of the only project, for the setting `project` of the Redmine connector.
pub const PROJECT: &str = "qa";
/// The markup of the tracker's texts, for the setting `markup` of the Redmine connector.
pub const MARKUP: &str = "markdown";
/// The custom fields of the issues: id and name.
pub const CUSTOM_FIELDS: [(u64, &str); 2] = [(1, "Test case"), (2, "Robot")];

/// A page may use only its own style and images of the tracker.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; frame-ancestors 'none'; \
     base-uri 'none'; form-action 'none'";

struct Tracker {
    api_key: String,
    data: Mutex<TrackerData>,
}

type TrackerState = State<Arc<Tracker>>;

/// Serves the sample tracker until the future is dropped. Its API requires `api_key` in the header
/// `X-Redmine-API-Key`. Its pages and files require no key, so the listener must be on loopback.
///
/// # Errors
/// The listener failed.
pub async fn serve(listener: TcpListener, api_key: &str) -> std::io::Result<()> {
    let data = Mutex::new(TrackerData::sample());
    let tracker = Tracker { api_key: api_key.to_owned(), data };
    axum::serve(listener, router(Arc::new(tracker))).await
}

fn router(tracker: Arc<Tracker>) -> Router {
    let api = Router::new()
        .route("/users/current.json", get(api::show_current_user))
        .route("/projects.json", get(api::list_projects))
        .route("/projects/qa.json", get(api::show_project))
        .route("/trackers.json", get(api::list_trackers))
        .route("/enumerations/issue_priorities.json", get(api::list_priorities))
        .route("/issues.json", get(api::list_issues).post(api::create_issue))
        .route("/projects/qa/issues.json", get(api::list_issues))
        .route("/issues/{file}", get(api::show_issue).put(api::update_issue))
        .route("/uploads.json", post(files::upload_file))
        .layer(middleware::from_fn_with_state(Arc::clone(&tracker), authenticate))
        .layer(DefaultBodyLimit::max(FILE_BYTES_MAX));
    let pages = Router::new()
        .route("/", get(pages::list_issues))
        .route("/projects/qa/issues", get(pages::list_issues))
        .route("/attachments/download/{id}/{name}", get(files::download_file))
        .layer(middleware::map_response(with_security_headers));
    api.merge(pages).with_state(tracker)
}

/// Requests for the page of an issue need no key.
async fn authenticate(State(tracker): TrackerState, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path.starts_with("/issues/") && !path.ends_with(".json") {
        return with_security_headers(next.run(request).await).await;
    }
    match request.headers().get("x-redmine-api-key") {
        Some(key) if key.as_bytes() == tracker.api_key.as_bytes() => next.run(request).await,
        _ => StatusCode::UNAUTHORIZED.into_response(),
    }
}

async fn with_security_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert("content-security-policy", HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

impl Tracker {
    fn data(&self) -> MutexGuard<'_, TrackerData> {
        self.data.lock()
    }
}
