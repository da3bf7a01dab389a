//! `wasi:http` for guests whose language speaks it: translated, then sent by the same
//! [`Session`] as `jackfield:connector/http`, under the same rules.
//!
//! Has no rule of its own but that on the bodies which the host holds meanwhile. The effect of a request comes
//! as a `jackfield-effect` header; timeouts that a guest asks for are not kept, since the run's own limits
//! are shorter than most.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use wasmtime_wasi_http::{Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks};

use crate::domain::Effect;

use super::egress::{HttpError, OutboundRequest, OutboundResponse, Session, is_hosts};
use super::meter::{Charged, Spent};

/// The header in which a guest says what a request does.
const EFFECT: HeaderName = HeaderName::from_static("jackfield-effect");

/// Carries a run's `wasi:http` requests to its session.
pub(super) struct WasiHttp {
    session: Arc<Session>,
    held: Held,
}

/// Bytes of bodies that the host holds for a guest: sent to it in part, or not read yet. Together they are
/// bounded like the guest's own memory.
#[derive(Clone)]
struct Held {
    bytes: Arc<AtomicU64>,
    bytes_max: u64,
}

/// A part of what is held, given back when dropped.
struct Part {
    held: Held,
    bytes: u64,
}

impl Held {
    fn nothing(&self) -> Part {
        Part { held: self.clone(), bytes: 0 }
    }
}

impl Part {
    fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let before = self.held.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        let max = self.held.bytes_max;
        if before.saturating_add(bytes) <= max {
            return Ok(());
        }
        Err(told(format!(
            "`limits.memory_bytes` = {max}: the host holds more of this run's bodies"
        )))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.held.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// An answer's body until its last byte was read.
struct Unread {
    body: Bytes,
    _part: Part,
}

impl AsRef<[u8]> for Unread {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

type Exchanged = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl WasiHttp {
    pub(super) fn new(session: Arc<Session>) -> Self {
        let bytes_max = session.limits().memory_bytes;
        let held = Held { bytes: Arc::default(), bytes_max };
        Self { session, held }
    }
}

impl WasiHttpHooks for WasiHttp {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        let access = Arc::clone(self.session.access());
        Arc::new(move |name| is_hosts(name.as_str(), &access.connection))
    }

    fn is_supported_scheme(&mut self, _: &Scheme) -> bool {
        // The session refuses others itself, so that the refusal stands in the event.
        true
    }

    fn set_host_header(&mut self) -> bool {
        false
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Exchanged, Error>> + Send> {
        let (session, held) = (Arc::clone(&self.session), self.held.clone());
        let sending = async move {
            let (head, body) = request.into_parts();
            let headers = pairs(&head.headers)?;
            let effect = effect(&head.headers)?;
            let (mut asked, mut answered) = (held.nothing(), held.nothing());
            let body = collect(body, session.limits().request_body_bytes, &mut asked).await?;
            let (method, url) = (head.method, head.uri.to_string());
            let request = OutboundRequest { method, effect, url, headers, body };
            let answer = session.send(request).await.map_err(error_code)?;
            drop(asked);
            answered.grow(answer.body.len())?;
            Ok((response(answer, answered)?, nothing_left_to_do()))
        };
        let cpu_ms = self.session.limits().cpu_ms;
        let charged = Charged::within(sending, Arc::clone(self.session.meter()), cpu_ms);
        Box::new(async move {
            let spent = |Spent| told(format!("`limits.cpu_ms` = {cpu_ms}: the run has spent it"));
            charged.await.map_err(spent)?
        })
    }
}

/// The whole body, or as much as shows the session that it is past its limit.
async fn collect(mut body: WasiBody, limit: u64, part: &mut Part) -> Result<Bytes, Error> {
    let mut whole = BytesMut::new();
    while u64::try_from(whole.len()).is_ok_and(|bytes| bytes <= limit) {
        let Some(frame) = body.frame().await else { break };
        if let Ok(data) = frame?.into_data() {
            part.grow(data.len())?;
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.freeze())
}

fn effect(headers: &HeaderMap) -> Result<Option<Effect>, Error> {
    let Some(word) = headers.get(EFFECT) else { return Ok(None) };
    [Effect::Read, Effect::Prepare, Effect::Write]
        .into_iter()
        .find(|effect| effect.as_str().as_bytes() == word.as_bytes())
        .map(Some)
        .ok_or_else(|| told("`jackfield-effect` is none of read, prepare, write".to_owned()))
}

fn pairs(headers: &HeaderMap) -> Result<Vec<(String, String)>, Error> {
    let pair = |(name, value): (&HeaderName, &HeaderValue)| {
        let value = std::str::from_utf8(value.as_bytes())
            .map_err(|_| told(format!("the value of `{name}` is no UTF-8")))?;
        Ok((name.as_str().to_owned(), value.to_owned()))
    };
    headers.iter().map(pair).collect()
}

fn response(answer: OutboundResponse, part: Part) -> Result<Response<WasiBody>, Error> {
    let body = Bytes::from_owner(Unread { body: answer.body, _part: part });
    let body = Full::new(body).map_err(Error::from).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(answer.status).map_err(|error| told(error.to_string()))?;
    for (name, value) in answer.headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            response.headers_mut().append(name, value);
        }
    }
    Ok(response)
}

/// The nearest word of `wasi:http` for each of ours; where it takes a text it carries the reason.
fn error_code(error: HttpError) -> Error {
    match error {
        HttpError::Denied(_) => Error::HttpRequestDenied,
        HttpError::Limit(why) | HttpError::Invalid(why) => told(why),
        HttpError::Unreachable(_) => Error::DestinationUnavailable,
        HttpError::Interrupted(_) => Error::HttpResponseIncomplete,
    }
}

fn told(why: String) -> Error {
    Error::InternalError(Some(why))
}

fn nothing_left_to_do() -> Box<dyn Future<Output = Result<(), Error>> + Send> {
    Box::new(async { Ok(()) })
}

#[cfg(test)]
mod tests;
