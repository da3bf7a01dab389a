//! The body of every answer that reports an error (RFC 9457). It never contains a secret.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A problem, sent as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The type of the problem: `/problems/{code}`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short title, the same for every problem of this type.
    pub title: String,
    /// The answer's HTTP status.
    pub status: u16,
    /// The cause of this problem, and what the reader can do.
    pub detail: String,
    /// The path of the event, or of the request if there is no event.
    pub instance: String,
    /// The values that are not valid, each with its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<SettingError>,
}

/// A value that is not valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SettingError {
    /// The setting's or secret's name.
    pub name: String,
    /// The reason why the value is not valid, and the allowed values.
    pub why: String,
}
