//! One request over one connection and its whole answer: sent, read within the limits, decoded.
//!
//! Tells apart what is known of a failure: nothing left, nothing came back, or an answer broke off.
//! Never retries, never follows a redirect.

use std::error::Error as _;
use std::io::{self, Read as _};

use bytes::{Bytes, BytesMut};
use flate2::bufread::GzDecoder;
use flate2::read::{DeflateDecoder, ZlibDecoder};
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue,
    PROXY_AUTHORIZATION, TRANSFER_ENCODING, USER_AGENT,
};
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use crate::domain::{Limits, Origin};

use super::HttpError;
use super::connect::{ANSWER_HEAD_BYTES_MAX, ANSWER_HEADERS_MAX, Sender, Wire};
use super::outbound::Outbound;

/// Brotli is not among them: its decoder lets a stream of a few bytes claim a gigabyte of window.
const ENCODINGS: HeaderValue = HeaderValue::from_static("gzip, deflate");
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("jackfield/", env!("CARGO_PKG_VERSION")));
/// Decoded bytes between two turns for other tasks.
const TURN_BYTES: usize = 256 * 1024;

/// A whole answer, decoded, not yet scrubbed.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// How an exchange failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The request came back: not one byte of it left.
    NotSent(String),
    /// The connection ended before anything was answered; the request may have arrived.
    Dropped(String),
    /// What came back is no answer.
    NoAnswer(HttpError),
    /// An answer began, with this status, and was not whole or not usable.
    Cut { status: u16, whole: bool, error: HttpError },
}

impl Fault {
    /// What the guest is told.
    pub(super) fn error(self) -> HttpError {
        match self {
            Self::NotSent(why) => HttpError::Unreachable(why),
            Self::Dropped(why) => HttpError::Interrupted(why),
            Self::NoAnswer(error) | Self::Cut { error, .. } => error,
        }
    }
}

/// The request in the form that its connection asks for.
pub(super) fn request_for(
    outbound: &Outbound,
    wire: &Wire,
) -> Result<Request<Full<Bytes>>, HttpError> {
    let path = outbound.path_and_query()?;
    let (scheme, authority) = scheme_and_authority(&outbound.origin);
    let mut headers = outbound.headers.clone();
    headers.insert(ACCEPT_ENCODING, ENCODINGS);
    headers.entry(USER_AGENT).or_insert(AGENT);
    let unfit = |error: http::Error| HttpError::Invalid(error.to_string());
    let absolute = || {
        let mut uri = Uri::builder().scheme(scheme).authority(authority.as_str());
        if let Some(path) = path.path_and_query() {
            uri = uri.path_and_query(path.clone());
        }
        uri.build().map_err(unfit)
    };
    let uri = match (&wire.sender, &wire.proxied) {
        (Sender::Http1(_), None) => path,
        _ => absolute()?,
    };
    if matches!(wire.sender, Sender::Http1(_)) {
        let host = HeaderValue::from_str(&authority).map_err(|error| unfit(error.into()))?;
        headers.insert(HOST, host);
    }
    if let Some(authorization) = wire.proxied.as_ref().and_then(|proxy| proxy.0.clone()) {
        headers.insert(PROXY_AUTHORIZATION, authorization);
    }
    let mut request = Request::new(Full::new(outbound.body.clone()));
    *request.method_mut() = outbound.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

fn scheme_and_authority(origin: &Origin) -> (&'static str, String) {
    let text = origin.to_string();
    let authority = text.split_once("://").map_or(text.as_str(), |(_, authority)| authority);
    (if origin.is_https() { "https" } else { "http" }, authority.to_owned())
}

/// Sends a request and reads its whole answer. The connection is fit for another request only if
/// this succeeds.
pub(super) async fn exchange(
    wire: &mut Wire,
    request: Request<Full<Bytes>>,
    limits: &Limits,
) -> Result<Answer, Fault> {
    let head = *request.method() == Method::HEAD;
    let sent = match &mut wire.sender {
        Sender::Http1(sender) => sender.try_send_request(request).await,
        Sender::Http2(sender) => sender.try_send_request(request).await,
    };
    let answer = sent.map_err(not_answered)?;
    read(answer, head, limits).await
}

fn not_answered(mut failed: TrySendError<Request<Full<Bytes>>>) -> Fault {
    let back = failed.take_message().is_some();
    let error = failed.into_error();
    let why = explain(&error);
    if back {
        Fault::NotSent(why)
    } else if error.is_parse_too_large() {
        Fault::NoAnswer(HttpError::Limit(format!(
            "the answer has more than {ANSWER_HEADERS_MAX} headers or {ANSWER_HEAD_BYTES_MAX} bytes \
             of them"
        )))
    } else if error.is_parse() || error.is_user() {
        Fault::NoAnswer(HttpError::Interrupted(why))
    } else {
        Fault::Dropped(why)
    }
}

async fn read(answer: Response<Incoming>, head: bool, limits: &Limits) -> Result<Answer, Fault> {
    let (parts, body) = answer.into_parts();
    let (status, mut headers) = (parts.status.as_u16(), parts.headers);
    let cut = |whole| move |error| Fault::Cut { status, whole, error };
    let limit = limits.response_body_bytes;
    let raw = collect(body, limit).await.map_err(cut(false))?;
    let body = decode(raw, &headers, limit).await.map_err(cut(true))?;
    headers.remove(CONTENT_ENCODING);
    headers.remove(TRANSFER_ENCODING);
    if !head {
        headers.remove(CONTENT_LENGTH);
        if !body.is_empty() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
    }
    Ok(Answer { status, headers, body })
}

/// The body as it comes, within the limit.
async fn collect(mut body: Incoming, limit: u64) -> Result<Bytes, HttpError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| HttpError::Interrupted(format!("the answer: {}", explain(&error))))?;
        let Ok(data) = frame.into_data() else { continue };
        if exceeds(whole.len() + data.len(), limit) {
            return Err(too_large(limit));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// The body without its content encoding, within the limit.
async fn decode(raw: Bytes, headers: &HeaderMap, limit: u64) -> Result<Bytes, HttpError> {
    let encoding = headers.get(CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase());
    let encoding = encoding.as_deref().unwrap_or(b"identity").trim_ascii();
    if raw.is_empty() || encoding == b"identity" || encoding.is_empty() {
        return Ok(raw);
    }
    let source = raw.as_ref();
    match encoding {
        b"gzip" | b"x-gzip" => gunzip(source, limit).await,
        b"deflate" if has_zlib_header(source) => whole(ZlibDecoder::new(source), limit).await,
        b"deflate" => whole(DeflateDecoder::new(source), limit).await,
        // Secrets could not be found in it.
        other => Err(HttpError::Interrupted(format!(
            "the answer is encoded as {:?}, which was not asked for",
            String::from_utf8_lossy(other)
        ))),
    }
}

/// All members, one after the other: there may be many that hold nothing.
async fn gunzip(mut source: &[u8], limit: u64) -> Result<Bytes, HttpError> {
    let mut whole = Vec::new();
    while !source.is_empty() {
        let mut member = GzDecoder::new(source);
        inflate(&mut member, &mut whole, limit).await?;
        source = member.into_inner();
    }
    Ok(Bytes::from(whole))
}

async fn whole(mut decoder: impl io::Read, limit: u64) -> Result<Bytes, HttpError> {
    let mut whole = Vec::new();
    inflate(&mut decoder, &mut whole, limit).await?;
    Ok(Bytes::from(whole))
}

/// Decompresses in turns.
async fn inflate(
    decoder: &mut impl io::Read,
    whole: &mut Vec<u8>,
    limit: u64,
) -> Result<(), HttpError> {
    loop {
        let read = decoder.by_ref().take(TURN_BYTES as u64).read_to_end(whole);
        let read = read.map_err(|error| {
            HttpError::Interrupted(format!("the answer cannot be decompressed: {error}"))
        })?;
        if exceeds(whole.len(), limit) {
            return Err(too_large(limit));
        }
        tokio::task::yield_now().await;
        if read == 0 {
            return Ok(());
        }
    }
}

/// Some servers send `deflate` without the wrapper that the standard asks for.
fn has_zlib_header(bytes: &[u8]) -> bool {
    matches!(bytes, [first, second, ..]
        if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]) % 31 == 0)
}

fn exceeds(bytes: usize, limit: u64) -> bool {
    u64::try_from(bytes).map_or(true, |bytes| bytes > limit)
}

fn too_large(limit: u64) -> HttpError {
    HttpError::Limit(format!("`limits.response_body_bytes` = {limit}: the answer is larger"))
}

/// An error with its causes, which hyper keeps out of its own text.
fn explain(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
