//! Rolls a connector back to an earlier version.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::domain::ConnectorName;
use crate::store::StoreError;

use super::catalog::ConnectorStatus;
use super::versions::{KeptVersion, NoVersion, choose};
use super::{ConnectorInfo, Plugins, mirror};

/// How long an error must stay before it counts: of two files, the other is deleted last.
const ERROR_AGE_MIN: Duration = Duration::from_secs(1);
/// When to look again even if no change was published.
const POLL_PERIOD: Duration = Duration::from_secs(1);
/// How long a version may take to serve, besides its compiler.
const SERVING_MAX: Duration = Duration::from_secs(60);

/// The versions before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolledBack {
    /// SHA-256 of the version that served before; absent if there was none.
    pub from: Option<String>,
    /// SHA-256 of the version that serves now.
    pub to: String,
    /// The file in the plugins folder that has that version.
    pub file: PathBuf,
}

/// The reason why the version did not change.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// There is no version to go back to.
    #[error("cannot roll back `{name}`: {source}")]
    NoVersion {
        /// The connector.
        name: ConnectorName,
        /// Why.
        source: NoVersion,
    },
    /// The store failed, so the other servers may use another version.
    #[error("cannot roll back `{name}` at all servers: {source}")]
    NotShared {
        /// The connector.
        name: ConnectorName,
        /// Why.
        source: StoreError,
    },
    /// The kept version cannot be read, or was changed.
    #[error("cannot use the kept version {}: {source}; choose another one with --to", .from.display())]
    NotUsable {
        /// The kept version.
        from: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The plugins folder cannot be written.
    #[error(
        "cannot write {to} ({source}): copy the version yourself, with the rights for that folder: \
         cp {from} {to}", to = .to.display(), from = .from.display()
    )]
    NotWritten {
        /// The kept version.
        from: PathBuf,
        /// The connector's file.
        to: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file was written, but does not serve.
    #[error("the version {sha256} of `{name}` is in the plugins folder, but does not serve: {why}")]
    NotServing {
        /// The connector.
        name: ConnectorName,
        /// The version.
        sha256: String,
        /// Why.
        why: NotServing,
    },
}

/// The reason why a file that was written into the plugins folder does not serve.
#[derive(Debug, thiserror::Error)]
pub enum NotServing {
    /// The file cannot be used.
    #[error("{0}")]
    Broken(String),
    /// The folder has another file now.
    #[error("another file has replaced it, or it was removed")]
    Replaced,
    /// It was not ready in time.
    #[error("it was not ready in time; `jackfield connectors show` says what happens")]
    Late,
    /// The server ends.
    #[error("the server is shutting down")]
    ShuttingDown,
}

impl Plugins {
    /// The versions of a connector that served, the last one first.
    #[must_use]
    pub fn versions(&self, name: &ConnectorName) -> Vec<KeptVersion> {
        let own = self.versions.list(name);
        match &self.mirror {
            Some(mirror) => mirror.all_versions(name, own),
            None => own,
        }
    }

    /// Makes sure that this server has the file of a version.
    pub(super) async fn fetch(
        &self,
        name: &ConnectorName,
        version: &KeptVersion,
    ) -> io::Result<()> {
        match &self.mirror {
            Some(mirror) => mirror.keep_version_file(name, version).await,
            None => Ok(()),
        }
    }

    /// Compares the folder with what the servers share, if they do. Afterwards, they share what is
    /// served here.
    pub(super) async fn synchronize(&self, name: &ConnectorName) -> Result<(), StoreError> {
        match &self.mirror {
            Some(mirror) => mirror.sync_now(name).await,
            None => Ok(()),
        }
    }

    /// Puts a version that served before into the plugins folder, and waits until it serves. `to`
    /// is the beginning of its SHA-256; absent: the version before the current one. A file that
    /// cannot be used counts as the current one.
    ///
    /// # Errors
    /// There is no such version, or the folder cannot be written, or the version does not serve.
    pub async fn rollback(
        &self,
        name: &ConnectorName,
        to: Option<&str>,
    ) -> Result<RolledBack, RollbackError> {
        let _one_at_a_time = self.changing_files.lock().await;
        let not_shared = |source| RollbackError::NotShared { name: name.clone(), source };
        self.synchronize(name).await.map_err(not_shared)?;
        let before = self.info(name);
        let from = before.as_ref().and_then(|info| info.sha256.clone());
        let versions = self.versions(name);
        let current = self.current(name, before.as_ref());
        let chosen = choose(&versions, current.as_deref(), to)
            .map_err(|source| RollbackError::NoVersion { name: name.clone(), source })?
            .clone();
        let file = self.restore(name, chosen.clone()).await?;
        let sha256 = chosen.sha256;
        let error_before = before.and_then(|info| info.error);
        let served = self.await_serving(name, &sha256, error_before.as_deref()).await;
        served.map_err(|why| {
            let (name, sha256) = (name.clone(), sha256.clone());
            RollbackError::NotServing { name, sha256, why }
        })?;
        self.synchronize(name).await.map_err(not_shared)?;
        tracing::info!(connector = %name, ?from, to = sha256, "a connector was rolled back");
        Ok(RolledBack { from, to: sha256, file })
    }

    /// The version that is the current one for a roll back; absent: a file that cannot be used is.
    fn current(&self, name: &ConnectorName, info: Option<&ConnectorInfo>) -> Option<String> {
        let broken = info.filter(|it| it.status == ConnectorStatus::Broken);
        let shared = self.mirror.as_ref().and_then(|mirror| mirror.current(name));
        match (broken, shared) {
            (None, Some(shared)) => Some(shared),
            (None, None) => info?.sha256.clone(),
            // The one that the servers use may be broken at this server only.
            (Some(broken), shared) if broken.broken_sha256 == shared => shared,
            (Some(_), _) => None,
        }
    }

    /// Held while a file is written, so that no decision of another server is written meanwhile.
    pub(super) async fn lock_mirror(&self) -> Option<mirror::MirrorLock<'_>> {
        match &self.mirror {
            Some(mirror) => Some(mirror.lock().await),
            None => None,
        }
    }

    /// Whether the folder has another file of the connector than this one.
    async fn is_replaced(&self, name: &ConnectorName, sha256: &str) -> bool {
        let limits = self.loader.config.now().limits_of(name);
        mirror::has_other(&self.folder, name, sha256, &limits).await
    }

    async fn restore(
        &self,
        name: &ConnectorName,
        version: KeptVersion,
    ) -> Result<PathBuf, RollbackError> {
        let (versions, folder) = (Arc::clone(&self.versions), self.folder.clone());
        let from = version.file.clone();
        let fetched = self.fetch(name, &version).await;
        fetched.map_err(|source| RollbackError::NotUsable { from: from.clone(), source })?;
        let extension = from.extension().unwrap_or_default();
        let to = folder.join(name.as_str()).with_extension(extension);
        let owned = name.clone();
        let _held = self.lock_mirror().await;
        let restoring = spawn_blocking(move || versions.restore(&owned, &version, &folder));
        let restored = restoring.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        restored.map_err(|source| match source.kind() {
            std::io::ErrorKind::InvalidData => RollbackError::NotUsable { from, source },
            _ => RollbackError::NotWritten { from, to, source },
        })
    }

    /// Waits until this version serves, or the file turns out to be broken. `error_before` is the
    /// error that the connector had before its file was written.
    ///
    /// # Errors
    /// Why the version does not serve.
    pub(super) async fn await_serving(
        &self,
        name: &ConnectorName,
        sha256: &str,
        error_before: Option<&str>,
    ) -> Result<(), NotServing> {
        let mut changes = self.changes();
        let waiting = async {
            loop {
                let info = self.info(name);
                if let Some(info) = &info {
                    let serves = info.sha256.as_deref() == Some(sha256);
                    if serves && info.status == ConnectorStatus::Ready {
                        return Ok(());
                    }
                    let error = info.error.as_deref();
                    let is_new =
                        error != error_before || info.broken_sha256.as_deref() == Some(sha256);
                    if let Some(error) = error.filter(|_| is_new)
                        && timeout(ERROR_AGE_MIN, changes.changed()).await.is_err()
                    {
                        return Err(NotServing::Broken(error.to_owned()));
                    }
                }
                match timeout(POLL_PERIOD, changes.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Err(NotServing::ShuttingDown),
                    Err(_) if self.is_replaced(name, sha256).await => {
                        return Err(NotServing::Replaced);
                    }
                    Err(_) => {}
                }
            }
        };
        let limits = self.loader.config.now().limits_of(name);
        let longest = Duration::from_millis(limits.compile_ms) + SERVING_MAX;
        timeout(longest, waiting).await.unwrap_or(Err(NotServing::Late))
    }

    pub(super) fn info(&self, name: &ConnectorName) -> Option<ConnectorInfo> {
        self.list().into_iter().find(|info| info.name == name.as_str())
    }
}
