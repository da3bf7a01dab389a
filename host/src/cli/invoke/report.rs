//! The report that `invoke` prints: the return value, the log, the requests and the use of each
//! limit.

use serde::Serialize;
use serde_json::Value;

use crate::api::{Defect, LogLine, OutboundCall};
use crate::app::{Invocation, InvocationResult, TapeResult};
use crate::domain::{self, Call, Limits, StringEnum, Usage, printable};
use crate::runtime::ReturnedValue;

#[derive(Serialize)]
pub(super) struct Report {
    call: String,
    outcome: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// The setting that a person should change, if the connector named one.
    setting: Option<String>,
    /// The return value of the export; null if the call failed.
    answer: Option<ReturnValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
    /// The grants of the connection, as phrases.
    granted: Vec<String>,
    warnings: Vec<String>,
    log: Vec<LogLine>,
    /// The requests that the connector or the host sent, or that the host refused to send.
    calls: Vec<OutboundCall>,
    limits: Vec<LimitUse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<RecordingResult>,
    connector_version: String,
    connector_sha256: String,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ReturnValue {
    Manifest {
        name: String,
        version: String,
        summary: String,
        homepage: Option<String>,
        index_delay_s: Option<u32>,
        settings: Value,
    },
    Line(String),
    Choices {
        choices: Vec<Choice>,
        more: bool,
    },
    Defect(Defect),
    Found(Vec<Defect>),
    Counts {
        open: u64,
        closed: u64,
        critical: u64,
        moderate: u64,
        critical_link: Option<String>,
    },
    State {
        exists: bool,
        open: Option<bool>,
        defect: Option<Defect>,
    },
    HasComment(bool),
    Names(Vec<String>),
    Done,
}

/// A value that the tracker has for a setting.
#[derive(Serialize)]
struct Choice {
    value: String,
    label: String,
}

/// How much of one limit the call used.
#[derive(Serialize)]
struct LimitUse {
    limit: &'static str,
    /// How much the call used, in the unit of the limit.
    used: u64,
    max: u64,
}

/// The result of recording or replaying the exchanges.
#[derive(Serialize)]
#[serde(untagged)]
enum RecordingResult {
    Written { exchanges_written: usize },
    Replayed { files_not_used: Vec<String> },
    Failed { error: String },
}

impl Report {
    pub(super) fn new(call_name: &str, invocation: &Invocation, result: InvocationResult) -> Self {
        let InvocationResult {
            answer,
            report,
            limits,
            marker,
            grant_phrases,
            warnings,
            tape_result,
        } = result;
        let has_marker = matches!(
            invocation.call,
            Call::Create | Call::Find | Call::Comment | Call::FindComment
        );
        Self {
            call: call_name.to_owned(),
            outcome: report.outcome.as_str(),
            detail: printable(&report.detail),
            setting: report.setting,
            answer: answer.ok().map(ReturnValue::new),
            marker: has_marker.then(|| marker.to_string()),
            granted: grant_phrases,
            warnings,
            log: report.log.into_iter().map(LogLine::from).collect(),
            calls: report.calls.into_iter().map(OutboundCall::from).collect(),
            limits: limit_uses(&report.usage, &limits),
            recording: RecordingResult::new(tape_result),
            connector_version: report.connector_version,
            connector_sha256: report.connector_sha256,
        }
    }
}

impl ReturnValue {
    fn new(answer: ReturnedValue) -> Self {
        let defect = |defect: &domain::Defect| Defect::from(defect);
        match answer {
            ReturnedValue::Manifest(manifest) => Self::Manifest {
                name: manifest.name,
                version: manifest.version.to_string(),
                summary: manifest.summary,
                homepage: manifest.homepage,
                index_delay_s: manifest.index_delay_s,
                settings: manifest.settings_schema,
            },
            ReturnedValue::CheckText(line) => Self::Line(line),
            ReturnedValue::Choices(page) => {
                let choice = |it: domain::Choice| Choice { value: it.value, label: it.label };
                let choices = page.choices.into_iter().map(choice).collect();
                Self::Choices { choices, more: page.has_more }
            }
            ReturnedValue::Defect(created) => Self::Defect(defect(&created)),
            ReturnedValue::FoundDefects(found) => Self::Found(found.iter().map(defect).collect()),
            ReturnedValue::Counts(counts) => Self::Counts {
                open: counts.open,
                closed: counts.closed,
                critical: counts.critical,
                moderate: counts.moderate,
                critical_link: counts.critical_link,
            },
            ReturnedValue::State(state) => Self::State {
                exists: state.is_some(),
                open: state.as_ref().map(|state| state.is_open),
                defect: state.as_ref().map(|state| defect(&state.defect)),
            },
            ReturnedValue::HasComment(has_comment) => Self::HasComment(has_comment),
            ReturnedValue::AttachmentNames(names) => Self::Names(names),
            ReturnedValue::NoValue => Self::Done,
        }
    }
}

impl RecordingResult {
    fn new(tape_result: TapeResult) -> Option<Self> {
        Some(match tape_result {
            TapeResult::None => return None,
            TapeResult::Recorded(Ok(exchanges_written)) => Self::Written { exchanges_written },
            TapeResult::Replayed(Ok(files_not_used)) => Self::Replayed { files_not_used },
            TapeResult::Recorded(Err(error)) | TapeResult::Replayed(Err(error)) => {
                Self::Failed { error: error.to_string() }
            }
        })
    }
}

fn limit_uses(usage: &Usage, limits: &Limits) -> Vec<LimitUse> {
    [
        ("memory_bytes", usage.memory_bytes),
        ("cpu_ms", usage.cpu_ms),
        ("run_ms", usage.run_ms),
        ("outbound_calls", usage.outbound_calls),
        ("request_body_bytes", usage.request_body_bytes),
        ("response_body_bytes", usage.response_body_bytes),
        ("log_bytes", usage.log_bytes),
        ("handles", usage.handles),
    ]
    .map(|(limit, used)| LimitUse { limit, used, max: limits.value(limit).unwrap_or_default() })
    .into()
}
