//! Types of `/events/{id}/recording`, which returns the requests of an event's runs and the answers
//! of the tracker.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{self, Call, Settings};

use super::EnumString;

/// The answer to `GET /events/{id}/recording`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct EventRecording {
    /// The recorded runs, in order; empty if the connection did not record, or the recording was
    /// deleted.
    pub runs: Vec<RecordedRun>,
}

/// The recording of one run, without secrets.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RecordedRun {
    /// The export that was called.
    pub call: EnumString<Call>,
    /// The connector, and the arguments of the call.
    pub input: RunInput,
    /// The requests with their answers, in order. Each exchange has the format of one file in the
    /// folder of a recording.
    pub exchanges: Vec<Value>,
    /// The return value of the export, as `{"ok": …}` or `{"error": …}`; absent in recordings by
    /// earlier versions of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    /// The reason why exchanges are missing in the recording; `null` if the recording is complete.
    pub missing: Option<String>,
}

/// The connector whose export was called, and the arguments of the call. Arguments that the export
/// does not have are absent.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RunInput {
    /// The stem of the connector's file.
    pub connector: String,
    /// SHA-256 of the connector's file.
    pub connector_sha256: String,
    /// The connector's version, from its manifest.
    pub connector_version: String,
    /// The failed test, in the form of the body of a Create Defect request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Value>,
    /// The marker of the defect or comment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marker: Option<String>,
    /// The key of the defect in the tracker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The id of the attachment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachment: Option<u32>,
    /// The Test Manager project whose defects are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The setting whose values are listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
    /// The text that a person had typed so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// The settings of the connection.
    pub settings: Settings,
    /// The settings of the report.
    pub report: Settings,
    /// The names of the secrets that had a value when the run began.
    pub secrets: Vec<String>,
    /// The data of the failed test from Test Manager, with secrets masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_data: Option<Value>,
    /// The notes for people that were added at the end of the report's texts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl From<domain::RecordedRun> for RecordedRun {
    fn from(run: domain::RecordedRun) -> Self {
        let domain::RunRecording { input, exchanges, answer, missing } = run.recording;
        let exchange = |text: String| serde_json::from_str(&text).unwrap_or_default();
        Self {
            call: EnumString(run.call),
            input: serde_json::from_value(Value::Object(input)).unwrap_or_default(),
            exchanges: exchanges.into_iter().map(exchange).collect(),
            answer,
            missing,
        }
    }
}
