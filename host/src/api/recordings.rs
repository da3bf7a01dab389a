//! Types of `/events/{id}/recording`: what the runs of an event exchanged with the tracker.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{self, Call, Settings};

use super::EnumString;

/// The answer to `GET /events/{id}/recording`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct EventRecording {
    /// The recorded runs, in order; empty if the connection did not record.
    pub runs: Vec<RecordedRun>,
}

/// The recording of one run, without secrets.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RecordedRun {
    /// The export that was called.
    pub call: EnumString<Call>,
    /// What it was called with.
    pub input: RunInput,
    /// The exchanges in order; each is the content of a file of a recording.
    pub exchanges: Vec<Value>,
    /// What the export returned, as `{"ok": …}` or `{"error": …}`; absent in recordings of earlier
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    /// The reason why exchanges are missing; absent if none is.
    pub missing: Option<String>,
}

/// What an export was called with. An argument that it does not have is absent.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RunInput {
    /// The stem of the connector's file.
    pub connector: String,
    /// SHA-256 of the file that ran.
    pub connector_sha256: String,
    /// The connector's version, from its manifest.
    pub connector_version: String,
    /// The body of the Create Defect request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Value>,
    /// The marker of the defect or comment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marker: Option<String>,
    /// The key of a defect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The id of an attachment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachment: Option<u32>,
    /// The Test Manager project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The setting whose values are listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
    /// What a person typed so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// The settings of the connection.
    pub settings: Settings,
    /// The settings of the report.
    pub report: Settings,
    /// The names of the secrets that had a value.
    pub secrets: Vec<String>,
    /// The masked data of Test Manager.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_data: Option<Value>,
    /// Notes for people, at the end of the texts.
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
