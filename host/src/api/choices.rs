//! Types of `/connections/{id}/choices` and `/connectors/{name}/choices`, which list the values
//! that the tracker has for a setting.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::Settings;

use super::SecretText;

/// The body of `POST /connections/{id}/choices`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListChoices {
    /// The name of a setting that the connector marks as `jackfield:lookup`.
    pub setting: String,
    /// The text that a person has typed so far; if it is empty, the values are not filtered.
    #[serde(default)]
    pub search: String,
}

/// The body of `POST /connectors/{name}/choices`: the values that a person has entered so far for a
/// new connection. These values are not stored.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListChoicesOfNew {
    /// The name of a setting that the connector marks as `jackfield:lookup`.
    pub setting: String,
    /// The text that a person has typed so far; if it is empty, the values are not filtered.
    #[serde(default)]
    pub search: String,
    /// The values of the settings that are not secrets, by name. Required settings may be missing.
    #[serde(default)]
    pub settings: Settings,
    /// The values of secrets, by name. The values `file:/path` and `env:NAME` are references: the
    /// server reads the secret from the file or from the environment variable.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretText>,
    /// The client certificate that the tracker requires, with its chain, as PEM; or a reference to
    /// the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<SecretText>,
    /// The key of the client certificate, as PEM; or a reference to the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<SecretText>,
    /// Whether host names may resolve to private, shared (100.64/10) and loopback addresses.
    #[serde(default)]
    pub allow_private: bool,
    /// Whether only HTTP/1.1 is used with the tracker.
    #[serde(default)]
    pub http1_only: bool,
}

/// Possible values of a setting.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Choices {
    /// The values, in the order in which the connector returned them.
    pub choices: Vec<Choice>,
    /// Whether the tracker has more values than this list. A longer search text may find them.
    pub more: bool,
}

/// A possible value of a setting, and the label that a person reads.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Choice {
    /// The value of the setting.
    pub value: String,
    /// The label of the value.
    pub label: String,
}
