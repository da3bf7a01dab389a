//! Decides for each operation on connections which thread runs it and whether it is durable.

use async_trait::async_trait;

use crate::domain::ConnectionId;
use crate::secret::TokenHash;
use crate::store::sql::writer::Durability::{Durable, Lazy};
use crate::store::sql::{SqlStore, connection_records, connections};
use crate::store::{ConnectionStore, StoreError, StoredConnection, StoredToken, TokenExpiry};

#[async_trait]
impl ConnectionStore for SqlStore {
    async fn connections(&self) -> Result<Vec<StoredConnection>, StoreError> {
        self.readers.run(|db| connection_records::read(db, None)).await
    }

    async fn connection(&self, id: ConnectionId) -> Result<Option<StoredConnection>, StoreError> {
        let found = self.readers.run(move |db| connection_records::read(db, Some(id))).await?;
        Ok(found.into_iter().next())
    }

    async fn create_connection(&self, new: &StoredConnection) -> Result<(), StoreError> {
        let new = new.clone();
        self.writer.run(Durable, move |db| connections::create(db, new)).await
    }

    async fn update_connection(
        &self,
        edited: &StoredConnection,
        force: bool,
    ) -> Result<(), StoreError> {
        let edited = edited.clone();
        // Queued counts belong to the old settings. Write them first, so that the update deletes
        // them.
        self.writer.write_history_with_next_batch();
        self.writer.run(Durable, move |db| connections::update(db, edited, force)).await
    }

    async fn accept_version(&self, id: ConnectionId, sha256: &str) -> Result<(), StoreError> {
        let sha256 = sha256.to_owned();
        self.writer.run(Lazy, move |db| connections::accept_version(db, id, sha256)).await
    }

    async fn record_index_lag(&self, id: ConnectionId, lag_ms: u64) -> Result<(), StoreError> {
        self.writer.run(Durable, move |db| connections::record_index_lag(db, id, lag_ms)).await
    }

    async fn delete_connection(&self, id: ConnectionId, force: bool) -> Result<(), StoreError> {
        let deleted = self.writer.run(Durable, move |db| connections::delete(db, id, force)).await;
        self.clear_defect_cache();
        deleted
    }

    async fn rotate_token(
        &self,
        id: ConnectionId,
        token: &StoredToken,
        tail: &str,
        expiry: TokenExpiry,
    ) -> Result<(), StoreError> {
        let (token, tail) = (token.clone(), tail.to_owned());
        self.writer
            .run(Durable, move |db| connections::rotate_token(db, id, token, tail, expiry))
            .await
    }

    async fn delete_tokens(&self, expired: Vec<TokenHash>) -> Result<(), StoreError> {
        self.writer.run(Durable, move |db| connections::delete_tokens(db, expired)).await
    }
}
