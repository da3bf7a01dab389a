//! The operations on connectors that several servers share. Their tables exist only in the schema
//! of PostgreSQL.
//!
//! A file is stored in parts, each in a transaction of its own, because all servers wait for a
//! transaction that writes. The decision is stored in a last transaction, and only if all parts are
//! stored.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use super::columns::{from_json, time, to_json};
use super::database::{Database, from_row, params};
use super::writer::Durability::{Durable, Lazy};
use super::{SqlStore, shared_versions};
use crate::store::{
    Changes, ConnectorStore, LoadedConnectors, SharedConnector, SharedFile, SharedVersion, Store,
    StoreError,
};

/// Size of the part of a file that one row contains, bytes.
const PART_BYTES: usize = 1 << 20;
/// Maximum age of a report, milliseconds. Older reports are deleted.
const REPORT_MS_MAX: i64 = 24 * 60 * 60 * 1_000;

impl SqlStore {
    /// Returns the operations on shared connectors; `None` if only one server uses the database.
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
        self.readers.run(list).await
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
                move |db: &dyn Database| shared_versions::part(db, &sha256, part, PART_BYTES);
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
                let add =
                    move |db: &dyn Database| shared_versions::add(db, &sha256, number, part, now);
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
        let delete = "DELETE FROM loaded_connectors WHERE server = ?";
        let forget = move |db: &dyn Database| Ok(db.change(delete, params![server]).map(drop)?);
        self.writer.run(Lazy, forget).await
    }

    async fn report_connectors(&self, loaded: LoadedConnectors) -> Result<(), StoreError> {
        self.writer.run(Lazy, move |db| report(db, &loaded)).await
    }

    async fn loaded_connectors(
        &self,
        since: Timestamp,
    ) -> Result<Vec<LoadedConnectors>, StoreError> {
        self.readers.run(move |db| reports(db, since)).await
    }
}

struct Row {
    name: String,
    revision: i64,
    removed: bool,
    sha256: Option<String>,
    is_script: Option<bool>,
    bytes: Option<u64>,
    version_revision: Option<i64>,
    at: Option<i64>,
}

from_row!(Row { name, revision, removed, sha256, is_script, bytes, version_revision, at });

impl Row {
    fn version(&self) -> Result<Option<SharedVersion>, StoreError> {
        let Some(sha256) = self.sha256.clone() else { return Ok(None) };
        Ok(Some(SharedVersion {
            sha256,
            is_script: self.is_script.unwrap_or_default(),
            bytes: self.bytes.unwrap_or_default(),
            revision: self.version_revision.unwrap_or_default(),
            at: time(self.at.unwrap_or_default())?,
        }))
    }
}

fn list(db: &dyn Database) -> Result<Vec<SharedConnector>, StoreError> {
    let rows: Vec<Row> = db.all(
        "SELECT c.name, c.revision, c.removed, v.sha256, v.is_script, v.bytes,
             v.revision AS version_revision, v.at
         FROM connectors c LEFT JOIN connector_versions v ON v.name = c.name
         ORDER BY c.name, v.revision DESC",
        params![],
    )?;
    let mut all: Vec<SharedConnector> = Vec::new();
    for row in rows {
        let version = row.version()?;
        match all.last_mut().filter(|last| last.name == row.name) {
            Some(last) => last.versions.extend(version),
            None => all.push(SharedConnector {
                name: row.name,
                revision: row.revision,
                removed: row.removed,
                versions: version.into_iter().collect(),
            }),
        }
    }
    Ok(all)
}

fn report(db: &dyn Database, loaded: &LoadedConnectors) -> Result<(), StoreError> {
    let (at, connectors) = (loaded.at.as_millisecond(), to_json(&loaded.connectors)?);
    db.change(
        "INSERT INTO loaded_connectors (server, label, at, connectors) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (server) DO UPDATE SET label = ?2, at = ?3, connectors = ?4",
        params![loaded.server, loaded.label, at, connectors],
    )?;
    let outdated = at.saturating_sub(REPORT_MS_MAX);
    db.change("DELETE FROM loaded_connectors WHERE at < ?", params![outdated])?;
    Ok(())
}

fn reports(db: &dyn Database, since: Timestamp) -> Result<Vec<LoadedConnectors>, StoreError> {
    let rows: Vec<(Uuid, String, i64, String)> = db.all(
        "SELECT server, label, at, connectors FROM loaded_connectors WHERE at >= ?
         ORDER BY label, server",
        params![since.as_millisecond()],
    )?;
    let loaded = |(server, label, at, connectors): (Uuid, String, i64, String)| {
        let connectors = from_json(&connectors, "the list of connectors that a server has loaded")?;
        Ok(LoadedConnectors { server, label, at: time(at)?, connectors })
    };
    rows.into_iter().map(loaded).collect()
}
