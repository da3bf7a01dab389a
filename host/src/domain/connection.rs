//! A connection: one configured use of a connector, and the rights that a person granted to this
//! use. This file never reads a secret.

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

/// The id of a connection, which never changes.
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
    /// The empty name, for use where no connector is known. No file can have it.
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
        let is_valid = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if is_valid { Ok(Self(Arc::from(text))) } else { Err(InvalidName(text.to_owned())) }
    }
}

/// The name of the secret that contains a connection's client certificate. No setting of a
/// connector can have this name, because it contains a colon.
pub const CLIENT_CERT: &str = "tls:client-cert";
/// The name of the secret that contains the private key of the client certificate.
pub const CLIENT_KEY: &str = "tls:client-key";

/// Whether this is the name of the client certificate or of its private key.
#[must_use]
pub fn is_client_identity(secret: &str) -> bool {
    [CLIENT_CERT, CLIENT_KEY].contains(&secret)
}

/// Whether this is the name of a secret of webhook senders.
#[must_use]
pub fn is_webhook_secret(secret: &str) -> bool {
    [WEBHOOK_SECRET, WEBHOOK_SECRET_PREVIOUS].contains(&secret)
}

/// Whether the host itself uses the secret with this name, so that it is not a setting of a
/// connector.
#[must_use]
pub fn is_host_secret(secret: &str) -> bool {
    is_client_identity(secret) || is_webhook_secret(secret) || secret == TEST_MANAGER_SECRET
}

/// Returns the name under which people see a secret. If only the host uses the secret, this is the
/// name of a field in the API, such as `client_cert`.
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

/// One configured use of a connector. This type contains neither secrets nor tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Connection {
    /// The id of the connection.
    pub id: ConnectionId,
    /// The name for people; no two connections have the same name.
    pub name: String,
    /// The connector that handles the events of this connection.
    pub connector: ConnectorName,
    /// Values of the settings that are not secrets.
    pub settings: Settings,
    /// Names of the secrets that have a value; the values are not in this type.
    pub secrets_set: Vec<String>,
    /// What a person allowed.
    pub grants: Grants,
    /// SHA-256 of the last connector file that was accepted: by a person, or by the host because
    /// the file asks for nothing that is not granted.
    pub accepted_sha256: Option<String>,
    /// The only Test Manager project whose KPIs are answered; absent: every project.
    pub project: Option<String>,
    /// Whether host names other than `localhost` may resolve to private, shared (100.64/10) and
    /// loopback addresses.
    pub allow_private: bool,
    /// Whether only HTTP/1.1 is used with the tracker.
    pub http1_only: bool,
    /// Whether requests to the tracker have the header `traceparent`.
    pub trace_context: bool,
    /// The minimum index delay, seconds; the connector may declare a longer one.
    pub index_delay_s: u32,
    /// The access to Test Manager's API; absent: the host never calls this API.
    pub test_manager: Option<TestManagerSettings>,
    /// The settings of defect reports: templates, fields, mask, attachments, routing.
    pub report: Settings,
    /// The policy for a test case that fails again after its defect was created.
    pub on_recurrence: OnRecurrence,
    /// What a webhook request needs in addition to the token.
    pub webhook_auth: WebhookAuth,
    /// Paths of webhook requests for this connection, in addition to the paths that every
    /// connection has.
    pub webhook_paths: WebhookPaths,
    /// Whether Create Defect and Defect KPIs requests are refused.
    pub paused: bool,
    /// The end of the recording of bodies of requests and answers; `None`: bodies are not recorded.
    pub recording_until: Option<Timestamp>,
    /// The time when the connection was created.
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
            recording_until: None,
            created_at,
        }
    }
}

/// A connection with the status that the API and the CLI show.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionRecord {
    /// The number of the last edit. The creation of the connection is number 1.
    pub revision: u64,
    /// The connection as people configured it.
    pub connection: Connection,
    /// Last four characters of the newest webhook token, by which people recognise the token.
    pub token_tail: String,
    /// The time of the last event that ended with a defect or counts, or did follow-up steps.
    pub last_success_at: Option<Timestamp>,
    /// The time and the text of the last error.
    pub last_error: Option<(Timestamp, String)>,
    /// The longest measured index delay, milliseconds; 0 if none was measured.
    pub index_lag_ms: u64,
}

/// The rights that a person granted to a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Origins that the connector may reach.
    pub origins: Vec<Origin>,
    /// Origins that the connector's manifest itself sets for a setting or a token URL. These
    /// origins must resolve to public addresses.
    pub fixed_origins: Vec<Origin>,
    /// The only use of each secret, by the secret's name.
    pub secrets: BTreeMap<String, SecretGrant>,
    /// Whether the connector may read Test Manager's data about failed tests.
    pub may_read_test_data: bool,
}

/// The only use of one secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretGrant {
    /// The only origin for whose requests the host uses the secret.
    pub origin: Origin,
    /// How the host uses the secret for a request to this origin.
    pub place: SecretPlace,
}

/// The use of a secret for a request: the manifest's `jackfield:place`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretPlace {
    /// The header `Authorization: Bearer …`.
    Bearer,
    /// A header that the manifest names. A fixed text may precede the secret.
    Header {
        /// Lower-case header name.
        name: String,
        /// Text before the secret, often empty.
        prefix: String,
    },
    /// `Authorization: Basic …`; the secret is the password, or the user name if `user` is absent.
    Basic {
        /// The user name; absent: the secret is the user name, and the password is empty.
        user: Option<String>,
    },
    /// A parameter of the address's query.
    Query {
        /// The name of the query parameter.
        name: String,
    },
    /// A string in a JSON body, in which the guest writes a placeholder. The placeholder must be
    /// the whole string.
    Json {
        /// The JSON pointer (RFC 6901) to the string in the body.
        pointer: String,
    },
    /// A field of a form body, in which the guest writes a placeholder. The placeholder must be the
    /// whole value.
    Form {
        /// The name of the field in the form.
        name: String,
    },
    /// OAuth 2.0 client credentials: the host fetches an access token with the secret, and sends
    /// the token as bearer token.
    ClientCredentials {
        /// The token endpoint, which receives the secret.
        token_url: url::Url,
        /// The client id for the token endpoint; it is not secret.
        client_id: String,
        /// Scopes to request, separated by spaces; absent: none are requested.
        scope: Option<String>,
    },
}
