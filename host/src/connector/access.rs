//! What the runs of one connection may use: its settings, secrets, grants and pooled connections.

use std::collections::BTreeMap;

use crate::domain::Connection;
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
}

impl Access {
    /// Takes a connection and the resolved values of its secrets.
    #[must_use]
    pub fn new(connection: Connection, secrets: BTreeMap<String, Secret>) -> Self {
        let vault = Vault::new(&connection.grants, secrets);
        Self { connection, vault, pool: Pool::default() }
    }

    /// What a secret that is placed by placeholder reads as in the guest: an opaque text, another one
    /// each time the connection is loaded. `None` for secrets of another place or without a value.
    pub(super) fn placeholder(&self, name: &str) -> Option<&str> {
        self.vault.placeholder(name)
    }
}
