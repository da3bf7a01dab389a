//! Types of `/events/{id}/replay`, which repeats the recorded calls of an event.

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
    /// The first digits of the SHA-256 of a version of the connector, or `newest`; the version that
    /// ran if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Replay only the recorded runs of this export; all runs if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<EnumString<Call>>,
    /// Settings of the connection that are changed for the replay; `null` removes a setting.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, Option<Value>>,
    /// Handle the webhook request again, as if Test Manager had sent it again. This is not a dry
    /// run: it may create a defect for a failed test that has none.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub for_real: bool,
}

/// The answer to `POST /events/{id}/replay`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct EventReplay {
    /// The event that was replayed.
    pub event: Uuid,
    /// The replayed runs; empty if the request was handled for real.
    pub runs: Vec<ReplayedRun>,
    /// The answer to the repeated webhook request; absent for a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_real: Option<RepeatedRequest>,
}

/// The result of handling a webhook request again.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RepeatedRequest {
    /// The id of the new event.
    pub event: Option<Uuid>,
    /// The status of the answer.
    pub status: u16,
    /// The answer to Test Manager.
    pub answer: Value,
}

/// A recorded run and its replay. The replay sent no request: the answers came from the recording.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ReplayedRun {
    /// Whether the requests and the answer are equal to the recorded ones.
    pub is_same: bool,
    /// The connector's version in the recorded run, from its manifest.
    pub recorded_version: String,
    /// SHA-256 of the file of the recorded run.
    pub recorded_sha256: String,
    /// The replay: its version, outcome, log, calls and usage.
    pub run: Run,
    /// The limits to compare `usage` with, by their configuration keys.
    pub limits: BTreeMap<String, u64>,
    /// The requests of the replay in their order, followed by recorded requests that it did not
    /// make.
    pub requests: Vec<ReplayedRequest>,
    /// The return value of the export: `{"ok": …}` or `{"error": …}`.
    pub answer: Value,
    /// The return value in the recording; absent in recordings by earlier versions of the server.
    pub recorded_answer: Option<Value>,
    /// The reason why exchanges are missing in the recording; absent if none are missing.
    pub missing: Option<String>,
}

/// A request of the recorded run, of the replay, or of both.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ReplayedRequest {
    /// How the recorded request and the request of the replay differ.
    pub difference: EnumString<Difference>,
    /// The parts that differ: `url`, `headers`, `body`.
    pub changed: Vec<String>,
    /// The recorded request; absent if only the replay made this request.
    pub recorded: Option<RequestText>,
    /// The request of the replay; absent if the replay did not make this request.
    pub replayed: Option<RequestText>,
    /// The status of the recorded answer; absent if the recording has no answer.
    pub status: Option<u16>,
}

/// A request to the tracker, without credentials.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RequestText {
    /// The HTTP method.
    pub method: String,
    /// The complete address.
    pub url: String,
    /// The headers, without those that are credentials.
    pub headers: Vec<Header>,
    /// The body, if it is text and has at most 256 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body in base64, if it is not text and has at most 256 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// The size of the body, bytes.
    pub body_bytes: u64,
}
