//! Decides for each operation on connectors that several servers share which thread runs it and
//! whether it is durable.
//!
//! A file is stored in parts, each in a transaction of its own, because all servers wait for a
//! transaction that writes. The last transaction makes the file the version in use, but only if all
//! parts are stored.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use crate::store::sql::database::Database;
use crate::store::sql::writer::Durability::{Durable, Lazy};
use crate::store::sql::{SqlStore, connectors, shared_versions};
use crate::store::{
    Changes, ConnectorStore, ServerReport, SharedConnector, SharedFile, SharedVersion, Store,
    StoreError,
};

/// Maximum size of the part of a file that one row contains, bytes.
const PART_BYTES: usize = 1 << 20;

impl SqlStore {
    /// Returns the operations on shared connectors; `None` if the database is not shared.
    #[must_use]
    pub fn connectors(self: Arc<Self>) -> Option<Arc<dyn ConnectorStore>> {
        Store::is_shared(&*self).then_some(self as Arc<dyn ConnectorStore>)
    }
}

#[async_trait]
impl ConnectorStore for SqlStore {
    fn connector_changes(&self) -> Changes {
        self.publisher.subscribe()
    }

    async fn connectors_revision(&self) -> Result<i64, StoreError> {
        self.readers.run(shared_versions::last_revision).await
    }

    async fn shared_connectors(&self) -> Result<Vec<SharedConnector>, StoreError> {
        self.readers.run(connectors::list).await
    }

    async fn connector_file(
        &self,
        sha256: &str,
        bytes_max: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let mut content = Vec::new();
        for part in 0.. {
            let sha256 = sha256.to_owned();
            let read =
                move |db: &dyn Database| shared_versions::read_part(db, &sha256, part, PART_BYTES);
            match self.readers.run(read).await? {
                Some(mut part) => content.append(&mut part),
                None => break,
            }
            if content.len() as u64 > bytes_max {
                return Ok(None);
            }
        }
        Ok((!content.is_empty()).then_some(content))
    }

    async fn share_connector(&self, file: SharedFile, now: Timestamp) -> Result<i64, StoreError> {
        let SharedFile { name, is_script, sha256, content } = file;
        let (bytes, file_sha256) = (content.len() as u64, sha256.clone());
        let stored = move |db: &dyn Database| shared_versions::stored_parts(db, &file_sha256);
        let stored = self.readers.run(stored).await?;
        if stored.values().sum::<u64>() != bytes {
            for (number, part) in content.chunks(PART_BYTES).enumerate() {
                if stored.get(&number) == Some(&(part.len() as u64)) {
                    continue;
                }
                let (part, sha256) = (part.to_owned(), sha256.clone());
                let add = move |db: &dyn Database| {
                    shared_versions::add_part(db, &sha256, number, part, now)
                };
                self.writer.run(Lazy, add).await?;
            }
        }
        drop(content);
        let version = SharedVersion { sha256, is_script, bytes, revision: 0, at: now };
        self.writer
            .run(Durable, move |db| shared_versions::set_current_version(db, &name, &version))
            .await
    }

    async fn remove_connector(&self, name: &str, now: Timestamp) -> Result<i64, StoreError> {
        let name = name.to_owned();
        self.writer.run(Durable, move |db| shared_versions::remove_connector(db, &name, now)).await
    }

    async fn delete_server_report(&self, server: Uuid) -> Result<(), StoreError> {
        self.writer.run(Lazy, move |db| connectors::delete_report(db, server)).await
    }

    async fn store_server_report(&self, loaded: ServerReport) -> Result<(), StoreError> {
        self.writer.run(Lazy, move |db| connectors::store_report(db, &loaded)).await
    }

    async fn server_reports(&self, since: Timestamp) -> Result<Vec<ServerReport>, StoreError> {
        self.readers.run(move |db| connectors::list_reports(db, since)).await
    }
}
