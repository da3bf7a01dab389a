//! The result of a replay as people read it: each request and the answer, recorded and replayed.

use crate::api::{ReplayedRequest, ReplayedRun, RequestText, Run};
use crate::console::event::{Used, used};
use crate::console::parts::{Badge, Sides, Tone};
use crate::domain::{Difference, Limits};

use serde_json::Value;

/// A recorded run beside its replay.
pub(super) struct ReplayPart {
    pub(super) run: Run,
    pub(super) verdict: Badge,
    /// The versions of both runs.
    pub(super) versions: String,
    pub(super) requests: Vec<RequestPart>,
    pub(super) answer: AnswerPart,
    pub(super) used: Vec<Used>,
    /// Why exchanges are missing in the recording.
    pub(super) missing: Option<String>,
}

/// A request of one run or of both.
pub(super) struct RequestPart {
    pub(super) difference: Badge,
    /// What the difference means.
    pub(super) why: String,
    pub(super) title: String,
    /// The parts that differ, or all parts of a request that one run did not send.
    pub(super) sides: Vec<Sides>,
    /// The request, if both runs sent the same.
    pub(super) text: Option<String>,
}

/// What the export returned.
pub(super) enum AnswerPart {
    Same(String),
    Different(Sides),
    /// The recording has no answer to compare with.
    Alone(String),
}

impl ReplayPart {
    pub(super) fn new(it: ReplayedRun) -> Self {
        let short = |sha256: &str| sha256.chars().take(8).collect::<String>();
        let versions = format!(
            "recorded with {} ({}), replayed with {} ({})",
            it.recorded_version,
            short(&it.recorded_sha256),
            it.run.connector_version,
            short(&it.run.connector_sha256),
        );
        let verdict = if it.is_same {
            Badge::new(Tone::Ok, "the same as recorded")
        } else {
            Badge::new(Tone::Warn, "different")
        };
        let mut limits = Limits::default();
        for (name, value) in &it.limits {
            // A name that no limit has is left out.
            let _ = limits.set(name, *value);
        }
        let now = pretty(&it.answer);
        let answer = match &it.recorded_answer {
            None => AnswerPart::Alone(now),
            Some(recorded) if *recorded == it.answer => AnswerPart::Same(now),
            Some(recorded) => AnswerPart::Different(Sides::new("Answer", &pretty(recorded), &now)),
        };
        Self {
            used: used(&it.run.usage, &limits),
            run: it.run,
            verdict,
            versions,
            requests: it.requests.into_iter().map(request).collect(),
            answer,
            missing: it.missing,
        }
    }
}

fn request(it: ReplayedRequest) -> RequestPart {
    let shown = it.replayed.as_ref().or(it.recorded.as_ref());
    let title = shown.map(|text| format!("{} {}", text.method, text.url)).unwrap_or_default();
    let answered = match it.status {
        Some(status) => format!("the recording answered {status}"),
        None => "the recording has no answer to it".to_owned(),
    };
    let (tone, word, why) = match it.difference.0 {
        Difference::Same => (Tone::Ok, "same", answered),
        Difference::Changed => (Tone::Warn, "changed", answered),
        Difference::Added => (
            Tone::Info,
            "added",
            "only the replay sent it; the recording has no answer to it".to_owned(),
        ),
        Difference::Missing => (Tone::Bad, "removed", "the replay did not send it".to_owned()),
    };
    let is_same = it.difference.0 == Difference::Same;
    let text = shown.filter(|_| is_same).map(whole);
    let sides = if is_same { Vec::new() } else { differences(&it) };
    RequestPart { difference: Badge::new(tone, word), why, title, sides, text }
}

/// The parts of the requests that differ.
fn differences(it: &ReplayedRequest) -> Vec<Sides> {
    type Part = (&'static str, &'static str, fn(&RequestText) -> String);
    let parts: [Part; 3] = [
        ("url", "Address", |text| format!("{} {}", text.method, text.url)),
        ("headers", "Headers", headers),
        ("body", "Body", body),
    ];
    let of = |text: &Option<RequestText>, part: fn(&RequestText) -> String| {
        text.as_ref().map(part).unwrap_or_default()
    };
    let both = it.recorded.is_some() && it.replayed.is_some();
    let parts = parts
        .into_iter()
        .filter(|(name, ..)| !both || it.changed.iter().any(|changed| changed == name));
    let compared =
        parts.map(|(_, title, part)| (title, of(&it.recorded, part), of(&it.replayed, part)));
    let compared = compared.filter(|(_, one, other)| !one.is_empty() || !other.is_empty());
    compared.map(|(title, one, other)| Sides::new(title, &one, &other)).collect()
}

fn headers(text: &RequestText) -> String {
    text.headers.iter().map(|it| format!("{}: {}\n", it.name, it.value)).collect()
}

/// The body as lines: JSON is indented.
fn body(text: &RequestText) -> String {
    match (&text.body, &text.body_base64) {
        (Some(body), _) => {
            serde_json::from_str(body).map_or_else(|_| body.clone(), |it| pretty(&it))
        }
        (None, Some(base64)) => {
            format!("{} bytes that are not text, in base64:\n{base64}", text.body_bytes)
        }
        (None, None) if text.body_bytes > 0 => format!("{} bytes", text.body_bytes),
        (None, None) => String::new(),
    }
}

fn whole(text: &RequestText) -> String {
    let (headers, body) = (headers(text), body(text));
    let separator = if headers.is_empty() || body.is_empty() { "" } else { "\n" };
    format!("{} {}\n{headers}{separator}{body}", text.method, text.url)
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
