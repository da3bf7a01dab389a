//! `/connections`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::domain::{self, OnRecurrence, Origin, Settings, string_enum};

use super::{EditTestManager, EnumString, SecretText, TestManager, Text, Time};

/// `GET /connections`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConnectionList {
    /// By name.
    pub connections: Vec<Connection>,
}

string_enum! {
    /// Whether a connection's webhooks are answered.
    pub enum ConnectionStatus {
        /// The webhooks are answered.
        Active = "active",
        /// An admin paused the connection; webhooks are answered with 503.
        Paused = "paused",
        /// The newest version of the connector waits for consent. An accepted version may still
        /// serve.
        NeedsConsent = "needs-consent",
        /// No version of the connector can be used.
        ConnectorUnavailable = "connector-unavailable",
    }
}

/// A connection, without its secrets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Connection {
    /// Never changes.
    pub id: Uuid,
    /// Unique.
    pub name: String,
    /// The stem of the connector's file.
    pub connector: String,
    /// Whether its webhooks are answered.
    pub status: EnumString<ConnectionStatus>,
    /// Values of the settings that are not secrets.
    pub settings: Settings,
    /// Names of the secrets that have a value.
    pub secrets_set: Vec<String>,
    /// Whether it has a client certificate.
    #[serde(default)]
    pub has_client_cert: bool,
    /// How Test Manager is asked about failed tests; absent: it is not asked.
    #[serde(default)]
    pub test_manager: Option<TestManager>,
    /// Whether it has the client secret for Test Manager.
    #[serde(default)]
    pub has_test_manager_client_secret: bool,
    /// What its connector may reach.
    pub grants: Grants,
    /// SHA-256 of the version that was accepted last.
    pub accepted_sha256: Option<String>,
    /// What the newest version asks for beyond the grants; absent if the version needs no consent.
    pub needs_consent: Option<Vec<String>>,
    /// SHA-256 of the newest version.
    pub newest_sha256: Option<String>,
    /// The only Test Manager project whose KPIs are answered; absent: every project.
    pub project: Option<String>,
    /// Whether host names may resolve to private addresses.
    pub allow_private: bool,
    /// Whether only HTTP/1.1 is used with the tracker.
    pub http1_only: bool,
    /// The minimum index delay, in seconds: how long the tracker's search may not find a new
    /// record.
    pub index_delay_s: u32,
    /// What is reported of a failed test; an absent member has its default.
    #[serde(default)]
    pub report: Settings,
    /// What happens if a test case fails again while its defect is open.
    pub on_recurrence: EnumString<OnRecurrence>,
    /// The longest measured time after a create during which a search did not find the record,
    /// milliseconds.
    pub index_lag_ms: u64,
    /// Warnings about its secrets, for the operator.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Whether an admin paused it.
    pub paused: bool,
    /// Last four characters of the webhook token.
    pub token_tail: String,
    /// When it was created.
    pub created_at: Time,
    /// When an event was last answered with a defect or counts.
    pub last_success_at: Option<Time>,
    /// The last refusal.
    pub last_error: Option<LastError>,
}

/// The last refusal of a connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LastError {
    /// When.
    pub at: Time,
    /// Why.
    pub detail: String,
}

/// What a connector may reach, and where its secrets go.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Grants {
    /// The origins that the connector may reach.
    pub origins: Vec<Text<Origin>>,
    /// Where each secret goes, by the secret's name.
    pub secrets: BTreeMap<String, SecretGrant>,
    /// Whether the connector may read what Test Manager knows of failed tests.
    pub test_data: bool,
}

/// Where one secret goes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SecretGrant {
    /// The only origin that receives it.
    pub origin: Text<Origin>,
    /// A description of the place in a request.
    pub place: String,
}

/// The answer to a request that creates a connection or a new token. Only this answer contains the
/// webhook URL.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CreatedConnection {
    /// The connection.
    #[serde(flatten)]
    pub connection: Connection,
    /// Its webhook URL.
    pub webhook_url: String,
}

/// `POST /connections`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateConnection {
    /// Unique, 1 to 100 characters.
    pub name: String,
    /// The stem of the connector's file.
    pub connector: String,
    /// Values of settings.
    #[serde(default)]
    pub settings: Settings,
    /// Values of secrets; `file:/path` and `env:NAME` are references.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretText>,
    /// The client certificate that the tracker asks for, as PEM, or a reference like a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<SecretText>,
    /// The key of the client certificate, as PEM without a password, or a reference like a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<SecretText>,
    /// How Test Manager is asked about failed tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_manager: Option<EditTestManager>,
    /// The secret of the external application, or a reference like a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_manager_client_secret: Option<SecretText>,
    /// The only Test Manager project whose KPIs are answered.
    #[serde(default)]
    pub project: Option<String>,
    /// Whether host names may resolve to private addresses.
    #[serde(default)]
    pub allow_private: bool,
    /// Whether only HTTP/1.1 is used with the tracker.
    #[serde(default)]
    pub http1_only: bool,
    /// The minimum index delay, in seconds; 0: as the connector states.
    #[serde(default)]
    pub index_delay_s: u32,
    /// What is reported of a failed test: `title_template`, `description_template`,
    /// `comment_template`, `fields`, `mask`, `attachments`, `routing`.
    #[serde(default)]
    pub report: Settings,
    /// What happens if a test case fails again while its defect is open; absent: `new`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_recurrence: Option<EnumString<OnRecurrence>>,
}

/// `PATCH /connections/{id}` and `POST /connections/{id}/accept`: absent members are not changed,
/// `null` removes a value.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EditConnection {
    /// A new name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Settings to set or remove.
    pub settings: BTreeMap<String, Option<Value>>,
    /// Secrets to set or remove.
    pub secrets: BTreeMap<String, Option<SecretText>>,
    /// The client certificate; `null` removes it.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<Option<SecretText>>,
    /// The key of the client certificate; `null` removes it.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub client_key: Option<Option<SecretText>>,
    /// How Test Manager is asked; `null` removes it, with its client secret.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub test_manager: Option<Option<EditTestManager>>,
    /// The secret of the external application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_manager_client_secret: Option<SecretText>,
    /// The only project whose KPIs are answered; `null`: every project.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub project: Option<Option<String>>,
    /// Whether host names may resolve to private addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_private: Option<bool>,
    /// Whether only HTTP/1.1 is used with the tracker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http1_only: Option<bool>,
    /// The minimum index delay, in seconds; 0: as the connector states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index_delay_s: Option<u32>,
    /// Members of `report` to set or remove.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub report: BTreeMap<String, Option<Value>>,
    /// What happens if a test case fails again while its defect is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_recurrence: Option<EnumString<OnRecurrence>>,
}

/// Distinguishes `null` (`Some(None)`) from an absent member (`None`).
pub(super) fn present<'de, T, D>(value: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(value).map(Some)
}

/// `?force=true`: proceed even if creates are in progress or defects are in doubt.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ForceQuery {
    /// Proceed even if creates are in progress or defects are in doubt.
    pub force: bool,
}

/// The query of `POST /connections/{id}/accept`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptQuery {
    /// Proceed even if creates are in progress or defects are in doubt.
    #[serde(default)]
    pub force: bool,
    /// The version that the person looked at. No other version is accepted.
    pub sha256: String,
}

/// `POST /connections/{id}/rotate-token`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RotateToken {
    /// How long the old token still works, seconds.
    pub grace_s: u32,
}

/// `POST /connections/{id}/try`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TryReport {
    /// The steps in order; the steps after a failed one are absent.
    pub steps: Vec<TryStep>,
    /// The line that the connector's `check` returned, if it succeeded.
    pub reached: Option<String>,
    /// Warnings about the connection's secrets, for the operator.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// One step of a `try`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TryStep {
    /// The step.
    pub name: EnumString<domain::TryStep>,
    /// The origin of the step; only for the steps before the connector runs.
    pub origin: Option<Text<Origin>>,
    /// What went wrong; absent if the step succeeded.
    pub error: Option<String>,
    /// The setting to change, if the connector named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
    /// How the step succeeded, if a person should know: through which proxy, with which
    /// certificate.
    #[serde(default)]
    pub note: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_edit_distinguishes_null_from_absent() {
        let edit = |text: &str| serde_json::from_str::<EditConnection>(text).unwrap();
        assert_eq!(edit("{}").project, None);
        assert_eq!(edit(r#"{"project":null}"#).project, Some(None));
        assert_eq!(edit(r#"{"project":"a"}"#).project, Some(Some("a".to_owned())));
        let edit = edit(r#"{"settings":{"a":null,"b":1},"secrets":{"k":null}}"#);
        assert_eq!(edit.settings["a"], None);
        assert_eq!(edit.settings["b"], Some(json!(1)));
        assert!(edit.secrets["k"].is_none());
        let sent = serde_json::to_value(EditConnection::default()).unwrap();
        assert_eq!(sent, json!({"settings": {}, "secrets": {}}));
    }

    #[test]
    fn an_unknown_member_is_refused_by_its_name() {
        let body = r#"{"name":"a","connector":"b","setings":{}}"#;
        let error = serde_json::from_str::<CreateConnection>(body).unwrap_err().to_string();
        assert!(error.contains("setings"), "{error}");
    }

    #[test]
    fn a_request_does_not_print_its_secrets() {
        let body = r#"{"name":"a","connector":"b","secrets":{"k":"hunter2"}}"#;
        let request = serde_json::from_str::<CreateConnection>(body).unwrap();
        assert!(!format!("{request:?}").contains("hunter2"));
        assert_eq!(serde_json::to_value(&request).unwrap()["secrets"]["k"], "hunter2");
    }
}
