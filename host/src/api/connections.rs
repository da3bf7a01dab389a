//! Types of `/connections`: list, create, edit, accept, try. No answer contains a secret,
//! except the webhook URL in the answer that issues it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::domain::{self, OnRecurrence, Origin, Settings, string_enum};

use super::{
    EditTestManager, EditWebhookAuth, EnumString, SecretText, TestManager, Text, Time, WebhookAuth,
};

/// The answer to `GET /connections`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ConnectionList {
    /// All connections, by name.
    pub connections: Vec<Connection>,
}

string_enum! {
    /// Whether the webhooks of a connection are answered, and if not, why.
    pub enum ConnectionStatus {
        /// The webhooks are answered.
        Active = "active",
        /// An admin paused the connection; webhooks are answered with 503.
        Paused = "paused",
        /// The newest version of the connector waits for consent. An accepted version may still be
        /// used.
        NeedsConsent = "needs-consent",
        /// No version of the connector can be used.
        ConnectorUnavailable = "connector-unavailable",
    }
}

/// A connection as an admin sees it. It never contains the values of secrets.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Connection {
    /// The id, which never changes; a name may change.
    pub id: Uuid,
    /// The name, unique among all connections.
    pub name: String,
    /// The stem of the connector's file.
    pub connector: String,
    /// Whether the webhooks of the connection are answered.
    pub status: EnumString<ConnectionStatus>,
    /// The number of edits. The header `ETag` also contains it, and an edit can send it in
    /// `If-Match`.
    #[serde(default)]
    pub revision: u64,
    /// Values of the settings that are not secrets, by name.
    pub settings: Settings,
    /// The names of the secrets that have a value.
    pub secrets_set: Vec<String>,
    /// Whether the connection has a client certificate for its tracker.
    #[serde(default)]
    pub has_client_cert: bool,
    /// Settings for Test Manager; absent if the connection sends no requests to Test Manager.
    #[serde(default)]
    pub test_manager: Option<TestManager>,
    /// Whether the client secret for Test Manager is stored.
    #[serde(default)]
    pub has_test_manager_client_secret: bool,
    /// How senders of webhooks prove that they know the secret, and from which addresses requests
    /// are accepted.
    #[serde(default)]
    pub webhook_auth: WebhookAuth,
    /// Whether the secret that senders must know is stored.
    #[serde(default)]
    pub has_webhook_secret: bool,
    /// Whether a second secret is accepted too.
    #[serde(default)]
    pub has_webhook_secret_previous: bool,
    /// The origins to which the connector may send requests, and the places where it may send
    /// secrets.
    pub grants: Grants,
    /// SHA-256 of the version that was accepted last.
    pub accepted_sha256: Option<String>,
    /// The demands of the newest version that exceed the grants; absent if the version needs no
    /// consent.
    pub needs_consent: Option<Vec<String>>,
    /// SHA-256 of the newest version in the plugins folder; absent if no version can be used.
    pub newest_sha256: Option<String>,
    /// The only Test Manager project whose Defect KPIs requests are answered; absent: every
    /// project.
    pub project: Option<String>,
    /// Whether host names may resolve to private addresses.
    pub allow_private: bool,
    /// Whether only HTTP/1.1 is used with the tracker.
    pub http1_only: bool,
    /// Whether requests to the tracker have the header `traceparent`.
    pub trace_context: bool,
    /// The minimum index delay, in seconds: how long the tracker's search may not find a new
    /// record.
    pub index_delay_s: u32,
    /// The settings of the report. An absent member has its default.
    #[serde(default)]
    pub report: Settings,
    /// The reaction to a test case that fails again while its defect is open.
    pub on_recurrence: EnumString<OnRecurrence>,
    /// Additional paths of the connection's webhook requests.
    #[serde(default)]
    pub webhook_paths: WebhookPaths,
    /// The longest measured time after a create during which a search did not find the record,
    /// milliseconds.
    pub index_lag_ms: u64,
    /// Warnings about the connection's secrets, for the operator.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Whether an admin paused the connection.
    pub paused: bool,
    /// Until when the bodies of requests and answers are recorded; absent if they are not recorded.
    #[serde(default)]
    pub recording_until: Option<Time>,
    /// The last four characters of the webhook token.
    pub token_tail: String,
    /// The time at which the connection was created.
    pub created_at: Time,
    /// The time of the last event that was answered with a defect or counts.
    pub last_success_at: Option<Time>,
    /// The last refusal of an event; absent if there was none.
    pub last_error: Option<LastError>,
}

/// Additional webhook paths of a connection, below its token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookPaths {
    /// Paths that mean Create Defect.
    pub create_defect: Vec<String>,
    /// Paths that mean Defect KPIs. Each contains `{projectId}` in the position of the project's
    /// id.
    pub kpis: Vec<String>,
}

impl WebhookPaths {
    /// Whether there are no additional paths.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.create_defect.is_empty() && self.kpis.is_empty()
    }
}

string_enum! {
    /// The kind of the requests at a mapped path.
    pub enum MappedKind {
        /// Create Defect.
        CreateDefect = "create-defect",
        /// Defect KPIs.
        Kpis = "kpis",
    }
}

/// The body of `POST /connections/{id}/paths`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MapPath {
    /// The path below the token, without the query. For `kpis`, it contains `{projectId}` in the
    /// position of the project's id.
    pub path: String,
    /// The kind of the requests at this path.
    pub kind: EnumString<MappedKind>,
}

/// The last refusal of an event of a connection.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LastError {
    /// The time at which the event was refused.
    pub at: Time,
    /// The reason, for a person.
    pub detail: String,
}

/// The permissions that a person granted to a connector for one connection.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Grants {
    /// The origins that the connector may reach.
    pub origins: Vec<Text<Origin>>,
    /// The only place where each secret may be sent, by the secret's name.
    pub secrets: BTreeMap<String, SecretGrant>,
    /// Whether the connector may read test data of Test Manager.
    pub test_data: bool,
}

/// The place to which one secret is sent.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SecretGrant {
    /// The only origin that receives the secret.
    pub origin: Text<Origin>,
    /// The place in a request, in words: a header, a query parameter, a body.
    pub place: String,
}

/// The answer to a request that creates a connection or a new token. Only this answer contains the
/// webhook URL.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CreatedConnection {
    /// The connection that was created or has the new token.
    #[serde(flatten)]
    pub connection: Connection,
    /// The webhook URL to enter in Test Manager. It contains the token and is never shown again.
    pub webhook_url: String,
}

/// The body of `POST /connections`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateConnection {
    /// The name, 1 to 100 characters, unique among all connections.
    pub name: String,
    /// The stem of the connector's file.
    pub connector: String,
    /// Values of the settings that are not secrets, by name.
    #[serde(default)]
    pub settings: Settings,
    /// Values of secrets, by name. `file:/path` and `env:NAME` are references to values.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretText>,
    /// The client certificate that the tracker requires, as PEM, or a reference, as for a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<SecretText>,
    /// The key of the client certificate, as PEM without a password, or a reference, as for a
    /// secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<SecretText>,
    /// Settings for Test Manager; absent if the connection sends no requests to Test Manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_manager: Option<EditTestManager>,
    /// The secret of the external application in Test Manager, or a reference, as for a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_manager_client_secret: Option<SecretText>,
    /// The credential that senders of webhooks must send in addition to the token; absent if they
    /// need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_auth: Option<EditWebhookAuth>,
    /// The secret that senders must know, or a reference, as for a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_secret: Option<SecretText>,
    /// A second secret that is accepted too, while senders change from one secret to the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_secret_previous: Option<SecretText>,
    /// The only Test Manager project whose Defect KPIs requests are answered; absent: every
    /// project.
    #[serde(default)]
    pub project: Option<String>,
    /// Whether host names may resolve to private addresses.
    #[serde(default)]
    pub allow_private: bool,
    /// Whether only HTTP/1.1 is used with the tracker.
    #[serde(default)]
    pub http1_only: bool,
    /// Whether requests to the tracker have the header `traceparent`.
    #[serde(default)]
    pub trace_context: bool,
    /// The minimum index delay, in seconds; 0 means the delay that the connector states.
    #[serde(default)]
    pub index_delay_s: u32,
    /// The settings of the report: `title_template`, `description_template`, `comment_template`,
    /// `fields`, `mask`, `attachments`, `routing`.
    #[serde(default)]
    pub report: Settings,
    /// The reaction to a test case that fails again while its defect is open; `new` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_recurrence: Option<EnumString<OnRecurrence>>,
    /// Additional paths of the connection's webhook requests.
    #[serde(default)]
    pub webhook_paths: WebhookPaths,
}

/// The body of `PATCH /connections/{id}` and `POST /connections/{id}/accept`. An absent member
/// changes nothing; `null` removes a value.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EditConnection {
    /// The new name, unique among all connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Settings to set; `null` removes a setting.
    pub settings: BTreeMap<String, Option<Value>>,
    /// Secrets to set; `null` removes a secret.
    pub secrets: BTreeMap<String, Option<SecretText>>,
    /// The client certificate; `null` removes it.
    #[serde(deserialize_with = "double_option", skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<Option<SecretText>>,
    /// The key of the client certificate; `null` removes it.
    #[serde(deserialize_with = "double_option", skip_serializing_if = "Option::is_none")]
    pub client_key: Option<Option<SecretText>>,
    /// Settings for Test Manager; `null` removes them, with the client secret.
    #[serde(deserialize_with = "double_option", skip_serializing_if = "Option::is_none")]
    pub test_manager: Option<Option<EditTestManager>>,
    /// The secret of the external application in Test Manager, or a reference, as for a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_manager_client_secret: Option<SecretText>,
    /// The credential that senders of webhooks must send; `null` removes it, with its secrets.
    #[serde(deserialize_with = "double_option", skip_serializing_if = "Option::is_none")]
    pub webhook_auth: Option<Option<EditWebhookAuth>>,
    /// The secret that senders must know, or a reference, as for a secret. With the scheme
    /// `signature`, the replaced secret is also accepted until it is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_secret: Option<SecretText>,
    /// A second secret that is accepted too; `null` removes it.
    #[serde(deserialize_with = "double_option", skip_serializing_if = "Option::is_none")]
    pub webhook_secret_previous: Option<Option<SecretText>>,
    /// The only Test Manager project whose Defect KPIs requests are answered; `null`: every
    /// project.
    #[serde(deserialize_with = "double_option", skip_serializing_if = "Option::is_none")]
    pub project: Option<Option<String>>,
    /// Whether host names may resolve to private addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_private: Option<bool>,
    /// Whether only HTTP/1.1 is used with the tracker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http1_only: Option<bool>,
    /// Whether requests to the tracker have the header `traceparent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_context: Option<bool>,
    /// The minimum index delay, in seconds; 0 means the delay that the connector states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index_delay_s: Option<u32>,
    /// Members of the report's settings to set; `null` removes a member.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub report: BTreeMap<String, Option<Value>>,
    /// The reaction to a test case that fails again while its defect is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_recurrence: Option<EnumString<OnRecurrence>>,
    /// Replaces the additional paths of the connection's webhook requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_paths: Option<WebhookPaths>,
}

/// Deserialises `null` as `Some(None)`; an absent member is `None`.
pub(super) fn double_option<'de, T, D>(value: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(value).map(Some)
}

/// The query `?force=true`, for a change after which the server could lose track of defects.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ForceQuery {
    /// Make the change even if creates are in progress or defects are in doubt.
    pub force: bool,
}

/// The query of `POST /connections/{id}/accept`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptQuery {
    /// Make the change even if creates are in progress or defects are in doubt.
    #[serde(default)]
    pub force: bool,
    /// SHA-256 of the version that the person reviewed. No other version is accepted.
    pub sha256: String,
}

/// The body of `POST /connections/{id}/rotate-token`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RotateToken {
    /// How long the old token is still valid, seconds.
    pub grace_s: u32,
}

impl RotateToken {
    /// The value that the CLI and the console propose.
    pub const GRACE_S_DEFAULT: u32 = 3_600;
}

/// The body of `POST /connections/{id}/record`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordConnection {
    /// How long bodies are recorded from now on, 1 to 86,400 seconds.
    pub for_s: u32,
}

/// The query of `DELETE /connections/{id}/record`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EraseQuery {
    /// Whether the recordings of the connection are deleted too.
    pub erase: bool,
}

/// The answer to `POST /connections/{id}/try`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TryReport {
    /// The steps in order. The steps after a failed step are absent.
    pub steps: Vec<TryStep>,
    /// The line that the connector's `check` returned, if it succeeded.
    pub reached: Option<String>,
    /// Warnings about the connection's secrets, for the operator.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// One step of a `try`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TryStep {
    /// The name of the step, such as `check`.
    pub name: EnumString<domain::TryStep>,
    /// The origin of the step; only for the steps before the connector runs.
    pub origin: Option<Text<Origin>>,
    /// The error of the step; absent if the step succeeded.
    pub error: Option<String>,
    /// The setting to change, if the connector named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
    /// A remark about a step that succeeded, such as its proxy or certificate.
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
