//! What a replay asked of the tracker, beside what the recorded run asked.

use bytes::Bytes;
use data_encoding::BASE64;

use crate::domain::{Difference, RECORDED_BODY_BYTES_MAX};
use crate::egress::{Comparison, Replay, TapedRequest};

/// A request of the recorded run, of the replay, or of both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayedRequest {
    /// How the two differ.
    pub difference: Difference,
    /// The parts that differ: `url`, `headers`, `body`.
    pub changed: Vec<&'static str>,
    /// The recorded request; absent if it was added.
    pub recorded: Option<RequestText>,
    /// The request of the replay; absent if it is missing.
    pub replayed: Option<RequestText>,
    /// The status with which the recording answers; absent if it has no answer.
    pub status: Option<u16>,
}

/// A request without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestText {
    /// The HTTP method.
    pub method: String,
    /// The complete address.
    pub url: String,
    /// The headers, without those that are credentials.
    pub headers: Vec<(String, String)>,
    /// The body, if it is text and not too large.
    pub body: Option<String>,
    /// The body in base64, if it is not text and not too large.
    pub body_base64: Option<String>,
    /// The size of the body.
    pub body_bytes: u64,
}

/// The requests of a replay in their order, then those that it did not send.
pub(super) fn requests(replay: &Replay) -> Vec<ReplayedRequest> {
    replay.compare().into_iter().map(request).collect()
}

fn request(Comparison { sent, recorded, status }: Comparison) -> ReplayedRequest {
    let changed = match (&recorded, &sent) {
        (Some(recorded), Some(sent)) => changed_parts(recorded, sent),
        _ => Vec::new(),
    };
    let difference = match (&recorded, &sent) {
        (Some(_), None) => Difference::Missing,
        (None, _) => Difference::Added,
        (Some(_), Some(_)) if changed.is_empty() => Difference::Same,
        (Some(_), Some(_)) => Difference::Changed,
    };
    let (recorded, replayed) = (recorded.map(text), sent.map(text));
    ReplayedRequest { difference, changed, recorded, replayed, status }
}

/// The parts of two requests that differ. The method of a request that was answered is never
/// another.
fn changed_parts(one: &TapedRequest, other: &TapedRequest) -> Vec<&'static str> {
    let parts = [
        ("url", one.url != other.url),
        ("headers", one.headers != other.headers),
        ("body", one.body != other.body),
    ];
    parts.into_iter().filter_map(|(part, differs)| differs.then_some(part)).collect()
}

fn text(request: TapedRequest) -> RequestText {
    let TapedRequest { method, url, headers, body } = request;
    let body_bytes = body.len() as u64;
    let shown = Some(body).filter(|it| !it.is_empty() && body_bytes <= RECORDED_BODY_BYTES_MAX);
    let is_text = |it: &Bytes| std::str::from_utf8(it).is_ok();
    let (text, other) = match shown {
        Some(body) if is_text(&body) => (Some(String::from_utf8_lossy(&body).into_owned()), None),
        Some(body) => (None, Some(BASE64.encode(&body))),
        None => (None, None),
    };
    RequestText { method, url, headers, body: text, body_base64: other, body_bytes }
}
