//! Contains the state that the runs of one connection share: settings, decrypted secrets, grants
//! and idle HTTP connections. Never sends a request.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::{
    Connection, ConnectionId, ConnectorName, Origin, Settings, TEST_MANAGER_SECRET, WEBHOOK_SECRET,
    WEBHOOK_SECRET_PREVIOUS,
};
use crate::secret::Secret;
use crate::transport::{AddressRules, Caller, ClientIdentity, IdentityError, LastAddresses};

use super::credentials::Credentials;
use super::pool::Pool;
use super::tape::{Replay, Tape};
use super::test_manager;

/// The settings, secrets and grants that the runs of one connection use. A new value is built
/// whenever the connection is edited.
#[derive(Debug, Clone)]
pub struct ActiveConnection {
    /// The connection's settings and grants.
    pub connection: Connection,
    /// The secrets that runs may use. If a secret is a reference (`file:` or `env:`), its value
    /// here is the content of the file or variable.
    pub(super) credentials: Arc<Credentials>,
    /// The idle HTTP connections. Another connection of Jackfield never uses them.
    pub(super) pool: Arc<Pool>,
    /// For each origin and each proxy, the IP address that accepted the last TCP connection.
    last_addresses: Arc<LastAddresses>,
    /// The client certificate, if the connection has one, or the reason why it cannot be used.
    identity: Result<Option<ClientIdentity>, IdentityError>,
    /// The state for the host's own requests to Test Manager. A guest's run never gets it. `None`
    /// if this connection has no usable settings for Test Manager.
    pub(super) test_manager: Option<Arc<Self>>,
    /// The webhook secrets, the newest first. No run gets them.
    webhook_secrets: Arc<[Secret]>,
    /// All secrets that [`Self::new`] received, including the secrets that only the host uses.
    pub(super) all_secrets: Arc<BTreeMap<String, Secret>>,
    /// In a replay, the recording that answers the requests of the run. `RunRequests::new` shows
    /// which tape a run uses if this is `None`.
    pub(super) tape: Option<Tape>,
}

impl ActiveConnection {
    /// Builds the state of a connection. `secrets` are the values of its secrets, by name.
    #[must_use]
    pub fn new(connection: Connection, mut secrets: BTreeMap<String, Secret>) -> Self {
        let all_secrets = Arc::new(secrets.clone());
        let identity = ClientIdentity::take(&mut secrets);
        let test_manager = connection.test_manager.as_ref().and_then(|_| {
            test_manager::build_active_connection(&connection, secrets.remove(TEST_MANAGER_SECRET))
        });
        let webhook_secrets = [WEBHOOK_SECRET, WEBHOOK_SECRET_PREVIOUS];
        let webhook_secrets = webhook_secrets.iter().filter_map(|name| secrets.remove(*name));
        let webhook_secrets = webhook_secrets.collect();
        let credentials = Arc::new(Credentials::new(&connection, secrets));
        let (pool, last_addresses) = (Arc::default(), Arc::default());
        Self {
            connection,
            credentials,
            pool,
            last_addresses,
            identity,
            test_manager,
            webhook_secrets,
            all_secrets,
            tape: None,
        }
    }

    /// Returns the webhook secrets, the newest first.
    #[must_use]
    pub fn webhook_secrets(&self) -> &[Secret] {
        &self.webhook_secrets
    }

    /// Returns a copy of the connection with these settings, and with the same grants and secrets.
    #[must_use]
    pub fn with_settings(&self, settings: Settings) -> Self {
        let connection = Connection { settings, ..self.connection.clone() };
        Self { connection, ..self.clone() }
    }

    /// Returns the connection with a recording that answers the requests of its runs. The host then
    /// sends no request to the tracker.
    #[must_use]
    pub fn with_replay(self, replay: Arc<Replay>) -> Self {
        Self { tape: Some(Tape::Replay(replay)), ..self }
    }

    /// Returns a connection without settings, secrets and grants.
    pub(crate) fn without_grants() -> Self {
        let id = ConnectionId(Uuid::nil());
        let connector = ConnectorName::unnamed();
        let connection = Connection::new(id, String::new(), connector, Timestamp::UNIX_EPOCH);
        Self::new(connection, BTreeMap::new())
    }

    /// Returns warnings about the connection's secrets, as sentences for an operator.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let of_test_manager = self.test_manager.iter().flat_map(|host| host.credentials.warnings());
        self.credentials.warnings().into_iter().chain(of_test_manager).collect()
    }

    pub(crate) fn identity_problem(&self) -> Option<&IdentityError> {
        self.identity.as_ref().err()
    }

    /// Returns the options for network connections to an origin. An origin that the connector's
    /// manifest fixes must have a public address, and does not get the client certificate.
    pub(super) fn caller_for(&self, origin: &Origin) -> Caller<'_> {
        let public_only = self.connection.grants.fixed_origins.contains(origin);
        let identity =
            if public_only { Ok(None) } else { self.identity.as_ref().map(Option::as_ref) };
        Caller {
            connection: self.connection.id,
            rules: AddressRules { allow_private: self.connection.allow_private, public_only },
            identity,
            http1_only: self.connection.http1_only || self.pool.requires_http1(origin),
            last_addresses: &self.last_addresses,
        }
    }

    /// Whether the connection has exactly these secrets: the same names and the same values.
    pub(crate) fn has_secrets(&self, secrets: &BTreeMap<String, Secret>) -> bool {
        let has_same_value = |(name, value): (&String, &Secret)| {
            secrets.get(name).is_some_and(|other| other.matches(value.reveal()))
        };
        self.all_secrets.len() == secrets.len() && self.all_secrets.iter().all(has_same_value)
    }

    /// Returns the placeholder of a secret: the random text that the guest gets instead of the
    /// secret, if the place of the secret is in a body.
    pub(crate) fn placeholder(&self, name: &str) -> Option<&str> {
        self.credentials.placeholders.get(name).map(String::as_str)
    }
}
