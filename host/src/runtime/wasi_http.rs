//! Implements `wasi:http` for guests whose language uses it. Converts requests and passes them to
//! [`RunRequests`], which has the same rules for them as for requests of
//! `jackfield:connector/http`. Never sends a request itself.
//!
//! Timeouts that a guest sets are ignored, because the limits of the run apply.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use wasmtime_wasi_http::{Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks};

use crate::cpu_time::{CpuCharged, CpuExhausted};
use crate::domain::{Effect, StringEnum};
use crate::egress::{Body, HttpError, OutboundRequest, OutboundResponse, RunRequests};
use crate::memory::{Charge, MemoryFull};

/// The header in which a guest declares the effect of a request.
const EFFECT_HEADER: HeaderName = HeaderName::from_static("jackfield-effect");

/// Maximum number of bytes that a guest may write to a request's body at once. Each unfinished body
/// keeps the bytes of one write in memory.
const BODY_WRITE_BYTES_MAX: usize = 16 << 10;

pub(super) struct WasiHttp {
    requests: Arc<RunRequests>,
}

/// A response, and a future for the I/O that continues after the response has arrived.
type ResponseAndIo = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl WasiHttp {
    pub(super) fn new(requests: Arc<RunRequests>) -> Self {
        Self { requests }
    }
}

impl WasiHttpHooks for WasiHttp {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        let requests = Arc::clone(&self.requests);
        Arc::new(move |name| requests.is_reserved_header(name.as_str()))
    }

    fn is_supported_scheme(&mut self, _: &Scheme) -> bool {
        // `RunRequests` refuses unsupported schemes itself, so that the event contains the refusal.
        true
    }

    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_WRITE_BYTES_MAX
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<ResponseAndIo, Error>> + Send> {
        let requests = Arc::clone(&self.requests);
        let head_charge = requests.memory().charge(head_bytes(&request));
        let sending = async move {
            let head_charge = head_charge.map_err(memory_error)?;
            let (head, body) = request.into_parts();
            let headers = header_pairs(&head.headers)?;
            let effect = declared_effect(&head.headers)?;
            let body = read_body(body, &requests).await?;
            let (method, url) = (head.method, head.uri.to_string());
            let request = OutboundRequest { method, effect, url, headers, body };
            let response = requests.send(request).await.map_err(wasi_error)?;
            Ok((wasi_response(response, head_charge)?, no_further_io()))
        };
        let cpu_ms = self.requests.limits().cpu_ms;
        let charged =
            CpuCharged::with_cpu_limit(sending, Arc::clone(self.requests.meter()), cpu_ms);
        Box::new(async move {
            charged.await.map_err(|CpuExhausted| {
                internal_error(format!("over `limits.cpu_ms` = {cpu_ms}: the run's CPU time"))
            })?
        })
    }
}

/// A guest may start many requests and never finish them, so their heads are charged to the run.
fn head_bytes(request: &Request<WasiBody>) -> u64 {
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
    let uri = request.uri();
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    (request.method().as_str().len() + authority + path + headers.sum::<usize>()) as u64
}

/// Reads the whole body, and charges its buffer as it grows. While the buffer is moved, the old and
/// the new buffer are both charged. A body over `request_body_bytes` is read no further, and
/// [`RunRequests`] then refuses it.
async fn read_body(mut body: WasiBody, requests: &RunRequests) -> Result<Bytes, Error> {
    let bytes_max = requests.limits().request_body_bytes;
    let (mut buffer, mut charge) = (Vec::new(), requests.memory().empty_charge());
    while buffer.len() as u64 <= bytes_max {
        let Some(frame) = body.frame().await else { break };
        let Ok(data) = frame?.into_data() else { continue };
        if buffer.capacity() - buffer.len() < data.len() {
            let capacity = (buffer.len() + data.len()).max(2 * buffer.capacity());
            let larger_charge = requests.memory().charge(capacity as u64).map_err(memory_error)?;
            let mut larger = Vec::with_capacity(capacity);
            larger.extend_from_slice(&buffer);
            (buffer, charge) = (larger, larger_charge);
        }
        buffer.extend_from_slice(&data);
    }
    Ok(charge.bind_to_body(buffer.into()))
}

fn declared_effect(headers: &HeaderMap) -> Result<Option<Effect>, Error> {
    let Some(value) = headers.get(EFFECT_HEADER) else { return Ok(None) };
    std::str::from_utf8(value.as_bytes()).ok().and_then(Effect::parse).map(Some).ok_or_else(|| {
        internal_error("`jackfield-effect` must be read, prepare or write".to_owned())
    })
}

fn header_pairs(headers: &HeaderMap) -> Result<Vec<(String, String)>, Error> {
    let pair = |(name, value): (&HeaderName, &HeaderValue)| {
        let value = std::str::from_utf8(value.as_bytes())
            .map_err(|_| internal_error(format!("the value of `{name}` is not UTF-8")))?;
        Ok((name.as_str().to_owned(), value.to_owned()))
    };
    headers.iter().map(pair).collect()
}

/// Converts a response. The headers, and a body in memory, are charged until the guest has read or
/// dropped the body. The charge for the head of the request becomes the charge for the headers.
fn wasi_response(
    answer: OutboundResponse,
    mut charge: Charge,
) -> Result<Response<WasiBody>, Error> {
    let headers = answer.headers.iter().map(|(name, value)| name.len() + value.len());
    charge.set(headers.sum::<usize>() as u64).map_err(memory_error)?;
    let body = match answer.body {
        Body::Memory(bytes) => {
            Full::new(answer.charge.bind_to_body(bytes)).map_err(Error::from).boxed_unsync()
        }
        Body::Spooled(body) => body.into_stream().map_err(spool_error).boxed_unsync(),
    };
    let body = body.map_frame(move |frame| {
        let _keeps_the_charge = &charge;
        frame
    });
    let mut response = Response::new(body.boxed_unsync());
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

/// Converts an error into the most similar error of `wasi:http`. Only `InternalError` contains the
/// reason.
fn wasi_error(error: HttpError) -> Error {
    match error {
        HttpError::Denied(_) | HttpError::NotGranted(_) => Error::HttpRequestDenied,
        HttpError::Limit(why) | HttpError::Invalid(why) => internal_error(why),
        HttpError::Unreachable(_) => Error::DestinationUnavailable,
        HttpError::Interrupted(_) => Error::HttpResponseIncomplete,
    }
}

fn spool_error(error: std::io::Error) -> Error {
    internal_error(format!("cannot read the body again from the data folder: {error}"))
}

fn memory_error(full: MemoryFull) -> Error {
    internal_error(full.to_string())
}

fn internal_error(why: String) -> Error {
    Error::InternalError(Some(why))
}

fn no_further_io() -> Box<dyn Future<Output = Result<(), Error>> + Send> {
    Box::new(async { Ok(()) })
}

#[cfg(test)]
mod tests;
