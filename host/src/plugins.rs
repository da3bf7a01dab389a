//! Loads the connectors in the plugins folder, and chooses the version that a connection uses.
//!
//! One task scans the folder and publishes snapshots; readers take the latest snapshot and never
//! wait. A snapshot contains only versions that are compiled and linked and that have a manifest.

mod attempts;
mod cache;
mod catalog;
mod check;
mod error;
mod folder;
mod install;
mod kept;
mod kind;
mod loader;
mod mirror;
mod peers;
mod rollback;
mod scanner;
mod scripts;
mod tracked;
mod upload;
mod versions;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, watch as watch_channel};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::LiveConfig;
use crate::domain::{Backoff, Clock, Connection, ConnectorName, PluginsSource};
use crate::runtime::{Connector, Engine, Sandbox};
use crate::secret::Sealer;
use crate::store::{ConnectorStore, StoreError};

use cache::Cache;
use catalog::Catalog;
use loader::VersionLoader;
use mirror::Mirror;
use peers::Peers;
use scanner::Scanner;
use versions::Versions;

pub(crate) use attempts::blocked_files;
pub use catalog::{ConnectorInfo, ConnectorStatus, ConnectorUnavailable, unapproved};
pub(crate) use check::load_file;
pub use check::{CheckReport, CodeCache};
pub use error::{PluginError, StartError};
pub use kept::VersionError;
pub use kind::FileKind;
pub use peers::ConnectorDifference;
pub use rollback::{NotServing, RollbackError, RolledBack};
pub use upload::{RemoveError, UploadError, Uploaded};
pub use versions::{KeptVersion, NoVersion};

/// The pause after an accepted version could not be compiled. It doubles at each further failure.
const COMPILE_RETRY: Duration = Duration::from_secs(10);
/// The longest such pause.
const COMPILE_RETRY_MAX: Duration = Duration::from_secs(60 * 60);
/// Maximum time to delete this server's report at its end.
const LEAVE_MAX: Duration = Duration::from_secs(2);

/// The connectors of one folder, kept up to date until the server stops.
pub struct Plugins {
    catalog: Arc<Catalog>,
    loader: Arc<VersionLoader>,
    versions: Arc<Versions>,
    folder: PathBuf,
    /// Held while a person's request changes a connector's file.
    changing_files: Mutex<()>,
    /// The accepted versions that could not be compiled.
    not_compiled: parking_lot::Mutex<BTreeMap<(ConnectorName, String), Backoff>>,
    /// Absent if the folder alone says which connectors there are.
    mirror: Option<Arc<Mirror>>,
    /// Absent if no other server uses the database.
    peers: Option<Arc<Peers>>,
}

/// The parts of the server that load and run connectors.
pub(crate) struct Dependencies {
    pub(crate) config: Arc<LiveConfig>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) clock: Arc<dyn Clock>,
    /// What servers of one database share; absent: no other server uses the database.
    pub(crate) store: Option<Arc<dyn ConnectorStore>>,
}

impl Plugins {
    /// Scans the folder, uses versions that were compiled before, compiles the rest in the
    /// background, and keeps scanning until `cancel` is cancelled.
    ///
    /// # Errors
    /// The plugins folder cannot be read, or the folder of compiled code is not safe. The error
    /// says how to fix it.
    pub(crate) async fn start(
        deps: Dependencies,
        cancel: CancellationToken,
    ) -> Result<Self, StartError> {
        let Dependencies { config, engine, sandbox, clock, store } = deps;
        let now = config.now();
        let folder = now.plugins.clone();
        if let Err(source) = std::fs::create_dir_all(&folder) {
            return Err(StartError::CreateFolder { folder, source });
        }
        let data = now.data_folder();
        let cache = Cache::open(data.compiled(), Sealer::open(None, &data.compiled_key())?)?;
        let (live, of_loader) = (Arc::clone(&config), Arc::clone(&clock));
        let loader = VersionLoader::open(live, engine, sandbox, of_loader, cache)?;
        let loader = Arc::new(loader);
        let catalog = Arc::new(Catalog::default());
        let versions = Arc::new(Versions::in_folder(data.versions()));
        let peers = store
            .clone()
            .map(|store| Arc::new(Peers::new(store, Arc::clone(&catalog), Arc::clone(&clock))));
        let store = store.filter(|_| now.plugins_source() == PluginsSource::Store);
        let mirror = store.map(|store| {
            let parts = (store, Arc::clone(&catalog), Arc::clone(&versions), config, clock);
            Arc::new(Mirror::new(parts, folder.clone()))
        });
        if let Some(mirror) = &mirror {
            mirror.prepare_folder().await;
        }
        let parts = (Arc::clone(&catalog), Arc::clone(&loader), Arc::clone(&versions));
        let mut scanner = Scanner::new(parts, folder.clone());
        if let Err(source) = scanner.scan().await {
            return Err(StartError::ReadFolder { folder, source });
        }
        tokio::spawn(cancel.clone().run_until_cancelled_owned(scanner.run()));
        if let Some(mirror) = mirror.clone() {
            tokio::spawn(cancel.clone().run_until_cancelled_owned(mirror.run()));
        }
        if let Some(peers) = peers.clone() {
            tokio::spawn(cancel.run_until_cancelled_owned(peers.run()));
        }
        Ok(Self {
            catalog,
            loader,
            versions,
            folder,
            changing_files: Mutex::default(),
            not_compiled: parking_lot::Mutex::default(),
            mirror,
            peers,
        })
    }

    /// Returns all connectors, sorted by name.
    #[must_use]
    pub fn list(&self) -> Vec<ConnectorInfo> {
        self.catalog.list()
    }

    /// Whether this server has a connector of this name, or the servers that share its store do.
    #[must_use]
    pub fn has(&self, name: &ConnectorName) -> bool {
        let is_here = self.list().iter().any(|info| info.name == name.as_str());
        is_here || self.mirror.as_ref().is_some_and(|mirror| mirror.current(name).is_some())
    }

    /// Returns the newest version of a connector that can be used.
    ///
    /// # Errors
    /// No version can be used; the error says why.
    pub fn newest(&self, name: &ConnectorName) -> Result<Arc<Connector>, ConnectorUnavailable> {
        self.catalog.newest(name)
    }

    /// Returns the version that a connection uses: the newest, or the version that a person
    /// accepted if the newest needs more than was granted.
    ///
    /// # Errors
    /// No version can be used; the error says why.
    pub fn connector_for(
        &self,
        connection: &Connection,
    ) -> Result<Arc<Connector>, ConnectorUnavailable> {
        let name = &connection.connector;
        let unavailable = match self.catalog.newest(name) {
            Ok(newest) => match unapproved(&newest, connection) {
                none if none.is_empty() => return Ok(newest),
                unapproved => ConnectorUnavailable::NeedsConsent {
                    name: name.clone(),
                    connection: connection.name.clone(),
                    unapproved,
                },
            },
            Err(unavailable) => unavailable,
        };
        // If a connector's file was removed, an older version must not be used either.
        if matches!(unavailable, ConnectorUnavailable::Missing { .. }) {
            return Err(unavailable);
        }
        let accepted = connection.accepted_sha256.as_deref();
        accepted.and_then(|sha256| self.loader.superseded(name, sha256)).ok_or(unavailable)
    }

    /// The connectors of which the servers of one database do not all use the same version.
    ///
    /// # Errors
    /// The store failed.
    pub async fn differences(&self) -> Result<Vec<ConnectorDifference>, StoreError> {
        match &self.peers {
            Some(peers) => peers.differences().await,
            None => Ok(Vec::new()),
        }
    }

    /// Deletes the report of this server, which ends, so that the others no longer compare with it.
    pub(crate) async fn leave(&self) {
        if let Some(peers) = &self.peers {
            // Otherwise they compare until the report is too old.
            let _ = timeout(LEAVE_MAX, peers.leave()).await;
        }
    }

    /// Compiles accepted versions again if they were compiled for another engine, so that they can
    /// still be used after an upgrade of the host. Fetches those that served at another server
    /// only.
    pub async fn recompile_accepted(&self, accepted: BTreeSet<(ConnectorName, String)>) {
        // Wait until the scanner has finished, because it compiles most of them.
        let mut changes = self.changes();
        while self.list().iter().any(|info| info.status == ConnectorStatus::Compiling) {
            if changes.changed().await.is_err() {
                return;
            }
        }
        self.not_compiled.lock().retain(|it, _| accepted.contains(it));
        for (name, sha256) in accepted {
            let version = (name.clone(), sha256.clone());
            let failed = self.not_compiled.lock().get(&version).copied();
            if failed.is_some_and(|it| it.is_pausing(Instant::now())) {
                continue;
            }
            let newest = self.newest(&name).ok();
            let is_newest = newest.is_some_and(|newest| newest.sha256() == sha256);
            if is_newest {
                continue;
            }
            let compiled = match (self.loader.recompile(&name, &sha256).await, &self.mirror) {
                (Err(PluginError::Read(_)), Some(mirror)) => {
                    self.compile_fetched(mirror, &name, &sha256).await
                }
                (compiled, _) => compiled,
            };
            let Err(error) = compiled else {
                self.not_compiled.lock().remove(&version);
                continue;
            };
            let mut attempts = failed.unwrap_or(Backoff::new(COMPILE_RETRY, COMPILE_RETRY_MAX));
            attempts.fail(Instant::now());
            self.not_compiled.lock().insert(version, attempts);
            if failed.is_none() {
                let reason = error.to_string();
                tracing::warn!(connector = %name, sha256, reason, "cannot compile an accepted version again");
            }
        }
    }

    /// Whether other servers use the same connectors as this one.
    #[must_use]
    pub fn are_shared(&self) -> bool {
        self.mirror.is_some()
    }

    async fn compile_fetched(
        &self,
        mirror: &Mirror,
        name: &ConnectorName,
        sha256: &str,
    ) -> Result<(), PluginError> {
        let limits = self.loader.config.now().limits_of(name);
        let content = mirror.content_from_store(sha256, limits.component_bytes).await?;
        let kind = FileKind::of_content(&content);
        let _permit = self.loader.build_permit(kind, &limits).await;
        self.loader.build(name, kind, content, &limits).await.map(drop)
    }

    /// Deletes compiled code that no connector uses and no person accepted, if there is more
    /// compiled code than `compiled_bytes_max`.
    pub async fn delete_unused_code(&self, accepted: BTreeSet<String>) {
        let mut used = accepted;
        used.extend(self.list().into_iter().filter_map(|info| info.sha256));
        let loader = Arc::clone(&self.loader);
        match spawn_blocking(move || loader.delete_unused(used)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot delete unused compiled code"),
            Err(error) => {
                tracing::error!(%error, "the task that deletes unused compiled code panicked")
            }
        }
    }

    /// Returns the number of snapshots so far. It changes whenever a connector changes.
    #[must_use]
    pub fn changes(&self) -> watch_channel::Receiver<u64> {
        self.catalog.changes()
    }
}

impl fmt::Debug for Plugins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugins").field("connectors", &self.list()).finish_non_exhaustive()
    }
}
