//! Records a change in the audit log: before it is made, and what came of it before it is answered.
//!
//! Never reads the body of a request, which may have secrets.

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::USER_AGENT;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::accounts::{Done, Intent};
use crate::api::CLI_USER_AGENT;
use crate::domain::{Account, EventId, OutcomeCode, Via};

use super::AppState;
use super::client_address::client_of;
use super::problem::Problem;
use super::session::Session;

/// An extension of an answer: the name of what a request created.
#[derive(Debug, Clone)]
pub(super) struct CreatedObject(pub(super) String);

/// Runs a request that changes something. Without its entry in the audit log, it does not run.
pub(super) async fn run(
    app: &AppState,
    account: &Account,
    (action, object): (&str, Option<String>),
    request: Request,
    next: Next,
) -> Response {
    let intent = Intent {
        account,
        client: client_of(&request),
        via: via(&request),
        action: action.to_owned(),
        object,
    };
    let entry = match app.services.audit.begin(intent).await {
        Ok(entry) => entry,
        Err(error) => return Problem::from(error).into_response(),
    };
    let response = next.run(request).await;
    if let Err(error) = app.services.audit.complete(entry, done(&response)).await {
        tracing::error!(%error, action, "the audit log has this change without its outcome");
    }
    response
}

/// The program that sent a request.
pub(super) fn via(request: &Request) -> Via {
    let is_cli = |headers: &HeaderMap| {
        let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
        agent.is_some_and(|agent| agent.starts_with(CLI_USER_AGENT))
    };
    match request.extensions().get::<Session>() {
        Some(_) => Via::Console,
        None if is_cli(request.headers()) => Via::Cli,
        None => Via::Api,
    }
}

fn done(response: &Response) -> Done {
    let extensions = response.extensions();
    let problem = extensions.get::<Problem>().map(Problem::code);
    let refused = problem.or_else(|| extensions.get::<OutcomeCode>().copied());
    let failed = response.status().is_client_error() || response.status().is_server_error();
    let unknown = if failed { OutcomeCode::InternalError } else { OutcomeCode::Ok };
    let event = response.headers().get("jackfield-event").and_then(|value| value.to_str().ok());
    Done {
        object: extensions.get::<CreatedObject>().map(|created| created.0.clone()),
        outcome: refused.unwrap_or(unknown),
        event: event.and_then(|id| id.parse().ok()).map(EventId),
    }
}
