//! `/connections`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::domain::{self, Origin, Settings, string_enum};

use super::{EnumString, SecretText, Text, Time};

/// `GET /connections`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConnectionList {
    /// By name.
    pub connections: Vec<Connection>,
}

string_enum! {
    /// Whether a connection's webhooks are answered.
    pub enum ConnectionStatus {
        /// They are.
        Active = "active",
        /// An admin paused it: 503.
        Paused = "paused",
        /// The newest version of its connector waits for consent; an accepted one may still serve.
        NeedsConsent = "needs-consent",
        /// There is no usable version of its connector.
        ConnectorUnavailable = "connector-unavailable",
    }
}

/// A connection; its secrets are never in it.
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
    /// What its connector may reach.
    pub grants: Grants,
    /// SHA-256 of the version that was accepted last.
    pub accepted_sha256: Option<String>,
    /// What the newest version asks for beyond the grants; absent where it serves.
    pub needs_consent: Option<Vec<String>>,
    /// SHA-256 of the newest version.
    pub newest_sha256: Option<String>,
    /// The one Test Manager project whose KPIs it answers; absent: any.
    pub project: Option<String>,
    /// Whether names may resolve to private addresses.
    pub allow_private: bool,
    /// Whether its tracker is spoken to in HTTP/1.1 only.
    pub http1_only: bool,
    /// How long the tracker's search may not find a new record at least, seconds.
    pub index_delay_s: u32,
    /// The longest time after a create that a search was seen not to find its record, milliseconds.
    pub index_lag_ms: u64,
    /// What an operator should know about its secrets.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Whether an admin paused it.
    pub paused: bool,
    /// Last four characters of the webhook token.
    pub token_tail: String,
    /// When it was created.
    pub created_at: Time,
    /// The last event that was answered with a defect or counts.
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
    /// Origins.
    pub origins: Vec<Text<Origin>>,
    /// By the secret's name.
    pub secrets: BTreeMap<String, SecretGrant>,
}

/// Where one secret goes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SecretGrant {
    /// The only origin that receives it.
    pub origin: Text<Origin>,
    /// The place in a request, in words.
    pub place: String,
}

/// The answer that creates a connection or its next token: the webhook URL is shown only here.
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
    /// Its key, as PEM without a password, or a reference like a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<SecretText>,
    /// The Test Manager project that KPIs are pinned to.
    #[serde(default)]
    pub project: Option<String>,
    /// Whether names may resolve to private addresses.
    #[serde(default)]
    pub allow_private: bool,
    /// Whether its tracker is spoken to in HTTP/1.1 only.
    #[serde(default)]
    pub http1_only: bool,
    /// How long the tracker's search may not find a new record at least, seconds; 0: as the connector says.
    #[serde(default)]
    pub index_delay_s: u32,
}

/// `PATCH /connections/{id}` and `POST /connections/{id}/accept`: what is absent stays, `null` removes.
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
    /// Its key; `null` removes it.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub client_key: Option<Option<SecretText>>,
    /// A project to pin; `null` unpins.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub project: Option<Option<String>>,
    /// Whether names may resolve to private addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_private: Option<bool>,
    /// Whether its tracker is spoken to in HTTP/1.1 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http1_only: Option<bool>,
    /// How long the tracker's search may not find a new record at least, seconds; 0: as the connector says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index_delay_s: Option<u32>,
}

/// Tells `null` from absent.
fn present<'de, T, D>(value: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(value).map(Some)
}

/// `?force=true`: also while creates run or are in doubt.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ForceQuery {
    /// Also while creates run or are in doubt.
    pub force: bool,
}

/// The query of `POST /connections/{id}/accept`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptQuery {
    /// Also while creates run or are in doubt.
    #[serde(default)]
    pub force: bool,
    /// The version that the person looked at: another one is not accepted instead.
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
    /// The steps in their order; those after a failed one are absent.
    pub steps: Vec<TryStep>,
    /// The connector's own line, where its `check` succeeded.
    pub reached: Option<String>,
    /// What an operator should know about the connection's secrets.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// One step of a `try`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TryStep {
    /// The step.
    pub name: EnumString<domain::TryStep>,
    /// Towards which origin, of the steps before the connector runs.
    pub origin: Option<Text<Origin>>,
    /// What went wrong; absent: it succeeded.
    pub error: Option<String>,
    /// What a person should know about how it succeeded: through which proxy, with which certificate.
    #[serde(default)]
    pub note: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_edit_tells_null_from_absent() {
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
