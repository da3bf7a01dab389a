//! Webhooks: what Test Manager sends, handed to the room that serves it and answered in Test Manager's
//! format.
//!
//! Every request becomes an event, also one that matched no connection (of a flood of those, some). Every
//! answer names its event.

mod answer;
mod body;
mod classify;
mod event_rate_limit;
mod request;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use tokio::time::Instant;

use crate::domain::{EventId, EventKind, OutcomeCode, PROJECT_CHARS_MAX};
use crate::egress::ActiveConnection;
use crate::secret::TokenHash;

use super::AppState;
use super::problem::Problem;
use answer::{Answer, instance};
use request::token_and_path as split_path;

pub(super) use event_rate_limit::EventRateLimit;
pub(crate) use {classify::WebhookKind, request::WebhookRequest};

#[cfg(fuzzing)]
pub(crate) use self::{body::read, classify::classify, request::token_and_path};

/// Names the event in every answer.
static EVENT: HeaderName = HeaderName::from_static("jackfield-event");

/// Any request below `/hooks`.
pub(super) async fn receive(State(app): State<Arc<AppState>>, request: Request) -> Response {
    let (token, path) = split_path(request.uri().path());
    let active = app.services.connections.by_token(&TokenHash::of(&token));
    handle(app, active, token, path, request).await
}

/// The same for an admin, who names the connection and needs no token.
pub(super) async fn receive_for(
    app: Arc<AppState>,
    active: Arc<ActiveConnection>,
    path: String,
    request: Request,
) -> Response {
    handle(app, Some(active), String::new(), path, request).await
}

/// Reads the request, then answers it in a task of its own, so that a client's disconnect does not keep its
/// event from being stored.
async fn handle(
    app: Arc<AppState>,
    active: Option<Arc<ActiveConnection>>,
    token: String,
    path: String,
    request: Request,
) -> Response {
    let (id, started) = (EventId::fresh(), Instant::now());
    let received_at = app.services.clock.now();
    let (parts, body) = request.into_parts();
    let body = body::read(body).await;
    let request = WebhookRequest::new(id, (token, path), parts, body, received_at, started);
    let tasks = app.services.tasks.clone();
    let answered = tasks.spawn(async move { answer_and_record(&app, active, &request).await });
    let mut response = answered.await.unwrap_or_else(|error| {
        tracing::error!(event = %id, %error, "a webhook's handler panicked");
        Problem::internal().respond(&instance(id))
    });
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(EVENT.clone(), id);
    }
    response
}

async fn answer_and_record(
    app: &AppState,
    active: Option<Arc<ActiveConnection>>,
    request: &WebhookRequest,
) -> Response {
    let (kind, answer) = match &active {
        Some(active) => answer(app, active, request).await,
        None => (EventKind::NoConnection, Answer::problem(request.id, &Problem::no_webhook())),
    };
    let Answer { response, outcome, defect } = answer;
    if active.is_some() || app.unmatched_events.admits(request.started) {
        let connection = active.map(|active| active.connection.id);
        let status = Some(response.status().as_u16());
        app.services.store.record_event(request.event(kind, connection, status, outcome, defect));
    }
    response
}

async fn answer(
    app: &AppState,
    active: &Arc<ActiveConnection>,
    request: &WebhookRequest,
) -> (EventKind, Answer) {
    match classify::classify(&request.method, &request.path, &app.services.config.webhook) {
        WebhookKind::Probe => (EventKind::Probe, Answer::alive()),
        WebhookKind::CreateOrProbe if request.body.is_empty() => {
            (EventKind::Probe, Answer::alive())
        }
        WebhookKind::CreateOrProbe | WebhookKind::Create => {
            (EventKind::CreateDefect, create(app, active, request).await)
        }
        WebhookKind::Kpis(project) => {
            (EventKind::Kpis, kpis(app, active, &project, request.id).await)
        }
        WebhookKind::Unrecognised => {
            (EventKind::Unrecognised, Answer::problem(request.id, &Problem::no_webhook()))
        }
    }
}

async fn create(
    app: &AppState,
    active: &Arc<ActiveConnection>,
    request: &WebhookRequest,
) -> Answer {
    let test = match request.body.failed_test(&request.headers) {
        Ok(test) => test,
        Err(problem) => return Answer::problem(request.id, &problem),
    };
    let connection = Some(active.connection.id);
    let running = OutcomeCode::Running.into();
    let running = request.event(EventKind::CreateDefect, connection, None, running, None);
    match app.services.defects.create(active, test, running).await {
        Ok(created) => Answer::created(&created, app.services.config.webhook.defect_id),
        Err(refusal) => Answer::refusal(request.id, &refusal),
    }
}

async fn kpis(
    app: &AppState,
    active: &Arc<ActiveConnection>,
    project: &str,
    id: EventId,
) -> Answer {
    let length = project.chars().count();
    if !(1..=PROJECT_CHARS_MAX).contains(&length) {
        let why =
            format!("the project id has {length} characters; 1 to {PROJECT_CHARS_MAX} are allowed");
        return Answer::problem(id, &Problem::bad_request(why));
    }
    let counted = app.services.kpis.count(active, project, id).await;
    match counted.and_then(|counted| Answer::counted(&counted, &app.services.config.webhook)) {
        Ok(answer) => answer,
        Err(refusal) => Answer::refusal(id, &refusal),
    }
}
