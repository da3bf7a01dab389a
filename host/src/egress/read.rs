//! Sends the requests that create no defect: reads, which may follow redirects and be sent once
//! more, and preparations, which may not.

use bytes::Bytes;
use http::Request;
use http::header::LOCATION;
use http_body_util::Full;
use tokio::time::Instant;

use crate::domain::{Effect, Origin};

use super::answer::{Answer, AnswerRoom};
use super::authorize::Outbound;
use super::body_place::check_placeholders;
use super::connect::{HttpConnection, ProxyAuth};
use super::exchange::{ExchangeError, build_request, exchange};
use super::record::Call;
use super::{HttpError, OutboundResponse, Session, token};

/// Redirects that one read follows.
const REDIRECTS_MAX: u32 = 5;

/// Sends a read or a preparation. Each redirect is a call of its own: it is checked and gets the
/// secrets of its origin like the first request.
pub(super) async fn send_read(
    session: &Session,
    mut outbound: Outbound,
    mut call: Call,
) -> Result<OutboundResponse, HttpError> {
    let mut redirects = 0;
    loop {
        let result = send_once(session, &outbound).await;
        let redirect = result.as_ref().ok().and_then(|answer| redirect(&outbound, answer));
        let Some((status, location)) = redirect else { return call.finish(result) };
        call.record_result(&result);
        call = session.record.open(&outbound.method, outbound.effect)?;
        redirects += 1;
        if redirects > REDIRECTS_MAX {
            let why = format!("the tracker sent more than {REDIRECTS_MAX} redirects");
            return call.finish(Err(HttpError::Denied(why)));
        }
        outbound = match follow(session, &outbound, status, &location) {
            Ok(next) => next,
            Err(error) => return call.finish(Err(error)),
        };
        call.record_target(&outbound.origin, &outbound.url, outbound.body.len());
    }
}

/// Status and location of an answer that a read follows.
fn redirect(outbound: &Outbound, answer: &Answer) -> Option<(u16, String)> {
    if outbound.effect != Effect::Read || !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = answer.headers.get(LOCATION)?;
    Some((answer.status, String::from_utf8_lossy(location.as_bytes()).into_owned()))
}

/// The request that follows a redirect. A location in which the tracker echoed a secret stays on
/// the origin that was sent the secret.
fn follow(
    session: &Session,
    outbound: &Outbound,
    status: u16,
    location: &str,
) -> Result<Outbound, HttpError> {
    let next = outbound.redirected(status, location, &session.active.connection)?;
    check_placeholders(&next, &session.active)?;
    let echoes_secret = session.active.credentials.redactor.load().finds(location.as_bytes());
    if echoes_secret && next.origin != outbound.origin {
        return Err(HttpError::Denied(format!(
            "the tracker redirects to {} with a secret in the URL",
            next.origin
        )));
    }
    Ok(next)
}

/// Sends a request on a kept connection or on a new one. A read whose kept connection turns out
/// to be closed is sent once more, on a new one.
async fn send_once(session: &Session, outbound: &Outbound) -> Result<Answer, HttpError> {
    let token = token::for_origin(session, &outbound.origin).await?;
    let outbound = session.insert_secrets(outbound.clone(), token.as_ref())?;
    let room = || AnswerRoom::take(session, session.limits.response_body_bytes);
    let kept = session.active.pool.take(&outbound.origin, outbound.effect, Instant::now());
    if let Some(kept) = kept {
        let request = build_request(&outbound, &kept)?;
        let proxy = kept.proxy.clone();
        match exchange_and_keep(session, kept, request, room()?, &outbound.origin).await {
            Err(ExchangeError::NotSent(_)) => {}
            Err(ExchangeError::Dropped(_)) if outbound.effect == Effect::Read => {}
            result => return of_tracker(result?, proxy.as_ref()),
        }
    }
    let active = &session.active;
    let new = session.egress.dialer.connect(&outbound.origin, active, session.deadline).await?;
    let request = build_request(&outbound, &new)?;
    let proxy = new.proxy.clone();
    let answer = exchange_and_keep(session, new, request, room()?, &outbound.origin).await?;
    of_tracker(answer, proxy.as_ref())
}

/// The answer, unless the proxy gave it.
fn of_tracker(answer: Answer, proxy: Option<&ProxyAuth>) -> Result<Answer, HttpError> {
    proxy.and_then(|proxy| proxy.refusal(answer.status)).map_or(Ok(answer), Err)
}

/// One exchange on one connection, which is kept if the answer was complete.
async fn exchange_and_keep(
    session: &Session,
    mut connection: HttpConnection,
    request: Request<Full<Bytes>>,
    room: AnswerRoom,
    origin: &Origin,
) -> Result<Answer, ExchangeError> {
    let sent_at = Instant::now();
    let answer = exchange(&mut connection, request, room, session.deadline).await?;
    session.active.pool.put_back(origin, connection).await;
    token::expire_if_refused(session, origin, answer.status, sent_at).await;
    Ok(answer)
}
