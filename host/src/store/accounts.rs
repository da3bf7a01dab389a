//! The operations on the tokens and sessions of accounts, and on the audit log.

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use crate::domain::{AccountToken, AuditEntry, AuditId, EventId, OutcomeCode, Session, TokenId};
use crate::secret::TokenHash;

/// Maximum number of named tokens.
pub const ACCOUNT_TOKENS_MAX: usize = 1_000;
/// Maximum number of sessions. If there are more, the session with the earliest expiry is ended.
pub const SESSIONS_MAX: usize = 1_000;
/// Maximum number of sessions of one account. Without this limit, new sessions of one account could
/// end the sessions of all other accounts.
pub const ACCOUNT_SESSIONS_MAX: usize = 20;

/// The operations on accounts, the same for every database engine.
#[async_trait]
pub trait AccountStore: Send + Sync {
    /// Adds a token. Durable. `Conflict` if another token has its name, or if there are too many
    /// tokens.
    async fn create_account_token(
        &self,
        token: &AccountToken,
        hash: TokenHash,
    ) -> Result<(), StoreError>;
    /// Returns all tokens, sorted by name.
    async fn account_tokens(&self) -> Result<Vec<AccountToken>, StoreError>;
    /// Returns the token with this hash, even if it has expired.
    async fn account_token(&self, hash: TokenHash) -> Result<Option<AccountToken>, StoreError>;
    /// Deletes a token and ends its sessions. Durable. `NotFound` if there is no such token.
    async fn revoke_account_token(&self, id: TokenId) -> Result<(), StoreError>;
    /// Records when a token was used. Lazy.
    async fn record_token_use(&self, id: TokenId, at: Timestamp) -> Result<(), StoreError>;

    /// Adds a session; `hash` is the hash of its cookie. If there are then too many sessions, ends
    /// those with the earliest expiry. Durable. `NotFound` if the token of the session has been
    /// revoked.
    async fn create_session(&self, session: &Session, hash: TokenHash) -> Result<(), StoreError>;
    /// Returns the session whose cookie has this hash, even if the session has expired.
    async fn session(&self, hash: TokenHash) -> Result<Option<Session>, StoreError>;
    /// Ends the session whose cookie has this hash. Durable.
    async fn end_session(&self, hash: TokenHash) -> Result<(), StoreError>;

    /// Deletes the sessions whose expiry is at this instant or earlier. Lazy.
    async fn delete_expired_sessions(&self, now: Timestamp) -> Result<(), StoreError>;
}

/// The conditions that listed entries of the audit log must meet. An absent condition allows every
/// entry.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only entries that were made at this instant or later.
    pub since: Option<Timestamp>,
    /// Only entries that were made before this instant.
    pub until: Option<Timestamp>,
    /// Only entries about actions of this account.
    pub account: Option<String>,
    /// Only entries about actions on this object.
    pub object: Option<String>,
    /// Only entries about this kind of action.
    pub action: Option<String>,
    /// Only entries that are older than this entry.
    pub before: Option<AuditId>,
    /// Maximum number of entries. The newest are listed first.
    pub limit: u32,
}

/// The limits of the age and number of entries of the audit log.
#[derive(Debug, Clone, Copy)]
pub struct AuditRetention {
    /// Entries that were made before this instant are deleted.
    pub since: Timestamp,
    /// Maximum number of entries.
    pub entries_max: u64,
}

/// The operations on the audit log, the same for every database engine.
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// Adds an entry. Durable.
    async fn add_audit(&self, entry: AuditEntry) -> Result<(), StoreError>;
    /// Completes an entry with the outcome of its action, and with the event that the action
    /// caused. If `object` is `None`, the entry keeps its object. Durable.
    async fn complete_audit(
        &self,
        id: AuditId,
        object: Option<String>,
        outcome: OutcomeCode,
        event: Option<EventId>,
    ) -> Result<(), StoreError>;
    /// Adds `repeats` to the number of repeated attempts that an entry counts. Lazy.
    async fn count_audit_repeats(&self, id: AuditId, repeats: u64) -> Result<(), StoreError>;
    /// Returns the entries that meet the conditions, newest first.
    async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, StoreError>;
    /// Deletes the entries that exceed the retention. Lazy.
    async fn prune_audit(&self, retention: AuditRetention) -> Result<(), StoreError>;
}
