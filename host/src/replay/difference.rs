//! Compares the requests of a replay with the requests of the recorded run. This file sends
//! nothing.

use bytes::Bytes;
use data_encoding::BASE64;

use crate::domain::{Difference, RECORDED_BODY_BYTES_MAX};
use crate::egress::{Comparison, Replay, TapedRequest};

/// A request of the recorded run, of the replay, or of both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayedRequest {
    /// How the recorded request and the request of the replay differ.
    pub difference: Difference,
    /// The parts that differ: `url`, `headers`, `body`; empty unless both runs sent the request.
    pub changed: Vec<&'static str>,
    /// The recorded request; `None` if only the replay sent the request.
    pub recorded: Option<RequestText>,
    /// The request of the replay; `None` if the replay did not send it.
    pub replayed: Option<RequestText>,
    /// The status of the recorded answer; `None` if no answer was recorded.
    pub status: Option<u16>,
}

/// A request without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestText {
    /// The HTTP method.
    pub method: String,
    /// The complete address.
    pub url: String,
    /// The headers, without headers that contain credentials.
    pub headers: Vec<(String, String)>,
    /// The body, if it is text, not empty and at most [`RECORDED_BODY_BYTES_MAX`] long.
    pub body: Option<String>,
    /// The body in base64, if it is not text and at most [`RECORDED_BODY_BYTES_MAX`] long.
    pub body_base64: Option<String>,
    /// The size of the body, bytes.
    pub body_bytes: u64,
}

/// Returns the requests of a replay in their order, then the recorded requests that the replay did
/// not send.
pub(super) fn compare_requests(replay: &Replay) -> Vec<ReplayedRequest> {
    replay.compare().into_iter().map(compared_request).collect()
}

fn compared_request(
    Comparison { sent_request, recorded_request, recorded_status }: Comparison,
) -> ReplayedRequest {
    let changed = match (&recorded_request, &sent_request) {
        (Some(recorded), Some(sent)) => changed_parts(recorded, sent),
        _ => Vec::new(),
    };
    let difference = match (&recorded_request, &sent_request) {
        (Some(_), None) => Difference::Missing,
        (None, _) => Difference::Added,
        (Some(_), Some(_)) if changed.is_empty() => Difference::Same,
        (Some(_), Some(_)) => Difference::Changed,
    };
    let recorded = recorded_request.map(request_text);
    let replayed = sent_request.map(request_text);
    ReplayedRequest { difference, changed, recorded, replayed, status: recorded_status }
}

/// Returns the parts in which two requests differ. Their methods are equal, because a replay only
/// answers a request with a recorded one of the same method.
fn changed_parts(recorded: &TapedRequest, sent: &TapedRequest) -> Vec<&'static str> {
    let parts = [
        ("url", recorded.url != sent.url),
        ("headers", recorded.headers != sent.headers),
        ("body", recorded.body != sent.body),
    ];
    parts.into_iter().filter_map(|(part, differs)| differs.then_some(part)).collect()
}

fn request_text(request: TapedRequest) -> RequestText {
    let TapedRequest { method, url, headers, body } = request;
    let body_bytes = body.len() as u64;
    let body = Some(body).filter(|it| !it.is_empty() && body_bytes <= RECORDED_BODY_BYTES_MAX);
    let is_text = |it: &Bytes| std::str::from_utf8(it).is_ok();
    let (text, base64) = match body {
        Some(body) if is_text(&body) => (Some(String::from_utf8_lossy(&body).into_owned()), None),
        Some(body) => (None, Some(BASE64.encode(&body))),
        None => (None, None),
    };
    RequestText { method, url, headers, body: text, body_base64: base64, body_bytes }
}
