//! Handles the buttons and the form of the pages. After a successful action, the browser is
//! redirected to the overview, which shows the result.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use tokio::task::spawn_blocking;
use url::form_urlencoded;
use uuid::Uuid;

use crate::domain::is_web_address;

use super::super::data::unchanged_since;
use super::super::dto::Defect;
use super::super::seed::FIRST_START_S;
use super::super::{Simulator, State as SimulatorState};
use super::clicks::{Counts, CreatedDefect, FailedTest, WebhookError};

type SharedSimulator = State<Arc<Simulator>>;

pub(super) async fn save_settings(State(simulator): SharedSimulator, form: String) -> Response {
    let url = form_field(&form, "url").unwrap_or_default();
    let state = &mut *simulator.state();
    if is_web_address(&url) {
        state.page_state.set_webhook_url(&url);
        state.page_state.set_notice("The webhook URL was saved");
    } else {
        let notice = "The webhook URL was not saved: it must begin with http:// or https://";
        state.page_state.set_notice(notice);
    }
    Redirect::to("/").into_response()
}

pub(super) async fn click_create_defect(
    State(simulator): SharedSimulator,
    form: String,
) -> Response {
    let Some(log) = form_id_field(&form, "log") else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    match spawn_blocking(move || simulator.create_defect(log)).await {
        Ok(Some(_)) => Redirect::to(&format!("/#log-{log}")).into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

impl Simulator {
    /// Returns the id of a failed log in the newest execution of the first project.
    #[must_use]
    pub fn newest_failed_log(&self) -> Option<Uuid> {
        let state = self.state();
        let logs = &state.data_set.projects.first()?.logs;
        let newest = logs.last()?.test_execution_id;
        let mut failed = logs.iter().filter(|log| log.has_error && log.test_execution_id == newest);
        failed.next().map(|log| log.id)
    }

    /// Sets the URL to which webhooks are sent.
    pub fn set_webhook_url(&self, url: &str) {
        self.state().page_state.set_webhook_url(url);
    }

    /// Sends Create Defect for a log and waits for the answer. Returns `None` if the log does not
    /// exist.
    pub fn create_defect(&self, log: Uuid) -> Option<Result<CreatedDefect, WebhookError>> {
        let (url, test) = self.create_defect_request(log)?;
        let no_url = Err(WebhookError::NoUrl);
        let answer = url.map_or(no_url, |url| self.webhooks.create_defect(&url, &test));
        let state = &mut *self.state();
        if let Ok(defect) = &answer {
            add_defect(state, log, defect);
        }
        state.page_state.set_defect(log, answer.clone());
        Some(answer)
    }

    /// Executes the test set of a log again, with the same results. Returns the id of the new log
    /// of the same test. Returns `None` if the log does not exist, or if its project has the
    /// maximum number of executions.
    pub fn run_again(&self, log: Uuid) -> Option<Uuid> {
        let data_set = &mut self.state().data_set;
        let (_, log) = data_set.log(log)?;
        let (case, variation) = (log.test_case_id, log.variation_id.clone());
        let execution = data_set.run_again(log.test_execution_id)?;
        let mut logs =
            data_set.projects.iter().flat_map(|project| project.logs_of_execution(execution));
        let later_log = logs.find(|log| log.test_case_id == case && log.variation_id == variation);
        later_log.map(|log| log.id)
    }

    /// Sends Defect KPIs for a project and waits for the answer. `id` is the id of the project or
    /// of one of its logs. Returns `None` if neither exists.
    pub fn refresh_counts(&self, id: Uuid) -> Option<Result<Counts, WebhookError>> {
        let (url, project) = {
            let state = self.state();
            let project_of_log = state.data_set.log(id).map(|(project, _)| project);
            let project = state.data_set.project(id).or(project_of_log)?.dto.id;
            (state.page_state.webhook_url().map(str::to_owned), project)
        };
        let no_url = Err(WebhookError::NoUrl);
        let answer = url.map_or(no_url, |url| self.webhooks.counts(&url, project));
        self.state().page_state.set_counts(project, answer.clone());
        Some(answer)
    }

    fn create_defect_request(&self, log: Uuid) -> Option<(Option<String>, FailedTest)> {
        let state = self.state();
        let (project, log) = state.data_set.log(log)?;
        let test = FailedTest {
            test_execution_id: log.test_execution_id,
            test_case_id: log.test_case_id,
            variation_id: log.variation_id.clone(),
            link_to_test_case_log: Some(state.data_set.log_url(project, log)),
        };
        Some((state.page_state.webhook_url().map(str::to_owned), test))
    }
}

/// The simulated API must also return the created defect.
fn add_defect(state: &mut SimulatorState, log: Uuid, created: &CreatedDefect) {
    let id = state.data_set.seed.id("defect", log);
    state.data_set.set_defect(log, id);
    let defect = Defect {
        id,
        name: created.name.clone(),
        description: String::new(),
        priority: None,
        status: None,
        link: created.link.clone(),
        link_label: created.link_label.clone(),
        sync_status: "Success".to_owned(),
        audit: unchanged_since(FIRST_START_S),
    };
    state.defects.insert(id, defect);
}

pub(super) async fn click_run_again(State(simulator): SharedSimulator, form: String) -> Response {
    let Some(id) = form_id_field(&form, "execution") else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let state = &mut *simulator.state();
    let notice = match state.data_set.run_again(id) {
        Some(_) => "The test set was executed again",
        None => {
            "The test set was not executed again: the execution is unknown, or its project has \
                 too many executions"
        }
    };
    state.page_state.set_notice(notice);
    Redirect::to("/").into_response()
}

pub(super) async fn refresh_dashboard(State(simulator): SharedSimulator, form: String) -> Response {
    let Some(id) = form_id_field(&form, "project") else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    match spawn_blocking(move || simulator.refresh_counts(id)).await {
        Ok(Some(_)) => Redirect::to("/").into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn form_field(form: &str, name: &str) -> Option<String> {
    let mut fields = form_urlencoded::parse(form.as_bytes());
    fields.find(|(field, _)| field == name).map(|(_, value)| value.into_owned())
}

fn form_id_field(form: &str, name: &str) -> Option<Uuid> {
    form_field(form, name)?.parse().ok()
}
