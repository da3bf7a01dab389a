//! One request on one connection and its complete response: sent, read within the limits,
//! decoded.
//!
//! An error says what is known: nothing was sent, nothing came back, or the response is
//! incomplete. Never retries, never follows a redirect.

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
use tokio::time::{Instant, timeout_at};
use url::{Position, Url};

use crate::domain::{Limits, Origin};

use super::HttpError;
use super::authorize::Outbound;
use super::connect::{HttpConnection, RESPONSE_HEAD_BYTES_MAX, RESPONSE_HEADERS_MAX, Sender};

/// Brotli is not offered: its decoder lets a stream of a few bytes allocate a window of one
/// gigabyte.
const ENCODINGS: HeaderValue = HeaderValue::from_static("gzip, deflate");
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("jackfield/", env!("CARGO_PKG_VERSION")));
/// Bytes that are decoded before other tasks get a turn.
const YIELD_BYTES: usize = 256 * 1024;

/// A complete response, decoded, not yet redacted.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// How an exchange failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    /// The HTTP client returned the request: not one byte of it was sent.
    #[error("the request was not sent: {}", with_causes(.0))]
    NotSent(#[source] hyper::Error),
    /// The connection ended before a response began; the request may have arrived.
    #[error("the connection ended before a response: {}", with_causes(.0))]
    Dropped(#[source] hyper::Error),
    /// What came back is not HTTP.
    #[error("the response is not valid HTTP: {}", with_causes(.0))]
    NotHttp(#[source] hyper::Error),
    /// The response has too many headers.
    #[error(
        "the response has more than {RESPONSE_HEADERS_MAX} headers, or its status line and headers \
         have more than {RESPONSE_HEAD_BYTES_MAX} bytes"
    )]
    HeadTooLarge,
    /// The time for the run's requests passed first.
    #[error(
        "no complete response in the time of the run (`limits.run_ms`) or before the server ended"
    )]
    DeadlineExceeded,
    /// A response began, with this status, and its body is incomplete or cannot be used.
    #[error("answered {status}, then: {source}")]
    Body {
        /// The status.
        status: u16,
        /// What is wrong with the body.
        source: BodyError,
    },
}

/// Why the body of a response cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// The connection ended or the framing is invalid.
    #[error("the response ended early: {}", with_causes(.0))]
    Incomplete(#[source] hyper::Error),
    /// The body exceeds its limit; the rest was not read.
    #[error("`limits.response_body_bytes` = {0}: the response body is larger")]
    TooLarge(u64),
    /// The body was complete, and is too large once it is decoded.
    #[error("`limits.response_body_bytes` = {0}: the response body is larger when decompressed")]
    TooLargeDecoded(u64),
    /// The body is complete and cannot be decompressed.
    #[error("the response body cannot be decompressed: {0}")]
    Decompress(#[source] io::Error),
    /// The body is complete and encoded in a way that the host does not decode: secrets could not
    /// be found in it.
    #[error("the response has the unsupported content encoding {0:?}")]
    UnsupportedEncoding(String),
}

impl BodyError {
    /// Whether the body was received to its end.
    pub(super) fn is_complete(&self) -> bool {
        match self {
            Self::Incomplete(_) | Self::TooLarge(_) => false,
            Self::TooLargeDecoded(_) | Self::Decompress(_) | Self::UnsupportedEncoding(_) => true,
        }
    }
}

impl From<ExchangeError> for HttpError {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::NotSent(_) => Self::Unreachable(error.to_string()),
            ExchangeError::HeadTooLarge => Self::Limit(error.to_string()),
            ExchangeError::Body {
                source: source @ (BodyError::TooLarge(_) | BodyError::TooLargeDecoded(_)),
                ..
            } => Self::Limit(source.to_string()),
            _ => Self::Interrupted(error.to_string()),
        }
    }
}

/// The request in the form that its connection needs.
pub(super) fn build_request(
    outbound: &Outbound,
    connection: &HttpConnection,
) -> Result<Request<Full<Bytes>>, HttpError> {
    let invalid = |error: http::Error| HttpError::Invalid(format!("cannot be sent: {error}"));
    let path = path_and_query(&outbound.url)?;
    let (scheme, authority) = scheme_and_authority(&outbound.origin);
    let mut headers = outbound.headers.clone();
    headers.insert(ACCEPT_ENCODING, ENCODINGS);
    headers.entry(USER_AGENT).or_insert(AGENT);
    if let Sender::Http1(_) = &connection.sender {
        let host = HeaderValue::from_str(&authority).map_err(|error| invalid(error.into()))?;
        headers.insert(HOST, host);
    }
    if let Some(authorization) = connection.proxy.as_ref().and_then(|proxy| proxy.0.clone()) {
        headers.insert(PROXY_AUTHORIZATION, authorization);
    }
    let uri = match (&connection.sender, &connection.proxy) {
        (Sender::Http1(_), None) => path,
        // HTTP/2 and proxies need the absolute form.
        _ => {
            let mut uri = Uri::builder().scheme(scheme).authority(authority);
            if let Some(path) = path.path_and_query() {
                uri = uri.path_and_query(path.clone());
            }
            uri.build().map_err(invalid)?
        }
    };
    let mut request = Request::new(Full::new(outbound.body.clone()));
    *request.method_mut() = outbound.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Path and query of a URL as they are sent.
pub(crate) fn path_and_query(url: &Url) -> Result<Uri, HttpError> {
    let text = &url[Position::BeforePath..Position::AfterQuery];
    text.parse().map_err(|error| HttpError::Invalid(format!("the path cannot be sent: {error}")))
}

fn scheme_and_authority(origin: &Origin) -> (&'static str, String) {
    let text = origin.to_string();
    let authority = text.split_once("://").map_or(text.as_str(), |(_, authority)| authority);
    (if origin.is_https() { "https" } else { "http" }, authority.to_owned())
}

/// Sends a request and reads its complete response by the deadline. Only if this succeeds may the
/// connection be used for another request.
pub(super) async fn exchange(
    connection: &mut HttpConnection,
    request: Request<Full<Bytes>>,
    limits: &Limits,
    deadline: Instant,
) -> Result<Answer, ExchangeError> {
    let is_head = *request.method() == Method::HEAD;
    let exchanging = async {
        let sent = match &mut connection.sender {
            Sender::Http1(sender) => sender.try_send_request(request).await,
            Sender::Http2(sender) => sender.try_send_request(request).await,
        };
        let response = sent.map_err(not_answered)?;
        read_response(response, is_head, limits.response_body_bytes).await
    };
    timeout_at(deadline, exchanging).await.unwrap_or(Err(ExchangeError::DeadlineExceeded))
}

fn not_answered(mut failed: TrySendError<Request<Full<Bytes>>>) -> ExchangeError {
    let returned = failed.take_message().is_some();
    let error = failed.into_error();
    if returned {
        ExchangeError::NotSent(error)
    } else if error.is_parse_too_large() {
        ExchangeError::HeadTooLarge
    } else if error.is_parse() || error.is_user() {
        ExchangeError::NotHttp(error)
    } else {
        ExchangeError::Dropped(error)
    }
}

async fn read_response(
    response: Response<Incoming>,
    is_head: bool,
    limit: u64,
) -> Result<Answer, ExchangeError> {
    let (parts, body) = response.into_parts();
    let (status, mut headers) = (parts.status.as_u16(), parts.headers);
    let body = match read_body(body, limit).await {
        Ok(raw) => decode(raw, &headers, limit).await,
        Err(error) => Err(error),
    };
    let body = body.map_err(|source| ExchangeError::Body { status, source })?;
    headers.remove(CONTENT_ENCODING);
    headers.remove(TRANSFER_ENCODING);
    if !is_head {
        headers.remove(CONTENT_LENGTH);
        if !body.is_empty() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
    }
    Ok(Answer { status, headers, body })
}

/// The body as it was sent, within the limit.
async fn read_body(mut body: Incoming, limit: u64) -> Result<Bytes, BodyError> {
    let mut received = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(BodyError::Incomplete)?.into_data() else { continue };
        if (received.len() + data.len()) as u64 > limit {
            return Err(BodyError::TooLarge(limit));
        }
        received.extend_from_slice(&data);
    }
    Ok(received.freeze())
}

/// The body without its content encoding, within the limit.
async fn decode(raw: Bytes, headers: &HeaderMap, limit: u64) -> Result<Bytes, BodyError> {
    let encoding = headers.get(CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase());
    let encoding = encoding.as_deref().unwrap_or(b"identity").trim_ascii();
    if raw.is_empty() || encoding == b"identity" || encoding.is_empty() {
        return Ok(raw);
    }
    let mut decoded = Vec::new();
    let mut source = raw.as_ref();
    match encoding {
        // There may be several members, one after the other, some of them empty.
        b"gzip" | b"x-gzip" => {
            while !source.is_empty() {
                let mut member = GzDecoder::new(source);
                inflate(&mut member, &mut decoded, limit).await?;
                source = member.into_inner();
            }
        }
        b"deflate" if has_zlib_header(source) => {
            inflate(&mut ZlibDecoder::new(source), &mut decoded, limit).await?;
        }
        b"deflate" => inflate(&mut DeflateDecoder::new(source), &mut decoded, limit).await?,
        other => {
            let encoding = String::from_utf8_lossy(other).into_owned();
            return Err(BodyError::UnsupportedEncoding(encoding));
        }
    }
    Ok(Bytes::from(decoded))
}

/// Decompresses piece by piece, so that other tasks get a turn.
async fn inflate(
    decoder: &mut impl io::Read,
    decoded: &mut Vec<u8>,
    limit: u64,
) -> Result<(), BodyError> {
    loop {
        let read = decoder.by_ref().take(YIELD_BYTES as u64).read_to_end(decoded);
        let read = read.map_err(BodyError::Decompress)?;
        if decoded.len() as u64 > limit {
            return Err(BodyError::TooLargeDecoded(limit));
        }
        tokio::task::yield_now().await;
        if read == 0 {
            return Ok(());
        }
    }
}

/// Some servers send `deflate` without the zlib header that the standard demands.
fn has_zlib_header(bytes: &[u8]) -> bool {
    matches!(bytes, [first, second, ..]
        if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]) % 31 == 0)
}

/// An error with its causes, which hyper leaves out of its own text.
fn with_causes(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
