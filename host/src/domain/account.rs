//! Accounts: who uses the admin API or the console, and what they may do.

use std::collections::BTreeSet;

use jiff::Timestamp;
use uuid::Uuid;

use super::{ConnectionId, is_printable, string_enum};

string_enum! {
    /// The rights of an account; [`Role::summary`] describes them. Each role also has the rights of
    /// the roles before it.
    pub enum Role {
        /// Reads everything except bodies, secrets, tokens and the audit log.
        Viewer = "viewer",
        /// Operates the connections, for example pauses a connection or resolves a defect.
        Operator = "operator",
        /// Develops connectors.
        Author = "author",
        /// Decides what connections and accounts may do.
        Admin = "admin",
    }
}

impl Role {
    /// What the role may do in addition to the roles before it.
    #[must_use]
    pub fn summary(self) -> &'static str {
        match self {
            Self::Viewer => "read everything except bodies, secrets, tokens and the audit log",
            Self::Operator => {
                "read bodies; try and pause connections; replay and trigger events; resolve defects"
            }
            Self::Author => "upload, remove and roll back connectors; record bodies",
            Self::Admin => "change connections, secrets, consent and tokens; read the audit log",
        }
    }
}

/// Who sent a request to the admin API or the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The name, as the audit log and the decisions about defects show it.
    pub name: String,
    /// What the account may do.
    pub role: Role,
    /// The only connections that the account may see; `None`: all connections.
    pub connections: Option<BTreeSet<ConnectionId>>,
}

/// The name of the account whose token is in the data folder or the environment.
pub const FIRST_ADMIN: &str = "admin";

impl Account {
    /// Maximum length of an account's name, characters.
    pub const NAME_CHARS_MAX: usize = 64;

    /// Returns the account [`FIRST_ADMIN`].
    #[must_use]
    pub fn admin() -> Self {
        Self { name: FIRST_ADMIN.to_owned(), role: Role::Admin, connections: None }
    }

    /// Prefix of the names of people whom a reverse proxy signs in.
    pub const PROXY_PREFIX: &str = "proxy:";
    /// Prefix of the names of people whom an identity provider signs in.
    pub const OIDC_PREFIX: &str = "oidc:";

    /// Whether a name has the prefix of people whom a reverse proxy or an identity provider signs
    /// in.
    #[must_use]
    pub fn has_sign_in_prefix(name: &str) -> bool {
        [Self::PROXY_PREFIX, Self::OIDC_PREFIX].iter().any(|prefix| {
            let start = name.get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        })
    }

    /// Whether a text can be the name of an account.
    #[must_use]
    pub fn is_name(text: &str) -> bool {
        (1..=Self::NAME_CHARS_MAX).contains(&text.chars().count())
            && text.trim() == text
            && text.chars().all(is_printable)
    }

    /// Whether the account has the rights of this role.
    #[must_use]
    pub fn may(&self, role: Role) -> bool {
        self.role >= role
    }

    /// Whether the account may see this connection and everything that belongs to the connection.
    #[must_use]
    pub fn sees(&self, connection: ConnectionId) -> bool {
        self.connections.as_ref().is_none_or(|all| all.contains(&connection))
    }
}

/// The id of an account's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(pub Uuid);

/// A named token, without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountToken {
    /// The id of the token.
    pub id: TokenId,
    /// The account that the token signs in.
    pub account: Account,
    /// The last characters of the token, by which people recognise the token.
    pub tail: String,
    /// When the token was created.
    pub created_at: Timestamp,
    /// The name of the account that created the token.
    pub created_by: String,
    /// When the token expires; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// The last stored use of the token; `None`: never used. Not every use is stored.
    pub last_used_at: Option<Timestamp>,
}

/// The session of a browser that is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The account that signed in.
    pub account: Account,
    /// The token that was used to sign in. The session ends when this token expires or is revoked.
    /// `None`: the first admin token, or a person whom an identity provider has signed in.
    pub token: Option<TokenId>,
    /// When the browser signed in.
    pub created_at: Timestamp,
    /// When the session expires.
    pub expires_at: Timestamp,
}
