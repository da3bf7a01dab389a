//! A connection: one configured use of a connector, and what a person granted it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use super::Origin;
use super::follow_up::OnRecurrence;
use super::test_manager::{TEST_MANAGER_SECRET, TestManagerSettings};
use super::webhook_auth::{WEBHOOK_SECRET, WEBHOOK_SECRET_PREVIOUS, WebhookAuth};
use super::webhook_paths::WebhookPaths;

/// The id of a connection in the store, the admin API and the marker. It never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub Uuid);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A connector's name: the stem of its file in `plugins/`, `[a-z0-9-]{1,64}`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectorName(Arc<str>);

impl ConnectorName {
    /// The name of a connector that has not described itself yet; no file can have it.
    #[must_use]
    pub fn unnamed() -> Self {
        Self(Arc::from(""))
    }

    /// Returns the name as text, without `.wasm` or `.js`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConnectorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that cannot name a connector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a connector name: use 1 to 64 of a-z, 0-9 and '-'")]
pub struct InvalidName(pub String);

impl FromStr for ConnectorName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits { Ok(Self(Arc::from(text))) } else { Err(InvalidName(text.to_owned())) }
    }
}

/// The name of the secret that holds a connection's client certificate. No setting of a connector
/// can have this name, because it contains a colon.
pub const CLIENT_CERT: &str = "tls:client-cert";
/// The name of the secret that holds the key of the client certificate.
pub const CLIENT_KEY: &str = "tls:client-key";

/// Whether a secret belongs to the client certificate, and so is not a setting of a connector.
#[must_use]
pub fn is_client_identity(secret: &str) -> bool {
    [CLIENT_CERT, CLIENT_KEY].contains(&secret)
}

/// Whether a secret is what senders of webhooks must know. It is never sent.
#[must_use]
pub fn is_webhook_secret(secret: &str) -> bool {
    [WEBHOOK_SECRET, WEBHOOK_SECRET_PREVIOUS].contains(&secret)
}

/// Whether a secret is used by the host only, and so is not a setting of a connector.
#[must_use]
pub fn is_host_secret(secret: &str) -> bool {
    is_client_identity(secret) || is_webhook_secret(secret) || secret == TEST_MANAGER_SECRET
}

/// Returns the name that people see. For a secret of the host it is the API's field, such as
/// `client_cert`.
#[must_use]
pub fn shown_secret_name(secret: &str) -> &str {
    match secret {
        CLIENT_CERT => "client_cert",
        CLIENT_KEY => "client_key",
        TEST_MANAGER_SECRET => "test_manager_client_secret",
        WEBHOOK_SECRET => "webhook_secret",
        WEBHOOK_SECRET_PREVIOUS => "webhook_secret_previous",
        other => other,
    }
}

/// The values of a connection's settings, by name, without secrets.
pub type Settings = serde_json::Map<String, serde_json::Value>;

/// One configured use of a connector. Holds no secret and no token: the store keeps those.
#[derive(Debug, Clone, PartialEq)]
pub struct Connection {
    /// Identifies the connection in the store and in markers; never changes.
    pub id: ConnectionId,
    /// The name that people use in the CLI; no two connections have the same name.
    pub name: String,
    /// The connector that handles the events of this connection.
    pub connector: ConnectorName,
    /// Values of the settings that are not secrets.
    pub settings: Settings,
    /// Names of the secrets that have a value; the values are not in this type.
    pub secrets_set: Vec<String>,
    /// The origins that the connector may reach, and the place of each secret in a request.
    pub grants: Grants,
    /// SHA-256 of the last connector file that a person accepted.
    pub accepted_sha256: Option<String>,
    /// The only Test Manager project whose KPIs are answered; absent: every project.
    pub project: Option<String>,
    /// Whether host names may resolve to private addresses (RFC 1918, ULA).
    pub allow_private: bool,
    /// Whether only HTTP/1.1 is used with the tracker.
    pub http1_only: bool,
    /// Whether requests to the tracker have the header `traceparent`.
    pub trace_context: bool,
    /// The minimum index delay, seconds. It raises the index delay that the connector states.
    pub index_delay_s: u32,
    /// Access to Test Manager's API for details of failed tests; absent: the host never calls it.
    pub test_manager: Option<TestManagerSettings>,
    /// The settings of defect reports: templates, fields, mask, attachments, routing. The room
    /// `report` parses them.
    pub report: Settings,
    /// The policy for a test case that fails again while its defect is open.
    pub on_recurrence: OnRecurrence,
    /// What a webhook request needs in addition to the token.
    pub webhook_auth: WebhookAuth,
    /// Further paths of its webhook requests.
    pub webhook_paths: WebhookPaths,
    /// Whether Create Defect and Defect KPIs are refused with status 503.
    pub paused: bool,
    /// Until when the bodies of requests and answers are recorded; absent: they are not.
    pub record_until: Option<Timestamp>,
    /// The time when a person created the connection.
    pub created_at: Timestamp,
}

impl Connection {
    /// Makes a connection without settings, secrets or grants.
    #[must_use]
    pub fn new(
        id: ConnectionId,
        name: String,
        connector: ConnectorName,
        created_at: Timestamp,
    ) -> Self {
        Self {
            id,
            name,
            connector,
            settings: Settings::new(),
            secrets_set: Vec::new(),
            grants: Grants::default(),
            accepted_sha256: None,
            project: None,
            allow_private: false,
            http1_only: false,
            trace_context: false,
            index_delay_s: 0,
            test_manager: None,
            report: Settings::new(),
            on_recurrence: OnRecurrence::New,
            webhook_auth: WebhookAuth::default(),
            webhook_paths: WebhookPaths::default(),
            paused: false,
            record_until: None,
            created_at,
        }
    }
}

/// A connection with the status that the API and the CLI show.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionRecord {
    /// The number of the last edit, from 1.
    pub revision: u64,
    /// The connection as people configured it.
    pub connection: Connection,
    /// Last four characters of the newest webhook token, for people to recognise it.
    pub token_tail: String,
    /// The time of the last event that was answered with a defect or counts.
    pub last_success_at: Option<Timestamp>,
    /// The instant and the text of the last refusal.
    pub last_error: Option<(Timestamp, String)>,
    /// The longest measured time after a create during which a search did not find the record,
    /// milliseconds.
    pub index_lag_ms: u64,
}

/// The rights that a person granted when they created the connection or accepted a newer version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Origins that the connector may reach.
    pub origins: Vec<Origin>,
    /// Origins that the connector fixes for a setting or a token URL. Their addresses must be
    /// public.
    pub fixed: Vec<Origin>,
    /// The only destination of each secret, by the secret's name.
    pub secrets: BTreeMap<String, SecretGrant>,
    /// Whether the connector may read Test Manager's data about failed tests.
    pub test_data: bool,
}

/// The only origin and place to which the host sends one secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretGrant {
    /// The only origin that ever receives the secret.
    pub origin: Origin,
    /// The place of the secret in a request to that origin.
    pub place: SecretPlace,
}

/// A place for a secret in a request: the manifest's `jackfield:place`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretPlace {
    /// The header `Authorization: Bearer …`.
    Bearer,
    /// A header with any name, with a text before the secret.
    Header {
        /// Lower-case header name.
        name: String,
        /// Text before the secret, often empty.
        prefix: String,
    },
    /// `Authorization: Basic …`; the secret is the password, or the user if `user` is absent.
    Basic {
        /// The user name; absent: the secret is the user name, and the password is empty.
        user: Option<String>,
    },
    /// A parameter of the address's query.
    Query {
        /// The name of the query parameter.
        name: String,
    },
    /// The guest sees a placeholder. The host replaces it if it is the whole string at this place
    /// of a JSON body.
    Json {
        /// The JSON pointer (RFC 6901) to the string in the body.
        pointer: String,
    },
    /// The guest sees a placeholder. The host replaces it if it is the whole value of this field of
    /// a form body.
    Form {
        /// The name of the field in the form.
        name: String,
    },
    /// OAuth 2.0 client credentials: the host fetches a token and sends it as bearer.
    ClientCredentials {
        /// The token endpoint, which receives the secret.
        token_url: url::Url,
        /// The client id that the token endpoint knows; it is not secret.
        client_id: String,
        /// Scopes to request, separated by spaces; absent: none are requested.
        scope: Option<String>,
    },
}
