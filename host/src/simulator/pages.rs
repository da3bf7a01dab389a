//! The pages for people: an overview, and a page for each test case in an execution.
//!
//! The pages are plain HTML with forms. They contain no scripts and load no files from other
//! servers. Every text is escaped.

mod actions;
mod clicks;
mod html;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use uuid::Uuid;

use crate::domain::shortened;

use super::data::{DataSet, ProjectData};
use super::dto::{TestCaseLog, TestExecution};
use super::{Simulator, State as SimulatorState, TENANT};

use html::{Html, html_page};

pub(super) use clicks::PageState;
pub use clicks::{Counts, CreatedDefect, FailedTest, WebhookError, Webhooks};

/// A page can use only its own style, and images of the stand-in. Its forms can only go to the
/// stand-in.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; form-action 'self'; \
     frame-ancestors 'none'; base-uri 'none'";
/// The length to which a text in a list is shortened, bytes.
const LIST_TEXT_BYTES_MAX: usize = 120;
/// The length to which a text on the page of a log is shortened, bytes.
const LOG_TEXT_BYTES_MAX: usize = 5_000;
const ROBOT_LOG_LINES_MAX: usize = 200;

pub(super) fn routes() -> Router<Arc<Simulator>> {
    let log = format!(
        "{TENANT}/testmanager_/{{projectPrefix}}/testexecution-results/{{execution}}/{{case}}"
    );
    Router::new()
        .route("/", get(show_overview))
        .route(&log, get(show_log_page))
        .route("/simulator/settings", post(actions::save_settings))
        .route("/simulator/create-defect", post(actions::click_create_defect))
        .route("/simulator/run-again", post(actions::click_run_again))
        .route("/simulator/kpis", post(actions::refresh_dashboard))
        .layer(middleware::from_fn(require_same_origin))
}

/// Refuses a request whose host is neither an IP address nor `localhost`, and a change that a page
/// of another origin requests. This prevents DNS rebinding and CSRF. Adds the content security
/// policy to the response of an allowed request.
pub(super) async fn require_same_origin(request: Request, next: Next) -> Response {
    if !has_local_host_name(request.headers()) {
        let error = "open the stand-in by its IP address, such as http://127.0.0.1:8090/";
        return (StatusCode::FORBIDDEN, error).into_response();
    }
    if request.method() != Method::GET && !has_own_origin(request.headers()) {
        let error = "a page of another origin cannot change the stand-in";
        return (StatusCode::FORBIDDEN, error).into_response();
    }
    let mut response = next.run(request).await;
    let policy = HeaderValue::from_static(CONTENT_SECURITY_POLICY);
    response.headers_mut().insert("content-security-policy", policy);
    response
}

/// Whether the host in the header `Host` is an IP address or `localhost`.
fn has_local_host_name(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let url = url::Url::parse(&format!("http://{host}/"));
    url.is_ok_and(|url| match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        host => host.is_some(),
    })
}

/// A request without the header `Origin` is allowed, because programs that are not browsers usually
/// do not send it.
fn has_own_origin(headers: &HeaderMap) -> bool {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let own_origin = header(HOST).map(|host| format!("http://{host}"));
    header(ORIGIN).is_none_or(|origin| Some(origin) == own_origin.as_deref())
}

async fn show_overview(State(simulator): State<Arc<Simulator>>) -> Response {
    let state = &mut *simulator.state();
    let mut body = Html::default();
    body.add_text_element("p", "A simulated Test Manager. Its data and its people are invented.");
    add_settings_form(&mut body, &mut state.page_state);
    for project in &state.data_set.projects {
        body.open_element("section", "");
        body.add_text_element("h2", &shortened(&project.dto.name, LIST_TEXT_BYTES_MAX));
        add_dashboard(&mut body, &state.page_state, project);
        for execution in project.executions.iter().rev() {
            add_execution(&mut body, state, project, execution);
        }
        body.close_element("section");
    }
    html_page("Simulated Test Manager", body).into_response()
}

/// The form shows only the origin of the URL, because the path contains a token.
fn add_settings_form(body: &mut Html, page_state: &mut PageState) {
    body.add_text_element("h2", "Project settings: webhook connection");
    let webhook_target = match page_state.webhook_url().and_then(|url| url::Url::parse(url).ok()) {
        Some(url) => format!("Webhooks are sent to {}/…", url.origin().ascii_serialization()),
        None => "No webhook URL is set.".to_owned(),
    };
    body.add_text_element("p", &webhook_target);
    body.open_element("form", "method=post action=/simulator/settings");
    body.add_markup("<label for=url>Server URL (the webhook URL of the connection)</label> ");
    body.add_markup("<input id=url name=url type=url size=70 required autocomplete=off> ");
    body.add_markup("<button>Save</button>").close_element("form");
    if let Some(notice) = page_state.take_notice() {
        body.add_status(&notice);
    }
}

/// Adds the counts of the last successful refresh, and the error if a later refresh failed.
fn add_dashboard(body: &mut Html, page_state: &PageState, project: &ProjectData) {
    body.add_text_element("h3", "Dashboard: defects");
    body.add_button(
        "/simulator/kpis",
        "project",
        project.dto.id,
        "Refresh",
        &project.dto.project_prefix,
    );
    let (counts, error) = page_state.counts(project.dto.id);
    if let Some(counts) = counts {
        body.open_element("table", "").add_text_element("caption", "Defects in the tracker");
        for (name, value) in counts {
            body.add_markup("<tr>")
                .add_text_element("th scope=row", name)
                .add_text_element("td", value);
        }
        body.close_element("table");
    }
    if let Some(error) = error {
        body.add_status(error);
    }
}

/// Adds nothing if the execution has no failed tests.
fn add_execution(
    body: &mut Html,
    state: &SimulatorState,
    project: &ProjectData,
    execution: &TestExecution,
) {
    let failed: Vec<_> =
        project.logs_of_execution(execution.id).filter(|log| log.has_error).collect();
    if failed.is_empty() {
        return;
    }
    body.add_text_element("h3", &shortened(&execution.name, LIST_TEXT_BYTES_MAX));
    body.add_button(
        "/simulator/run-again",
        "execution",
        execution.id,
        "Run again",
        &execution.name,
    );
    body.add_markup(
        "<table><tr><th scope=col>Test case<th scope=col>Variation<th scope=col>Defect",
    );
    for log in failed {
        body.add_markup(&format!("<tr id=\"log-{}\"><td>", log.id));
        let key = &log.test_case.obj_key;
        let name = shortened(&log.test_case.name, LIST_TEXT_BYTES_MAX);
        body.add_link(&state.data_set.log_url(project, log), &format!("{key} {name}"));
        let variation = log.variation_id.as_deref().unwrap_or_default();
        body.add_text_element("td", variation).add_markup("<td>");
        let label = format!("for {key} {name} {variation}");
        body.add_button("/simulator/create-defect", "log", log.id, "Create Defect", &label);
        let (defect, error) = state.page_state.defect(log.id);
        if let Some(defect) = defect {
            body.add_link(&defect.link, &format!("{} {}", defect.link_label, defect.name));
        }
        if let Some(error) = error {
            body.add_status(error);
        }
    }
    body.close_element("table");
}

/// Answers with one result for each variation of the test case.
async fn show_log_page(
    State(simulator): State<Arc<Simulator>>,
    Path((prefix, execution, case)): Path<(String, Uuid, Uuid)>,
) -> Response {
    let state = simulator.state();
    let found = state.data_set.projects.iter().find(|project| project.dto.project_prefix == prefix);
    let logs: Vec<_> = found
        .into_iter()
        .flat_map(|project| project.logs_of_execution(execution))
        .filter(|log| log.test_case_id == case)
        .collect();
    let (Some(project), Some(first)) = (found, logs.first()) else {
        let mut body = Html::default();
        body.add_link("/", "All executions");
        return (StatusCode::NOT_FOUND, html_page("Result not found", body)).into_response();
    };
    let mut body = Html::default();
    body.add_link("/", "All executions");
    for log in &logs {
        add_log(&mut body, &state.data_set, project, log);
    }
    let name = shortened(&first.test_case.name, LOG_TEXT_BYTES_MAX);
    html_page(&format!("{} {name}", first.test_case.obj_key), body).into_response()
}

fn add_log(body: &mut Html, data_set: &DataSet, project: &ProjectData, log: &TestCaseLog) {
    let variation = log.variation_id.as_deref().map(|variation| format!(" · {variation}"));
    body.add_text_element("h2", &format!("{}{}", log.result, variation.unwrap_or_default()));
    let fields = [
        ("Started", Some(log.execution_start.clone())),
        ("Executed by", Some(log.executed_by.clone())),
        ("Robot", log.robot_name.clone()),
        ("Machine", log.host_machine_name.clone()),
        ("Pre-condition", log.pre_condition.clone()),
        ("Input", log.input_arguments.clone()),
        ("Output", log.output_arguments.clone()),
    ];
    body.open_element("dl", "");
    for (name, value) in fields.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        body.add_text_element("dt", name)
            .add_text_element("dd", &shortened(&value, LOG_TEXT_BYTES_MAX));
    }
    body.close_element("dl").add_text_element("h3", "Assertions").open_element("ul", "");
    for assertion in data_set.assertions(log) {
        let result = if assertion.succeeded { "Passed" } else { "Failed" };
        let message = shortened(&assertion.message, LOG_TEXT_BYTES_MAX);
        body.add_text_element("li", &format!("{result}: {message}"));
    }
    body.close_element("ul");
    let Some(case) = project.case(log.test_case_id) else { return };
    body.add_text_element("h3", "Steps").open_element("ol", "");
    for step in data_set.step_logs(case, log) {
        let (description, expected, result) = (step.description, step.expected_result, step.result);
        body.add_text_element("li", &format!("{result}: {description} (expected: {expected})"));
    }
    body.close_element("ol").add_text_element("h3", "Robot log").open_element("pre", "");
    for line in data_set.robot_logs(case, log).iter().take(ROBOT_LOG_LINES_MAX) {
        let message = shortened(&line.message, LOG_TEXT_BYTES_MAX);
        body.add_text(&format!("{} {} {message}\n", line.time_stamp, line.level));
    }
    body.close_element("pre");
}
