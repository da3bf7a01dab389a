//! Webhooks: passes each request of Test Manager to the module that handles it, and answers in Test
//! Manager's format.
//!
//! Every request becomes an event, with one exception: if a request matches no connection, is not
//! recognised, comes from a refused sender or exceeds its rate, its event is stored only within a
//! rate limit. Every answer names its event.

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

use crate::completion::Completing;
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

/// The header of every answer that contains the id of the event.
static EVENT_HEADER: HeaderName = HeaderName::from_static("jackfield-event");

/// Handles any request below `/hooks`.
pub(super) async fn receive(State(app): State<Arc<AppState>>, request: Request) -> Response {
    let (token, path) = request::token_and_path(request.uri().path());
    let active = app.services.connections.by_token(&TokenHash::of(&token));
    let kind = classify_request(&app, active.as_deref(), &request, &path);
    let target = Target { active, token, path, kind, is_by_admin: false };
    handle(app, target, request).await
}

/// Handles a webhook request from an admin, who names the connection instead of a token.
pub(super) async fn receive_for(
    app: Arc<AppState>,
    active: Arc<ActiveConnection>,
    path: String,
    request: Request,
) -> Response {
    let kind = classify_request(&app, Some(&active), &request, &path);
    let target =
        Target { active: Some(active), token: String::new(), path, kind, is_by_admin: true };
    handle(app, target, request).await
}

/// Determines the kind of a request. Its connection may have additional webhook paths.
fn classify_request(
    app: &AppState,
    active: Option<&ActiveConnection>,
    request: &Request,
    path: &str,
) -> WebhookKind {
    let (method, config) = (request.method(), app.services.config.now());
    let config = &config.webhook;
    match active {
        Some(active) => {
            classify::classify_for(&active.connection.webhook_paths, method, path, config)
        }
        None => classify::classify(method, path, config),
    }
}

/// Whether requests with this method and path are recognised now for this connection.
pub(crate) fn is_recognised(
    app: &AppState,
    active: &ActiveConnection,
    method: &Method,
    path: &str,
) -> bool {
    let (paths, config) = (&active.connection.webhook_paths, app.services.config.now());
    classify::classify_for(paths, method, path, &config.webhook) != WebhookKind::Unrecognised
}

/// The target of a webhook request: its connection, its token (empty if an admin sent it), the path
/// after the token, and its kind.
struct Target {
    active: Option<Arc<ActiveConnection>>,
    token: String,
    path: String,
    kind: WebhookKind,
    /// Whether an admin sent the request. Then neither a credential nor a rate is checked.
    is_by_admin: bool,
}

/// Reads and answers a request. If the client disconnects after the request was read, the work
/// continues, so that the event is still stored.
async fn handle(app: Arc<AppState>, target: Target, request: Request) -> Response {
    let (id, started) = (EventId::fresh(), Instant::now());
    let received_at = app.services.clock.now();
    let client = client_of(&request);
    let (parts, body) = request.into_parts();
    let (headers, extensions, kind) = (&parts.headers, &parts.extensions, &target.kind);
    let WebhookAdmission { body, refused } = match &target.active {
        Some(active) if !target.is_by_admin => {
            let unread = UnreadRequest { active, kind, client, headers, extensions, received_at };
            unread.admit(&app, body).await
        }
        _ => WebhookAdmission::with_body(body::read(headers, body).await),
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
    // The header `traceparent` decides whether a trace is sampled. It is ignored if the sender is
    // refused.
    if active.is_some() && refused.is_none() {
        app.services.history.keep_sender_trace(id, sender_trace(&request.headers));
    }
    let tasks = app.services.tasks.clone();
    let answered = Completing::new(&tasks, async move {
        let is_refused = refused.is_some();
        let (kind, answer) = match (&active, refused) {
            (Some(_), Some(problem)) => (event_kind(&kind), Answer::problem(id, &problem)),
            (Some(active), None) => answer_request(&app, active, kind, &request).await,
            (None, _) => (EventKind::NoConnection, Answer::problem(id, &Problem::no_webhook())),
        };
        let answered = Answered { kind, is_refused, answer };
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

/// The trace that the sender names in the header `traceparent`.
fn sender_trace(headers: &HeaderMap) -> Option<TraceParent> {
    TraceParent::parse(headers.get(TraceParent::HEADER)?.to_str().ok()?)
}

/// The answer to a request, and what decides whether its event is stored.
struct Answered {
    kind: EventKind,
    /// Whether the request was refused because of its sender or because it exceeds its rate.
    is_refused: bool,
    answer: Answer,
}

/// Stores the event of an answer, and returns its response. The event of a request without the
/// credential that its connection requires, of a request that exceeds its rate and of an
/// unrecognised request is stored only within a rate limit.
fn record_and_respond(
    app: &AppState,
    active: Option<&ActiveConnection>,
    request: &WebhookRequest,
    client: IpAddr,
    Answered { kind, is_refused, answer }: Answered,
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

/// The header in which senders of the connection send an API key. The name of this header is
/// configured, so it may not look like that of a credential.
fn credential_header(active: &ActiveConnection) -> Option<&str> {
    match &active.connection.webhook_auth.credential {
        Some(WebhookCredential::ApiKey { header }) => Some(header),
        _ => None,
    }
}

/// The kind of the event of a refused request.
fn event_kind(kind: &WebhookKind) -> EventKind {
    match kind {
        WebhookKind::CreateOrProbe | WebhookKind::Create => EventKind::CreateDefect,
        WebhookKind::Kpis(_) => EventKind::Kpis,
        WebhookKind::Probe => EventKind::Probe,
        WebhookKind::Unrecognised => EventKind::Unrecognised,
    }
}

/// Answers a request that matched a connection; also returns the kind of its event.
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
        Ok(created) => Answer::created(&created, app.services.config.now().webhook.defect_id),
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
    let counted_in = services.connections.counted_in(&active.connection);
    let counted = services.kpis.count(active, project, event).await;
    let counted = counted
        .and_then(|counts| Answer::counted(&counts, &services.config.now().webhook, counted_in));
    match counted {
        Ok(answer) => answer,
        Err(refusal) => Answer::refusal(event.id, &refusal),
    }
}
