//! What the buttons do. Each action ends with a redirect to the page, which shows its result.

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
use super::clicks::{CreatedDefect, FailedTest};

const NO_URL: &str = "No webhook URL is set: enter that of a connection above";

type Shared = State<Arc<Simulator>>;

/// Sets the webhook URL.
pub(super) async fn settings(State(simulator): Shared, form: String) -> Response {
    let url = field(&form, "url").unwrap_or_default();
    let state = &mut *simulator.state();
    if url.is_empty() {
        state.clicks.set_webhook_url(None);
        state.clicks.set_notice("The webhook URL was removed");
    } else if is_web_address(&url) {
        state.clicks.set_webhook_url(Some(url));
        state.clicks.set_notice("The webhook URL was saved");
    } else {
        state
            .clicks
            .set_notice("The webhook URL was not saved: it must begin with http:// or https://");
    }
    Redirect::to("/").into_response()
}

/// Fires Create Defect for a log.
pub(super) async fn create_defect(State(simulator): Shared, form: String) -> Response {
    let Some(id) = id_field(&form, "log") else { return StatusCode::BAD_REQUEST.into_response() };
    let Some((url, test)) = failed_test(&simulator, id) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let webhooks = Arc::clone(&simulator.webhooks);
    let answer = match url {
        Some(url) => spawn_blocking(move || webhooks.create_defect(&url, &test)).await,
        None => Ok(Err(NO_URL.to_owned())),
    };
    let answer = answer.unwrap_or_else(|error| Err(error.to_string()));
    let state = &mut *simulator.state();
    if let Ok(defect) = &answer {
        remember(state, id, defect);
    }
    state.clicks.set_defect(id, answer);
    Redirect::to(&format!("/#log-{id}")).into_response()
}

/// The webhook URL, and the body of Create Defect for a log.
fn failed_test(simulator: &Simulator, id: Uuid) -> Option<(Option<String>, FailedTest)> {
    let state = simulator.state();
    let (project, log) = state.world.log(id)?;
    let test = FailedTest {
        test_execution_id: log.test_execution_id,
        test_case_id: log.test_case_id,
        variation_id: log.variation_id.clone(),
        link_to_test_case_log: Some(state.world.link(project, log)),
    };
    Some((state.clicks.webhook_url().map(str::to_owned), test))
}

/// Adds the defect to the data, so that the API has it, too.
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

/// Executes a test set again: the same tests fail in a later execution.
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

/// Fires Defect KPIs for a project.
pub(super) async fn kpis(State(simulator): Shared, form: String) -> Response {
    let Some(id) = id_field(&form, "project") else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    if simulator.state().world.project(id).is_none() {
        return StatusCode::NOT_FOUND.into_response();
    }
    let url = simulator.state().clicks.webhook_url().map(str::to_owned);
    let webhooks = Arc::clone(&simulator.webhooks);
    let answer = match url {
        Some(url) => spawn_blocking(move || webhooks.counts(&url, id)).await,
        None => Ok(Err(NO_URL.to_owned())),
    };
    let answer = answer.unwrap_or_else(|error| Err(error.to_string()));
    simulator.state().clicks.set_counts(id, answer);
    Redirect::to("/").into_response()
}

fn field(form: &str, name: &str) -> Option<String> {
    let mut fields = form_urlencoded::parse(form.as_bytes());
    fields.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

fn id_field(form: &str, name: &str) -> Option<Uuid> {
    field(form, name)?.parse().ok()
}
