//! The pages for people: the executions with their failed tests and buttons for Create Defect, the
//! dashboard, the settings, and the page of a log, to which the links in defects lead.
//!
//! The pages are plain HTML with forms. They contain no scripts and load no files. Every text is
//! escaped.

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

use html::{Html, page};

pub(super) use clicks::PageState;
pub use clicks::{Counts, CreatedDefect, FailedTest, WebhookError, Webhooks};

/// Pages may use only their own style and images of the stand-in, and no script. They send their
/// forms only to the stand-in.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; form-action 'self'; \
     frame-ancestors 'none'; base-uri 'none'";
/// Maximum length of a text in a list, bytes.
const LIST_TEXT_BYTES_MAX: usize = 120;
/// Maximum length of a text on the page of a log, bytes.
const LOG_TEXT_BYTES_MAX: usize = 5_000;
/// Maximum number of lines of the robot's log on the page of a log.
const ROBOT_LINES_MAX: usize = 200;

pub(super) fn routes() -> Router<Arc<Simulator>> {
    let log = format!(
        "{TENANT}/testmanager_/{{projectPrefix}}/testexecution-results/{{execution}}/{{case}}"
    );
    Router::new()
        .route("/", get(overview))
        .route(&log, get(log_page))
        .route("/simulator/settings", post(actions::save_settings))
        .route("/simulator/create-defect", post(actions::create_defect))
        .route("/simulator/run-again", post(actions::run_again))
        .route("/simulator/kpis", post(actions::kpis))
        .layer(middleware::from_fn(require_same_origin))
}

/// Refuses requests from pages of other origins. A browser lets any page send a form to the
/// stand-in (CSRF). It also lets a page read answers if the page's own host name resolves to this
/// machine (DNS rebinding).
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

/// Whether the request comes from a page of the stand-in, or from a program that is not a browser.
fn has_own_origin(headers: &HeaderMap) -> bool {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let own_origin = header(HOST).map(|host| format!("http://{host}"));
    header(ORIGIN).is_none_or(|origin| Some(origin) == own_origin.as_deref())
}

/// Answers with all executions that have failed tests, the newest first, and the dashboards.
async fn overview(State(simulator): State<Arc<Simulator>>) -> Response {
    let state = &mut *simulator.state();
    let mut body = Html::default();
    body.text_element("p", "A simulated Test Manager. Its data and its people are invented.");
    settings_form(&mut body, &mut state.page_state);
    for project in &state.data_set.projects {
        body.open("section", "");
        body.text_element("h2", &shortened(&project.dto.name, LIST_TEXT_BYTES_MAX));
        dashboard(&mut body, &state.page_state, project);
        for execution in project.executions.iter().rev() {
            execution_section(&mut body, state, project, execution);
        }
        body.close("section");
    }
    page("Simulated Test Manager", body).into_response()
}

/// Adds the form for the webhook URL. It shows only the URL's origin, because the path has a token.
fn settings_form(body: &mut Html, page_state: &mut PageState) {
    body.text_element("h2", "Project settings: webhook connection");
    let webhook_target = match page_state.webhook_url().and_then(|url| url::Url::parse(url).ok()) {
        Some(url) => format!("Webhooks are sent to {}/…", url.origin().ascii_serialization()),
        None => "No webhook URL is set.".to_owned(),
    };
    body.text_element("p", &webhook_target);
    body.open("form", "method=post action=/simulator/settings");
    body.raw("<label for=url>Server URL (the webhook URL of the connection)</label> ");
    body.raw("<input id=url name=url type=url size=70 required autocomplete=off> ");
    body.raw("<button>Save</button>").close("form");
    if let Some(notice) = page_state.take_notice() {
        body.status(&notice);
    }
}

/// Adds the dashboard of a project: the counts of the last refresh, and the last error.
fn dashboard(body: &mut Html, page_state: &PageState, project: &ProjectData) {
    body.text_element("h3", "Dashboard: defects");
    body.button(
        "/simulator/kpis",
        "project",
        project.dto.id,
        "Refresh",
        &project.dto.project_prefix,
    );
    let (counts, error) = page_state.counts(project.dto.id);
    if let Some(counts) = counts {
        body.open("table", "").text_element("caption", "Defects in the tracker");
        for (name, value) in counts {
            body.raw("<tr>").text_element("th scope=row", name).text_element("td", value);
        }
        body.close("table");
    }
    if let Some(error) = error {
        body.status(error);
    }
}

fn execution_section(
    body: &mut Html,
    state: &SimulatorState,
    project: &ProjectData,
    execution: &TestExecution,
) {
    let failed: Vec<_> = project.logs_of(execution.id).filter(|log| log.has_error).collect();
    if failed.is_empty() {
        return;
    }
    body.text_element("h3", &shortened(&execution.name, LIST_TEXT_BYTES_MAX));
    body.button("/simulator/run-again", "execution", execution.id, "Run again", &execution.name);
    body.raw("<table><tr><th scope=col>Test case<th scope=col>Variation<th scope=col>Defect");
    for log in failed {
        body.raw(&format!("<tr id=\"log-{}\"><td>", log.id));
        let key = &log.test_case.obj_key;
        let name = shortened(&log.test_case.name, LIST_TEXT_BYTES_MAX);
        body.link(&state.data_set.log_url(project, log), &format!("{key} {name}"));
        let variation = log.variation_id.as_deref().unwrap_or_default();
        body.text_element("td", variation).raw("<td>");
        let label = format!("for {key} {name} {variation}");
        body.button("/simulator/create-defect", "log", log.id, "Create Defect", &label);
        let (defect, error) = state.page_state.defect(log.id);
        if let Some(defect) = defect {
            body.link(&defect.link, &format!("{} {}", defect.link_label, defect.name));
        }
        if let Some(error) = error {
            body.status(error);
        }
    }
    body.close("table");
}

/// Answers with the results of a test case in an execution, one for each variation.
async fn log_page(
    State(simulator): State<Arc<Simulator>>,
    Path((prefix, execution, case)): Path<(String, Uuid, Uuid)>,
) -> Response {
    let state = simulator.state();
    let found = state.data_set.projects.iter().find(|project| project.dto.project_prefix == prefix);
    let logs: Vec<_> = found
        .into_iter()
        .flat_map(|project| project.logs_of(execution))
        .filter(|log| log.test_case_id == case)
        .collect();
    let (Some(project), Some(first)) = (found, logs.first()) else {
        let mut body = Html::default();
        body.link("/", "All executions");
        return (StatusCode::NOT_FOUND, page("Result not found", body)).into_response();
    };
    let mut body = Html::default();
    body.link("/", "All executions");
    for log in &logs {
        log_section(&mut body, &state.data_set, project, log);
    }
    let name = shortened(&first.test_case.name, LOG_TEXT_BYTES_MAX);
    page(&format!("{} {name}", first.test_case.obj_key), body).into_response()
}

fn log_section(body: &mut Html, data_set: &DataSet, project: &ProjectData, log: &TestCaseLog) {
    let variation = log.variation_id.as_deref().map(|variation| format!(" · {variation}"));
    body.text_element("h2", &format!("{}{}", log.result, variation.unwrap_or_default()));
    let fields = [
        ("Started", Some(log.execution_start.clone())),
        ("Executed by", Some(log.executed_by.clone())),
        ("Robot", log.robot_name.clone()),
        ("Machine", log.host_machine_name.clone()),
        ("Pre-condition", log.pre_condition.clone()),
        ("Input", log.input_arguments.clone()),
        ("Output", log.output_arguments.clone()),
    ];
    body.open("dl", "");
    for (name, value) in fields.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        body.text_element("dt", name).text_element("dd", &shortened(&value, LOG_TEXT_BYTES_MAX));
    }
    body.close("dl").text_element("h3", "Assertions").open("ul", "");
    for assertion in data_set.assertions(log) {
        let result = if assertion.succeeded { "Passed" } else { "Failed" };
        let message = shortened(&assertion.message, LOG_TEXT_BYTES_MAX);
        body.text_element("li", &format!("{result}: {message}"));
    }
    body.close("ul");
    let Some(case) = project.case(log.test_case_id) else { return };
    body.text_element("h3", "Steps").open("ol", "");
    for step in data_set.step_logs(case, log) {
        let (description, expected, result) = (step.description, step.expected_result, step.result);
        body.text_element("li", &format!("{result}: {description} (expected: {expected})"));
    }
    body.close("ol").text_element("h3", "Robot log").open("pre", "");
    for line in data_set.robot_logs(case, log).iter().take(ROBOT_LINES_MAX) {
        let message = shortened(&line.message, LOG_TEXT_BYTES_MAX);
        body.text(&format!("{} {} {message}\n", line.time_stamp, line.level));
    }
    body.close("pre");
}
