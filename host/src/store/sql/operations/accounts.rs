//! Decides for each operation on accounts and the audit log which thread runs it and whether it is
//! durable.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::{AccountToken, AuditEntry, AuditId, EventId, OutcomeCode, Session, TokenId};
use crate::secret::TokenHash;
use crate::store::sql::writer::Durability::{Durable, Lazy};
use crate::store::sql::{SqlStore, account_tokens, audit, sessions};
use crate::store::{AccountStore, AuditFilter, AuditRetention, AuditStore, StoreError};

#[async_trait]
impl AccountStore for SqlStore {
    async fn create_account_token(
        &self,
        token: &AccountToken,
        hash: TokenHash,
    ) -> Result<(), StoreError> {
        let token = token.clone();
        self.writer.run(Durable, move |db| account_tokens::create(db, token, hash)).await
    }

    async fn account_tokens(&self) -> Result<Vec<AccountToken>, StoreError> {
        self.readers.run(account_tokens::list).await
    }

    async fn account_token(&self, hash: TokenHash) -> Result<Option<AccountToken>, StoreError> {
        self.readers.run(move |db| account_tokens::find_by_hash(db, hash)).await
    }

    async fn revoke_account_token(&self, id: TokenId) -> Result<(), StoreError> {
        self.writer.run(Durable, move |db| account_tokens::delete(db, id)).await
    }

    async fn record_token_use(&self, id: TokenId, at: Timestamp) -> Result<(), StoreError> {
        self.writer.run(Lazy, move |db| account_tokens::record_use(db, id, at)).await
    }

    async fn create_session(&self, session: &Session, hash: TokenHash) -> Result<(), StoreError> {
        let session = session.clone();
        self.writer.run(Durable, move |db| sessions::create(db, session, hash)).await
    }

    async fn session(&self, hash: TokenHash) -> Result<Option<Session>, StoreError> {
        self.readers.run(move |db| sessions::find_by_hash(db, hash)).await
    }

    async fn end_session(&self, hash: TokenHash) -> Result<(), StoreError> {
        self.writer.run(Durable, move |db| sessions::delete(db, hash)).await
    }

    async fn delete_expired_sessions(&self, now: Timestamp) -> Result<(), StoreError> {
        self.writer.run(Lazy, move |db| sessions::delete_expired(db, now)).await
    }
}

#[async_trait]
impl AuditStore for SqlStore {
    async fn add_audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.writer.run(Durable, move |db| audit::add(db, entry)).await
    }

    async fn complete_audit(
        &self,
        id: AuditId,
        object: Option<String>,
        outcome: OutcomeCode,
        event: Option<EventId>,
    ) -> Result<(), StoreError> {
        self.writer.run(Durable, move |db| audit::complete(db, id, object, outcome, event)).await
    }

    async fn count_audit_repeats(&self, id: AuditId, repeats: u64) -> Result<(), StoreError> {
        self.writer.run(Lazy, move |db| audit::count_repeats(db, id, repeats)).await
    }

    async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, StoreError> {
        let filter = filter.clone();
        self.readers.run(move |db| audit::list(db, &filter)).await
    }

    async fn prune_audit(&self, retention: AuditRetention) -> Result<(), StoreError> {
        while self.writer.run(Lazy, move |db| audit::delete_some(db, retention)).await? {}
        Ok(())
    }
}
