//! Who uses the admin API or the console, and what they may do.

use std::collections::BTreeSet;

use super::{ConnectionId, string_enum};

string_enum! {
    /// What an account may do. Each role may also do what the roles before it may.
    pub enum Role {
        /// Read everything but secrets and the bodies of requests and answers.
        Viewer = "viewer",
        /// Read bodies, try and pause connections, resolve defects, replay events.
        Operator = "operator",
        /// Upload connectors and roll them back, record bodies.
        Author = "author",
        /// Change connections, secrets, consent and accounts.
        Admin = "admin",
    }
}

/// Who sent a request to the admin API or the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The name that the audit log and decisions show.
    pub name: String,
    /// What the account may do.
    pub role: Role,
    /// The only connections that the account sees; absent: all.
    pub connections: Option<BTreeSet<ConnectionId>>,
}

impl Account {
    /// The account of the first admin token.
    #[must_use]
    pub fn admin() -> Self {
        Self { name: "admin".to_owned(), role: Role::Admin, connections: None }
    }

    /// Whether the account may do what needs this role.
    #[must_use]
    pub fn may(&self, role: Role) -> bool {
        self.role >= role
    }

    /// Whether the account may see this connection and what belongs to it.
    #[must_use]
    pub fn sees(&self, connection: ConnectionId) -> bool {
        self.connections.as_ref().is_none_or(|all| all.contains(&connection))
    }
}
