//! The sample tracker of `jackfield demo`: the part of Redmine's REST API that the Redmine
//! connector uses, and a page per issue so that links open. It keeps its issues in memory until
//! the demo ends.
//!
//! The server never serves it: the demo gives it its own listener. Tests never use it: they use a
//! real Redmine.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use parking_lot::{Mutex, MutexGuard};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The identifier of the only project: the value for the Redmine connector's setting `project`.
pub const PROJECT: &str = "qa";

/// Maximum number of issues; after that, a create request is answered 422.
const ISSUES_MAX: usize = 10_000;
/// Issues in one answer, if the request does not say.
const PAGE_ISSUES: usize = 25;

const TRACKERS: [(u64, &str); 2] = [(1, "Bug"), (2, "Feature")];
const PRIORITIES: [(u64, &str); 5] =
    [(1, "Low"), (2, "Normal"), (3, "High"), (4, "Urgent"), (5, "Immediate")];
const PRIORITY_NORMAL: u64 = 2;

/// The issues that exist at the start: subject, priority, whether it is closed.
const SAMPLE_ISSUES: [(&str, u64, bool); 6] = [
    ("Checkout accepts an expired card", 5, false),
    ("Search finds nothing for names with an umlaut", 3, false),
    ("Invoice shows the net amount twice", 3, false),
    ("Footer overlaps the cookie banner", 1, false),
    ("Password reset mail comes twice", 4, true),
    ("Export stops after 1,000 rows", 2, true),
];

struct Tracker {
    api_key: String,
    issues: Mutex<Vec<Issue>>,
}

#[derive(Clone)]
struct Issue {
    id: u64,
    tracker: u64,
    priority: u64,
    closed: bool,
    subject: String,
    description: String,
}

/// Serves the sample tracker until the future is dropped. Its API requires `api_key` in the header
/// `X-Redmine-API-Key`. Its pages require no key, so the listener must be on loopback.
///
/// # Errors
/// The listener failed.
pub async fn serve(listener: TcpListener, api_key: &str) -> std::io::Result<()> {
    let issues = SAMPLE_ISSUES.iter().zip(1..).map(|(&(subject, priority, closed), id)| Issue {
        id,
        tracker: 1,
        priority,
        closed,
        subject: subject.to_owned(),
        description: String::new(),
    });
    let tracker = Tracker { api_key: api_key.to_owned(), issues: Mutex::new(issues.collect()) };
    axum::serve(listener, router(Arc::new(tracker))).await
}

fn router(tracker: Arc<Tracker>) -> Router {
    let api = Router::new()
        .route("/users/current.json", get(current_user))
        .route("/projects.json", get(projects))
        .route("/projects/qa.json", get(project))
        .route("/trackers.json", get(async || Json(json!({ "trackers": list_json(&TRACKERS) }))))
        .route("/enumerations/issue_priorities.json", get(priorities))
        .route("/issues.json", get(list).post(create))
        .route("/projects/qa/issues.json", get(list))
        .layer(middleware::from_fn_with_state(Arc::clone(&tracker), authenticate));
    let pages = Router::new()
        .route("/", get(list_page))
        .route("/projects/qa/issues", get(list_page))
        .route("/issues/{id}", get(issue_page));
    api.merge(pages).with_state(tracker)
}

async fn authenticate(
    State(tracker): State<Arc<Tracker>>,
    request: Request,
    next: Next,
) -> Response {
    match request.headers().get("x-redmine-api-key") {
        Some(key) if key.as_bytes() == tracker.api_key.as_bytes() => next.run(request).await,
        _ => StatusCode::UNAUTHORIZED.into_response(),
    }
}

async fn current_user() -> Json<Value> {
    Json(json!({ "user": { "id": 1, "login": "demo", "firstname": "Demo", "lastname": "User" } }))
}

async fn projects() -> Json<Value> {
    Json(json!({ "projects": [project_json()], "total_count": 1 }))
}

async fn project() -> Json<Value> {
    Json(json!({ "project": project_json() }))
}

async fn priorities() -> Json<Value> {
    Json(json!({ "issue_priorities": list_json(&PRIORITIES) }))
}

type Filters = HashMap<String, String>;

async fn list(State(tracker): State<Arc<Tracker>>, Query(filters): Query<Filters>) -> Json<Value> {
    let issues = tracker.issues();
    let found: Vec<_> = issues.iter().filter(|issue| issue.matches(&filters)).collect();
    let limit = filters.get("limit").and_then(|text| text.parse().ok()).unwrap_or(PAGE_ISSUES);
    let page: Vec<_> = found.iter().take(limit).map(|issue| issue.json()).collect();
    Json(json!({ "issues": page, "total_count": found.len(), "offset": 0, "limit": limit }))
}

#[derive(Deserialize)]
struct CreateBody {
    issue: NewIssue,
}

#[derive(Deserialize)]
struct NewIssue {
    project_id: Option<String>,
    tracker_id: Option<u64>,
    priority_id: Option<u64>,
    #[serde(default)]
    subject: String,
    #[serde(default)]
    description: String,
}

async fn create(State(tracker): State<Arc<Tracker>>, Json(body): Json<CreateBody>) -> Response {
    let new = body.issue;
    let mut issues = tracker.issues();
    let errors: Vec<_> = [
        (new.project_id.as_deref() != Some(PROJECT), "Project cannot be blank"),
        (new.subject.trim().is_empty(), "Subject cannot be blank"),
        (issues.len() >= ISSUES_MAX, "This sample tracker is full; start the demo again"),
    ]
    .into_iter()
    .filter_map(|(is_wrong, why)| is_wrong.then_some(why))
    .collect();
    if !errors.is_empty() {
        return (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "errors": errors })))
            .into_response();
    }
    let issue = Issue {
        id: issues.last().map_or(1, |last| last.id + 1),
        tracker: new.tracker_id.unwrap_or(1),
        priority: new.priority_id.unwrap_or(PRIORITY_NORMAL),
        closed: false,
        subject: new.subject,
        description: new.description,
    };
    let answer = json!({ "issue": issue.json() });
    issues.push(issue);
    (StatusCode::CREATED, Json(answer)).into_response()
}

async fn list_page(
    State(tracker): State<Arc<Tracker>>,
    Query(mut filters): Query<Filters>,
) -> Html<String> {
    if filters.is_empty() {
        filters.insert("status_id".to_owned(), "*".to_owned());
    }
    let mut rows = String::new();
    for issue in tracker.issues().iter().filter(|issue| issue.matches(&filters)) {
        let Issue { id, subject, .. } = issue;
        let (priority, status) = (name(&PRIORITIES, issue.priority), issue.status());
        let _ = write!(
            rows,
            "<tr><td><a href=\"/issues/{id}\">#{id}</a><td>{priority}<td>{status}<td>{}",
            escape(subject)
        );
    }
    page("Issues", &format!("<table><tr><th>#<th>Priority<th>Status<th>Subject{rows}</table>"))
}

async fn issue_page(State(tracker): State<Arc<Tracker>>, Path(id): Path<u64>) -> Response {
    let found = tracker.issues().iter().find(|issue| issue.id == id).cloned();
    let Some(issue) = found else {
        return (StatusCode::NOT_FOUND, page("Issue not found", "")).into_response();
    };
    let (tracker, priority) = (name(&TRACKERS, issue.tracker), name(&PRIORITIES, issue.priority));
    let body = format!(
        "<p>{tracker} · {priority} · {}</p><pre>{}</pre><p><a href=\"/\">All issues</a></p>",
        issue.status(),
        escape(&issue.description)
    );
    page(&format!("#{id}: {}", issue.subject), &body).into_response()
}

impl Tracker {
    fn issues(&self) -> MutexGuard<'_, Vec<Issue>> {
        self.issues.lock()
    }
}

impl Issue {
    /// Whether Redmine's filters match this issue, as far as the connector uses them. As in
    /// Redmine, an unknown filter matches every issue, and without `status_id` closed issues do
    /// not match.
    fn matches(&self, filters: &Filters) -> bool {
        filters.iter().all(|(filter, value)| match filter.as_str() {
            "tracker_id" => is_one_of(self.tracker, value),
            "priority_id" => is_one_of(self.priority, value),
            "description" => self.description.contains(value.trim_start_matches('~')),
            _ => true,
        }) && match filters.get("status_id").map(String::as_str) {
            Some("*") => true,
            Some(status) if status.starts_with('c') => self.closed,
            _ => !self.closed,
        }
    }

    fn status(&self) -> &'static str {
        if self.closed { "Closed" } else { "New" }
    }

    fn json(&self) -> Value {
        let status = if self.closed { 5 } else { 1 };
        json!({
            "id": self.id,
            "project": { "id": 1, "name": "QA" },
            "tracker": { "id": self.tracker, "name": name(&TRACKERS, self.tracker) },
            "status": { "id": status, "name": self.status(), "is_closed": self.closed },
            "priority": { "id": self.priority, "name": name(&PRIORITIES, self.priority) },
            "subject": self.subject,
            "description": self.description,
        })
    }
}

fn project_json() -> Value {
    json!({ "id": 1, "name": "QA", "identifier": PROJECT, "trackers": list_json(&TRACKERS) })
}

fn list_json(list: &[(u64, &str)]) -> Vec<Value> {
    list.iter().map(|(id, name)| json!({ "id": id, "name": name })).collect()
}

fn name(list: &[(u64, &'static str)], id: u64) -> &'static str {
    list.iter().find(|(known, _)| *known == id).map_or("?", |(_, name)| name)
}

/// Whether a filter like "4|5" contains the number.
fn is_one_of(id: u64, filter: &str) -> bool {
    filter.split('|').any(|text| text == id.to_string())
}

fn page(title: &str, body: &str) -> Html<String> {
    let title = escape(title);
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <style>body{{font:1rem/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}}\
         td,th{{text-align:left;padding:.2rem 1rem .2rem 0}}pre{{white-space:pre-wrap}}</style>\
         <p>Jackfield's sample tracker</p><h1>{title}</h1>{body}"
    ))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_in_redmine() {
        let issue = Issue {
            id: 1,
            tracker: 1,
            priority: 5,
            closed: false,
            subject: String::new(),
            description: "marker: abc".to_owned(),
        };
        let matches = |query: &[(&str, &str)]| {
            issue.matches(&query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
        };
        assert!(matches(&[]));
        assert!(matches(&[("status_id", "open"), ("priority_id", "4|5"), ("sort", "id")]));
        assert!(matches(&[("status_id", "*"), ("description", "~abc")]));
        assert!(!matches(&[("status_id", "closed")]));
        assert!(!matches(&[("priority_id", "4")]));
        assert!(!matches(&[("description", "~other")]));
    }
}
