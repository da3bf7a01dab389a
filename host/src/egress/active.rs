//! What the runs of one connection share: settings, decrypted secrets, grants and idle HTTP
//! connections.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::{Connection, ConnectionId, ConnectorName, Origin, Settings};
use crate::secret::Secret;

use super::connect::Reached;
use super::credentials::Credentials;
use super::identity::{ClientIdentity, IdentityError};
use super::pool::Pool;

/// What the runs of one connection may use. It is rebuilt whenever the connection is edited, so
/// that a run sees one consistent state and no HTTP connection is used under other grants.
#[derive(Debug, Clone)]
pub struct ActiveConnection {
    /// The connection.
    pub connection: Connection,
    /// Its secrets; `file:` and `env:` values are read.
    pub(super) credentials: Arc<Credentials>,
    /// HTTP connections to its tracker; never shared with another connection.
    pub(super) pool: Arc<Pool>,
    /// The addresses that it reached last.
    pub(super) reached: Arc<Reached>,
    /// Its client certificate.
    identity: Result<Option<ClientIdentity>, IdentityError>,
    /// All values it was made of, the client certificate's too.
    given: Arc<BTreeMap<String, Secret>>,
}

impl ActiveConnection {
    /// `secrets` are the values of the connection's secrets, by name.
    #[must_use]
    pub fn new(connection: Connection, mut secrets: BTreeMap<String, Secret>) -> Self {
        let given = Arc::new(secrets.clone());
        let identity = ClientIdentity::take(&mut secrets);
        let credentials = Arc::new(Credentials::new(&connection, secrets));
        let (pool, reached) = (Arc::default(), Arc::default());
        Self { connection, credentials, pool, reached, identity, given }
    }

    /// The same connection, with the same grants and secrets, as its runs saw it with other settings.
    #[must_use]
    pub fn with_settings(&self, settings: Settings) -> Self {
        let connection = Connection { settings, ..self.connection.clone() };
        Self { connection, ..self.clone() }
    }

    /// A connection without settings, secrets and grants, for `describe`.
    pub(crate) fn without_grants() -> Self {
        let id = ConnectionId(Uuid::nil());
        let connector = ConnectorName::unnamed();
        let connection = Connection::new(id, String::new(), connector, Timestamp::UNIX_EPOCH);
        Self::new(connection, BTreeMap::new())
    }

    /// What an operator should know about its secrets, in sentences.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.credentials.warnings()
    }

    /// Why its client certificate cannot be used.
    pub(crate) fn identity_problem(&self) -> Option<&IdentityError> {
        self.identity.as_ref().err()
    }

    /// The client certificate for an origin that a person granted: one that the connector chose itself does
    /// not learn who asks.
    ///
    /// # Errors
    /// There should be one, and it cannot be used.
    pub(super) fn identity_for(
        &self,
        origin: &Origin,
    ) -> Result<Option<&ClientIdentity>, IdentityError> {
        if self.connection.grants.fixed.contains(origin) {
            return Ok(None);
        }
        self.identity.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }

    /// Whether its secrets have exactly these values.
    pub(crate) fn has_secrets(&self, secrets: &BTreeMap<String, Secret>) -> bool {
        let same = |(name, value): (&String, &Secret)| {
            secrets.get(name).is_some_and(|other| other.matches(value.reveal()))
        };
        self.given.len() == secrets.len() && self.given.iter().all(same)
    }

    /// The text that the guest gets instead of a secret whose place is in a body. It is random and
    /// changes when the connection is loaded again. `None` for other places and without a value.
    pub(crate) fn placeholder(&self, name: &str) -> Option<&str> {
        self.credentials.placeholders.get(name).map(String::as_str)
    }
}
