//! The operations on connections, and the stored form of a connection, with its sealed (encrypted)
//! secrets and the hashes of its tokens.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::{ConnectionId, ConnectionRecord};
use crate::secret::{Sealed, TokenHash};

use super::StoreError;

/// A connection with its sealed secrets and its tokens. It is never shown to people.
#[derive(Debug, Clone)]
pub struct StoredConnection {
    /// The part of the connection that people may see.
    pub record: ConnectionRecord,
    /// The sealed value of each secret, by the secret's name.
    pub secrets: BTreeMap<String, Sealed>,
    /// The webhook tokens, including expired tokens that are not deleted yet.
    pub tokens: Vec<StoredToken>,
}

/// A webhook token. Only its hash is stored.
#[derive(Debug, Clone)]
pub struct StoredToken {
    /// The hash by which the token of a request is recognised.
    pub hash: TokenHash,
    /// The expiry of the token; `None` while no other token replaces it.
    pub expiry: Option<TokenExpiry>,
}

/// The expiry of a token that another token replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenExpiry {
    /// The instant of the expiry.
    pub at: Timestamp,
    /// The grace period, milliseconds, which began when the token was replaced. A server accepts
    /// the token for at most this long after the server has read this expiry from the store, even
    /// if the clock of the server is wrong.
    pub grace_ms: u64,
}

/// The operations on connections and on their webhook tokens.
#[async_trait]
pub trait ConnectionStore {
    /// Returns all connections.
    async fn connections(&self) -> Result<Vec<StoredConnection>, StoreError>;
    /// Returns one connection; `None` if no connection has this id.
    async fn connection(&self, id: ConnectionId) -> Result<Option<StoredConnection>, StoreError>;
    /// Adds a connection. Durable. `Conflict` if another connection has this name.
    async fn create_connection(&self, new: &StoredConnection) -> Result<(), StoreError>;
    /// Replaces the secrets and the columns that people edit, and increases the revision by 1. If
    /// the connector or the settings change, deletes the counts. Durable. `Conflict` if another
    /// connection has this name, or if the connection was edited since it was read. Also `Conflict`
    /// if an origin is removed while creates are running, or are in doubt after an `open` or
    /// `acknowledged` write (`WriteClass`), unless `force` is true.
    async fn update_connection(
        &self,
        edited: &StoredConnection,
        force: bool,
    ) -> Result<(), StoreError>;
    /// Records the connector version that was accepted last for a connection. Lazy.
    async fn accept_version(&self, id: ConnectionId, sha256: &str) -> Result<(), StoreError>;
    /// Stores the age that a new record of the tracker had when a search found it, if this age is
    /// larger than the stored one. Durable.
    async fn record_index_lag(&self, id: ConnectionId, lag_ms: u64) -> Result<(), StoreError>;
    /// Hides a connection and deletes its tokens, secrets and counts. `EventStore::prune` deletes
    /// its events and defects later. Durable. `Conflict` if creates are running, or are in doubt
    /// after an `open` or `acknowledged` write, unless `force` is true.
    async fn delete_connection(&self, id: ConnectionId, force: bool) -> Result<(), StoreError>;
    /// Adds a token and stores its last characters. If the grace period is zero, deletes the older
    /// tokens; otherwise, the older tokens get this expiry, unless they expire earlier. Durable.
    async fn rotate_token(
        &self,
        id: ConnectionId,
        token: &StoredToken,
        tail: &str,
        expiry: TokenExpiry,
    ) -> Result<(), StoreError>;
    /// Deletes the tokens with these hashes, which have expired. Durable.
    async fn delete_tokens(&self, expired: Vec<TokenHash>) -> Result<(), StoreError>;
}
