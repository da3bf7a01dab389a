//! Types of `/apply`, which creates and changes connections to match a file, and of `/export`,
//! which returns such a file. The file never contains the value of a secret, only references to
//! secrets.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{OnRecurrence, Settings, string_enum};

use super::{EditTestManager, EditWebhookAuth, EnumString, SecretText, WebhookPaths};

/// The body of `POST /apply`, and the answer to `GET /export`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionsFile {
    /// The connections, each with its name as the key. Connections that are not in the file do not
    /// change.
    pub connections: BTreeMap<String, ConnectionFile>,
}

/// A connection in a file. Absent members get their defaults. Absent members of `webhook_auth` keep
/// their stored values, and so do absent secrets, unless the file removes what uses them.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionFile {
    /// The stem of the connector's file.
    pub connector: String,
    /// The only Test Manager project whose Defect KPIs requests are answered; absent: every
    /// project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Whether host names may resolve to private, shared (100.64/10) and loopback addresses.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_private: bool,
    /// Whether only HTTP/1.1 is used with the tracker.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub http1_only: bool,
    /// Whether requests to the tracker have the header `traceparent`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trace_context: bool,
    /// The minimum index delay of the tracker's search, in seconds; 0 for no minimum.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub index_delay_s: u32,
    /// The reaction to a test case that has a defect and fails again; `new` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_recurrence: Option<EnumString<OnRecurrence>>,
    /// A reference to the client certificate that the tracker requires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<SecretText>,
    /// A reference to the key of the client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<SecretText>,
    /// A reference to the secret of the external application in Test Manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_manager_client_secret: Option<SecretText>,
    /// A reference to the secret that senders of webhooks must know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_secret: Option<SecretText>,
    /// A reference to a second secret that senders of webhooks may use instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_secret_previous: Option<SecretText>,
    /// Values of the settings that are not secrets, by name.
    #[serde(default)]
    pub settings: Settings,
    /// References to secrets, by name: `file:/path` or `env:NAME`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretText>,
    /// Settings for Test Manager; absent if the connection sends no requests to Test Manager. An
    /// absent `project_id` is removed; other absent members keep their stored values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_manager: Option<EditTestManager>,
    /// How senders of webhooks prove that they know the secret, and from which addresses webhooks
    /// are accepted. An absent member keeps its stored value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_auth: Option<EditWebhookAuth>,
    /// The settings of the report, which contains the texts and the files of a defect.
    #[serde(default, skip_serializing_if = "Settings::is_empty")]
    pub report: Settings,
    /// Additional paths of the connection's webhook requests.
    #[serde(default, skip_serializing_if = "WebhookPaths::is_empty")]
    pub webhook_paths: WebhookPaths,
}

/// The query of `POST /apply`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApplyQuery {
    /// Whether the changes are only listed, and not made.
    pub dry_run: bool,
    /// Whether an origin may be taken from a connection even if creates are in progress or defects
    /// are in doubt.
    pub force: bool,
}

/// The answer to `POST /apply`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct AppliedConnections {
    /// Whether this was a dry run, which changes nothing.
    pub dry_run: bool,
    /// The connections of the file, sorted by name.
    pub connections: Vec<AppliedConnection>,
}

string_enum! {
    /// What `POST /apply` does to a connection of the file.
    pub enum AppliedAction {
        /// The connection does not exist, so it is created.
        Create = "create",
        /// The connection differs from the file, so it is changed.
        Change = "change",
        /// The connection does not differ from the file, so it is not changed.
        Nothing = "nothing",
    }
}

/// What `POST /apply` did to a connection of the file. After a dry run, what it would do.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct AppliedConnection {
    /// The name of the connection.
    pub name: String,
    /// Whether the connection is created, is changed or stays the same.
    pub action: EnumString<AppliedAction>,
    /// The values of the connection that differed from the file.
    pub changes: Vec<AppliedChange>,
    /// The webhook URL to enter in Test Manager; absent unless the connection was created. The URL
    /// contains the token and is never shown again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<String>,
}

/// A value of a connection that differs from the file. A secret is shown as its reference, or as
/// `set` if it is not a reference.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct AppliedChange {
    /// The path of the value, such as `settings.project`.
    pub member: String,
    /// The value before the change; `null` if there was none, or if it was `false` or 0.
    pub before: Option<Value>,
    /// The value after the change; `null` if the value is removed, or becomes `false` or 0.
    pub after: Option<Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(seconds: &u32) -> bool {
    *seconds == 0
}
