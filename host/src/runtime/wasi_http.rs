//! `wasi:http` for guests whose language uses it: requests are converted and sent by the same [`Session`] as
//! those of `jackfield:connector/http`, under the same rules.
//!
//! Its only own rule limits the bodies that the host stores for a guest. The effect of a request is in a
//! `jackfield-effect` header. Timeouts that a guest sets are ignored: the run's own limits apply.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use wasmtime_wasi_http::{Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks};

use crate::cpu_time::{CpuCharged, CpuExhausted};
use crate::domain::{Effect, Words};
use crate::egress::{HttpError, OutboundRequest, OutboundResponse, Session, is_reserved_header};

/// The header in which a guest declares the effect of a request.
const EFFECT: HeaderName = HeaderName::from_static("jackfield-effect");

/// Passes a run's `wasi:http` requests to its session.
pub(super) struct WasiHttp {
    session: Arc<Session>,
    stored_bodies: StoredBodies,
}

/// The size of all bodies that the host stores for a run: requests that the guest still writes, and
/// responses that it has not read. Limited by the guest's memory limit.
#[derive(Clone)]
struct StoredBodies {
    bytes: Arc<AtomicU64>,
    bytes_max: u64,
}

/// The part of one body; subtracted again when dropped.
struct StoredBody {
    all: StoredBodies,
    bytes: u64,
}

impl StoredBodies {
    fn empty_body(&self) -> StoredBody {
        StoredBody { all: self.clone(), bytes: 0 }
    }
}

impl StoredBody {
    fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let before = self.all.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        let max = self.all.bytes_max;
        if before.saturating_add(bytes) <= max {
            return Ok(());
        }
        Err(internal_error(format!(
            "over `limits.memory_bytes` = {max}: bodies that the host stores for this run"
        )))
    }
}

impl Drop for StoredBody {
    fn drop(&mut self) {
        self.all.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A response's body, which is counted until it is dropped.
struct CountedBody {
    body: Bytes,
    _counted: StoredBody,
}

impl AsRef<[u8]> for CountedBody {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

type Exchanged = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl WasiHttp {
    pub(super) fn new(session: Arc<Session>) -> Self {
        let bytes_max = session.limits().memory_bytes;
        Self { session, stored_bodies: StoredBodies { bytes: Arc::default(), bytes_max } }
    }
}

impl WasiHttpHooks for WasiHttp {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        let active = Arc::clone(self.session.active());
        Arc::new(move |name| is_reserved_header(name.as_str(), &active.connection))
    }

    fn is_supported_scheme(&mut self, _: &Scheme) -> bool {
        // The session refuses other schemes itself, so that the event shows the refusal.
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
        let (session, stored) = (Arc::clone(&self.session), self.stored_bodies.clone());
        let sending = async move {
            let (head, body) = request.into_parts();
            let headers = header_pairs(&head.headers)?;
            let effect = effect(&head.headers)?;
            let (mut request_body, mut response_body) = (stored.empty_body(), stored.empty_body());
            let bytes_max = session.limits().request_body_bytes;
            let body = collect(body, bytes_max, &mut request_body).await?;
            let (method, url) = (head.method, head.uri.to_string());
            let request = OutboundRequest { method, effect, url, headers, body };
            let answer = session.send(request).await.map_err(wasi_error)?;
            drop(request_body);
            response_body.grow(answer.body.len())?;
            Ok((response(answer, response_body)?, no_further_io()))
        };
        let cpu_ms = self.session.limits().cpu_ms;
        let charged = CpuCharged::within(sending, Arc::clone(self.session.meter()), cpu_ms);
        Box::new(async move {
            charged.await.map_err(|CpuExhausted| {
                internal_error(format!("over `limits.cpu_ms` = {cpu_ms}: the run's CPU time"))
            })?
        })
    }
}

/// Reads the whole body. Stops above `bytes_max`; the session then refuses the body for its length.
async fn collect(
    mut body: WasiBody,
    bytes_max: u64,
    stored: &mut StoredBody,
) -> Result<Bytes, Error> {
    let mut whole = BytesMut::new();
    while u64::try_from(whole.len()).is_ok_and(|bytes| bytes <= bytes_max) {
        let Some(frame) = body.frame().await else { break };
        if let Ok(data) = frame?.into_data() {
            stored.grow(data.len())?;
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.freeze())
}

fn effect(headers: &HeaderMap) -> Result<Option<Effect>, Error> {
    let Some(word) = headers.get(EFFECT) else { return Ok(None) };
    std::str::from_utf8(word.as_bytes()).ok().and_then(Effect::from_word).map(Some).ok_or_else(
        || internal_error("`jackfield-effect` must be read, prepare or write".to_owned()),
    )
}

fn header_pairs(headers: &HeaderMap) -> Result<Vec<(String, String)>, Error> {
    let pair = |(name, value): (&HeaderName, &HeaderValue)| {
        let value = std::str::from_utf8(value.as_bytes())
            .map_err(|_| internal_error(format!("the value of `{name}` is not UTF-8")))?;
        Ok((name.as_str().to_owned(), value.to_owned()))
    };
    headers.iter().map(pair).collect()
}

fn response(answer: OutboundResponse, counted: StoredBody) -> Result<Response<WasiBody>, Error> {
    let body = Bytes::from_owner(CountedBody { body: answer.body, _counted: counted });
    let body = Full::new(body).map_err(Error::from).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(answer.status).map_err(|error| internal_error(error.to_string()))?;
    for (name, value) in answer.headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            response.headers_mut().append(name, value);
        }
    }
    Ok(response)
}

/// The closest error of `wasi:http`; one that takes a text contains the reason.
fn wasi_error(error: HttpError) -> Error {
    match error {
        HttpError::Denied(_) => Error::HttpRequestDenied,
        HttpError::Limit(why) | HttpError::Invalid(why) => internal_error(why),
        HttpError::Unreachable(_) => Error::DestinationUnavailable,
        HttpError::Interrupted(_) => Error::HttpResponseIncomplete,
    }
}

fn internal_error(why: String) -> Error {
    Error::InternalError(Some(why))
}

fn no_further_io() -> Box<dyn Future<Output = Result<(), Error>> + Send> {
    Box::new(async { Ok(()) })
}

#[cfg(test)]
mod tests;
