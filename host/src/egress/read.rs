//! Sends reads and preparations, which are the requests that do not create or change a defect. The
//! host follows the redirects of reads, but not of preparations. If a reused HTTP connection ends
//! before a response begins, the host sends a read again, but not a preparation. Never sends a
//! write.

use http::header::LOCATION;
use tokio::time::Instant;

use crate::domain::Effect;

use super::answer::{Answer, AnswerMemory};
use super::authorize::CheckedRequest;
use super::exchange::{ExchangeError, build_request, exchange};
use super::record::Call;
use super::secrets::check_placeholders;
use super::{HttpError, OutboundResponse, RunRequests, tape, token};
use crate::redact::TextKind;
use crate::transport::HttpConnection;

/// Maximum number of redirects that the host follows for one read.
const REDIRECTS_MAX: u32 = 5;
/// Maximum number of attempts for one request, for example on an idle connection, on a new
/// connection, and on a new connection with HTTP/1.1.
const ATTEMPTS_MAX: u32 = 3;

/// Sends a read or a preparation. After a redirect, the next request is a separate call in the
/// record. It is checked, and gets the secrets of its own origin.
pub(super) async fn send_read(
    requests: &RunRequests,
    mut outbound: CheckedRequest,
    mut call: Call,
) -> Result<OutboundResponse, HttpError> {
    let mut redirects = 0;
    loop {
        let result = send_with_retries(requests, &outbound).await;
        let redirect = result.as_ref().ok().and_then(|answer| redirect_target(&outbound, answer));
        let Some((status, location)) = redirect else { return call.finish(result) };
        call.record_result(&result);
        call = requests.record.begin_call(&outbound.method, outbound.effect)?;
        redirects += 1;
        if redirects > REDIRECTS_MAX {
            let why = format!("the server sent more than {REDIRECTS_MAX} redirects");
            return call.finish(Err(HttpError::Denied(why)));
        }
        outbound = match follow_redirect(requests, &outbound, status, &location) {
            Ok(next) => next,
            Err(error) => return call.finish(Err(error)),
        };
        call.record_target(&outbound.origin, &outbound.url, outbound.body.len());
        requests.add_trace(&mut outbound, &call);
    }
}

/// Returns the status and the location if the answer to a read is a redirect.
fn redirect_target(outbound: &CheckedRequest, answer: &Answer) -> Option<(u16, String)> {
    if outbound.effect != Effect::Read || !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = answer.headers.get(LOCATION)?;
    Some((answer.status, String::from_utf8_lossy(location.as_bytes()).into_owned()))
}

/// If the location contains a secret that the tracker echoed, refuses a redirect to another origin.
fn follow_redirect(
    requests: &RunRequests,
    outbound: &CheckedRequest,
    status: u16,
    location: &str,
) -> Result<CheckedRequest, HttpError> {
    let next = outbound.redirected(status, location, &requests.active.connection)?;
    check_placeholders(&next, &requests.active)?;
    let redactor = requests.active.credentials.redactor.load();
    let echoes_secret = redactor.contains_secret(TextKind::Answer, location.as_bytes());
    if echoes_secret && next.origin != outbound.origin {
        return Err(HttpError::Denied(format!(
            "the server redirects to {} with a secret in the URL",
            next.origin
        )));
    }
    Ok(next)
}

/// Repeats a request that the HTTP connection did not send or that the tracker refused without
/// processing it, and a read whose reused connection ended before a response began. Makes at most
/// [`ATTEMPTS_MAX`] attempts.
async fn send_with_retries(
    requests: &RunRequests,
    outbound: &CheckedRequest,
) -> Result<Answer, HttpError> {
    let token = token::token_for_origin(requests, &outbound.origin).await?;
    let token_obtained_at = Instant::now();
    let outbound = requests.insert_cookies_and_secrets(outbound.clone(), token.as_ref())?;
    let (origin, effect) = (&outbound.origin, outbound.effect);
    let mut idle_connection = requests.active.pool.take(origin, effect, Instant::now());
    let mut attempts = 1;
    loop {
        let is_reused = idle_connection.is_some();
        let result =
            exchange_once(requests, idle_connection.take(), &outbound, token_obtained_at).await;
        let may_repeat = match &result {
            Err(ExchangeError::NotSent(_)) => true,
            Err(ExchangeError::Http1Required(_)) => {
                requests.active.pool.require_http1(origin);
                true
            }
            Err(ExchangeError::Dropped(_)) => is_reused && effect == Effect::Read,
            _ => false,
        };
        if !may_repeat || attempts == ATTEMPTS_MAX {
            return result
                .map_err(|error| tape::record_failed_exchange(requests, &outbound, error));
        }
        attempts += 1;
    }
}

/// After a complete answer, puts the HTTP connection into the pool.
async fn exchange_once(
    requests: &RunRequests,
    idle_connection: Option<HttpConnection>,
    outbound: &CheckedRequest,
    token_obtained_at: Instant,
) -> Result<Answer, ExchangeError> {
    let mut connection = match idle_connection {
        Some(connection) => connection,
        None => requests.connect(&outbound.origin).await.map_err(ExchangeError::NotStarted)?,
    };
    let request = build_request(outbound, &connection).map_err(ExchangeError::NotStarted)?;
    let memory = AnswerMemory::reserve(requests, requests.limits.response_body_bytes)
        .map_err(ExchangeError::NotStarted)?;
    let answer = exchange(requests, outbound, &mut connection, request, memory).await?;
    let proxy_refusal = connection.explain_proxy_refusal(answer.status);
    requests.cookies.store(&outbound.origin, &outbound.url, &answer.headers);
    requests.active.pool.put_back(&outbound.origin, connection).await;
    token::expire_refused_token(requests, &outbound.origin, answer.status, token_obtained_at).await;
    proxy_refusal.map_or(Ok(answer), |why| Err(ExchangeError::RefusedByProxy(why)))
}
