//! Types of `/events/{id}/replay`.

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
    /// The beginning of the SHA-256 of a version of the connector, or `newest`; absent: the version
    /// that ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Only recorded runs of this export; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<EnumString<Call>>,
    /// Settings of the connection that are changed for the replay; `null` removes one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, Option<Value>>,
    /// Handle the webhook request once more, as if Test Manager had sent it again. Not a dry run: a
    /// failed test without a defect may get one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub for_real: bool,
}

/// The answer to `POST /events/{id}/replay`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct EventReplay {
    /// The event that was replayed.
    pub event: Uuid,
    /// The runs of the dry run; empty if it was handled for real.
    pub runs: Vec<ReplayedRun>,
    /// What the webhook request was answered; absent for a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_real: Option<RepeatedRequest>,
}

/// A webhook request that was handled once more.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RepeatedRequest {
    /// The new event.
    pub event: Option<Uuid>,
    /// The status of the answer.
    pub status: u16,
    /// The answer to Test Manager.
    pub answer: Value,
}

/// A recorded run and its replay. Nothing was sent: the recording answered.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ReplayedRun {
    /// Whether the requests and the answer are the recorded ones.
    pub is_same: bool,
    /// The version of the recorded run, from its manifest.
    pub recorded_version: String,
    /// SHA-256 of the file of the recorded run.
    pub recorded_sha256: String,
    /// The replay: its version, outcome, log, calls and usage.
    pub run: Run,
    /// The limits that `usage` counts against, by their config keys.
    pub limits: BTreeMap<String, u64>,
    /// The requests of the replay in their order, then those that it did not send.
    pub requests: Vec<ReplayedRequest>,
    /// What the export returned: `{"ok": …}` or `{"error": …}`.
    pub answer: Value,
    /// What it returned when it was recorded; absent in recordings of earlier versions.
    pub recorded_answer: Option<Value>,
    /// Why exchanges are missing in the recording; absent if none is.
    pub missing: Option<String>,
}

/// A request of the recorded run, of the replay, or of both.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ReplayedRequest {
    /// How the two differ.
    pub difference: EnumString<Difference>,
    /// The parts that differ: `url`, `headers`, `body`.
    pub changed: Vec<String>,
    /// The recorded request; absent if it was added.
    pub recorded: Option<RequestText>,
    /// The request of the replay; absent if it is missing.
    pub replayed: Option<RequestText>,
    /// The status with which the recording answers; absent if it has no answer.
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
    /// The size of the body.
    pub body_bytes: u64,
}
