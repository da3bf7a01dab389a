//! The part of the store that knows the connectors of the servers that share a database: their
//! files by SHA-256, which version each of them uses, and what each server has loaded.
//!
//! Only PostgreSQL has it: a file of SQLite has one server.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use super::{Changes, StoreError};

/// Maximum number of versions that are kept of each connector.
pub const SHARED_VERSIONS_MAX: usize = 5;
/// Maximum size of all versions that are not in use, also those of removed connectors, bytes.
pub const SHARED_BYTES_MAX: u64 = 2 << 30;
/// Maximum number of removed connectors that are remembered.
pub const REMOVED_MAX: usize = 1_000;

/// A connector as the servers decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedConnector {
    /// The name; the store does not know which names are valid.
    pub name: String,
    /// The number of the last decision about it. A later decision about any connector has a larger
    /// one.
    pub revision: i64,
    /// Whether this decision removed it.
    pub removed: bool,
    /// Its versions, the last one that was chosen first.
    pub versions: Vec<SharedVersion>,
}

/// A version of a shared connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedVersion {
    /// SHA-256 of the file, hex.
    pub sha256: String,
    /// Whether the file is a script; otherwise it is a component.
    pub is_script: bool,
    /// The size of the file, bytes.
    pub bytes: u64,
    /// The number of the last decision that chose it.
    pub revision: i64,
    /// When it was chosen. A later decision about the same connector has a later time.
    pub at: Timestamp,
}

impl SharedConnector {
    /// The version that all servers use; `None`: the connector was removed.
    #[must_use]
    pub fn current(&self) -> Option<&SharedVersion> {
        self.versions.first().filter(|_| !self.removed)
    }
}

/// A file that all servers use from now on.
#[derive(Debug, Clone)]
pub struct SharedFile {
    /// The name of the connector.
    pub name: String,
    /// Whether the file is a script.
    pub is_script: bool,
    /// SHA-256 of the content, hex.
    pub sha256: String,
    /// The content.
    pub content: Vec<u8>,
}

/// The report of a server: what it has loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedConnectors {
    /// The id of the server's process.
    pub server: Uuid,
    /// The name of the server, for people.
    pub label: String,
    /// The time of the report.
    pub at: Timestamp,
    /// SHA-256 of the version in use, by the name of the connector.
    pub connectors: BTreeMap<String, String>,
}

/// The operations on the connectors of several servers.
#[async_trait]
pub trait ConnectorStore: Send + Sync {
    /// Subscribes to what other servers change; a decision is
    /// [`Change::Connectors`](super::Change).
    fn connector_changes(&self) -> Changes;
    /// Returns the number of the last decision about any connector; 0 if there was none.
    async fn connectors_revision(&self) -> Result<i64, StoreError>;
    /// Returns all connectors that are known, also removed ones, by name.
    async fn shared_connectors(&self) -> Result<Vec<SharedConnector>, StoreError>;
    /// Returns the content of a file, unchecked; `None` if it is not stored, or is larger than
    /// this.
    async fn connector_file(
        &self,
        sha256: &str,
        bytes_max: u64,
    ) -> Result<Option<Vec<u8>>, StoreError>;
    /// Stores a file in parts, each in a transaction of its own, and then makes it the version in
    /// use. Returns the number of this decision. If it is in use already, nothing changes. Durable.
    async fn share_connector(&self, file: SharedFile, now: Timestamp) -> Result<i64, StoreError>;
    /// Removes a connector. Returns the number of this decision. Its versions are kept. Durable.
    async fn remove_connector(&self, name: &str, now: Timestamp) -> Result<i64, StoreError>;
    /// Stores the report of a server in place of its last one. Lazy.
    async fn report_connectors(&self, loaded: LoadedConnectors) -> Result<(), StoreError>;
    /// Deletes the report of a server that ends. Lazy.
    async fn forget_server(&self, server: Uuid) -> Result<(), StoreError>;
    /// Returns the reports since this instant, by the name of the server.
    async fn loaded_connectors(
        &self,
        since: Timestamp,
    ) -> Result<Vec<LoadedConnectors>, StoreError>;
}
