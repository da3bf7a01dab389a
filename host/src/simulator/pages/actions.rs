//! The actions of the buttons. Each action ends with a redirect to the page, which shows its
//! result.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use tokio::task::spawn_blocking;
use url::form_urlencoded;
use uuid::Uuid;

use crate::domain::is_web_address;

use super::super::data::audit;
use super::super::dto::Defect;
use super::super::seed::FIRST_START_S;
use super::super::{Simulator, State as Everything};
use super::clicks::{Counts, CreatedDefect, FailedTest, WebhookError};

type Shared = State<Arc<Simulator>>;

/// Handles the form of the settings: stores the webhook URL.
pub(super) async fn settings(State(simulator): Shared, form: String) -> Response {
    let url = field(&form, "url").unwrap_or_default();
    let state = &mut *simulator.state();
    if is_web_address(&url) {
        state.clicks.set_webhook_url(&url);
        state.clicks.set_notice("The webhook URL was saved");
    } else {
        let notice = "The webhook URL was not saved: it must begin with http:// or https://";
        state.clicks.set_notice(notice);
    }
    Redirect::to("/").into_response()
}

/// Handles the button Create Defect of a log.
pub(super) async fn create_defect(State(simulator): Shared, form: String) -> Response {
    let Some(log) = id_field(&form, "log") else { return StatusCode::BAD_REQUEST.into_response() };
    match spawn_blocking(move || simulator.create_defect(log)).await {
        Ok(Some(_)) => Redirect::to(&format!("/#log-{log}")).into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

impl Simulator {
    /// The log of a failed test of the first project, of its newest execution.
    #[must_use]
    pub fn failed_log(&self) -> Option<Uuid> {
        let state = self.state();
        let logs = &state.world.projects.first()?.logs;
        let newest = logs.last()?.test_execution_id;
        let mut failed = logs.iter().filter(|log| log.has_error && log.test_execution_id == newest);
        failed.next().map(|log| log.id)
    }

    /// Sets the URL to which webhooks are sent.
    pub fn set_webhook_url(&self, url: &str) {
        self.state().clicks.set_webhook_url(url);
    }

    /// Sends Create Defect for a log, like the button, and waits for the answer. `None` if the log
    /// does not exist.
    pub fn create_defect(&self, log: Uuid) -> Option<Result<CreatedDefect, WebhookError>> {
        let (url, test) = self.failed_test(log)?;
        let no_url = Err(WebhookError::NoUrl);
        let answer = url.map_or(no_url, |url| self.webhooks.create_defect(&url, &test));
        let state = &mut *self.state();
        if let Ok(defect) = &answer {
            remember(state, log, defect);
        }
        state.clicks.set_defect(log, answer.clone());
        Some(answer)
    }

    /// Executes the test set of a log again. Returns the log of the same test in the new execution.
    pub fn fail_again(&self, log: Uuid) -> Option<Uuid> {
        let world = &mut self.state().world;
        let (_, log) = world.log(log)?;
        let (case, variation) = (log.test_case_id, log.variation_id.clone());
        let execution = world.run_again(log.test_execution_id)?;
        let mut logs = world.projects.iter().flat_map(|project| project.logs_of(execution));
        let again = logs.find(|log| log.test_case_id == case && log.variation_id == variation);
        again.map(|log| log.id)
    }

    /// Fires Defect KPIs for the project of a log or with this id, as the dashboard does.
    pub fn refresh_counts(&self, id: Uuid) -> Option<Result<Counts, WebhookError>> {
        let (url, project) = {
            let state = self.state();
            let of_log = state.world.log(id).map(|(project, _)| project);
            let project = state.world.project(id).or(of_log)?.dto.id;
            (state.clicks.webhook_url().map(str::to_owned), project)
        };
        let no_url = Err(WebhookError::NoUrl);
        let answer = url.map_or(no_url, |url| self.webhooks.counts(&url, project));
        self.state().clicks.set_counts(project, answer.clone());
        Some(answer)
    }

    /// The webhook URL, if one is set, and the body of Create Defect for a log.
    fn failed_test(&self, log: Uuid) -> Option<(Option<String>, FailedTest)> {
        let state = self.state();
        let (project, log) = state.world.log(log)?;
        let test = FailedTest {
            test_execution_id: log.test_execution_id,
            test_case_id: log.test_case_id,
            variation_id: log.variation_id.clone(),
            link_to_test_case_log: Some(state.world.link(project, log)),
        };
        Some((state.clicks.webhook_url().map(str::to_owned), test))
    }
}

/// Adds the created defect to the simulator's data, so that the simulated API also returns it.
fn remember(state: &mut Everything, log: Uuid, created: &CreatedDefect) {
    let id = state.world.seed.id("defect", log);
    state.world.set_defect(log, id);
    let defect = Defect {
        id,
        name: created.name.clone(),
        description: String::new(),
        priority: None,
        status: None,
        link: created.link.clone(),
        link_label: created.link_label.clone(),
        sync_status: "Success".to_owned(),
        audit: audit(FIRST_START_S),
    };
    state.defects.insert(id, defect);
}

/// Handles the button that runs an execution again: the same tests fail in a later execution.
pub(super) async fn run_again(State(simulator): Shared, form: String) -> Response {
    let Some(id) = id_field(&form, "execution") else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let state = &mut *simulator.state();
    let notice = match state.world.run_again(id) {
        Some(_) => "The test set was executed again",
        None => "The test set was not executed again: it is unknown, or has too many executions",
    };
    state.clicks.set_notice(notice);
    Redirect::to("/").into_response()
}

/// Handles the button that refreshes a project's dashboard.
pub(super) async fn kpis(State(simulator): Shared, form: String) -> Response {
    let Some(id) = id_field(&form, "project") else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    match spawn_blocking(move || simulator.refresh_counts(id)).await {
        Ok(Some(_)) => Redirect::to("/").into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn field(form: &str, name: &str) -> Option<String> {
    let mut fields = form_urlencoded::parse(form.as_bytes());
    fields.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

fn id_field(form: &str, name: &str) -> Option<Uuid> {
    field(form, name)?.parse().ok()
}
