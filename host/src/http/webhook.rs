//! Webhooks: passes each request of Test Manager to the module that handles it, and answers in Test
//! Manager's format.
//!
//! Every answer contains the id of its event. This module never decides whether a defect is
//! created.

mod admission;
mod answer;
mod body;
mod classify;
mod decode;
mod parse;
mod request;
mod sender;

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::response::Response;
use tokio::time::Instant;

use crate::completion::WorkToCompletion;
use crate::domain::{
    EventId, EventKind, EventStart, OutcomeCode, PROJECT_CHARS_MAX, WebhookCredential, milliseconds,
};
use crate::egress::ActiveConnection;
use crate::secret::TokenHash;
use crate::telemetry::TraceParent;

use super::AppState;
use super::client_address::client_of;
use super::problem::Problem;
use admission::{UnreadRequest, WebhookAdmission};
use answer::{Answer, instance};

pub(crate) use classify::kpi_template;
pub(crate) use {classify::WebhookKind, parse::failed_test, request::WebhookRequest};

#[cfg(fuzzing)]
pub(crate) use self::{body::read, classify::classify, request::token_and_path};

/// The header that contains the id of the event.
static EVENT_HEADER: HeaderName = HeaderName::from_static("jackfield-event");

/// Handles every request to `/hooks` or to a path below it.
pub(super) async fn receive(State(app): State<Arc<AppState>>, request: Request) -> Response {
    let (token, path) = request::token_and_path(request.uri().path());
    let active = app.services.connections.by_token(&TokenHash::of(&token));
    let kind = classify_request(&app, active.as_deref(), &request, &path);
    let target = Target { active, token, path, kind, is_by_account: false };
    handle(app, target, request).await
}

/// Handles a webhook request from an account of the admin API. The account has named the
/// connection, so the request needs no token.
pub(super) async fn receive_for_connection(
    app: Arc<AppState>,
    active: Arc<ActiveConnection>,
    path: String,
    request: Request,
) -> Response {
    let kind = classify_request(&app, Some(&active), &request, &path);
    let target =
        Target { active: Some(active), token: String::new(), path, kind, is_by_account: true };
    handle(app, target, request).await
}

/// Determines the kind of a request by its method and path.
fn classify_request(
    app: &AppState,
    active: Option<&ActiveConnection>,
    request: &Request,
    path: &str,
) -> WebhookKind {
    let (method, config) = (request.method(), app.services.config.current());
    let config = &config.webhook;
    match active {
        Some(active) => {
            let paths = &active.connection.webhook_paths;
            classify::classify_for_connection(paths, method, path, config)
        }
        None => classify::classify(method, path, config),
    }
}

/// Whether a request with this method and path would be recognised now for this connection.
pub(crate) fn is_recognised(
    app: &AppState,
    active: &ActiveConnection,
    method: &Method,
    path: &str,
) -> bool {
    let (paths, config) = (&active.connection.webhook_paths, app.services.config.current());
    classify::classify_for_connection(paths, method, path, &config.webhook)
        != WebhookKind::Unrecognised
}

/// The connection, the path and the kind of a webhook request.
struct Target {
    /// The connection of the request; `None` if the token matches no connection.
    active: Option<Arc<ActiveConnection>>,
    /// The path segment where a token is expected; empty if an account sent the request.
    token: String,
    /// The path below the token, without the query.
    path: String,
    kind: WebhookKind,
    /// Whether an account sent the request. If so, address, credential and rate are not checked.
    is_by_account: bool,
}

/// Reads and answers a request. If the client disconnects after the request was read, the work
/// continues, and the event is stored.
async fn handle(app: Arc<AppState>, target: Target, request: Request) -> Response {
    let (id, started) = (EventId::fresh(), Instant::now());
    let received_at = app.services.clock.now();
    let client = client_of(&request);
    let (parts, body) = request.into_parts();
    let (headers, extensions, kind) = (&parts.headers, &parts.extensions, &target.kind);
    let WebhookAdmission { body, refusal } = match &target.active {
        Some(active) if !target.is_by_account => {
            let unread = UnreadRequest { active, kind, client, headers, extensions, received_at };
            unread.admit(&app, body).await
        }
        _ => WebhookAdmission::accepted(body::read(headers, body).await),
    };
    let Target { active, token, path, kind, .. } = target;
    let kind = kind.with_body(body.as_ref());
    let request = WebhookRequest::new(
        id,
        (token, path),
        parts,
        body.unwrap_or_default(),
        received_at,
        started,
    );
    // The header `traceparent` decides whether a trace is sampled. Ignore the header if the request
    // matches no connection or is refused.
    if active.is_some() && refusal.is_none() {
        app.services.history.keep_sender_trace(id, sender_trace(&request.headers));
    }
    let tasks = app.services.tasks.clone();
    let answered = WorkToCompletion::new(&tasks, async move {
        let is_refused = refusal.is_some();
        let (kind, answer) = match (&active, refusal) {
            (Some(_), Some(problem)) => (event_kind(&kind), Answer::problem(id, &problem)),
            (Some(active), None) => answer_request(&app, active, kind, &request).await,
            (None, _) => (EventKind::NoConnection, Answer::problem(id, &Problem::no_webhook())),
        };
        let answered = AnsweredRequest { kind, is_refused, answer };
        record_and_respond(&app, active.as_deref(), &request, client, answered)
    });
    let mut response = answered.await.unwrap_or_else(|error| {
        tracing::error!(event = %id, %error, "a webhook's handler panicked");
        Problem::internal().respond(&instance(id))
    });
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(EVENT_HEADER.clone(), id);
    }
    response
}

fn sender_trace(headers: &HeaderMap) -> Option<TraceParent> {
    TraceParent::parse(headers.get(TraceParent::HEADER)?.to_str().ok()?)
}

struct AnsweredRequest {
    kind: EventKind,
    /// Whether the request was refused because of its sender or its rate.
    is_refused: bool,
    answer: Answer,
}

/// Stores the event of a request, and returns the response. The events of some requests are stored
/// only within a rate limit: requests of refused senders, probes of connections that require a
/// credential, requests that exceed their rate, unrecognised requests and requests that match no
/// connection.
fn record_and_respond(
    app: &AppState,
    active: Option<&ActiveConnection>,
    request: &WebhookRequest,
    client: IpAddr,
    AnsweredRequest { kind, is_refused, answer }: AnsweredRequest,
) -> Response {
    let started = request.started;
    let connection = active.map(|active| active.connection.id);
    let is_unrecognised = kind == EventKind::Unrecognised;
    let needs_credential =
        active.is_some_and(|active| active.connection.webhook_auth.credential.is_some());
    let is_unauthenticated =
        answer.refuses_sender() || needs_credential && kind == EventKind::Probe;
    let counted_connection = connection.filter(|_| !is_unauthenticated);
    let is_unexpected = is_refused || is_unrecognised;
    if !app.rate_limits.may_store_event(counted_connection, client, is_unexpected, started) {
        let (code, ms) = (answer.outcome.code, milliseconds(started.elapsed()));
        app.services.history.count_end(connection, kind, code, ms);
        return answer.response;
    }
    let stores_request = is_unauthenticated
        || is_unrecognised
        || answer.refuses_create(kind) && app.rate_limits.may_store_request(connection, started);
    let Answer { response, outcome, defect } = answer;
    if outcome.code == OutcomeCode::ConnectorFault {
        let span = app.services.history.span(request.id);
        span.in_scope(|| tracing::warn!(why = outcome.detail, "a connector failed"));
    }
    let status = Some(response.status().as_u16());
    let mut event = request.event(kind, connection, status, outcome, defect);
    if stores_request {
        event = request.with_headers_and_body(event, active.and_then(credential_header));
    }
    app.services.history.record_end(event);
    response
}

/// The name of the header in which senders of the connection send an API key. An admin chooses this
/// name, so it may lack the words by which `request.rs` recognises a credential.
fn credential_header(active: &ActiveConnection) -> Option<&str> {
    match &active.connection.webhook_auth.credential {
        Some(WebhookCredential::ApiKey { header }) => Some(header),
        _ => None,
    }
}

/// The kind of the event of a request that is refused because of its sender or its rate.
fn event_kind(kind: &WebhookKind) -> EventKind {
    match kind {
        WebhookKind::CreateOrProbe | WebhookKind::Create => EventKind::CreateDefect,
        WebhookKind::Kpis(_) => EventKind::Kpis,
        WebhookKind::Probe => EventKind::Probe,
        WebhookKind::Unrecognised => EventKind::Unrecognised,
    }
}

/// Answers a request that matched a connection.
async fn answer_request(
    app: &AppState,
    active: &Arc<ActiveConnection>,
    kind: WebhookKind,
    request: &WebhookRequest,
) -> (EventKind, Answer) {
    match kind {
        WebhookKind::Probe => (EventKind::Probe, Answer::alive()),
        WebhookKind::CreateOrProbe | WebhookKind::Create => {
            (EventKind::CreateDefect, create_defect(app, active, request).await)
        }
        WebhookKind::Kpis(project) => {
            (EventKind::Kpis, count_defects(app, active, &project, request.event_start()).await)
        }
        WebhookKind::Unrecognised => {
            let answer = Answer::problem(request.id, &Problem::no_webhook());
            let advice =
                classify::describe_mapping(&active.connection.name, &request.method, &request.path);
            (EventKind::Unrecognised, answer.with_detail(advice))
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
    let outcome = OutcomeCode::Running.into();
    let running_event = request.event(EventKind::CreateDefect, connection, None, outcome, None);
    let start = request.event_start();
    match app.services.defects.create(active, test, running_event, start).await {
        Ok(created) => {
            Answer::created(&created, app.services.config.current().webhook.defect_id_kind)
        }
        Err(refusal) => Answer::refusal(request.id, &refusal),
    }
}

async fn count_defects(
    app: &AppState,
    active: &Arc<ActiveConnection>,
    project: &str,
    event: EventStart,
) -> Answer {
    let char_count = project.chars().count();
    if !(1..=PROJECT_CHARS_MAX).contains(&char_count) {
        let why = format!(
            "the project id has {char_count} characters; 1 to {PROJECT_CHARS_MAX} are allowed"
        );
        return Answer::problem(event.id, &Problem::bad_request(why));
    }
    let services = &app.services;
    let counted_in = services.connections.describe_counted_project(&active.connection);
    let counted = services.kpis.count(active, project, event).await;
    let counted = counted.and_then(|counts| {
        Answer::counted(&counts, &services.config.current().webhook, counted_in)
    });
    match counted {
        Ok(answer) => answer,
        Err(refusal) => Answer::refusal(event.id, &refusal),
    }
}
