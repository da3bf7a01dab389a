//! Answers those requests to Redmine's REST API that the Redmine connector sends.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::json::Json;

use super::issues::{
    ISSUES_MAX, Issue, PRIORITIES, PRIORITY_NORMAL, QueryParameters, STATUSES, TRACKERS,
    TrackerData, find_status,
};
use super::{CUSTOM_FIELDS, PROJECT, TrackerState, pages};

/// Maximum number of issues in one answer, if the request has no valid parameter `limit`.
const DEFAULT_ANSWER_ISSUES: usize = 25;
const COMMENTS_MAX: usize = 1_000;

pub(super) async fn show_current_user() -> Json<Value> {
    Json(json!({ "user": { "id": 1, "login": "demo", "firstname": "Demo", "lastname": "User" } }))
}

pub(super) async fn list_projects() -> Json<Value> {
    Json(json!({ "projects": [project_json()], "total_count": 1 }))
}

pub(super) async fn show_project() -> Json<Value> {
    Json(json!({ "project": project_json() }))
}

pub(super) async fn list_trackers() -> Json<Value> {
    Json(json!({ "trackers": ids_and_names_json(&TRACKERS) }))
}

pub(super) async fn list_priorities() -> Json<Value> {
    Json(json!({ "issue_priorities": ids_and_names_json(&PRIORITIES) }))
}

pub(super) async fn list_issues(
    State(tracker): TrackerState,
    Query(filters): Query<QueryParameters>,
) -> Json<Value> {
    let data = tracker.data();
    let mut found: Vec<_> = data.issues.iter().filter(|it| it.matches_filters(&filters)).collect();
    if filters.get("sort").is_some_and(|sort| sort == "id:desc") {
        found.reverse();
    }
    let limit =
        filters.get("limit").and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_ANSWER_ISSUES);
    let page: Vec<_> = found.iter().take(limit).map(|issue| issue.to_json()).collect();
    Json(json!({ "issues": page, "total_count": found.len(), "offset": 0, "limit": limit }))
}

/// The members of an issue that a request sets, by Redmine's names.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct IssueChanges {
    project_id: Option<String>,
    tracker_id: Option<u64>,
    priority_id: Option<u64>,
    status_id: Option<u64>,
    subject: String,
    description: String,
    notes: String,
    custom_fields: Vec<FieldValue>,
    uploads: Vec<Upload>,
}

#[derive(Deserialize)]
struct FieldValue {
    id: u64,
    value: Value,
}

/// An uploaded file that a request attaches to an issue.
#[derive(Deserialize)]
struct Upload {
    /// The token from the answer to the upload.
    token: String,
}

#[derive(Deserialize)]
pub(super) struct IssueBody {
    issue: IssueChanges,
}

pub(super) async fn create_issue(
    State(tracker): TrackerState,
    Json(body): Json<IssueBody>,
) -> Response {
    let (new, data) = (body.issue, &mut *tracker.data());
    let errors: Vec<_> = [
        (new.project_id.as_deref() != Some(PROJECT), "Project cannot be blank"),
        (new.subject.trim().is_empty(), "Subject cannot be blank"),
        (data.issues.len() >= ISSUES_MAX, "This sample tracker is full; start the demo again"),
    ]
    .into_iter()
    .filter_map(|(is_invalid, error)| is_invalid.then_some(error))
    .collect();
    if !errors.is_empty() {
        return refusal_response(&errors);
    }
    let mut issue = Issue {
        id: data.issues.last().map_or(1, |last| last.id + 1),
        tracker: new.tracker_id.unwrap_or(1),
        priority: new.priority_id.unwrap_or(PRIORITY_NORMAL),
        status: 1,
        subject: new.subject.clone(),
        description: new.description.clone(),
        ..Issue::default()
    };
    set_fields_and_files(data, &mut issue, &new);
    let answer = json!({ "issue": issue.to_json() });
    data.issues.push(issue);
    (StatusCode::CREATED, Json(answer)).into_response()
}

/// Answers a request for `ID.json` with JSON, and a request for `ID` with a page.
pub(super) async fn show_issue(
    State(tracker): TrackerState,
    Path(file): Path<String>,
    Query(filters): Query<QueryParameters>,
) -> Response {
    let data = tracker.data();
    let (id, is_json) = match file.strip_suffix(".json") {
        Some(id) => (id, true),
        None => (file.as_str(), false),
    };
    let issue = id.parse().ok().and_then(|id| data.issue(id));
    match issue {
        _ if !is_json => pages::issue_page(&data, issue),
        None => StatusCode::NOT_FOUND.into_response(),
        Some(issue) => {
            let include = filters.get("include").map_or("", String::as_str);
            Json(json!({ "issue": issue_with_parts(&data, issue, include) })).into_response()
        }
    }
}

/// `include` names the additional parts.
fn issue_with_parts(data: &TrackerData, issue: &Issue, include: &str) -> Value {
    let status = |(id, name, is_closed): &(u64, &str, bool)| json!({ "id": id, "name": name, "is_closed": is_closed });
    let part = |name: &str| match name {
        "journals" => Some(issue.journals()),
        "attachments" => Some(data.files_of_issue(issue).map(|file| file.to_json()).collect()),
        "allowed_statuses" => Some(STATUSES.iter().map(status).collect()),
        _ => None,
    };
    let parts = include.split(',').filter_map(|name| Some((name.to_owned(), part(name)?.into())));
    let mut json = issue.to_json();
    if let Some(members) = json.as_object_mut() {
        members.extend(parts);
    }
    json
}

pub(super) async fn update_issue(
    State(tracker): TrackerState,
    Path(file): Path<String>,
    Json(body): Json<IssueBody>,
) -> Response {
    let data = &mut *tracker.data();
    let id = file.strip_suffix(".json").and_then(|id| id.parse().ok());
    let Some(mut issue) = id.and_then(|id| data.issue(id)).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if !body.issue.notes.is_empty() && issue.comments.len() >= COMMENTS_MAX {
        return refusal_response(&["This issue has too many comments; start the demo again"]);
    }
    if !body.issue.notes.is_empty() {
        issue.comments.push(body.issue.notes.clone());
    }
    // An unknown status is ignored, as Redmine ignores a status that its workflow does not allow.
    if let Some((id, ..)) = body.issue.status_id.and_then(find_status) {
        issue.status = id;
    }
    set_fields_and_files(data, &mut issue, &body.issue);
    if let Some(stored) = data.issue_mut(issue.id) {
        *stored = issue;
    }
    StatusCode::NO_CONTENT.into_response()
}

/// Ignores unknown fields and tokens, as Redmine does.
fn set_fields_and_files(data: &TrackerData, issue: &mut Issue, changes: &IssueChanges) {
    for FieldValue { id, value } in &changes.custom_fields {
        if CUSTOM_FIELDS.iter().any(|(field, _)| field == id) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            issue.custom_fields.insert(*id, text);
        }
    }
    for Upload { token } in &changes.uploads {
        let file = data.files.iter().find(|file| file.token == *token);
        issue.files.extend(file.map(|file| file.id));
    }
}

fn refusal_response(errors: &[&str]) -> Response {
    (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "errors": errors }))).into_response()
}

fn project_json() -> Value {
    json!({ "id": 1, "name": "QA", "identifier": PROJECT, "trackers": ids_and_names_json(&TRACKERS),
        "issue_custom_fields": ids_and_names_json(&CUSTOM_FIELDS) })
}

fn ids_and_names_json(list: &[(u64, &str)]) -> Vec<Value> {
    list.iter().map(|(id, name)| json!({ "id": id, "name": name })).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::{Bytes, to_bytes};
    use parking_lot::Mutex;

    use super::super::{Tracker, files};
    use super::*;

    async fn read_json(response: Response, status: StatusCode) -> Value {
        assert_eq!(response.status(), status);
        let body = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).expect("JSON") }
    }

    fn body(issue: Value) -> Json<IssueBody> {
        Json(serde_json::from_value(json!({ "issue": issue })).expect("members"))
    }

    #[tokio::test]
    async fn an_issue_has_the_values_of_its_creation_and_of_later_changes() {
        let data = Mutex::new(TrackerData::sample());
        let tracker = State(Arc::new(Tracker { api_key: "key".to_owned(), data }));
        let query = |name: &str, value: &str| {
            Query(QueryParameters::from([(name.to_owned(), value.to_owned())]))
        };
        let uploaded =
            files::upload_file(tracker.clone(), query("filename", "a.png"), Bytes::from("\u{89}x"))
                .await;
        let upload = read_json(uploaded, StatusCode::CREATED).await["upload"].take();
        let new = json!({ "project_id": "qa", "subject": "s", "uploads": [upload],
            "custom_fields": [{ "id": 2, "value": "Robot-01" }, { "id": 9, "value": "x" }] });
        let created =
            read_json(create_issue(tracker.clone(), body(new)).await, StatusCode::CREATED).await;
        let file = format!("{}.json", created["issue"]["id"]);
        assert_eq!(created["issue"]["custom_fields"][1]["value"], "Robot-01");

        let changes =
            [json!({ "notes": "again" }), json!({ "status_id": 5 }), json!({ "status_id": 9 })];
        for change in changes {
            let updated = update_issue(tracker.clone(), Path(file.clone()), body(change)).await;
            read_json(updated, StatusCode::NO_CONTENT).await;
        }
        let all_parts = query("include", "journals,attachments,allowed_statuses");
        let answer = show_issue(tracker.clone(), Path(file), all_parts).await;
        let issue = read_json(answer, StatusCode::OK).await["issue"].take();
        assert_eq!(issue["journals"][0]["notes"], "again");
        assert_eq!(issue["attachments"][0]["filename"], "a.png");
        assert_eq!(issue["status"]["is_closed"], true);
        assert_eq!(issue["allowed_statuses"][0]["is_closed"], false);

        let id = Path(issue["id"].to_string());
        let page = show_issue(tracker.clone(), id, query("include", "")).await;
        let page = to_bytes(page.into_body(), 1 << 20).await.expect("a page");
        let page = String::from_utf8_lossy(&page);
        assert!(page.contains("<h2>Comment 1</h2><p>again</p>"), "{page}");
        assert!(page.contains("<dt>Robot<dd>Robot-01") && page.contains(">a.png</a>"), "{page}");

        for file in ["99.json", "99", "x.json"] {
            let missing =
                show_issue(tracker.clone(), Path(file.to_owned()), query("include", "")).await;
            assert_eq!(missing.status(), StatusCode::NOT_FOUND);
        }
        let blank = create_issue(tracker, body(json!({ "project_id": "qa" }))).await;
        read_json(blank, StatusCode::UNPROCESSABLE_ENTITY).await;
    }
}
