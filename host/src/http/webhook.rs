//! Webhooks: passes each request of Test Manager to the room that handles it, and answers in Test
//! Manager's format.
//!
//! Every request becomes an event, with one exception: if a request matches no connection, is not
//! recognised or is over its rate, its event is stored only within a rate limit. Every answer names
//! its event.

mod answer;
mod body;
mod classify;
mod decode;
mod parse;
mod request;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use tokio::time::Instant;

use crate::completion::Completing;
use crate::domain::{ConnectionId, EventId, EventKind, OutcomeCode, PROJECT_CHARS_MAX};
use crate::egress::ActiveConnection;
use crate::secret::TokenHash;

use super::AppState;
use super::client_address::client_of;
use super::problem::Problem;
use answer::{Answer, instance};
use body::ReadBody;
use request::token_and_path as split_path;

pub(crate) use {classify::WebhookKind, parse::failed_test, request::WebhookRequest};

#[cfg(fuzzing)]
pub(crate) use self::{body::read, classify::classify, request::token_and_path};

const OVER_RATE: &str = "the connection receives too many requests";

/// The header that names the event in every answer.
static EVENT: HeaderName = HeaderName::from_static("jackfield-event");

/// Handles any request below `/hooks`.
pub(super) async fn receive(State(app): State<Arc<AppState>>, request: Request) -> Response {
    let (token, path) = split_path(request.uri().path());
    let active = app.services.connections.by_token(&TokenHash::of(&token));
    let kind = classify::classify(request.method(), &path, &app.services.config.webhook);
    let is_click = matches!(kind, WebhookKind::CreateOrProbe | WebhookKind::Create);
    let rate_check = active.as_ref().map_or(Ok(()), |active| {
        app.rate_limits.request(active.connection.id, is_click, Instant::now())
    });
    let target = Target { active, token, path, kind };
    handle(app, target, rate_check.err(), request).await
}

/// Handles a webhook request from an admin, who names the connection instead of a token.
pub(super) async fn receive_for(
    app: Arc<AppState>,
    active: Arc<ActiveConnection>,
    path: String,
    request: Request,
) -> Response {
    let kind = classify::classify(request.method(), &path, &app.services.config.webhook);
    let target = Target { active: Some(active), token: String::new(), path, kind };
    handle(app, target, None, request).await
}

/// The properties of a request that its method and path decide: connection, token, path, kind.
struct Target {
    active: Option<Arc<ActiveConnection>>,
    token: String,
    path: String,
    kind: WebhookKind,
}

/// Reads the request, then answers it to the end, so that the event is stored even if the client
/// disconnects. The body is not read if the sender must `wait`.
async fn handle(
    app: Arc<AppState>,
    target: Target,
    wait: Option<Duration>,
    request: Request,
) -> Response {
    let (id, started) = (EventId::fresh(), Instant::now());
    let received_at = app.services.clock.now();
    let Target { active, token, path, kind } = target;
    let client = client_of(&request);
    let (parts, body) = request.into_parts();
    let body =
        if wait.is_none() { body::read(&parts.headers, body).await } else { ReadBody::default() };
    let request = WebhookRequest::new(id, (token, path), parts, body, received_at, started);
    let tasks = app.services.tasks.clone();
    let answered = Completing::new(&tasks, async move {
        let (kind, answer) = match (&active, wait) {
            (Some(_), Some(wait)) => {
                let problem = Problem::rate_limited(OVER_RATE, wait);
                (event_kind(&kind), Answer::problem(id, &problem))
            }
            (Some(active), None) => answer(&app, active, kind, &request).await,
            (None, _) => (EventKind::NoConnection, Answer::problem(id, &Problem::no_webhook())),
        };
        let connection = active.map(|active| active.connection.id);
        let is_odd = wait.is_some() || kind == EventKind::Unrecognised;
        if !app.rate_limits.stores_event(connection, client, is_odd, started) {
            return answer.response;
        }
        let keeps_request = kind == EventKind::Unrecognised
            || answer.refuses_create(kind) && app.rate_limits.keeps_request(connection, started);
        record(&app, &request, (kind, connection), keeps_request, answer)
    });
    let mut response = answered.await.unwrap_or_else(|error| {
        tracing::error!(event = %id, %error, "a webhook's handler panicked");
        Problem::internal().respond(&instance(id))
    });
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(EVENT.clone(), id);
    }
    response
}

/// Stores the event of an answer; `keeps_request` adds the headers and the body of the request.
fn record(
    app: &AppState,
    request: &WebhookRequest,
    (kind, connection): (EventKind, Option<ConnectionId>),
    keeps_request: bool,
    answer: Answer,
) -> Response {
    let Answer { response, outcome, defect } = answer;
    let status = Some(response.status().as_u16());
    if outcome.code == OutcomeCode::ConnectorFault {
        tracing::warn!(event = %request.id, why = outcome.detail, "a connector failed");
    }
    let event = request.event(kind, connection, status, outcome, defect);
    let event = if keeps_request { request.with_headers_and_body(event) } else { event };
    app.services.store.record_event(event);
    response
}

/// The kind of the event of a request whose body is not read.
fn event_kind(kind: &WebhookKind) -> EventKind {
    match kind {
        WebhookKind::CreateOrProbe | WebhookKind::Create => EventKind::CreateDefect,
        WebhookKind::Kpis(_) => EventKind::Kpis,
        WebhookKind::Probe => EventKind::Probe,
        WebhookKind::Unrecognised => EventKind::Unrecognised,
    }
}

/// Answers a request that matched a connection; also returns the kind of its event.
async fn answer(
    app: &AppState,
    active: &Arc<ActiveConnection>,
    kind: WebhookKind,
    request: &WebhookRequest,
) -> (EventKind, Answer) {
    match kind {
        WebhookKind::Probe => (EventKind::Probe, Answer::alive()),
        WebhookKind::CreateOrProbe if request.body.is_empty() => {
            (EventKind::Probe, Answer::alive())
        }
        WebhookKind::CreateOrProbe | WebhookKind::Create => {
            (EventKind::CreateDefect, create_defect(app, active, request).await)
        }
        WebhookKind::Kpis(project) => {
            (EventKind::Kpis, count_defects(app, active, &project, request.id).await)
        }
        WebhookKind::Unrecognised => {
            (EventKind::Unrecognised, Answer::problem(request.id, &Problem::no_webhook()))
        }
    }
}

async fn create_defect(
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

async fn count_defects(
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
    let services = &app.services;
    let place = services.connections.counted_in(&active.connection);
    let counted = services.kpis.count(active, project, id).await;
    match counted.and_then(|it| Answer::counted(&it, &services.config.webhook, place)) {
        Ok(answer) => answer,
        Err(refusal) => Answer::refusal(id, &refusal),
    }
}
