//! A connection as the store has it, with its sealed secrets and the hashes of its tokens.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::ConnectionRecord;
use crate::secret::{Sealed, TokenHash};

/// A connection with its sealed secrets and its tokens, which only the host sees.
#[derive(Debug, Clone)]
pub struct StoredConnection {
    /// The part of the connection that people may see.
    pub record: ConnectionRecord,
    /// The sealed value of each secret, by the secret's name.
    pub secrets: BTreeMap<String, Sealed>,
    /// Webhook tokens that are still valid.
    pub tokens: Vec<StoredToken>,
}

/// A webhook token; the store keeps only a hash of it.
#[derive(Debug, Clone)]
pub struct StoredToken {
    /// The hash by which the token of a request is recognised.
    pub hash: TokenHash,
    /// The expiry of the token; absent: it never expires.
    pub expiry: Option<TokenExpiry>,
}

/// The expiry of a token that was replaced by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenExpiry {
    /// The instant of the expiry, by the wall clock.
    pub at: Timestamp,
    /// The grace period that began when it was replaced, milliseconds. The token is never valid for
    /// longer, whatever the wall clock shows.
    pub grace_ms: u64,
}
