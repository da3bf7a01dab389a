//! Webhooks: passes each request of Test Manager to the room that handles it, and answers in Test
//! Manager's format.
//!
//! Every request becomes an event, with one exception: if a request matches no connection, is not
//! recognised, is of a refused sender or is over its rate, its event is stored only within a rate
//! limit. Every answer names its event.

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
use axum::http::{HeaderName, HeaderValue, Method};
use axum::response::Response;
use tokio::time::Instant;

use crate::completion::Completing;
use crate::domain::{
    ConnectionId, EventId, EventKind, EventStart, OutcomeCode, PROJECT_CHARS_MAX,
    WebhookCredential, milliseconds,
};
use crate::egress::ActiveConnection;
use crate::secret::TokenHash;
use crate::telemetry::TraceParent;

use super::AppState;
use super::client_address::client_of;
use super::problem::Problem;
use admission::UnreadRequest;
use answer::{Answer, instance};
use request::token_and_path as split_path;

pub(crate) use classify::template_of as kpi_template;
pub(crate) use {classify::WebhookKind, parse::failed_test, request::WebhookRequest};

#[cfg(fuzzing)]
pub(crate) use self::{body::read, classify::classify, request::token_and_path};

/// The header that names the event in every answer.
static EVENT: HeaderName = HeaderName::from_static("jackfield-event");

/// Handles any request below `/hooks`.
pub(super) async fn receive(State(app): State<Arc<AppState>>, request: Request) -> Response {
    let (token, path) = split_path(request.uri().path());
    let active = app.services.connections.by_token(&TokenHash::of(&token));
    let kind = kind_of(&app, active.as_deref(), &request, &path);
    let target = Target { active, token, path, kind, by_admin: false };
    handle(app, target, request).await
}

/// Handles a webhook request from an admin, who names the connection instead of a token.
pub(super) async fn receive_for(
    app: Arc<AppState>,
    active: Arc<ActiveConnection>,
    path: String,
    request: Request,
) -> Response {
    let kind = kind_of(&app, Some(&active), &request, &path);
    let target = Target { active: Some(active), token: String::new(), path, kind, by_admin: true };
    handle(app, target, request).await
}

/// The kind of a request; its connection may have paths of its own.
fn kind_of(
    app: &AppState,
    active: Option<&ActiveConnection>,
    request: &Request,
    path: &str,
) -> WebhookKind {
    let (method, config) = (request.method(), app.services.config.now());
    let config = &config.webhook;
    match active {
        Some(it) => classify::classify_for(&it.connection.webhook_paths, method, path, config),
        None => classify::classify(method, path, config),
    }
}

/// Whether a request of this connection is recognised now.
pub(crate) fn is_recognised(
    app: &AppState,
    active: &ActiveConnection,
    method: &Method,
    path: &str,
) -> bool {
    let (own, config) = (&active.connection.webhook_paths, app.services.config.now());
    classify::classify_for(own, method, path, &config.webhook) != WebhookKind::Unrecognised
}

/// The properties of a request that its method and path decide: connection, token, path, kind.
struct Target {
    active: Option<Arc<ActiveConnection>>,
    token: String,
    path: String,
    kind: WebhookKind,
    /// Whether an admin sent it: then neither a credential nor a rate is checked.
    by_admin: bool,
}

/// Reads the request, then answers it to the end, so that the event is stored even if the client
/// disconnects.
async fn handle(app: Arc<AppState>, target: Target, request: Request) -> Response {
    let (id, started) = (EventId::fresh(), Instant::now());
    let received_at = app.services.clock.now();
    let client = client_of(&request);
    let (parts, body) = request.into_parts();
    let (headers, extensions, kind) = (&parts.headers, &parts.extensions, &target.kind);
    let (body, refused) = match &target.active {
        Some(active) if !target.by_admin => {
            let unread = UnreadRequest { active, kind, client, headers, extensions, received_at };
            unread.admit(&app, body).await
        }
        _ => (Some(body::read(headers, body).await), None),
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
    let sender = request.headers.get(TraceParent::HEADER);
    let sender = sender.and_then(|value| TraceParent::parse(value.to_str().ok()?));
    // A refused sender does not decide about sampling.
    let sender = sender.filter(|_| active.is_some() && refused.is_none());
    app.services.history.receive(id, sender);
    let tasks = app.services.tasks.clone();
    let answered = Completing::new(&tasks, async move {
        let is_refused = refused.is_some();
        let (kind, answer) = match (&active, refused) {
            (Some(_), Some(problem)) => (event_kind(&kind), Answer::problem(id, &problem)),
            (Some(active), None) => answer(&app, active, kind, &request).await,
            (None, _) => (EventKind::NoConnection, Answer::problem(id, &Problem::no_webhook())),
        };
        let answered = Answered { kind, is_refused, answer };
        record_within_rates(&app, active.as_deref(), &request, client, answered)
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

/// The answer to a request, and the kind of its event.
struct Answered {
    kind: EventKind,
    /// Whether the request was refused because of its sender or its rate.
    is_refused: bool,
    answer: Answer,
}

/// Stores the event of an answer, unless clients without a credential, or a client over its rate,
/// have used up the rate at which such events are stored.
fn record_within_rates(
    app: &AppState,
    active: Option<&ActiveConnection>,
    request: &WebhookRequest,
    client: IpAddr,
    Answered { kind, is_refused, answer }: Answered,
) -> Response {
    let started = request.started;
    let connection = active.map(|active| active.connection.id);
    let is_unrecognised = kind == EventKind::Unrecognised;
    let asks = active.is_some_and(|it| it.connection.webhook_auth.credential.is_some());
    let is_unauthenticated = answer.refuses_sender() || asks && kind == EventKind::Probe;
    let counted = connection.filter(|_| !is_unauthenticated);
    let is_unexpected = is_refused || is_unrecognised;
    if !app.rate_limits.stores_event(counted, client, is_unexpected, started) {
        let (code, ms) = (answer.outcome.code, milliseconds(started.elapsed()));
        app.services.history.end_unstored(connection, kind, code, ms);
        return answer.response;
    }
    let keeps_request = is_unauthenticated
        || is_unrecognised
        || answer.refuses_create(kind) && app.rate_limits.keeps_request(connection, started);
    let kept = keeps_request.then(|| active.and_then(credential_header));
    record(app, request, (kind, connection), kept, answer)
}

/// The header in which senders of the connection send a secret, if its name does not say so.
fn credential_header(active: &ActiveConnection) -> Option<&str> {
    match &active.connection.webhook_auth.credential {
        Some(WebhookCredential::ApiKey { header }) => Some(header),
        _ => None,
    }
}

/// Stores the event of an answer. `kept` adds the headers and the body of the request; the header
/// that it names is a credential.
fn record(
    app: &AppState,
    request: &WebhookRequest,
    (kind, connection): (EventKind, Option<ConnectionId>),
    kept: Option<Option<&str>>,
    answer: Answer,
) -> Response {
    let Answer { response, outcome, defect } = answer;
    let status = Some(response.status().as_u16());
    if outcome.code == OutcomeCode::ConnectorFault {
        let span = app.services.history.span(request.id);
        span.in_scope(|| tracing::warn!(why = outcome.detail, "a connector failed"));
    }
    let event = request.event(kind, connection, status, outcome, defect);
    let event = match kept {
        Some(credential) => request.with_headers_and_body(event, credential),
        None => event,
    };
    app.services.history.end(event);
    response
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
async fn answer(
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
            let how = classify::how_to_map(&active.connection.name, &request.method, &request.path);
            (EventKind::Unrecognised, answer.explained_by(how))
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
    let start = request.event_start();
    match app.services.defects.create(active, test, running, start).await {
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
    let length = project.chars().count();
    if !(1..=PROJECT_CHARS_MAX).contains(&length) {
        let why =
            format!("the project id has {length} characters; 1 to {PROJECT_CHARS_MAX} are allowed");
        return Answer::problem(event.id, &Problem::bad_request(why));
    }
    let services = &app.services;
    let place = services.connections.counted_in(&active.connection);
    let counted = services.kpis.count(active, project, event).await;
    match counted.and_then(|it| Answer::counted(&it, &services.config.now().webhook, place)) {
        Ok(answer) => answer,
        Err(refusal) => Answer::refusal(event.id, &refusal),
    }
}
