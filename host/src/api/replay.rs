//! Types of `/events/{id}/replay`, which repeats the recorded runs of an event, or handles its
//! webhook request again.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::domain::{Call, Difference};

use super::{EnumString, Header, Run};

/// The body of `POST /events/{id}/replay`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReplayEvent {
    /// The version of the connector that the replay runs: `newest`, or the first digits of its
    /// SHA-256. If absent, the version of the recorded run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The export whose recorded runs are replayed. If absent, all recorded runs are replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<EnumString<Call>>,
    /// Settings of the connection that are changed for the replay; `null` removes a setting.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, Option<Value>>,
    /// Whether the webhook request is handled again, as if Test Manager had sent it again. This is
    /// not a dry run: the server may create a defect for a failed test that has no defect.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub for_real: bool,
}

/// The answer to `POST /events/{id}/replay`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct EventReplay {
    /// The id of the event that was replayed.
    pub event: Uuid,
    /// The replayed runs; empty if the request was handled for real.
    pub runs: Vec<ReplayedRun>,
    /// The result of handling the webhook request again; absent if only recorded runs were
    /// replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_real: Option<RepeatedRequest>,
}

/// The result of handling a webhook request again.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RepeatedRequest {
    /// The id of the event that the repeated request caused.
    pub event: Option<Uuid>,
    /// The HTTP status of the answer to the repeated request.
    pub status: u16,
    /// The body of the answer that Test Manager would receive; `null` if the body is not JSON.
    pub answer: Value,
}

/// A recorded run and its replay. The replay sent no requests: all answers came from the recording.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ReplayedRun {
    /// Whether the replay made exactly the recorded requests and returned the recorded value. If no
    /// value is recorded, only the requests are compared.
    pub is_same: bool,
    /// The connector's version in the recorded run, from its manifest.
    pub recorded_version: String,
    /// SHA-256 of the connector's file in the recorded run.
    pub recorded_sha256: String,
    /// The run of the replay, with its version, outcome, log, requests and usage.
    pub run: Run,
    /// The limits with which a client can compare `usage`. The key is the configuration key of the
    /// limit.
    pub limits: BTreeMap<String, u64>,
    /// The requests of the replay in their order, followed by the recorded requests that the replay
    /// did not make.
    pub requests: Vec<ReplayedRequest>,
    /// The return value of the export in the replay: `{"ok": …}` or `{"error": …}`.
    pub answer: Value,
    /// The return value of the export in the recording; `null` in recordings by earlier versions of
    /// the server.
    pub recorded_answer: Option<Value>,
    /// The reason why exchanges are missing in the recording; `null` if the recording is complete.
    pub missing: Option<String>,
}

/// A request of the recorded run, of the replay, or of both.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ReplayedRequest {
    /// How the recorded request and the request of the replay differ.
    pub difference: EnumString<Difference>,
    /// The parts of the request that differ: `url`, `headers` or `body`.
    pub changed: Vec<String>,
    /// The recorded request; `null` if only the replay made this request.
    pub recorded: Option<RequestText>,
    /// The request of the replay; `null` if the replay did not make this request.
    pub replayed: Option<RequestText>,
    /// The HTTP status of the recorded answer; `null` if the recording contains no answer.
    pub status: Option<u16>,
}

/// A request to the tracker, without credentials.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RequestText {
    /// The method of the HTTP request.
    pub method: String,
    /// The complete URL of the request.
    pub url: String,
    /// The headers, without those that are credentials.
    pub headers: Vec<Header>,
    /// The body as text; absent if it is empty, is not text, or has more than 256 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body in base64; absent if it is empty, is text, or has more than 256 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// The size of the body, bytes.
    pub body_bytes: u64,
}
