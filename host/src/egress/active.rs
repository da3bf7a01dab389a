//! What the runs of one connection share: settings, decrypted secrets, grants and idle HTTP
//! connections.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::{Connection, ConnectionId, ConnectorName, Settings};
use crate::secret::Secret;

use super::credentials::Credentials;
use super::pool::Pool;

/// What the runs of one connection may use. It is rebuilt whenever the connection is edited, so
/// that a run sees one consistent state and no HTTP connection is used under other grants.
#[derive(Debug)]
pub struct ActiveConnection {
    /// The connection.
    pub connection: Connection,
    /// Its secrets; `file:` and `env:` values are read.
    pub(super) credentials: Arc<Credentials>,
    /// HTTP connections to its tracker; never shared with another connection.
    pub(super) pool: Arc<Pool>,
}

impl ActiveConnection {
    /// `secrets` are the values of the connection's secrets, by name.
    #[must_use]
    pub fn new(connection: Connection, secrets: BTreeMap<String, Secret>) -> Self {
        let credentials = Arc::new(Credentials::new(&connection, secrets));
        Self { connection, credentials, pool: Arc::default() }
    }

    /// The same connection, with the same grants and secrets, as its runs saw it with other settings.
    #[must_use]
    pub fn with_settings(&self, settings: Settings) -> Self {
        let connection = Connection { settings, ..self.connection.clone() };
        let (credentials, pool) = (Arc::clone(&self.credentials), Arc::clone(&self.pool));
        Self { connection, credentials, pool }
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

    /// Whether its secrets have exactly these values.
    pub(crate) fn has_secrets(&self, secrets: &BTreeMap<String, Secret>) -> bool {
        self.credentials.has_secrets(secrets)
    }

    /// The text that the guest gets instead of a secret whose place is in a body. It is random and
    /// changes when the connection is loaded again. `None` for other places and without a value.
    pub(crate) fn placeholder(&self, name: &str) -> Option<&str> {
        self.credentials.placeholders.get(name).map(String::as_str)
    }
}
