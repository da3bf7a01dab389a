//! The latest snapshot of the plugins folder: each connector's status and the version that serves.
//!
//! Only the scanner publishes a snapshot. Readers never wait.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::domain::ConnectorName;
use crate::manifest::Manifest;
use crate::runtime::{Connector, Interfaces};

/// The status of a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectorStatus {
    /// Its newest version serves.
    Ready,
    /// Its first version is being compiled.
    Compiling,
    /// The newest file cannot be used; an older version may still serve.
    Broken,
}

/// A connector as the admin API shows it.
#[derive(Debug, Clone)]
pub struct ConnectorInfo {
    /// The file's stem. Not always a [`ConnectorName`]: a file may be broken because of its name.
    pub name: String,
    /// Whether it serves.
    pub status: ConnectorStatus,
    /// SHA-256 of the version that serves, hex; absent if none serves.
    pub sha256: Option<String>,
    /// The manifest of the version that serves.
    pub manifest: Option<Manifest>,
    /// The interfaces that the version that serves exports.
    pub interfaces: Interfaces,
    /// Why the newest file cannot be used.
    pub error: Option<String>,
    /// When the version that serves was loaded.
    pub loaded_at: Option<Timestamp>,
}

/// Why no version of a connector serves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectorUnavailable {
    /// The plugins folder has no file of this name.
    #[error("there is no connector `{name}`: copy {name}.wasm into the plugins folder")]
    Missing {
        /// The connector.
        name: ConnectorName,
    },
    /// Its file cannot be used, and no older version serves.
    #[error("the connector `{name}` is broken: {reason}")]
    Broken {
        /// The connector.
        name: ConnectorName,
        /// Why.
        reason: String,
    },
    /// Its first version is not ready yet.
    #[error("the connector `{name}` is being compiled; try again soon")]
    Compiling {
        /// The connector.
        name: ConnectorName,
    },
    /// It needs more than its connection granted.
    #[error(
        "the connector `{name}` needs what this connection has not granted: {}; \
         to grant it, run `jackfield connections accept {connection}`", .unapproved.join("; ")
    )]
    NeedsConsent {
        /// The connector.
        name: ConnectorName,
        /// The connection's name.
        connection: String,
        /// What was not granted.
        unapproved: Vec<String>,
    },
}

/// All files of the folder, by stem.
pub(super) type Snapshot = BTreeMap<String, Entry>;

/// One file of the folder.
#[derive(Clone, Default)]
pub(super) struct Entry {
    /// The last good version.
    pub(super) serving: Option<Arc<Connector>>,
    /// Why the newest file cannot be used.
    pub(super) error: Option<String>,
}

/// The latest snapshot, and the number of snapshots so far.
pub(super) struct Catalog {
    snapshot: ArcSwap<Snapshot>,
    changes: watch::Sender<u64>,
}

impl Default for Catalog {
    fn default() -> Self {
        Self { snapshot: ArcSwap::default(), changes: watch::Sender::new(0) }
    }
}

impl Catalog {
    pub(super) fn list(&self) -> Vec<ConnectorInfo> {
        self.snapshot.load().iter().map(|(name, entry)| entry.info(name)).collect()
    }

    pub(super) fn newest(
        &self,
        name: &ConnectorName,
    ) -> Result<Arc<Connector>, ConnectorUnavailable> {
        let snapshot = self.snapshot.load();
        let name = name.clone();
        match snapshot.get(name.as_str()) {
            None => Err(ConnectorUnavailable::Missing { name }),
            Some(Entry { serving: Some(newest), .. }) => Ok(Arc::clone(newest)),
            Some(Entry { error: Some(reason), .. }) => {
                Err(ConnectorUnavailable::Broken { name, reason: reason.clone() })
            }
            Some(_) => Err(ConnectorUnavailable::Compiling { name }),
        }
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn publish(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl Entry {
    fn info(&self, name: &str) -> ConnectorInfo {
        let serving = self.serving.as_ref();
        ConnectorInfo {
            name: name.to_owned(),
            status: match (&self.error, serving) {
                (Some(_), _) => ConnectorStatus::Broken,
                (None, Some(_)) => ConnectorStatus::Ready,
                (None, None) => ConnectorStatus::Compiling,
            },
            sha256: serving.map(|connector| connector.sha256().to_owned()),
            manifest: serving.map(|connector| connector.manifest().clone()),
            interfaces: serving.map(|connector| connector.interfaces()).unwrap_or_default(),
            error: self.error.clone(),
            loaded_at: serving.map(|connector| connector.loaded_at()),
        }
    }
}
