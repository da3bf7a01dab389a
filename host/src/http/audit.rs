//! Records a change in the audit log before it is made, and its outcome before the answer is sent.
//! Records what was refused, too.
//!
//! Never reads the body of a request, which may have secrets.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::USER_AGENT;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::accounts::{Done, Intent, RefusedAttempt};
use crate::api::CLI_USER_AGENT;
use crate::domain::{Account, EventId, OutcomeCode, Role, Via, shortened};

use super::AppState;
use super::client_address::client_of;
use super::problem::Problem;
use super::session::Session;

/// What uses a token for one request of the API, in the audit log.
pub(super) const USE_TOKEN: &str = "token.use";
/// What begins a session, in the audit log.
pub(super) const BEGIN_SESSION: &str = "session.begin";
/// What changes nothing, in the audit log.
pub(super) const READ: &str = "read";
/// Maximum length of an object, bytes: it may be any text that was in a path.
const OBJECT_BYTES_MAX: usize = 200;

/// An extension of an answer: the name of what a request created.
#[derive(Debug, Clone)]
pub(crate) struct CreatedObject(pub(crate) String);

/// Runs a request that changes something. Without its entry in the audit log, it does not run.
pub(super) async fn run(
    app: &AppState,
    account: &Account,
    caller: &Caller,
    change: (&str, Option<&str>),
    request: Request,
    next: Next,
) -> Response {
    let work = async { Ok(next.run(request).await) };
    let answered = run_part(app, account, caller, change, work).await;
    answered.unwrap_or_else(IntoResponse::into_response)
}

/// Runs one kind of work of a handler, with an entry in the audit log. Without that entry, it does
/// not run.
pub(crate) async fn run_part(
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
        object: object.map(|it| shortened(it, OBJECT_BYTES_MAX)),
    };
    let entry = app.services.audit.begin(intent).await?;
    let answered = work.await;
    let done = match &answered {
        Ok(response) => done(response),
        Err(problem) => Done { object: None, outcome: problem.code(), event: None },
    };
    if let Err(error) = app.services.audit.complete(entry, done).await {
        tracing::error!(%error, action, "the audit log has this change without its outcome");
    }
    answered
}

/// Who sent a request, with which program, from where. An extension of the request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    account: Option<(String, Role)>,
    client: IpAddr,
    via: Via,
}

impl Caller {
    /// The account that sent a request.
    pub(super) fn of(account: &Account, request: &Request) -> Self {
        let named = (account.name.clone(), account.role);
        Self { account: Some(named), client: client_of(request), via: via(request) }
    }

    /// Somebody who is not signed in.
    pub(super) fn unknown(client: IpAddr, via: Via) -> Self {
        Self { account: None, client, via }
    }
}

/// Records one of the changes of a request that changes several things. The entry of the request is
/// stored already, so a failure is only logged.
pub(super) async fn part(
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
        tracing::error!(%error, action, object, "the audit log lacks a part of a change");
    }
}

/// Records an attempt that was refused.
pub(super) async fn refused(
    app: &AppState,
    caller: Caller,
    (action, object): (&str, Option<String>),
    outcome: OutcomeCode,
) {
    let Caller { account, client, via } = caller;
    let action = action.to_owned();
    let object = object.map(|it| shortened(&it, OBJECT_BYTES_MAX));
    app.services
        .audit
        .refused(RefusedAttempt { account, client, via, action, object, outcome })
        .await;
}

/// Records a sign-in, or the use of a token, that was refused.
pub(super) async fn login_refused<T>(
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
    refused(app, Caller::unknown(client, via), (action, None), outcome).await;
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
