//! Sends one request on one HTTP connection and reads the complete response.
//!
//! An error states what is certain, for example that nothing was sent, or that the request was not
//! processed. Never sends a request again, never follows a redirect.

use bytes::Bytes;
use h2::Reason;
use http::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, HOST, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT,
};
use http::{Method, Request, Uri};
use http_body_util::Full;
use hyper::client::conn::TrySendError;
use std::error::Error as _;
use url::{Position, Url};

use crate::domain::Origin;

use super::answer::{Answer, AnswerMemory, BodyError, read_response};
use super::authorize::CheckedRequest;
use super::spool::SpoolError;
use super::{HttpError, RunRequests};
use crate::telemetry::TraceParent;
use crate::transport::{HttpConnection, RESPONSE_HEAD_BYTES_MAX, RESPONSE_HEADERS_MAX, Sender};

/// Brotli is not offered, because a stream of a few bytes can make its decoder allocate a window of
/// one gigabyte.
const ACCEPTED_ENCODINGS: HeaderValue = HeaderValue::from_static("gzip, deflate");
const DEFAULT_USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("jackfield/", env!("CARGO_PKG_VERSION")));
const REPLAY_SENDS_NOTHING: &str = "answers come from a recording, so nothing is sent";

#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    /// The host did not send the request, for example because it could not connect.
    #[error(transparent)]
    NotStarted(HttpError),
    /// The HTTP client returned the request unsent, or the tracker refused the HTTP/2 request
    /// without processing it.
    #[error("the server did not process the request: {}", error_with_causes(.0))]
    NotSent(#[source] hyper::Error),
    /// The tracker refused the HTTP/2 stream of the request, because it processes this request in
    /// HTTP/1.1 only.
    #[error("the server answers this request in HTTP/1.1 only: {}", error_with_causes(.0))]
    Http1Required(#[source] hyper::Error),
    /// A recording answers the requests of the run. It has no answer to this request, or the
    /// recorded or simulated exchange failed.
    #[error(transparent)]
    ReplayFailed(HttpError),
    /// The proxy answered instead of the tracker, and refused the request.
    #[error("{0}")]
    RefusedByProxy(String),
    /// The HTTP connection or the HTTP/2 stream ended before a response began. The request may have
    /// arrived.
    #[error("the connection ended before a response: {}", error_with_causes(.0))]
    Dropped(#[source] hyper::Error),
    #[error("the response is not valid HTTP: {}", error_with_causes(.0))]
    NotHttp(#[source] hyper::Error),
    #[error(
        "the response has more than {RESPONSE_HEADERS_MAX} headers, or its status line and headers \
         have more than {RESPONSE_HEAD_BYTES_MAX} bytes"
    )]
    HeadTooLarge,
    #[error(
        "no complete response before the deadline of the run's requests (`limits.run_ms`) or the \
         shutdown of this server"
    )]
    DeadlineExceeded,
    #[error("the server answered {status}, but the body cannot be used: {source}")]
    Body {
        /// The status of the response.
        status: u16,
        source: BodyError,
    },
}

impl ExchangeError {
    /// Returns `false` if it is certain that the tracker did not process the request. A request
    /// that a proxy refused counts as sent.
    pub(super) fn was_sent(&self) -> bool {
        match self {
            Self::NotStarted(_) | Self::NotSent(_) | Self::Http1Required(_) => false,
            Self::ReplayFailed(error) => match error {
                HttpError::Denied(_)
                | HttpError::NotGranted(_)
                | HttpError::Unreachable(_)
                | HttpError::Invalid(_) => false,
                HttpError::Limit(_) | HttpError::Interrupted(_) => true,
            },
            Self::RefusedByProxy(_)
            | Self::Dropped(_)
            | Self::NotHttp(_)
            | Self::HeadTooLarge
            | Self::DeadlineExceeded
            | Self::Body { .. } => true,
        }
    }
}

impl From<ExchangeError> for HttpError {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::NotStarted(error) | ExchangeError::ReplayFailed(error) => error,
            ExchangeError::NotSent(_)
            | ExchangeError::Http1Required(_)
            | ExchangeError::RefusedByProxy(_) => Self::Unreachable(error.to_string()),
            ExchangeError::HeadTooLarge => Self::Limit(error.to_string()),
            ExchangeError::Body {
                source:
                    source @ (BodyError::TooLarge(_)
                    | BodyError::TooLargeDecoded(_)
                    | BodyError::Spool(SpoolError::Full(_))),
                ..
            } => Self::Limit(source.to_string()),
            _ => Self::Interrupted(error.to_string()),
        }
    }
}

/// Builds an HTTP request in the form that the HTTP connection needs (HTTP/1.1, HTTP/2, or a
/// proxy).
pub(super) fn build_request(
    outbound: &CheckedRequest,
    connection: &HttpConnection,
) -> Result<Request<Full<Bytes>>, HttpError> {
    let invalid =
        |error: http::Error| HttpError::Invalid(format!("the request cannot be sent: {error}"));
    let path = path_and_query(&outbound.url)?;
    let (scheme, authority) = scheme_and_authority(&outbound.origin);
    let mut headers = outbound.headers.clone();
    headers.insert(ACCEPT_ENCODING, ACCEPTED_ENCODINGS);
    headers.entry(USER_AGENT).or_insert(DEFAULT_USER_AGENT);
    if let Some(traceparent) = &outbound.traceparent {
        headers.insert(TraceParent::HEADER, traceparent.clone());
    }
    if outbound.body.is_empty()
        && !matches!(outbound.method, Method::GET | Method::HEAD | Method::OPTIONS)
    {
        // Some servers answer 411 if this header is missing.
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    if let Sender::Http1(_) = &connection.sender {
        let host = HeaderValue::from_str(&authority).map_err(|error| invalid(error.into()))?;
        headers.insert(HOST, host);
    }
    let proxy = connection.forwarding_proxy.as_ref();
    if let Some(authorization) = proxy.and_then(|proxy| proxy.authorization.clone()) {
        headers.insert(PROXY_AUTHORIZATION, authorization);
    }
    let uri = match (&connection.sender, proxy) {
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

/// Returns the path and the query of a URL as they are sent.
pub(crate) fn path_and_query(url: &Url) -> Result<Uri, HttpError> {
    let text = &url[Position::BeforePath..Position::AfterQuery];
    text.parse().map_err(|error| {
        HttpError::Invalid(format!("the path and query of the URL cannot be sent: {error}"))
    })
}

fn scheme_and_authority(origin: &Origin) -> (&'static str, String) {
    let text = origin.to_string();
    let authority = text.split_once("://").map_or(text.as_str(), |(_, authority)| authority);
    (if origin.is_https() { "https" } else { "http" }, authority.to_owned())
}

pub(super) async fn exchange(
    requests: &RunRequests,
    outbound: &CheckedRequest,
    connection: &mut HttpConnection,
    request: Request<Full<Bytes>>,
    memory: AnswerMemory,
) -> Result<Answer, ExchangeError> {
    match &requests.tape {
        Some(tape) => tape.exchange(requests, outbound, connection, request, memory).await,
        None => exchange_with_tracker(requests, connection, request, memory).await,
    }
}

/// After an error, the caller must not use the HTTP connection for another request.
pub(super) async fn exchange_with_tracker(
    requests: &RunRequests,
    connection: &mut HttpConnection,
    request: Request<Full<Bytes>>,
    memory: AnswerMemory,
) -> Result<Answer, ExchangeError> {
    let is_head = *request.method() == Method::HEAD;
    let exchanging = async {
        let sent = match &mut connection.sender {
            Sender::Http1(sender) => sender.try_send_request(request).await,
            Sender::Http2(sender) => sender.try_send_request(request).await,
            Sender::Recorded => {
                let why = HttpError::Unreachable(REPLAY_SENDS_NOTHING.to_owned());
                return Err(ExchangeError::NotStarted(why));
            }
        };
        let response = sent.map_err(classify_send_error)?;
        let answer = read_response(response, is_head, memory).await;
        answer.map_err(|(status, source)| ExchangeError::Body { status, source })
    };
    requests.until_deadline(exchanging).await.unwrap_or(Err(ExchangeError::DeadlineExceeded))
}

/// Decides whether the tracker may have processed a request that failed.
fn classify_send_error(mut failed: TrySendError<Request<Full<Bytes>>>) -> ExchangeError {
    let is_returned = failed.take_message().is_some();
    let error = failed.into_error();
    let refusal = refusal_reason(&error);
    if refusal == Some(Reason::HTTP_1_1_REQUIRED) {
        ExchangeError::Http1Required(error)
    } else if is_returned || refusal.is_some() {
        ExchangeError::NotSent(error)
    } else if error.is_parse_too_large() {
        ExchangeError::HeadTooLarge
    } else if error.is_parse() || error.is_user() {
        ExchangeError::NotHttp(error)
    } else {
        ExchangeError::Dropped(error)
    }
}

/// Returns the HTTP/2 error code if the tracker refused the request without processing it: it
/// resets the stream with one of two codes, or sends `GOAWAY` and names an earlier stream as the
/// last one that it processes (RFC 9113, section 8.7). The HTTP client reports `GOAWAY` only for
/// streams that the tracker did not process.
fn refusal_reason(error: &hyper::Error) -> Option<Reason> {
    let error = error.source()?.downcast_ref::<h2::Error>()?;
    let reason = error.reason().filter(|_| error.is_remote())?;
    let is_refusal = matches!(reason, Reason::REFUSED_STREAM | Reason::HTTP_1_1_REQUIRED);
    (is_refusal || error.is_go_away()).then_some(reason)
}

/// The text of a hyper error alone omits its causes.
pub(super) fn error_with_causes(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
