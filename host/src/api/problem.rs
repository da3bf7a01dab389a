//! The body of an answer that reports an error (RFC 9457). It never contains a secret.

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
    /// The HTTP status of the answer.
    pub status: u16,
    /// An explanation of this problem, as a text for people.
    pub detail: String,
    /// The path of the event. If there is no event, the path of the request.
    pub instance: String,
    /// The values of the request, or of the connection's settings, that are not valid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<SettingError>,
}

/// A value that is not valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SettingError {
    /// The name of the value, such as the name of a setting or of a secret.
    pub name: String,
    /// The reason why the value is not valid.
    pub why: String,
}
