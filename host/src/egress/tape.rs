//! Records the exchanges of a run, or answers the requests of a run from a recording.
//!
//! A tape records or replaces only the exchange with the tracker. Authorization, secrets, redirects
//! and the journal work as with a real tracker. Never records the secrets and tokens of a
//! connection.

mod folder;
mod recorder;
mod replay;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, COOKIE, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION,
    SET_COOKIE,
};
use http_body_util::Full;

use crate::domain::{RECORDED_BODY_BYTES_MAX, string_enum};
use crate::redact::TextKind;
use crate::transport::HttpConnection;

use super::HttpError;
use super::RunRequests;
use super::answer::{Answer, AnswerMemory, header_text};
use super::authorize::CheckedRequest;
use super::exchange::{ExchangeError, exchange_with_tracker};

pub use folder::{InvalidExchange, RecordingError, write_recording};
pub use recorder::Recorder;
use replay::ReplayResult;
pub use replay::{Comparison, Recording, Replay, Reply, SentRequest};

/// Headers that are never recorded: headers with credentials, and the length of the body.
const OMITTED_HEADERS: [HeaderName; 5] =
    [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE, CONTENT_LENGTH];

/// A recorded or replayed request. Its secrets are redacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapedRequest {
    /// The HTTP method.
    pub method: String,
    /// The complete address.
    pub url: String,
    /// The headers, without credentials and without `content-length`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// A complete answer. Its secrets are redacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapedAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The headers, without credentials and without `content-length`.
    pub headers: Vec<(String, String)>,
    /// The body, decompressed.
    pub body: Bytes,
}

string_enum! {
    /// The reason why a request gets no answer. Each variant is a case of `http-error` in the
    /// contract.
    pub enum NoAnswer {
        /// The host does not allow the request.
        Denied = "denied",
        /// A limit was exceeded.
        Limit = "limit",
        /// The tracker did not process the request.
        Unreachable = "unreachable",
        /// The request may have been sent, and no complete and usable answer arrived.
        Interrupted = "interrupted",
        /// The request is malformed and cannot be sent.
        Invalid = "invalid",
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TapedOutcome {
    Answer(TapedAnswer),
    /// The exchange had no usable answer. Secrets are redacted from the text of the error.
    Failure(HttpError),
}

/// Records the exchanges of a run, or answers its requests. A clone is cheap and shares its state
/// with the original.
#[derive(Clone)]
pub enum Tape {
    /// Records the exchanges with the tracker.
    Record(Arc<Recorder>),
    /// Answers each request from a recording.
    Replay(Arc<Replay>),
}

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Record(_) => "Record",
            Self::Replay(_) => "Replay",
        })
    }
}

/// The reason why an exchange was not recorded, or why a request has no recorded answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TapeError(pub(super) String);

impl Tape {
    pub(super) async fn exchange(
        &self,
        requests: &RunRequests,
        outbound: &CheckedRequest,
        connection: &mut HttpConnection,
        request: http::Request<Full<Bytes>>,
        memory: AnswerMemory,
    ) -> Result<Answer, ExchangeError> {
        match self {
            Self::Record(recorder) => {
                let answer = exchange_with_tracker(requests, connection, request, memory).await?;
                let proxy_refusal = connection.explain_proxy_refusal(answer.status);
                if proxy_refusal.is_none() && recorder.is_recording_at(requests.record.now()) {
                    // The answer may repeat a cookie that it sets. The redaction finds the cookie
                    // only if it is already stored.
                    requests.cookies.store(&outbound.origin, &outbound.url, &answer.headers);
                    record_answer(requests, recorder, outbound, &answer).await;
                }
                Ok(answer)
            }
            Self::Replay(replay) => {
                let replayed = replay.answer(&taped_request(requests, outbound), outbound.effect);
                let TapedAnswer { status, headers, body } =
                    replayed_answer(replayed).map_err(ExchangeError::ReplayFailed)?;
                let headers = header_map(&headers);
                let answer = Answer::from_recording(status, headers, &body, memory).await;
                answer.map_err(|source| ExchangeError::Body { status, source })
            }
        }
    }
}

fn replayed_answer(replayed: Result<ReplayResult, TapeError>) -> Result<TapedAnswer, HttpError> {
    match replayed {
        Ok(ReplayResult::Reply(Reply::Answer(answer))) => Ok(answer),
        Ok(ReplayResult::Reply(Reply::NoAnswer(case))) => {
            let text = "this failure is simulated by the test of the connector";
            Err(HttpError::from_case(case, text.to_owned()))
        }
        Ok(ReplayResult::Failed(error)) => Err(error),
        Err(not_recorded) => Err(HttpError::Unreachable(not_recorded.to_string())),
    }
}

/// Records that a request has no answer. The caller must have made its last attempt to send the
/// request.
pub(super) fn record_failure(requests: &RunRequests, outbound: &CheckedRequest, error: &HttpError) {
    let Some(Tape::Record(recorder)) = &requests.tape else { return };
    if !recorder.is_recording_at(requests.record.now()) {
        return;
    }
    if let Some(bytes) = recorder.size_if_too_large(outbound.body.len() as u64) {
        return recorder.record_missing(&request_line(requests, outbound), &body_too_large(bytes));
    }
    let (case, text) = error.clone().into_parts();
    let outcome = TapedOutcome::Failure(HttpError::from_case(case, requests.redact(text)));
    recorder.record(requests, taped_request(requests, outbound), outcome);
}

/// Does not record an error if a limit refused the request before it was sent, because a replay
/// checks the same limit before it reads the recording.
pub(super) fn record_failed_exchange(
    requests: &RunRequests,
    outbound: &CheckedRequest,
    error: ExchangeError,
) -> HttpError {
    let is_limit = matches!(error, ExchangeError::NotStarted(HttpError::Limit(_)));
    let error = HttpError::from(error);
    if !is_limit {
        record_failure(requests, outbound, &error);
    }
    error
}

async fn record_answer(
    requests: &RunRequests,
    recorder: &Recorder,
    outbound: &CheckedRequest,
    answer: &Answer,
) {
    let larger_body_bytes = answer.body.len().max(outbound.body.len() as u64);
    let taped = match recorder.size_if_too_large(larger_body_bytes) {
        Some(bytes) => Err(body_too_large(bytes)),
        None => taped_answer(requests, answer).await,
    };
    match taped {
        Ok(taped) => {
            recorder.record(
                requests,
                taped_request(requests, outbound),
                TapedOutcome::Answer(taped),
            );
        }
        Err(why) => recorder.record_missing(&request_line(requests, outbound), &why),
    }
}

fn body_too_large(bytes: u64) -> TapeError {
    TapeError(format!(
        "a body has {bytes} bytes; a recorded body may have at most {RECORDED_BODY_BYTES_MAX}"
    ))
}

fn request_line(requests: &RunRequests, outbound: &CheckedRequest) -> String {
    format!("{} {}", outbound.method, requests.redact(outbound.url.to_string()))
}

fn taped_request(requests: &RunRequests, outbound: &CheckedRequest) -> TapedRequest {
    TapedRequest {
        method: outbound.method.to_string(),
        url: requests.redact(outbound.url.to_string()),
        headers: recorded_headers(requests, &outbound.headers),
        body: redacted_body(requests, outbound.body.clone()),
    }
}

async fn taped_answer(requests: &RunRequests, answer: &Answer) -> Result<TapedAnswer, TapeError> {
    let body = answer.body.clone().into_memory(&requests.memory).await;
    let (body, _charge) = body.map_err(|error| TapeError(error.to_string()))?;
    Ok(TapedAnswer {
        status: answer.status,
        headers: recorded_headers(requests, &answer.headers),
        body: redacted_body(requests, body.into()),
    })
}

fn recorded_headers(requests: &RunRequests, headers: &HeaderMap) -> Vec<(String, String)> {
    let redactor = requests.active.credentials.redactor.load();
    let is_recorded = |name: &HeaderName, value: &HeaderValue| {
        let is_credential = value.is_sensitive() || OMITTED_HEADERS.contains(name);
        !is_credential && !redactor.contains_secret(TextKind::Name, name.as_str().as_bytes())
    };
    let recorded = headers.iter().filter(|(name, value)| is_recorded(name, value));
    let text = |value: &HeaderValue| requests.redact(header_text(value.as_bytes()));
    recorded.map(|(name, value)| (name.to_string(), text(value))).collect()
}

fn redacted_body(requests: &RunRequests, body: Bytes) -> Bytes {
    let redactor = requests.active.credentials.redactor.load();
    requests.cookies.redact_bytes(redactor.redact_bytes(body))
}

/// Converts the headers of a recording. Omits headers that are not valid HTTP.
fn header_map(headers: &[(String, String)]) -> HeaderMap {
    let valid = |(name, value): &(String, String)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    };
    let mut map = HeaderMap::new();
    for (name, value) in headers.iter().filter_map(valid) {
        map.append(name, value);
    }
    map
}
