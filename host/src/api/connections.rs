//! Types of `/connections`, which lists, creates, edits and tries connections. No answer contains a
//! secret, except the answers that issue a webhook URL.

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
    /// The connections that the account may see, sorted by name.
    pub connections: Vec<Connection>,
}

string_enum! {
    /// Whether a connection uses the newest version of its connector, and if not, why.
    pub enum ConnectionStatus {
        /// Webhooks are answered with the newest version of the connector.
        Active = "active",
        /// A person paused the connection. Create Defect and Defect KPIs requests get 503.
        Paused = "paused",
        /// The newest version of the connector waits for consent. An accepted version may still be
        /// used.
        NeedsConsent = "needs-consent",
        /// The connector was removed, or its file is not loaded. If it was not removed, an accepted
        /// version may still be used.
        ConnectorUnavailable = "connector-unavailable",
    }
}

/// A connection as the admin API shows it. It never contains the values of secrets.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Connection {
    /// The id of the connection, which never changes.
    pub id: Uuid,
    /// The name of the connection, unique among all connections. A name may change.
    pub name: String,
    /// The stem of the connector's file.
    pub connector: String,
    /// Whether webhooks are answered with the connector's newest version, and if not, why.
    pub status: EnumString<ConnectionStatus>,
    /// The revision of the connection: 1 after its creation, and 1 more after each edit, pause and
    /// resume. The header `ETag` of an answer contains the same number, and an edit can send it in
    /// `If-Match`.
    #[serde(default)]
    pub revision: u64,
    /// Values of the settings that are not secrets, by name.
    pub settings: Settings,
    /// The names of the connector's secrets that have a value.
    pub secrets_set: Vec<String>,
    /// Whether the connection has a client certificate for its tracker.
    #[serde(default)]
    pub has_client_cert: bool,
    /// Settings for Test Manager; `null` if the connection sends no requests to Test Manager.
    #[serde(default)]
    pub test_manager: Option<TestManager>,
    /// Whether the client secret for Test Manager is stored.
    #[serde(default)]
    pub has_test_manager_client_secret: bool,
    /// How senders of webhooks prove that they know the secret, and from which addresses webhooks
    /// are accepted.
    #[serde(default)]
    pub webhook_auth: WebhookAuth,
    /// Whether a secret is stored that senders of webhooks must know.
    #[serde(default)]
    pub has_webhook_secret: bool,
    /// Whether a second secret is stored that senders of webhooks may use instead.
    #[serde(default)]
    pub has_webhook_secret_previous: bool,
    /// What the connection allows its connector: to reach origins, to have a secret sent to one
    /// origin in one place of a request, and to read test data.
    pub grants: Grants,
    /// SHA-256 of the connector's version that was accepted last. A person accepts a version that
    /// needs consent; the server accepts every other version.
    pub accepted_sha256: Option<String>,
    /// The reasons why the connector's newest version needs a person's consent; `null` if it needs
    /// none.
    pub needs_consent: Option<Vec<String>>,
    /// SHA-256 of the connector's newest version that could be loaded; `null` if there is none.
    pub newest_sha256: Option<String>,
    /// The only Test Manager project whose Defect KPIs requests are answered; `null`: every
    /// project.
    pub project: Option<String>,
    /// Whether host names may resolve to private, shared (100.64/10) and loopback addresses.
    pub allow_private: bool,
    /// Whether only HTTP/1.1 is used with the tracker.
    pub http1_only: bool,
    /// Whether requests to the tracker have the header `traceparent`.
    pub trace_context: bool,
    /// The minimum index delay, in seconds. The index delay is the time for which the tracker's
    /// search may not find a new record.
    pub index_delay_s: u32,
    /// The settings of the report, which contains the texts and the files of a defect. An absent
    /// member has its default.
    #[serde(default)]
    pub report: Settings,
    /// The reaction to a test case that has a defect and fails again.
    pub on_recurrence: EnumString<OnRecurrence>,
    /// Additional paths of the connection's webhook requests.
    #[serde(default)]
    pub webhook_paths: WebhookPaths,
    /// The longest measured index delay, milliseconds: the age of a new record when a search found
    /// it for the first time.
    pub index_lag_ms: u64,
    /// Warnings about the connection's secrets. The operator of the server should read them.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Whether a person paused the connection.
    pub paused: bool,
    /// The time until which the bodies of requests and answers are recorded; `null` if the
    /// connection does not record.
    #[serde(default)]
    pub recording_until: Option<Time>,
    /// The last four characters of the webhook token.
    pub token_tail: String,
    /// The time at which the connection was created.
    pub created_at: Time,
    /// The time of the last event whose answer was a defect or counts; `null` if there was none.
    pub last_success_at: Option<Time>,
    /// The last refusal of an event, or error in the secrets; `null` if there was none.
    pub last_error: Option<LastError>,
}

/// Additional webhook paths of a connection, below its token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookPaths {
    /// Paths whose requests are Create Defect requests.
    pub create_defect: Vec<String>,
    /// Paths whose requests are Defect KPIs requests. Each path contains `{projectId}` in the
    /// position of the project's id.
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
    /// The kind of the requests at an additional webhook path of a connection.
    pub enum MappedKind {
        /// The requests are Create Defect requests.
        CreateDefect = "create-defect",
        /// The requests are Defect KPIs requests.
        Kpis = "kpis",
    }
}

/// The body of `POST /connections/{id}/paths`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MapPath {
    /// The path below the token, without the query. For the kind `kpis`, the path contains
    /// `{projectId}` in the position of the project's id.
    pub path: String,
    /// The kind of the requests at this path.
    pub kind: EnumString<MappedKind>,
}

/// The last refusal of an event of a connection, or an error in the connection's secrets.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LastError {
    /// The time at which the event was refused, or the connection with the error was loaded.
    pub at: Time,
    /// The reason of the refusal or the error, as a text for people.
    pub detail: String,
}

/// The permissions that a person granted to a connector for one connection.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Grants {
    /// The origins that the connector may reach.
    pub origins: Vec<Text<Origin>>,
    /// For each secret, the only place to which the connector may send it. The key is the name of
    /// the secret.
    pub secrets: BTreeMap<String, SecretGrant>,
    /// Whether the connector may read test data of Test Manager.
    pub test_data: bool,
}

/// The only origin, and the only place in a request, for one secret.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SecretGrant {
    /// The only origin that receives the secret.
    pub origin: Text<Origin>,
    /// The place in a request, in words, such as a header, a query parameter or the body.
    pub place: String,
}

/// The answer to a request that creates a connection or a new token. It contains the webhook URL.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CreatedConnection {
    /// The connection that was created, or that has a new token.
    #[serde(flatten)]
    pub connection: Connection,
    /// The webhook URL to enter in Test Manager. The URL contains the token and is never shown
    /// again.
    pub webhook_url: String,
}

/// The body of `POST /connections`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateConnection {
    /// The name of the connection, 1 to 100 characters, unique among all connections.
    pub name: String,
    /// The stem of the connector's file.
    pub connector: String,
    /// Values of the settings that are not secrets, by name.
    #[serde(default)]
    pub settings: Settings,
    /// The values of secrets, by name. The values `file:/path` and `env:NAME` are references: the
    /// server reads the secret from the file or from the environment variable.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretText>,
    /// The client certificate that the tracker requires, as PEM. It may be a reference, like a
    /// secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<SecretText>,
    /// The key of the client certificate, as PEM without a password. It may be a reference, like a
    /// secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<SecretText>,
    /// Settings for Test Manager; absent if the connection sends no requests to Test Manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_manager: Option<EditTestManager>,
    /// The secret of the external application in Test Manager. It may be a reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_manager_client_secret: Option<SecretText>,
    /// What senders of webhooks need in addition to the token: a credential, an allowed address, or
    /// both. Absent if the token is sufficient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_auth: Option<EditWebhookAuth>,
    /// The secret that senders of webhooks must know. It may be a reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_secret: Option<SecretText>,
    /// A second secret that senders of webhooks may use instead, while they change from one secret
    /// to the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_secret_previous: Option<SecretText>,
    /// The only Test Manager project whose Defect KPIs requests are answered; absent: every
    /// project.
    #[serde(default)]
    pub project: Option<String>,
    /// Whether host names may resolve to private, shared (100.64/10) and loopback addresses.
    #[serde(default)]
    pub allow_private: bool,
    /// Whether only HTTP/1.1 is used with the tracker.
    #[serde(default)]
    pub http1_only: bool,
    /// Whether requests to the tracker have the header `traceparent`.
    #[serde(default)]
    pub trace_context: bool,
    /// The minimum index delay of the tracker's search, in seconds; 0 for no minimum.
    #[serde(default)]
    pub index_delay_s: u32,
    /// The settings of the report: `title_template`, `description_template`, `comment_template`,
    /// `fields`, `mask`, `attachments`, `routing`.
    #[serde(default)]
    pub report: Settings,
    /// The reaction to a test case that has a defect and fails again; `new` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_recurrence: Option<EnumString<OnRecurrence>>,
    /// Additional paths of the connection's webhook requests.
    #[serde(default)]
    pub webhook_paths: WebhookPaths,
}

/// The body of `PATCH /connections/{id}` and `POST /connections/{id}/accept`. An absent member
/// changes nothing.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EditConnection {
    /// The new name, unique among all connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The settings to change, by name; `null` removes a setting.
    pub settings: BTreeMap<String, Option<Value>>,
    /// The secrets to change, by name; `null` removes a secret.
    pub secrets: BTreeMap<String, Option<SecretText>>,
    /// The client certificate; `null` removes the certificate.
    #[serde(deserialize_with = "double_option", skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<Option<SecretText>>,
    /// The key of the client certificate; `null` removes the key.
    #[serde(deserialize_with = "double_option", skip_serializing_if = "Option::is_none")]
    pub client_key: Option<Option<SecretText>>,
    /// The settings for Test Manager; `null` removes these settings and the client secret.
    #[serde(deserialize_with = "double_option", skip_serializing_if = "Option::is_none")]
    pub test_manager: Option<Option<EditTestManager>>,
    /// The secret of the external application in Test Manager. It may be a reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_manager_client_secret: Option<SecretText>,
    /// What senders of webhooks need in addition to the token. `null` removes all requirements and
    /// the secrets of senders.
    #[serde(deserialize_with = "double_option", skip_serializing_if = "Option::is_none")]
    pub webhook_auth: Option<Option<EditWebhookAuth>>,
    /// The secret that senders of webhooks must know. It may be a reference. With the scheme
    /// `signature`, the replaced secret becomes `webhook_secret_previous`, unless the request
    /// contains that member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_secret: Option<SecretText>,
    /// A second secret that senders of webhooks may use instead; `null` removes this secret.
    #[serde(deserialize_with = "double_option", skip_serializing_if = "Option::is_none")]
    pub webhook_secret_previous: Option<Option<SecretText>>,
    /// The only Test Manager project whose Defect KPIs requests are answered; `null`: every
    /// project.
    #[serde(deserialize_with = "double_option", skip_serializing_if = "Option::is_none")]
    pub project: Option<Option<String>>,
    /// Whether host names may resolve to private, shared (100.64/10) and loopback addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_private: Option<bool>,
    /// Whether only HTTP/1.1 is used with the tracker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http1_only: Option<bool>,
    /// Whether requests to the tracker have the header `traceparent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_context: Option<bool>,
    /// The minimum index delay of the tracker's search, in seconds; 0 for no minimum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index_delay_s: Option<u32>,
    /// The settings of the report to change, by name; `null` removes a setting.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub report: BTreeMap<String, Option<Value>>,
    /// The reaction to a test case that has a defect and fails again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_recurrence: Option<EnumString<OnRecurrence>>,
    /// The additional paths of the connection's webhook requests. They replace all earlier
    /// additional paths.
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

/// The query of a change that the server refuses in some situations, unless `force` is true.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ForceQuery {
    /// Whether the change is made even if creates are in progress or defects are in doubt. For a
    /// connector: whether its file is removed even if connections use the connector.
    pub force: bool,
}

/// The query of `POST /connections/{id}/accept`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptQuery {
    /// Whether the change is made even if creates are in progress or defects are in doubt.
    #[serde(default)]
    pub force: bool,
    /// SHA-256 of the connector's version that the person reviewed. No other version is accepted.
    pub sha256: String,
}

/// The body of `POST /connections/{id}/rotate-token`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RotateToken {
    /// How long the old token stays valid, seconds.
    pub grace_s: u32,
}

impl RotateToken {
    /// The value of `grace_s` that the CLI and the console propose.
    pub const GRACE_S_DEFAULT: u32 = 3_600;
}

/// The body of `POST /connections/{id}/record`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordConnection {
    /// How long the bodies of requests and answers are recorded, 1 to 86,400 seconds from now.
    pub for_s: u32,
}

/// The query of `DELETE /connections/{id}/record`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EraseQuery {
    /// Whether the stored recordings of the connection are also deleted.
    pub erase: bool,
}

/// The answer to `POST /connections/{id}/try`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TryReport {
    /// The steps of the try, in order. The steps after a failed step are absent.
    pub steps: Vec<TryStep>,
    /// The line that the connector's export `check` returned; `null` if `check` did not succeed.
    pub reached: Option<String>,
    /// Warnings about the connection's secrets. The operator of the server should read them.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// One step of a try, which checks a connection.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TryStep {
    /// The name of the step, such as `check`.
    pub name: EnumString<domain::TryStep>,
    /// The origin that the step checked; `null` for a step that checks no single origin.
    pub origin: Option<Text<Origin>>,
    /// The error of the step; `null` if the step succeeded.
    pub error: Option<String>,
    /// The name of the setting to change; absent if the connector named no setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
    /// A remark about a step that succeeded, such as the proxy or the certificate that it used.
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
    fn the_error_for_an_unknown_member_contains_its_name() {
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
