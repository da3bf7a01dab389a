//! The operations on connectors that several servers share: their files by SHA-256, the version of
//! each connector that is in use, and the versions that each server has loaded. A decision is a
//! stored change that sets the version in use of a connector or removes the connector.
//!
//! Only PostgreSQL has these operations, because a SQLite file is used by only one server.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use super::{Changes, StoreError};

/// Maximum number of versions that are kept of each connector.
pub const SHARED_VERSIONS_MAX: usize = 5;
/// Maximum size of all versions together that are not in use, including those of removed
/// connectors, bytes.
pub const SHARED_BYTES_MAX: u64 = 2 << 30;
/// Maximum number of removed connectors whose versions are still stored.
pub const REMOVED_CONNECTORS_MAX: usize = 1_000;

/// A connector that the servers of a database share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedConnector {
    /// The name of the connector. The store does not check that this name is valid.
    pub name: String,
    /// The number of the last decision about this connector. Each later decision about any
    /// connector has a larger number.
    pub revision: i64,
    /// Whether the last decision removed the connector.
    pub removed: bool,
    /// The stored versions; the version that was chosen last is first.
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
    /// The number of the last decision that chose this version.
    pub revision: i64,
    /// When this version was chosen last. A version of the same connector that is chosen later
    /// always gets a later time, even if the clock was set back.
    pub at: Timestamp,
}

impl SharedConnector {
    /// Returns the version that all servers should use; `None` if the connector was removed.
    #[must_use]
    pub fn current(&self) -> Option<&SharedVersion> {
        self.versions.first().filter(|_| !self.removed)
    }
}

/// A file of a connector, which all servers should use from now on.
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

/// A server's report of the connectors that it has loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerReport {
    /// The id of the server's process.
    pub server: Uuid,
    /// The name under which people see the server.
    pub label: String,
    /// The time of the report.
    pub at: Timestamp,
    /// SHA-256 of the newest loaded version, by the name of the connector.
    pub connectors: BTreeMap<String, String>,
}

/// The operations on the connectors of several servers.
#[async_trait]
pub trait ConnectorStore: Send + Sync {
    /// Subscribes to the changes of the store. A decision of another server arrives as
    /// [`Change::Connectors`](super::Change).
    fn connector_changes(&self) -> Changes;
    /// Returns the number of the last decision about any connector; 0 if there was none.
    async fn connectors_revision(&self) -> Result<i64, StoreError>;
    /// Returns all stored connectors, including removed connectors, sorted by name.
    async fn shared_connectors(&self) -> Result<Vec<SharedConnector>, StoreError>;
    /// Returns the content of a file. The caller must check its SHA-256, because parts of the file
    /// may be missing. `None` if the file is not stored or is larger than `bytes_max`.
    async fn connector_file(
        &self,
        sha256: &str,
        bytes_max: u64,
    ) -> Result<Option<Vec<u8>>, StoreError>;
    /// Stores a file, and then makes it the version in use. Returns the number of this decision, or
    /// of the earlier decision if the file is already in use. Durable.
    async fn share_connector(&self, file: SharedFile, now: Timestamp) -> Result<i64, StoreError>;
    /// Removes a connector, but keeps its versions as far as the limits allow. Returns the number
    /// of this decision. Durable.
    async fn remove_connector(&self, name: &str, now: Timestamp) -> Result<i64, StoreError>;
    /// Stores the report of a server instead of its earlier report. Lazy.
    async fn store_server_report(&self, report: ServerReport) -> Result<(), StoreError>;
    /// Deletes the report of a server that shuts down. Lazy.
    async fn delete_server_report(&self, server: Uuid) -> Result<(), StoreError>;
    /// Returns the reports that were made at this instant or later, sorted by the name of the
    /// server.
    async fn server_reports(&self, since: Timestamp) -> Result<Vec<ServerReport>, StoreError>;
}
