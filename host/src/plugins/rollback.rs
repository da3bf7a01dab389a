//! Rolls a connector back to an earlier version, and waits until this version is in use.
//!
//! This file never deletes a kept version: the copy, in the data folder, of a file that was in use.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::domain::ConnectorName;
use crate::store::StoreError;

use super::catalog::ConnectorStatus;
use super::versions::{KeptVersion, NoVersion, RestoreError, choose_version};
use super::{ConnectorInfo, Plugins, mirror};

/// An error of a connector is reported only if it lasts for this time. While a file of the other
/// kind is not yet deleted, the connector has two files, which is an error for a moment.
const ERROR_AGE_MIN: Duration = Duration::from_secs(1);
/// The time after which the state is checked again although no change was published.
const CHECK_PERIOD: Duration = Duration::from_secs(1);
/// Maximum time until a restored or uploaded version is in use, in addition to the maximum compile
/// time.
const ACTIVATION_MAX: Duration = Duration::from_secs(60);

/// The result of a rollback: the versions before and after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolledBack {
    /// SHA-256 of the version that was in use before; `None` if there was none.
    pub from: Option<String>,
    /// SHA-256 of the version that is in use now.
    pub to: String,
    /// The path of this version's file in the plugins folder.
    pub file: PathBuf,
}

/// The reason why a rollback failed.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// There is no version to which the connector can be rolled back.
    #[error("cannot roll back `{name}`: {source}")]
    NoVersion {
        /// The name of the connector.
        name: ConnectorName,
        /// The reason why no version can be chosen.
        source: NoVersion,
    },
    /// The store failed, so the other servers may use another version.
    #[error("cannot roll back `{name}` at all servers: {source}")]
    NotShared {
        /// The name of the connector.
        name: ConnectorName,
        /// The error of the store.
        source: StoreError,
    },
    /// The kept version cannot be fetched from the store, cannot be read, or was changed.
    #[error("cannot use the kept version {}: {source}; choose another one with --to", .from.display())]
    NotUsable {
        /// The path of the kept version.
        from: PathBuf,
        /// The error of the operating system or of the store.
        source: io::Error,
    },
    /// The plugins folder cannot be written.
    #[error(
        "cannot write {to} ({source}): copy the version as a user who may write into that folder: \
         cp {from} {to}", to = .to.display(), from = .from.display()
    )]
    NotWritten {
        /// The path of the kept version.
        from: PathBuf,
        /// The path of the connector's file.
        to: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file was written, but is not in use.
    #[error("the version {sha256} of `{name}` is in the plugins folder, but is not in use: {why}")]
    NotInUse {
        /// The name of the connector.
        name: ConnectorName,
        /// SHA-256 of the version.
        sha256: String,
        /// The reason why the file is not in use.
        why: NotInUse,
    },
}

/// The reason why a file that was written into the plugins folder is not in use.
#[derive(Debug, thiserror::Error)]
pub enum NotInUse {
    /// The file cannot be used.
    #[error("{0}")]
    Broken(String),
    /// The file was replaced by another file, or was removed.
    #[error("another file has replaced it, or it was removed")]
    Replaced,
    /// The file was not loaded in time.
    #[error("it was not ready in time; `jackfield connectors show` shows its state")]
    Late,
    /// The server is shutting down.
    #[error("the server is shutting down")]
    ShuttingDown,
}

impl Plugins {
    /// Returns the versions to which a person can roll back. The version that came into use last is
    /// the first one. If the servers share their connectors, this server's versions that the store
    /// does not have come last.
    #[must_use]
    pub fn versions(&self, name: &ConnectorName) -> Vec<KeptVersion> {
        let own = self.versions.list(name);
        match &self.mirror {
            Some(mirror) => mirror.all_versions(name, own),
            None => own,
        }
    }

    /// Fetches the file of a version from the store if this server does not have the file.
    pub(super) async fn fetch_version_file(
        &self,
        name: &ConnectorName,
        version: &KeptVersion,
    ) -> io::Result<()> {
        match &self.mirror {
            Some(mirror) => mirror.keep_version_file(name, version).await,
            None => Ok(()),
        }
    }

    /// Does nothing if the servers do not share their connectors.
    pub(super) async fn sync_with_store(&self, name: &ConnectorName) -> Result<(), StoreError> {
        match &self.mirror {
            Some(mirror) => mirror.sync_now(name).await,
            None => Ok(()),
        }
    }

    /// Writes an earlier version into the plugins folder, and waits until it is in use. `to` is the
    /// beginning of the SHA-256 of this version. If `to` is `None`, the version before the current
    /// version is written. A file that cannot be used counts as the current version.
    ///
    /// # Errors
    /// There is no such version, the version cannot be read or does not come into use, the folder
    /// cannot be written, or the store failed.
    pub async fn rollback(
        &self,
        name: &ConnectorName,
        to: Option<&str>,
    ) -> Result<RolledBack, RollbackError> {
        let _one_at_a_time = self.file_change_lock.lock().await;
        let not_shared = |source| RollbackError::NotShared { name: name.clone(), source };
        self.sync_with_store(name).await.map_err(not_shared)?;
        let before = self.connector_info(name);
        let from = before.as_ref().and_then(|info| info.sha256.clone());
        let versions = self.versions(name);
        let current = self.current_version(name, before.as_ref());
        let chosen = choose_version(&versions, current.as_deref(), to)
            .map_err(|source| RollbackError::NoVersion { name: name.clone(), source })?
            .clone();
        let file = self.restore(name, chosen.clone()).await?;
        let sha256 = chosen.sha256;
        let error_before = before.and_then(|info| info.error);
        let in_use = self.wait_until_in_use(name, &sha256, error_before.as_deref()).await;
        in_use.map_err(|why| {
            let (name, sha256) = (name.clone(), sha256.clone());
            RollbackError::NotInUse { name, sha256, why }
        })?;
        self.sync_with_store(name).await.map_err(not_shared)?;
        tracing::info!(connector = %name, ?from, to = sha256, "a connector was rolled back");
        Ok(RolledBack { from, to: sha256, file })
    }

    /// Returns the SHA-256 of the version that a rollback replaces. Returns `None` if it replaces
    /// no version, or a file that cannot be used and is not the version that the servers share.
    fn current_version(
        &self,
        name: &ConnectorName,
        info: Option<&ConnectorInfo>,
    ) -> Option<String> {
        let broken = info.filter(|info| info.status == ConnectorStatus::Broken);
        let shared = self.mirror.as_ref().and_then(|mirror| mirror.current(name));
        match (broken, shared) {
            (None, Some(shared)) => Some(shared),
            (None, None) => info?.sha256.clone(),
            // The version that the servers use may be broken at this server only.
            (Some(broken), shared) if broken.broken_sha256 == shared => shared,
            (Some(_), _) => None,
        }
    }

    /// Locks the mirror while a file is written, so that the mirror does not write a decision of
    /// another server meanwhile.
    pub(super) async fn lock_mirror(&self) -> Option<mirror::MirrorLock<'_>> {
        match &self.mirror {
            Some(mirror) => Some(mirror.lock().await),
            None => None,
        }
    }

    /// Whether the file of the connector in the folder is not the file with this SHA-256; false if
    /// the file cannot be read.
    async fn is_replaced(&self, name: &ConnectorName, sha256: &str) -> bool {
        let limits = self.loader.config.current().limits_of(name);
        mirror::has_other_file(&self.folder, name, sha256, &limits).await
    }

    async fn restore(
        &self,
        name: &ConnectorName,
        version: KeptVersion,
    ) -> Result<PathBuf, RollbackError> {
        let (versions, folder) = (Arc::clone(&self.versions), self.folder.clone());
        let from = version.file.clone();
        let fetched = self.fetch_version_file(name, &version).await;
        fetched.map_err(|source| RollbackError::NotUsable { from: from.clone(), source })?;
        let extension = from.extension().unwrap_or_default();
        let to = folder.join(name.as_str()).with_extension(extension);
        let owned = name.clone();
        let _mirror_lock = self.lock_mirror().await;
        let restoring = spawn_blocking(move || versions.restore(&owned, &version, &folder));
        let panicked = |error| Err(RestoreError::NotWritten(io::Error::other(error)));
        restoring.await.unwrap_or_else(panicked).map_err(|error| match error {
            RestoreError::Unusable(source) => RollbackError::NotUsable { from, source },
            RestoreError::NotWritten(source) => RollbackError::NotWritten { from, to, source },
        })
    }

    /// Waits until this version is in use, or until it is known that it will not be. `error_before`
    /// is the error that the connector had before the file was written.
    pub(super) async fn wait_until_in_use(
        &self,
        name: &ConnectorName,
        sha256: &str,
        error_before: Option<&str>,
    ) -> Result<(), NotInUse> {
        let mut changes = self.changes();
        let waiting = async {
            loop {
                let info = self.connector_info(name);
                if let Some(info) = &info {
                    let is_newest = info.sha256.as_deref() == Some(sha256);
                    if is_newest && info.status == ConnectorStatus::Ready {
                        return Ok(());
                    }
                    let error = info.error.as_deref();
                    let is_new_error =
                        error != error_before || info.broken_sha256.as_deref() == Some(sha256);
                    if let Some(error) = error.filter(|_| is_new_error)
                        && timeout(ERROR_AGE_MIN, changes.changed()).await.is_err()
                    {
                        return Err(NotInUse::Broken(error.to_owned()));
                    }
                }
                match timeout(CHECK_PERIOD, changes.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Err(NotInUse::ShuttingDown),
                    Err(_) if self.is_replaced(name, sha256).await => {
                        return Err(NotInUse::Replaced);
                    }
                    Err(_) => {}
                }
            }
        };
        let limits = self.loader.config.current().limits_of(name);
        let time_max = Duration::from_millis(limits.compile_ms) + ACTIVATION_MAX;
        timeout(time_max, waiting).await.unwrap_or(Err(NotInUse::Late))
    }

    pub(super) fn connector_info(&self, name: &ConnectorName) -> Option<ConnectorInfo> {
        self.list().into_iter().find(|info| info.name == name.as_str())
    }
}
