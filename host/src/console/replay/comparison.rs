//! Prepares the result of a replay for its page: compares the recorded and the replayed requests
//! and answers.

use crate::api::{ReplayedRequest, ReplayedRun, RequestText, Run};
use crate::console::event::{UsedLimit, used_limits};
use crate::console::parts::{Badge, TextComparison, Tone};
use crate::domain::{Difference, Limits};

use serde_json::Value;

/// A recorded run and its replay. `run` is the replay.
pub(super) struct ReplayPart {
    pub(super) run: Run,
    pub(super) verdict: Badge,
    /// A phrase with the versions of the connector in both runs.
    pub(super) versions: String,
    pub(super) requests: Vec<RequestComparison>,
    pub(super) answer: AnswerComparison,
    pub(super) used_limits: Vec<UsedLimit>,
    /// The reason why exchanges are missing in the recording.
    pub(super) missing_reason: Option<String>,
}

/// A request of the recorded run, of its replay, or of both.
pub(super) struct RequestComparison {
    pub(super) difference: Badge,
    /// What the recording answered, or which of the two runs did not send the request.
    pub(super) note: String,
    /// The method and the URL of the request.
    pub(super) title: String,
    /// The parts that differ. If only one run sent the request, these are all its parts.
    pub(super) compared_parts: Vec<TextComparison>,
    /// The text of the request, if both runs sent the same one.
    pub(super) same_text: Option<String>,
}

/// The values that the export returned in both runs.
pub(super) enum AnswerComparison {
    Same(String),
    Different(TextComparison),
    /// The value of the replay. The recording has none.
    NotRecorded(String),
}

impl ReplayPart {
    pub(super) fn new(replayed: ReplayedRun) -> Self {
        let short = |sha256: &str| sha256.chars().take(8).collect::<String>();
        let versions = format!(
            "recorded with {} ({}), replayed with {} ({})",
            replayed.recorded_version,
            short(&replayed.recorded_sha256),
            replayed.run.connector_version,
            short(&replayed.run.connector_sha256),
        );
        let verdict = if replayed.is_same {
            Badge::new(Tone::Ok, "the same as recorded")
        } else {
            Badge::new(Tone::Warn, "different")
        };
        let mut limits = Limits::default();
        for (name, value) in &replayed.limits {
            // Ignore the names of limits that this version of Jackfield does not have.
            let _ = limits.set(name, *value);
        }
        let new_text = pretty_json(&replayed.answer);
        let answer = match &replayed.recorded_answer {
            None => AnswerComparison::NotRecorded(new_text),
            Some(recorded) if *recorded == replayed.answer => AnswerComparison::Same(new_text),
            Some(recorded) => AnswerComparison::Different(TextComparison::new(
                "Answer",
                &pretty_json(recorded),
                &new_text,
            )),
        };
        Self {
            used_limits: used_limits(&replayed.run.usage, &limits),
            run: replayed.run,
            verdict,
            versions,
            requests: replayed.requests.into_iter().map(request_comparison).collect(),
            answer,
            missing_reason: replayed.missing,
        }
    }
}

fn request_comparison(request: ReplayedRequest) -> RequestComparison {
    let either = request.replayed.as_ref().or(request.recorded.as_ref());
    let title = either.map(|text| format!("{} {}", text.method, text.url)).unwrap_or_default();
    let answered = match request.status {
        Some(status) => format!("the recording answered {status}"),
        None => "the recording has no answer to this request".to_owned(),
    };
    let (tone, word, note) = match request.difference.0 {
        Difference::Same => (Tone::Ok, "same", answered),
        Difference::Changed => (Tone::Warn, "changed", answered),
        Difference::Added => (
            Tone::Info,
            "added",
            "only the replay sent this request; the recording has no answer to it".to_owned(),
        ),
        Difference::Missing => {
            (Tone::Bad, "removed", "the replay did not send this request".to_owned())
        }
    };
    let is_same = request.difference.0 == Difference::Same;
    let same_text = either.filter(|_| is_same).map(request_text);
    let compared_parts = if is_same { Vec::new() } else { compare_parts(&request) };
    let difference = Badge::new(tone, word);
    RequestComparison { difference, note, title, compared_parts, same_text }
}

fn compare_parts(request: &ReplayedRequest) -> Vec<TextComparison> {
    type Part = (&'static str, &'static str, fn(&RequestText) -> String);
    let parts: [Part; 3] = [
        ("url", "Address", |text| format!("{} {}", text.method, text.url)),
        ("headers", "Headers", headers_text),
        ("body", "Body", body_text),
    ];
    let part_text = |request: &Option<RequestText>, part: fn(&RequestText) -> String| {
        request.as_ref().map(part).unwrap_or_default()
    };
    let both_sent = request.recorded.is_some() && request.replayed.is_some();
    let parts = parts
        .into_iter()
        .filter(|(name, ..)| !both_sent || request.changed.iter().any(|changed| changed == name));
    let compared = parts.map(|(_, title, part)| {
        let recorded = part_text(&request.recorded, part);
        (title, recorded, part_text(&request.replayed, part))
    });
    let compared = compared.filter(|(_, old, new)| !old.is_empty() || !new.is_empty());
    compared.map(|(title, old, new)| TextComparison::new(title, &old, &new)).collect()
}

/// One header in each line.
fn headers_text(text: &RequestText) -> String {
    text.headers.iter().map(|it| format!("{}: {}\n", it.name, it.value)).collect()
}

/// JSON is indented, so that it can be compared line by line.
fn body_text(text: &RequestText) -> String {
    match (&text.body, &text.body_base64) {
        (Some(body), _) => {
            serde_json::from_str(body).map_or_else(|_| body.clone(), |it| pretty_json(&it))
        }
        (None, Some(base64)) => {
            format!("{} bytes that are not text, in base64:\n{base64}", text.body_bytes)
        }
        (None, None) if text.body_bytes > 0 => format!("{} bytes", text.body_bytes),
        (None, None) => String::new(),
    }
}

/// Returns a request as a text: method and URL, headers, body.
fn request_text(text: &RequestText) -> String {
    let (headers, body) = (headers_text(text), body_text(text));
    let separator = if headers.is_empty() || body.is_empty() { "" } else { "\n" };
    format!("{} {}\n{headers}{separator}{body}", text.method, text.url)
}

fn pretty_json(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
