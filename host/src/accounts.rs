//! Accounts: the first admin token, named tokens, the sessions of browsers, and the audit log of
//! what accounts change.
//!
//! The store contains hashes of named tokens and cookies, never the whole texts. This room does not
//! check roles.

mod audit;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::{
    Account, AccountToken, Clock, ConnectionId, FIRST_ADMIN, Role, Session, TokenId, after,
};
use crate::secret::{DerivationKey, Secret, TokenHash};
use crate::store::{AccountStore, StoreError};

pub use audit::{Audit, Completion, Intent, RefusedAttempt};

/// The prefix of every named token, by which people and secret scanners recognise a token.
pub const TOKEN_PREFIX: &str = "jackfield_";
/// Maximum duration of a session, seconds. A session also ends with its token.
pub const SESSION_S: u64 = 12 * 60 * 60;
/// Minimum time between two writes of a token's `last_used_at`, milliseconds, so that not every
/// request writes to the store.
const USE_INTERVAL_MS: u64 = 60_000;

/// Issues, finds and revokes tokens and sessions.
pub struct Accounts {
    store: Arc<dyn AccountStore>,
    clock: Arc<dyn Clock>,
    /// The first admin token, which is not in the store.
    admin_token: Secret,
    /// Derived from the server's key and the admin token, so a new admin token ends every session.
    key: DerivationKey,
}

/// The account that a token or an identity provider signs in, and when the token expires.
#[derive(Debug, Clone)]
pub struct TokenLogin {
    /// The account that signs in.
    pub account: Account,
    /// `None` for the first admin token, and for a person whom an identity provider has signed in.
    token: Option<TokenId>,
    /// When the token expires; `None`: never.
    expires_at: Option<Timestamp>,
}

impl TokenLogin {
    /// Makes the login of a person whom an identity provider has signed in.
    #[must_use]
    pub fn of_person(account: Account) -> Self {
        Self { account, token: None, expires_at: None }
    }
}

/// A token that is to be created.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// The name of the account.
    pub name: String,
    /// What the account may do.
    pub role: Role,
    /// The only connections that the account may see; absent: all connections.
    pub connections: Option<BTreeSet<ConnectionId>>,
    /// How long the token is valid, seconds; absent: without limit.
    pub lifetime_s: Option<u64>,
}

/// A new token, which is shown once.
pub struct IssuedAccountToken {
    /// The stored record, which does not contain the token.
    pub record: AccountToken,
    /// The token itself.
    pub token: Secret,
}

/// The reason why a token was not created.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The name cannot be used.
    #[error("{0}")]
    Name(String),
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// Uses the accounts in a store. `key` must be random: the admin token may be guessable, so no
    /// value that is shown or stored is derived from it alone.
    #[must_use]
    pub fn new(
        store: Arc<dyn AccountStore>,
        clock: Arc<dyn Clock>,
        admin_token: Secret,
        key: &DerivationKey,
    ) -> Self {
        let key = key.with_secret("accounts", &admin_token);
        Self { store, clock, admin_token, key }
    }

    /// Finds the account that a token signs in; `None` if the token is not valid.
    ///
    /// # Errors
    /// The store failed. The first admin token is accepted without the store.
    pub async fn by_token(&self, token: &str) -> Result<Option<TokenLogin>, StoreError> {
        if self.admin_token.matches(token) {
            let account = Account::admin();
            return Ok(Some(TokenLogin { account, token: None, expires_at: None }));
        }
        if !token.starts_with(TOKEN_PREFIX) {
            return Ok(None);
        }
        let now = self.clock.now();
        let found = self.store.account_token(TokenHash::of(token)).await?;
        let Some(found) = found.filter(|found| found.expires_at.is_none_or(|at| at > now)) else {
            return Ok(None);
        };
        if found.last_used_at.is_none_or(|at| after(at, USE_INTERVAL_MS) <= now)
            && let Err(error) = self.store.record_token_use(found.id, now).await
        {
            tracing::debug!(%error, "cannot store the use of a token");
        }
        let AccountToken { id, account, expires_at, .. } = found;
        Ok(Some(TokenLogin { account, token: Some(id), expires_at }))
    }

    /// Creates a named token.
    ///
    /// # Errors
    /// The name cannot be used or is taken, there are too many tokens, or the store failed.
    pub async fn create(
        &self,
        new: NewToken,
        creator: &str,
    ) -> Result<IssuedAccountToken, AccountError> {
        let NewToken { name, role, connections, lifetime_s } = new;
        if !Account::is_name(&name) {
            let max = Account::NAME_CHARS_MAX;
            let why =
                format!("must have 1 to {max} printable characters, and no space at either end");
            return Err(AccountError::Name(why));
        }
        if name == FIRST_ADMIN {
            let why = format!("{FIRST_ADMIN:?} is the account of the first admin token");
            return Err(AccountError::Name(why));
        }
        if Account::has_sign_in_prefix(&name) {
            let why = format!(
                "names that begin with {:?} or {:?} are for people who sign in without a token: \
                 choose another name",
                Account::PROXY_PREFIX,
                Account::OIDC_PREFIX
            );
            return Err(AccountError::Name(why));
        }
        let token = Secret::new(format!("{TOKEN_PREFIX}{}", Secret::fresh_token().reveal()));
        let now = self.clock.now();
        let record = AccountToken {
            id: TokenId(Uuid::now_v7()),
            account: Account { name, role, connections },
            tail: token.last_four_chars(),
            created_at: now,
            created_by: creator.to_owned(),
            expires_at: lifetime_s.map(|seconds| after(now, seconds.saturating_mul(1_000))),
            last_used_at: None,
        };
        self.store.create_account_token(&record, TokenHash::of(token.reveal())).await?;
        Ok(IssuedAccountToken { record, token })
    }

    /// Returns all named tokens, sorted by name.
    ///
    /// # Errors
    /// The store failed.
    pub async fn tokens(&self) -> Result<Vec<AccountToken>, StoreError> {
        self.store.account_tokens().await
    }

    /// Revokes a named token and ends its sessions.
    ///
    /// # Errors
    /// No token has this id, or the store failed.
    pub async fn revoke(&self, id: TokenId) -> Result<(), StoreError> {
        self.store.revoke_account_token(id).await
    }

    /// Begins a session. Returns the session and the value of its cookie.
    ///
    /// # Errors
    /// The token was revoked after the login, or the store failed.
    pub async fn sign_in(&self, login: TokenLogin) -> Result<(Session, Secret), StoreError> {
        let (cookie, created_at) = (Secret::fresh_token(), self.clock.now());
        let end = after(created_at, SESSION_S * 1_000);
        let session = Session {
            account: login.account,
            token: login.token,
            created_at,
            expires_at: login.expires_at.map_or(end, |expiry| expiry.min(end)),
        };
        self.store.create_session(&session, self.session_hash(cookie.reveal())).await?;
        Ok((session, cookie))
    }

    /// Returns the session of a cookie; `None` if the session has ended or never existed.
    ///
    /// # Errors
    /// The store failed.
    pub async fn session(&self, cookie: &str) -> Result<Option<Session>, StoreError> {
        let found = self.store.session(self.session_hash(cookie)).await?;
        Ok(found.filter(|session| session.expires_at > self.clock.now()))
    }

    /// Ends the session of a cookie.
    ///
    /// # Errors
    /// The store failed.
    pub async fn sign_out(&self, cookie: &str) -> Result<(), StoreError> {
        self.store.end_session(self.session_hash(cookie)).await
    }

    /// Returns the CSRF token of a person whom a proxy signs in. Such a person has no session here.
    #[must_use]
    pub fn csrf_of_person(&self, name: &str) -> String {
        self.key.derive_text("csrf", &[name])
    }

    /// Deletes sessions that have expired.
    ///
    /// # Errors
    /// The store failed.
    pub async fn delete_expired_sessions(&self) -> Result<(), StoreError> {
        self.store.delete_expired_sessions(self.clock.now()).await
    }

    fn session_hash(&self, cookie: &str) -> TokenHash {
        self.key.derive_hash("session", &[cookie])
    }
}
