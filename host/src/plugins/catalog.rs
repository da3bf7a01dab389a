//! The latest snapshot of the plugins folder: each connector's status and the version in use.
//!
//! Only the scanner publishes a snapshot. Readers never wait for the scanner.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::domain::{Connection, ConnectorName};
use crate::manifest::{Manifest, missing_grants};
use crate::runtime::{Connector, Interfaces};

/// Whether the newest file of a connector can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectorStatus {
    /// A version of the connector is in use, and no newer file has failed.
    Ready,
    /// No version of the connector is in use yet. The first one is not loaded yet, and has not
    /// failed.
    Compiling,
    /// The newest file cannot be used; an older version may still be in use.
    Broken,
}

/// The state of a connector.
#[derive(Debug, Clone)]
pub struct ConnectorInfo {
    /// The stem of the file's name, or the whole name if its extension has upper-case letters. Not
    /// always a valid [`ConnectorName`].
    pub name: String,
    /// Whether the newest file can be used.
    pub status: ConnectorStatus,
    /// SHA-256 of the version in use, hex; `None` if no version is in use.
    pub sha256: Option<String>,
    /// The manifest of the version in use; `None` if no version is in use.
    pub manifest: Option<Manifest>,
    /// The interfaces that the version in use exports; none if no version is in use.
    pub interfaces: Interfaces,
    /// The reason why the newest file cannot be used; `None` if it can be used.
    pub error: Option<String>,
    /// SHA-256 of the newest file, hex, if this file cannot be used but could be read.
    pub broken_sha256: Option<String>,
    /// A warning if the version in use has run since it was loaded, and each run ended with a fault
    /// of the connector; otherwise `None`.
    pub warning: Option<String>,
    /// The time when the version in use was loaded; `None` if no version is in use.
    pub loaded_at: Option<Timestamp>,
}

/// The reason why no version of a connector can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectorUnavailable {
    /// The plugins folder has no file of this connector.
    #[error(
        "there is no connector `{name}`: copy {name}.wasm or {name}.js into the plugins folder"
    )]
    Missing {
        /// The name of the missing connector.
        name: ConnectorName,
    },
    /// The connector's file cannot be used, and no older version is in use.
    #[error("the connector `{name}` is broken: {reason}")]
    Broken {
        /// The name of the connector.
        name: ConnectorName,
        /// The reason why the file cannot be used.
        reason: String,
    },
    /// The first version of the connector is not ready yet.
    #[error("the connector `{name}` is not loaded yet; try again soon")]
    Compiling {
        /// The name of the connector.
        name: ConnectorName,
    },
    /// The newest version needs a person's consent, and there is no accepted version that can be
    /// used.
    #[error(
        "the connector `{name}` needs what this connection has not granted: {}; \
         to grant it, run `jackfield connections accept {connection}`", .unapproved.join("; ")
    )]
    NeedsConsent {
        /// The name of the connector.
        name: ConnectorName,
        /// The name of the connection.
        connection: String,
        /// The invalid settings and missing grants of the connection, as phrases for people.
        unapproved: Vec<String>,
    },
}

/// The entries of all connectors in the folder, by [`ConnectorInfo::name`].
pub(super) type Snapshot = BTreeMap<String, CatalogEntry>;

/// The state of one connector in the folder.
#[derive(Clone, Default)]
pub(super) struct CatalogEntry {
    /// The last version that could be loaded.
    pub(super) newest_loaded: Option<Arc<Connector>>,
    /// The reason why the newest file cannot be used; `None` if it can be used.
    pub(super) error: Option<String>,
    /// SHA-256 of the newest file, hex, if this file cannot be used but could be read.
    pub(super) broken_sha256: Option<String>,
}

/// The latest snapshot, and the number of snapshots so far.
pub(super) struct Catalog {
    snapshot: ArcSwap<Snapshot>,
    /// Sends the number of snapshots so far.
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

    /// Returns the last version of a connector that could be loaded.
    pub(super) fn newest(
        &self,
        name: &ConnectorName,
    ) -> Result<Arc<Connector>, ConnectorUnavailable> {
        let snapshot = self.snapshot.load();
        let name = name.clone();
        match snapshot.get(name.as_str()) {
            None => Err(ConnectorUnavailable::Missing { name }),
            Some(CatalogEntry { newest_loaded: Some(newest), .. }) => Ok(Arc::clone(newest)),
            Some(CatalogEntry { error: Some(reason), .. }) => {
                Err(ConnectorUnavailable::Broken { name, reason: reason.clone() })
            }
            Some(_) => Err(ConnectorUnavailable::Compiling { name }),
        }
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Returns the latest snapshot, and the number of this snapshot or of an earlier one.
    pub(super) fn numbered_snapshot(&self) -> (u64, Arc<Snapshot>) {
        // The number is read first: if a newer snapshot is published meanwhile, a later call
        // returns another number, and the caller finds the change.
        let number = *self.changes.borrow();
        (number, self.snapshot.load_full())
    }

    /// Replaces the snapshot, and notifies the receivers of [`Self::changes`].
    pub(super) fn publish(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl CatalogEntry {
    fn info(&self, name: &str) -> ConnectorInfo {
        let newest_loaded = self.newest_loaded.as_ref();
        ConnectorInfo {
            name: name.to_owned(),
            status: match (&self.error, newest_loaded) {
                (Some(_), _) => ConnectorStatus::Broken,
                (None, Some(_)) => ConnectorStatus::Ready,
                (None, None) => ConnectorStatus::Compiling,
            },
            sha256: newest_loaded.map(|connector| connector.sha256().to_owned()),
            manifest: newest_loaded.map(|connector| connector.manifest().clone()),
            interfaces: newest_loaded.map(|connector| connector.interfaces()).unwrap_or_default(),
            error: self.error.clone(),
            broken_sha256: self.broken_sha256.clone(),
            warning: newest_loaded.and_then(|connector| connector.warning()),
            loaded_at: newest_loaded.map(|connector| connector.loaded_at()),
        }
    }
}

/// Returns the reasons why a connection may not use a version without a person's consent: invalid
/// settings and missing grants.
#[must_use]
pub fn missing_consent(connector: &Connector, connection: &Connection) -> Vec<String> {
    if connection.accepted_sha256.as_deref() == Some(connector.sha256()) {
        return Vec::new();
    }
    let manifest = connector.manifest();
    // Settings that this version does not declare are not validated: an older version may need
    // them.
    let is_read = |name: &str| manifest.declares(name);
    let validation = manifest.validate(&connection.settings, &connection.secrets_set, is_read);
    let invalid = validation.err().into_iter().flatten().map(|error| error.to_string());
    let required = manifest.required_grants(&connection.settings).unwrap_or_default();
    invalid.chain(missing_grants(&connection.grants, &required)).collect()
}
