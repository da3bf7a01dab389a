//! The operations on connections, and a connection as the store has it: with its sealed secrets and
//! the hashes of its tokens.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::{ConnectionId, ConnectionRecord};
use crate::secret::{Sealed, TokenHash};

use super::StoreError;

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

/// The connections of the store, with their tokens.
#[async_trait]
pub trait ConnectionStore {
    /// Returns all connections.
    async fn connections(&self) -> Result<Vec<StoredConnection>, StoreError>;
    /// Returns one connection; `None` if there is none with this id.
    async fn connection(&self, id: ConnectionId) -> Result<Option<StoredConnection>, StoreError>;
    /// Adds a connection. Durable. `Conflict` if the name is taken.
    async fn create_connection(&self, new: &StoredConnection) -> Result<(), StoreError>;
    /// Replaces the columns that people edit and the secrets, and counts the revision; but not the
    /// tokens, the last success and the last error. Durable. `Conflict` if an origin is removed
    /// while creates run or are in doubt, unless forced.
    async fn update_connection(
        &self,
        edited: &StoredConnection,
        force: bool,
    ) -> Result<(), StoreError>;
    /// Records the connector version that a connection uses from now on. Lazy.
    async fn accept_version(&self, id: ConnectionId, sha256: &str) -> Result<(), StoreError>;
    /// Records how late a search found a new record; the longest is kept. Durable.
    async fn record_index_lag(&self, id: ConnectionId, lag_ms: u64) -> Result<(), StoreError>;
    /// Hides a connection and deletes its tokens, secrets and counts; `prune` deletes its events
    /// and defects later. Durable. `Conflict` if creates run or are in doubt, unless forced.
    async fn delete_connection(&self, id: ConnectionId, force: bool) -> Result<(), StoreError>;
    /// Adds a token and stores its tail; older tokens expire as given, or are deleted if their
    /// grace is zero. Durable.
    async fn rotate_token(
        &self,
        id: ConnectionId,
        token: &StoredToken,
        tail: &str,
        expiry: TokenExpiry,
    ) -> Result<(), StoreError>;
    /// Deletes tokens that have expired. Durable.
    async fn delete_tokens(&self, expired: Vec<TokenHash>) -> Result<(), StoreError>;
}
