//! Loads the connectors in the plugins folder, and chooses the version that a connection uses.
//!
//! One task scans the folder and publishes snapshots. Readers use the latest snapshot and never
//! wait for a scan. A snapshot contains only versions that are compiled and linked, and whose
//! manifest is valid.

mod attempts;
mod cache;
mod catalog;
mod check;
mod error;
mod file_kind;
mod find_version;
mod folder;
mod install;
mod loader;
mod mirror;
mod peers;
mod rollback;
mod scanner;
mod scripts;
mod tracked_file;
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
use versions::KeptVersions;

pub(crate) use attempts::blocked_files;
pub use catalog::{ConnectorInfo, ConnectorStatus, ConnectorUnavailable, missing_consent};
pub(crate) use check::load_file;
pub use check::{CheckReport, CodeCache};
pub use error::{PluginError, StartError};
pub use file_kind::FileKind;
pub use find_version::VersionError;
pub use peers::ConnectorDifference;
pub use rollback::{NotInUse, RollbackError, RolledBack};
pub use upload::{RemoveError, UploadError, Uploaded};
pub use versions::{KeptVersion, NoVersion};

/// The pause after the first failure to compile a version that a person accepted. The pause doubles
/// at each further failure, up to [`COMPILE_RETRY_MAX`].
const COMPILE_RETRY: Duration = Duration::from_secs(10);
const COMPILE_RETRY_MAX: Duration = Duration::from_secs(60 * 60);
/// Maximum time to delete this server's report of its connectors while the server shuts down.
const REPORT_DELETION_MAX: Duration = Duration::from_secs(2);

/// Loads the connectors of one folder, and keeps them up to date until the server stops.
pub struct Plugins {
    catalog: Arc<Catalog>,
    loader: Arc<VersionLoader>,
    /// The copies of files that are or were in use, for a rollback.
    versions: Arc<KeptVersions>,
    /// The path of the plugins folder.
    folder: PathBuf,
    /// Locked while a person's request changes a connector's file.
    file_change_lock: Mutex<()>,
    /// The accepted versions that could not be compiled, with the pause before the next attempt.
    failed_recompilations: parking_lot::Mutex<BTreeMap<(ConnectorName, String), Backoff>>,
    /// Keeps the folder equal to the store; `None` if only the folder decides which connectors
    /// exist.
    mirror: Option<Arc<Mirror>>,
    /// `None` if servers cannot share the database.
    peers: Option<Arc<Peers>>,
}

/// The parts of the server that this module needs to load and run connectors.
pub(crate) struct Dependencies {
    pub(crate) config: Arc<LiveConfig>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) clock: Arc<dyn Clock>,
    /// `None` if servers cannot share the database.
    pub(crate) store: Option<Arc<dyn ConnectorStore>>,
}

impl Plugins {
    /// Scans the folder again and again, and compiles versions in the background, until `cancel` is
    /// cancelled.
    ///
    /// # Errors
    /// The plugins folder, the folder of compiled code or its key cannot be used, or the compiler
    /// or the compiled code cannot be run.
    pub(crate) async fn start(
        deps: Dependencies,
        cancel: CancellationToken,
    ) -> Result<Self, StartError> {
        let Dependencies { config, engine, sandbox, clock, store } = deps;
        let current_config = config.current();
        let folder = current_config.plugins.clone();
        if let Err(source) = install::prepare_folder(&folder) {
            return Err(StartError::CreateFolder { folder, source });
        }
        let data = current_config.data_folder();
        let cache = Cache::open(
            data.compiled_folder(),
            Sealer::load_or_create(None, &data.compiled_key())?,
        )?;
        let (loader_config, loader_clock) = (Arc::clone(&config), Arc::clone(&clock));
        let loader = VersionLoader::open(loader_config, engine, sandbox, loader_clock, cache)?;
        let loader = Arc::new(loader);
        let catalog = Arc::new(Catalog::default());
        let versions = Arc::new(KeptVersions::in_folder(data.versions_folder()));
        let peers = store
            .clone()
            .map(|store| Arc::new(Peers::new(store, Arc::clone(&catalog), Arc::clone(&clock))));
        let store = store.filter(|_| current_config.plugins_source() == PluginsSource::Store);
        let mirror = store.map(|store| {
            let mirror_parts = (store, Arc::clone(&catalog), Arc::clone(&versions), config, clock);
            Arc::new(Mirror::new(mirror_parts, folder.clone()))
        });
        if let Some(mirror) = &mirror {
            mirror.prepare_folder().await;
        }
        let scanner_parts = (Arc::clone(&catalog), Arc::clone(&loader), Arc::clone(&versions));
        let mut scanner = Scanner::new(scanner_parts, folder.clone());
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
            file_change_lock: Mutex::default(),
            failed_recompilations: parking_lot::Mutex::default(),
            mirror,
            peers,
        })
    }

    /// Returns the connectors in this server's plugins folder, sorted by name.
    #[must_use]
    pub fn list(&self) -> Vec<ConnectorInfo> {
        self.catalog.list()
    }

    /// Whether this server, or the store that the servers share, has a connector with this name.
    #[must_use]
    pub fn has(&self, name: &ConnectorName) -> bool {
        let is_on_this_server = self.list().iter().any(|info| info.name == name.as_str());
        is_on_this_server
            || self.mirror.as_ref().is_some_and(|mirror| mirror.current(name).is_some())
    }

    /// Returns the newest usable version of a connector.
    ///
    /// # Errors
    /// No version can be used. The error contains the reason.
    pub fn newest(&self, name: &ConnectorName) -> Result<Arc<Connector>, ConnectorUnavailable> {
        self.catalog.newest(name)
    }

    /// Returns the version that a connection uses: the newest version, or the accepted version if
    /// the newest version cannot be used or needs a person's consent.
    ///
    /// # Errors
    /// No version can be used. The error contains the reason.
    pub fn connector_for(
        &self,
        connection: &Connection,
    ) -> Result<Arc<Connector>, ConnectorUnavailable> {
        let name = &connection.connector;
        let unavailable = match self.catalog.newest(name) {
            Ok(newest) => match missing_consent(&newest, connection) {
                unapproved if unapproved.is_empty() => return Ok(newest),
                unapproved => ConnectorUnavailable::NeedsConsent {
                    name: name.clone(),
                    connection: connection.name.clone(),
                    unapproved,
                },
            },
            Err(unavailable) => unavailable,
        };
        // If a connector's file was removed, no version of the connector may be used.
        if matches!(unavailable, ConnectorUnavailable::Missing { .. }) {
            return Err(unavailable);
        }
        let accepted = connection.accepted_sha256.as_deref();
        accepted.and_then(|sha256| self.loader.superseded_version(name, sha256)).ok_or(unavailable)
    }

    /// Returns the connectors of which the servers of one database use different versions.
    ///
    /// # Errors
    /// The store failed.
    pub async fn differences(&self) -> Result<Vec<ConnectorDifference>, StoreError> {
        match &self.peers {
            Some(peers) => peers.differences().await,
            None => Ok(Vec::new()),
        }
    }

    /// Deletes the report of this server while the server shuts down, so that the other servers
    /// stop comparing their connectors with those of this server.
    pub(crate) async fn delete_own_report(&self) {
        if let Some(peers) = &self.peers {
            // After a failure, the other servers use the report until the report is too old.
            let _ = timeout(REPORT_DELETION_MAX, peers.delete_own_report()).await;
        }
    }

    /// Compiles accepted versions again if the cache has no code of them for this engine, so that
    /// they can still be used after an upgrade of the host. If this server does not have the file
    /// of a version, the file is fetched from the store that the servers share.
    pub async fn recompile_accepted(&self, accepted: BTreeSet<(ConnectorName, String)>) {
        // The scanner compiles the newest versions, so wait until it has finished.
        let mut changes = self.changes();
        while self.list().iter().any(|info| info.status == ConnectorStatus::Compiling) {
            if changes.changed().await.is_err() {
                return;
            }
        }
        self.failed_recompilations.lock().retain(|version, _| accepted.contains(version));
        for (name, sha256) in accepted {
            let version = (name.clone(), sha256.clone());
            let earlier_failures = self.failed_recompilations.lock().get(&version).copied();
            if earlier_failures.is_some_and(|backoff| backoff.is_pausing(Instant::now())) {
                continue;
            }
            let newest = self.newest(&name).ok();
            let is_newest = newest.is_some_and(|newest| newest.sha256() == sha256);
            if is_newest {
                continue;
            }
            let compiled = match (self.loader.recompile(&name, &sha256).await, &self.mirror) {
                (Err(PluginError::Read(_)), Some(mirror)) => {
                    self.fetch_and_compile(mirror, &name, &sha256).await
                }
                (compiled, _) => compiled,
            };
            let Err(error) = compiled else {
                self.failed_recompilations.lock().remove(&version);
                continue;
            };
            let first_failure = Backoff::new(COMPILE_RETRY, COMPILE_RETRY_MAX);
            let mut backoff = earlier_failures.unwrap_or(first_failure);
            backoff.fail(Instant::now());
            self.failed_recompilations.lock().insert(version, backoff);
            if earlier_failures.is_none() {
                let reason = error.to_string();
                tracing::warn!(connector = %name, sha256, reason, "cannot compile an accepted version again");
            }
        }
    }

    /// Whether the servers of the database share their connectors through the store.
    #[must_use]
    pub fn shares_connectors(&self) -> bool {
        self.mirror.is_some()
    }

    async fn fetch_and_compile(
        &self,
        mirror: &Mirror,
        name: &ConnectorName,
        sha256: &str,
    ) -> Result<(), PluginError> {
        let limits = self.loader.config.current().limits_of(name);
        let content = mirror.content_from_store(sha256, limits.component_bytes).await?;
        let kind = FileKind::of_content(&content);
        let _permit = self.loader.build_permit(kind, &limits).await;
        self.loader.build(name, kind, content, &limits).await.map(drop)
    }

    /// Deletes the oldest unused files in the folder of compiled code until at most
    /// `compiled_bytes_max` bytes remain. Keeps versions that a connector uses or a person
    /// accepted, and files younger than 10 minutes.
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

    /// Returns a receiver of a number that changes whenever a connector changes.
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
