//! The body of every answer that is not a success, RFC 9457.

use serde::{Deserialize, Serialize};

/// `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `/problems/{code}`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for every problem of that type.
    pub title: String,
    /// The answer's HTTP status.
    pub status: u16,
    /// What happened this time, and what to do.
    pub detail: String,
    /// The event, or the request's path.
    pub instance: String,
    /// Values that are not valid, each by its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<SettingError>,
}

/// A value that is not valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingError {
    /// The setting's or secret's name.
    pub name: String,
    /// What is wrong and what is allowed.
    pub why: String,
}
