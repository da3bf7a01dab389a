//! What the runs of one connection may use: its settings, secrets, grants and pooled connections.

use std::collections::BTreeMap;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::{Connection, ConnectionId, ConnectorName, Grants, Settings};
use crate::secret::Secret;

use super::egress::{Pool, Vault};

/// A connection made ready for runs. Built anew whenever the connection is edited, so a run always
/// sees one consistent set, and connections made under other grants are never used again.
#[derive(Debug)]
pub struct Access {
    /// The connection as it stands.
    pub connection: Connection,
    /// Values of its secrets, resolved (`file:` and `env:` read).
    pub(super) vault: Vault,
    /// Connections to its tracker; never shared with another connection.
    pub(super) pool: Pool,
    /// What the version seen last asks beyond the grants; judged once, not at each event.
    pub(super) judged: ArcSwapOption<Judged>,
}

/// A version, by the hash of its file, and what keeps it from serving a connection.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) sha256: String,
    pub(super) news: Option<Vec<String>>,
}

impl Access {
    /// Takes a connection and the resolved values of its secrets.
    #[must_use]
    pub fn new(connection: Connection, secrets: BTreeMap<String, Secret>) -> Self {
        let vault = Vault::new(&connection.grants, secrets);
        Self { connection, vault, pool: Pool::default(), judged: ArcSwapOption::empty() }
    }

    /// Whether these are the values of its secrets.
    pub(crate) fn holds(&self, secrets: &BTreeMap<String, Secret>) -> bool {
        self.vault.holds(secrets)
    }

    /// Nobody's: no setting, no grant, no secret. A connector describes itself with it.
    pub(super) fn nobody() -> Self {
        let connection = Connection {
            id: ConnectionId(Uuid::nil()),
            name: String::new(),
            connector: ConnectorName::nobody(),
            settings: Settings::new(),
            secrets_set: Vec::new(),
            grants: Grants::default(),
            accepted_sha256: None,
            project: None,
            allow_private: false,
            paused: false,
            token_tail: String::new(),
            created_at: Timestamp::UNIX_EPOCH,
            last_success_at: None,
            last_error: None,
        };
        Self::new(connection, BTreeMap::new())
    }

    /// What a secret that is placed by placeholder reads as in the guest: an opaque text, another one
    /// each time the connection is loaded. `None` for secrets of another place or without a value.
    pub(crate) fn placeholder(&self, name: &str) -> Option<&str> {
        self.vault.placeholder(name)
    }
}
