//! The HTML pages of the sample tracker. HTML in the texts of issues is escaped.

use std::fmt::Write;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use crate::report::markdown_as_html;

use super::issues::{Issue, PRIORITIES, QueryParameters, TRACKERS, TrackerData, find_name};
use super::{CUSTOM_FIELDS, TrackerState};

pub(super) async fn list_issues(
    State(tracker): TrackerState,
    Query(mut filters): Query<QueryParameters>,
) -> Html<String> {
    if filters.is_empty() {
        filters.insert("status_id".to_owned(), "*".to_owned());
    }
    let mut rows = String::new();
    for issue in tracker.data().issues.iter().filter(|issue| issue.matches_filters(&filters)) {
        let Issue { id, subject, .. } = issue;
        let (priority, status) = (find_name(&PRIORITIES, issue.priority), issue.status_name());
        let _ = write!(
            rows,
            "<tr><td><a href=\"/issues/{id}\">#{id}</a><td>{priority}<td>{status}<td>{}",
            escape(subject)
        );
    }
    html_page("Issues", &format!("<table><tr><th>#<th>Priority<th>Status<th>Subject{rows}</table>"))
}

/// Without an issue, returns a page with the status 404.
pub(super) fn issue_page(data: &TrackerData, issue: Option<&Issue>) -> Response {
    let Some(issue) = issue else {
        return (StatusCode::NOT_FOUND, html_page("Issue not found", "")).into_response();
    };
    let tracker = find_name(&TRACKERS, issue.tracker);
    let priority = find_name(&PRIORITIES, issue.priority);
    let mut body = format!("<p>{tracker} · {priority} · {}</p><dl>", issue.status_name());
    for (id, field) in CUSTOM_FIELDS {
        if let Some(value) = issue.custom_fields.get(&id) {
            let _ = write!(body, "<dt>{field}<dd>{}", escape(value));
        }
    }
    body += &format!("</dl>{}", markdown_as_html(&issue.description));
    body += "<h2>Files</h2><ul>";
    for file in data.files_of_issue(issue) {
        let (path, name) = (file.download_path(), escape(&file.name));
        let _ = write!(body, "<li><a href=\"{path}\">{name}</a> ({} bytes)", file.size_bytes());
        if file.image_type().is_some() {
            let _ = write!(body, "<br><img src=\"{path}\" alt=\"{name}\">");
        }
    }
    body += "</ul>";
    for (comment, number) in issue.comments.iter().zip(1..) {
        let _ = write!(body, "<h2>Comment {number}</h2>{}", markdown_as_html(comment));
    }
    body += "<p><a href=\"/\">All issues</a></p>";
    html_page(&format!("#{}: {}", issue.id, issue.subject), &body).into_response()
}

fn html_page(title: &str, body: &str) -> Html<String> {
    let title = escape(title);
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <style>body{{font:1rem/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}}\
         td,th{{text-align:left;padding:.2rem 1rem .2rem 0}}pre{{white-space:pre-wrap;\
         background:#f4f4f4;padding:.5rem}}dt{{font-weight:bold}}img{{border:1px solid #ccc}}\
         </style><p>Jackfield's sample tracker</p><h1>{title}</h1>{body}"
    ))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
