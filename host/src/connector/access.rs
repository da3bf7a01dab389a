//! What the runs of one connection may use: its settings, secrets, grants and pooled connections.

use std::collections::BTreeMap;

use crate::domain::Connection;
use crate::secret::Secret;

use super::egress::Pool;

/// A connection made ready for runs. Built anew whenever the connection is edited, so a run always
/// sees one consistent set.
#[derive(Debug)]
pub struct Access {
    /// The connection as it stands.
    pub connection: Connection,
    /// Values of its secrets, resolved (`file:` and `env:` read).
    pub(super) secrets: BTreeMap<String, Secret>,
    /// Connections to its tracker; never shared with another connection.
    pub(super) pool: Pool,
}

impl Access {
    /// Takes a connection and the resolved values of its secrets.
    #[must_use]
    pub fn new(connection: Connection, secrets: BTreeMap<String, Secret>) -> Self {
        Self { connection, secrets, pool: Pool::default() }
    }
}
