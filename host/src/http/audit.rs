//! Adds an entry to the audit log before a request changes something, and the outcome to the entry
//! before the answer is sent. Also adds entries of refused requests.
//!
//! This module never reads the body of a request, which may contain secrets.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::USER_AGENT;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::accounts::{Completion, Intent, RefusedAttempt};
use crate::api::CLI_USER_AGENT;
use crate::domain::{Account, EventId, OutcomeCode, Role, Via, shortened};

use super::AppState;
use super::client_address::client_of;
use super::problem::Problem;
use super::session::Session;

/// The action that the audit log shows for a request whose bearer token was refused.
pub(super) const USE_TOKEN_ACTION: &str = "token.use";
pub(super) const BEGIN_SESSION_ACTION: &str = "session.begin";
/// The action that the audit log shows for a refused request to a route that changes nothing.
pub(super) const READ_ACTION: &str = "read";
/// An object that a request names is shortened to this number of bytes, because it may be any text.
const OBJECT_BYTES_MAX: usize = 200;

/// A response extension that contains the name of the object that the request created or changed,
/// for the audit log.
#[derive(Debug, Clone)]
pub(crate) struct CreatedObject(pub(crate) String);

/// Runs a request that changes something, and records it in the audit log. If the entry cannot be
/// stored, the request does not run. `change` contains the action and the object of the entry.
pub(super) async fn run(
    app: &AppState,
    account: &Account,
    caller: &Caller,
    change: (&str, Option<&str>),
    request: Request,
    next: Next,
) -> Response {
    let work = async { Ok(next.run(request).await) };
    let response = run_and_record(app, account, caller, change, work).await;
    response.unwrap_or_else(IntoResponse::into_response)
}

/// Runs `work`, and records it in the audit log. If the entry cannot be stored, `work` does not
/// run.
pub(crate) async fn run_and_record(
    app: &AppState,
    account: &Account,
    caller: &Caller,
    (action, object): (&str, Option<&str>),
    work: impl Future<Output = Result<Response, Problem>>,
) -> Result<Response, Problem> {
    let intent = Intent {
        account,
        client: caller.client,
        via: caller.via,
        action: action.to_owned(),
        object: object.map(|name| shortened(name, OBJECT_BYTES_MAX)),
    };
    let entry = app.services.audit.begin(intent).await?;
    let result = work.await;
    let completion = match &result {
        Ok(response) => completion_for(response),
        Err(problem) => Completion { object: None, outcome: problem.code(), event: None },
    };
    if let Err(error) = app.services.audit.complete(entry, completion).await {
        tracing::error!(%error, action, "cannot store the outcome of a change in the audit log");
    }
    result
}

/// A request extension that describes who sent the request, for the audit log.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The name and the role of the account; `None` if the client is not signed in.
    account: Option<(String, Role)>,
    client: IpAddr,
    via: Via,
}

impl Caller {
    pub(super) fn signed_in(account: &Account, request: &Request) -> Self {
        let name_and_role = (account.name.clone(), account.role);
        Self {
            account: Some(name_and_role),
            client: client_of(request),
            via: sending_program(request),
        }
    }

    pub(super) fn not_signed_in(client: IpAddr, via: Via) -> Self {
        Self { account: None, client, via }
    }
}

/// Records one of several changes that a request makes. If its entry cannot be stored, the error is
/// only logged, because the entry of the request itself is already stored.
pub(super) async fn record_part(
    app: &AppState,
    account: &Account,
    caller: &Caller,
    (action, object): (&str, &str),
) {
    let intent = Intent {
        account,
        client: caller.client,
        via: caller.via,
        action: action.to_owned(),
        object: Some(object.to_owned()),
    };
    if let Err(error) = app.services.audit.record(intent, OutcomeCode::Ok).await {
        tracing::error!(%error, action, object, "cannot store one of several changes in the audit log");
    }
}

pub(super) async fn record_refusal(
    app: &AppState,
    caller: Caller,
    (action, object): (&str, Option<String>),
    outcome: OutcomeCode,
) {
    let Caller { account, client, via } = caller;
    let action = action.to_owned();
    let object = object.map(|name| shortened(&name, OBJECT_BYTES_MAX));
    app.services
        .audit
        .record_refusal(RefusedAttempt { account, client, via, action, object, outcome })
        .await;
}

/// Records a sign-in or the use of a token, but only if it was refused.
pub(super) async fn record_refused_login<T>(
    app: &AppState,
    (client, via): (IpAddr, Via),
    action: &str,
    login: &Result<Option<T>, Problem>,
) {
    let outcome = match login {
        Ok(Some(_)) => return,
        Ok(None) => OutcomeCode::Unauthorized,
        Err(problem) => problem.code(),
    };
    let caller = Caller::not_signed_in(client, via);
    record_refusal(app, caller, (action, None), outcome).await;
}

pub(super) fn sending_program(request: &Request) -> Via {
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

fn completion_for(response: &Response) -> Completion {
    let extensions = response.extensions();
    let problem = extensions.get::<Problem>().map(Problem::code);
    let code = problem.or_else(|| extensions.get::<OutcomeCode>().copied());
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    let default_code = if is_error { OutcomeCode::InternalError } else { OutcomeCode::Ok };
    let event = response.headers().get("jackfield-event").and_then(|value| value.to_str().ok());
    Completion {
        object: extensions.get::<CreatedObject>().map(|it| shortened(&it.0, OBJECT_BYTES_MAX)),
        outcome: code.unwrap_or(default_code),
        event: event.and_then(|id| id.parse().ok()).map(EventId),
    }
}
