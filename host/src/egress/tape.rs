//! Keeps the exchanges of a run without credentials, or answers requests from exchanges that were
//! kept: tests of a connector need no tracker.
//!
//! It works below authorization, secrets, redirects and the journal, so these behave as with a real
//! tracker. What is kept and what is compared has no secret in it: both are redacted here.

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
use super::authorize::Outbound;
use super::exchange::{ExchangeError, exchange_with_tracker};

pub use folder::{InvalidExchange, NotUsable, write_recording};
pub use recorder::Recorder;
use replay::Answered;
pub use replay::{Comparison, Recording, Replay, Reply, SentRequest};

/// Headers that are never kept: credentials, and the length, which follows from the body.
const OMITTED_HEADERS: [HeaderName; 5] =
    [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE, CONTENT_LENGTH];

/// A request without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapedRequest {
    /// The HTTP method.
    pub method: String,
    /// The complete address.
    pub url: String,
    /// Without credentials and without the length.
    pub headers: Vec<(String, String)>,
    /// The body, as the connector wrote it.
    pub body: Bytes,
}

/// A complete answer without credentials, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapedAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Without credentials and without the length.
    pub headers: Vec<(String, String)>,
    /// The body, decompressed.
    pub body: Bytes,
}

string_enum! {
    /// Why a replayed request gets no answer: the cases of the contract's `http-error`.
    pub enum NoAnswer {
        /// The connection does not allow the request.
        Denied = "denied",
        /// A limit was exceeded.
        Limit = "limit",
        /// Nothing was sent.
        Unreachable = "unreachable",
        /// The request was sent, and no complete answer came back.
        Interrupted = "interrupted",
        /// The request cannot be sent.
        Invalid = "invalid",
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TapedEnd {
    Answer(TapedAnswer),
    /// There was no complete answer; the text has no secret.
    Failure(HttpError),
}

/// Keeps the exchanges of a run, or answers its requests. Cheap to clone.
#[derive(Clone)]
pub enum Tape {
    /// Keeps each exchange with the tracker.
    Record(Arc<Recorder>),
    /// Answers each request from a recording. Then no connection is made.
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
    /// One exchange: with the tracker, which is recorded, or with the recording.
    pub(super) async fn exchange(
        &self,
        session: &RunRequests,
        outbound: &Outbound,
        connection: &mut HttpConnection,
        request: http::Request<Full<Bytes>>,
        memory: AnswerMemory,
    ) -> Result<Answer, ExchangeError> {
        match self {
            Self::Record(recorder) => {
                let answer = exchange_with_tracker(session, connection, request, memory).await?;
                let of_proxy = connection.refused_by_proxy(answer.status);
                if of_proxy.is_none() && recorder.is_on(session.record.now()) {
                    // Before it is redacted: an answer may repeat the cookie that it sets.
                    session.cookies.store(&outbound.origin, &outbound.url, &answer.headers);
                    record_answer(session, recorder, outbound, &answer).await;
                }
                Ok(answer)
            }
            Self::Replay(replay) => {
                let replayed = replay.answer(&taped_request(session, outbound), outbound.effect);
                let TapedAnswer { status, headers, body } =
                    replayed_answer(replayed).map_err(ExchangeError::Replayed)?;
                let answer = Answer::recorded(status, header_map(&headers), &body, memory).await;
                answer.map_err(|source| ExchangeError::Body { status, source })
            }
        }
    }
}

/// The answer that a recording has for a request, or that a test of the connector puts there.
fn replayed_answer(replayed: Result<Answered, TapeError>) -> Result<TapedAnswer, HttpError> {
    match replayed {
        Ok(Answered::Reply(Reply::Answer(answer))) => Ok(answer),
        Ok(Answered::Reply(Reply::NoAnswer(case))) => {
            Err(HttpError::of(case, "simulated by the test of the connector".to_owned()))
        }
        Ok(Answered::Failed(error)) => Err(error),
        Err(not_recorded) => Err(HttpError::Unreachable(not_recorded.to_string())),
    }
}

/// Records that a request has no answer; for the last attempt at the request.
pub(super) fn tape_failure(session: &RunRequests, outbound: &Outbound, error: &HttpError) {
    let Some(Tape::Record(recorder)) = &session.tape else { return };
    if !recorder.is_on(session.record.now()) {
        return;
    }
    if let Some(bytes) = recorder.over_limit(outbound.body.len() as u64) {
        return recorder.leave_out(&what(session, outbound), &body_too_large(bytes));
    }
    let (case, text) = error.clone().into_parts();
    let end = TapedEnd::Failure(HttpError::of(case, session.redact(text)));
    recorder.keep(session, taped_request(session, outbound), end);
}

/// As [`tape_failure`], for the end of an exchange. Does not record a limit that refused the
/// request before it was sent: a replay checks the same limit before it reads the recording.
pub(super) fn tape_failed_exchange(
    session: &RunRequests,
    outbound: &Outbound,
    error: ExchangeError,
) -> HttpError {
    let is_limit = matches!(error, ExchangeError::NotStarted(HttpError::Limit(_)));
    let error = HttpError::from(error);
    if !is_limit {
        tape_failure(session, outbound, &error);
    }
    error
}

async fn record_answer(
    session: &RunRequests,
    recorder: &Recorder,
    outbound: &Outbound,
    answer: &Answer,
) {
    let longest = answer.body.len().max(outbound.body.len() as u64);
    let taped = match recorder.over_limit(longest) {
        Some(bytes) => Err(body_too_large(bytes)),
        None => taped_answer(session, answer).await,
    };
    match taped {
        Ok(taped) => {
            recorder.keep(session, taped_request(session, outbound), TapedEnd::Answer(taped));
        }
        Err(why) => recorder.leave_out(&what(session, outbound), &why),
    }
}

fn body_too_large(bytes: u64) -> TapeError {
    TapeError(format!("a body has {bytes} bytes, more than {RECORDED_BODY_BYTES_MAX}"))
}

/// Method and URL of a request, without secrets.
fn what(session: &RunRequests, outbound: &Outbound) -> String {
    format!("{} {}", outbound.method, session.redact(outbound.url.to_string()))
}

fn taped_request(session: &RunRequests, outbound: &Outbound) -> TapedRequest {
    TapedRequest {
        method: outbound.method.to_string(),
        url: session.redact(outbound.url.to_string()),
        headers: kept_headers(session, &outbound.headers),
        body: redacted_body(session, outbound.body.clone()),
    }
}

async fn taped_answer(session: &RunRequests, answer: &Answer) -> Result<TapedAnswer, TapeError> {
    let body = answer.body.clone().into_memory(&session.memory).await;
    let (body, _charge) = body.map_err(|error| TapeError(error.to_string()))?;
    Ok(TapedAnswer {
        status: answer.status,
        headers: kept_headers(session, &answer.headers),
        body: redacted_body(session, body.into()),
    })
}

/// The headers without those that are credentials, and without secrets in the others.
fn kept_headers(session: &RunRequests, headers: &HeaderMap) -> Vec<(String, String)> {
    let redactor = session.active.credentials.redactor.load();
    let is_kept = |name: &HeaderName, value: &HeaderValue| {
        let is_credential = value.is_sensitive() || OMITTED_HEADERS.contains(name);
        !is_credential && !redactor.finds(TextKind::Name, name.as_str().as_bytes())
    };
    let kept = headers.iter().filter(|(name, value)| is_kept(name, value));
    let text = |value: &HeaderValue| session.redact(header_text(value.as_bytes()));
    kept.map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// A body as a connector would read it: without secrets, and without the cookies of the run.
fn redacted_body(session: &RunRequests, body: Bytes) -> Bytes {
    session.cookies.redact_bytes(session.active.credentials.redactor.load().bytes(body))
}

/// The headers of a recording; one that is not valid HTTP is left out.
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
