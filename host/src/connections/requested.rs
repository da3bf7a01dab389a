//! The changes that an admin can request: a new connection, or an edit of a connection. This file
//! checks and stores nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{ConnectionRecord, ConnectorName, OnRecurrence, Settings, WebhookPaths};
use crate::secret::Secret;

use super::test_manager::TestManagerEdit;
use super::webhook_auth::WebhookAuthEdit;

/// A connection to create.
#[derive(Debug, Clone)]
pub struct NewConnection {
    /// The name, unique among all connections; 1 to 100 characters.
    pub name: String,
    /// The connector that the connection uses.
    pub connector: ConnectorName,
    /// Values of the settings that are not secrets, by name.
    pub settings: Settings,
    /// Values of secrets, by name. These secrets include the client certificate and its key.
    /// `file:/path` and `env:NAME` are references.
    pub secrets: BTreeMap<String, Secret>,
    /// The only Test Manager project whose KPIs are answered; absent: all projects.
    pub project: Option<String>,
    /// Whether host names other than `localhost` may resolve to private, shared and loopback
    /// addresses.
    pub allow_private: bool,
    /// Whether requests to the tracker use only HTTP/1.1.
    pub http1_only: bool,
    /// Whether requests to the tracker have the header `traceparent`.
    pub trace_context: bool,
    /// The shortest index delay that the host assumes, seconds; 0: the connector's own delay.
    pub index_delay_s: u32,
    /// Settings for Test Manager. If absent, no request is sent to Test Manager.
    pub test_manager: Option<TestManagerEdit>,
    /// The settings of the report of a failed test, as an admin writes them.
    pub report: Settings,
    /// The reaction to a test case that has a defect and fails again.
    pub on_recurrence: OnRecurrence,
    /// The requirements on senders of webhooks, in addition to the token.
    pub webhook_auth: WebhookAuthEdit,
    /// Paths of webhook requests for the connection, in addition to the paths that every connection
    /// has.
    pub webhook_paths: WebhookPaths,
}

/// An edit of a connection. `None` in a field does not change the value; `Some(None)` removes the
/// value.
#[derive(Debug, Default, Clone)]
pub struct ConnectionEdit {
    /// The new name, unique among all connections.
    pub name: Option<String>,
    /// Settings to set (`Some`) or remove (`None`).
    pub settings: BTreeMap<String, Option<serde_json::Value>>,
    /// Secrets to set (`Some`) or remove (`None`).
    pub secrets: BTreeMap<String, Option<Secret>>,
    /// Restricts the connection to one Test Manager project, or removes the restriction.
    pub project: Option<Option<String>>,
    /// Whether host names other than `localhost` may resolve to private, shared and loopback
    /// addresses.
    pub allow_private: Option<bool>,
    /// Whether requests to the tracker use only HTTP/1.1.
    pub http1_only: Option<bool>,
    /// Whether requests to the tracker have the header `traceparent`.
    pub trace_context: Option<bool>,
    /// The shortest index delay that the host assumes, seconds; 0: the connector's own delay.
    pub index_delay_s: Option<u32>,
    /// Changes the settings for Test Manager. `Some(None)` removes these settings and the client
    /// secret.
    pub test_manager: Option<Option<TestManagerEdit>>,
    /// Members of the report's settings to set (`Some`) or remove (`None`).
    pub report: BTreeMap<String, Option<serde_json::Value>>,
    /// The new reaction to a test case that has a defect and fails again.
    pub on_recurrence: Option<OnRecurrence>,
    /// Changes the requirements on senders of webhooks. `Some(None)` removes the requirements and
    /// the secrets of senders.
    pub webhook_auth: Option<Option<WebhookAuthEdit>>,
    /// Replaces the additional paths of webhook requests for the connection.
    pub webhook_paths: Option<WebhookPaths>,
    /// The edit is made only if the connection has one of these revisions; `None`: any revision.
    pub revisions: Option<BTreeSet<u64>>,
    /// Whether a granted origin may be removed even while creates are running or in doubt.
    pub force: bool,
}

/// The kind of the webhook requests that are sent to an additional path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MappedKind {
    /// Create Defect.
    CreateDefect,
    /// Defect KPIs.
    Kpis,
}

/// A connection with a new webhook token, which is shown only once.
#[derive(Debug)]
pub struct IssuedToken {
    /// The connection, as it was stored.
    pub record: ConnectionRecord,
    /// The new token. Only its hash and its last four characters are stored.
    pub token: Secret,
}
