//! `plugins/` as a snapshot: which connectors there are, which version of each serves.

use jiff::Timestamp;

use crate::domain::ConnectorName;

use super::Manifest;

/// What a connector can do, read from the names of its exported interfaces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Exports `defects`.
    pub defects: bool,
    /// Exports `kpis`.
    pub kpis: bool,
}

/// Where a connector stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectorStatus {
    /// It serves.
    Ready,
    /// Its first version is being compiled.
    Compiling,
    /// The newest file cannot be used; an older version may still serve.
    Broken,
}

impl ConnectorStatus {
    /// The word in JSON, CLI and console.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Compiling => "compiling",
            Self::Broken => "broken",
        }
    }
}

/// A connector as people see it.
#[derive(Debug, Clone)]
pub struct ConnectorInfo {
    /// The file's stem.
    pub name: ConnectorName,
    /// Where it stands.
    pub status: ConnectorStatus,
    /// SHA-256 of the file that serves, hex; absent where none does.
    pub sha256: Option<String>,
    /// The manifest of the version that serves.
    pub manifest: Option<Manifest>,
    /// What it can do.
    pub interfaces: Interfaces,
    /// Why the newest file cannot be used.
    pub error: Option<String>,
    /// Since when it serves.
    pub loaded_at: Option<Timestamp>,
}

/// One loaded version of a connector.
pub struct Connector {}
impl Connector {
    pub(super) fn loaded(&self) -> &super::engine::Loaded {
        todo!()
    }
    pub(super) fn limits(&self) -> &crate::domain::Limits {
        todo!()
    }
    pub(super) fn turns(&self) -> &tokio::sync::Semaphore {
        todo!()
    }
    pub fn manifest(&self) -> &Manifest {
        todo!()
    }
    pub fn name(&self) -> &ConnectorName {
        todo!()
    }
    pub fn sha256(&self) -> &str {
        todo!()
    }
}

/// The connectors of one folder, kept up to date.
pub struct Registry {}

impl Registry {
    /// All connectors, by name.
    #[must_use]
    pub fn list(&self) -> Vec<ConnectorInfo> {
        todo!()
    }
}
