//! `plugins/` as a snapshot: which connectors there are, which version of each serves.
//!
//! Readers take the snapshot and never wait; one task owns the folder and swaps the snapshot. A version
//! is in it only when it is whole: compiled, linked, described.

mod cache;
mod check;
mod keeper;
mod shelf;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::domain::{Clock, Connection, ConnectorName, Limits};

use super::access::Judged;
use super::engine::{Engine, Loaded};
use super::manifest::covers;
use super::{Access, Manifest, Sandbox};
use keeper::Keeper;
use shelf::{Shelf, Version};

pub use check::CheckReport;
pub(crate) use check::check_file;

/// Below the data folder: compiled code.
const CACHE_FOLDER: &str = "compiled";

/// What a connector can do, read from the names of its exported interfaces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Exports `defects`.
    pub defects: bool,
    /// Exports `kpis`.
    pub kpis: bool,
}

/// Where a connector stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// The file's stem; of a file that is broken for its name, no [`ConnectorName`].
    pub name: String,
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
pub struct Connector {
    name: ConnectorName,
    version: Arc<Version>,
    limits: Limits,
    /// One permit for each concurrent run of the connector, whatever the version.
    turns: Arc<Semaphore>,
    loaded_at: Timestamp,
}

/// Why the connectors cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RegistryError(pub String);

/// The connectors of one folder, kept up to date.
pub struct Registry {
    snapshot: ArcSwap<Snapshot>,
    shelf: Arc<Shelf>,
    /// Counts the snapshots.
    changes: watch::Sender<u64>,
}

/// All files of the folder, by stem.
type Snapshot = BTreeMap<String, Entry>;

/// What stands for one file.
#[derive(Clone, Default)]
struct Entry {
    /// The last good version.
    serving: Option<Arc<Connector>>,
    /// Why the newest file cannot be used.
    error: Option<String>,
}

impl Registry {
    /// Reads the folder, makes everything live that was compiled before, and keeps watching until
    /// `cancel`. The rest is compiled in the background.
    ///
    /// # Errors
    /// The folder cannot be read, or the folder of compiled code is not safe; says how to mend it.
    pub(crate) async fn start(
        config: Arc<Config>,
        engine: Arc<Engine>,
        sandbox: Arc<Sandbox>,
        clock: Arc<dyn Clock>,
        cancel: CancellationToken,
    ) -> Result<Arc<Self>, RegistryError> {
        let folder = config.plugins.clone();
        std::fs::create_dir_all(&folder).map_err(|error| {
            RegistryError(format!("the connectors' folder {}: {error}", folder.display()))
        })?;
        let cache = cache_folder(&config);
        let shelf = Shelf::open(config, engine, sandbox, clock, cache).map_err(RegistryError)?;
        let registry = Arc::new(Self {
            snapshot: ArcSwap::default(),
            shelf: Arc::new(shelf),
            changes: watch::Sender::new(0),
        });
        let mut keeper = Keeper::new(Arc::clone(&registry), folder);
        keeper.scan().await.map_err(RegistryError)?;
        tokio::spawn(cancel.run_until_cancelled_owned(keeper.keep()));
        Ok(registry)
    }

    /// All connectors, by name.
    #[must_use]
    pub fn list(&self) -> Vec<ConnectorInfo> {
        self.snapshot.load().iter().map(|(name, entry)| entry.info(name)).collect()
    }

    /// The newest good version of a connector.
    #[must_use]
    pub fn newest(&self, name: &ConnectorName) -> Option<Arc<Connector>> {
        self.snapshot.load().get(name.as_str())?.serving.clone()
    }

    /// The version that serves a connection: the newest, or, where that asks for more than was
    /// granted, the one that a person accepted.
    ///
    /// # Errors
    /// Why none does, and what mends it.
    pub fn serving(&self, access: &Access) -> Result<Arc<Connector>, String> {
        let connection = &access.connection;
        let name = &connection.connector;
        let snapshot = self.snapshot.load();
        let Some(entry) = snapshot.get(name.as_str()) else {
            return Err(format!(
                "there is no connector `{name}`: put {name}.wasm into the plugins folder"
            ));
        };
        let accepted = connection.accepted_sha256.as_deref();
        let held_back = match &entry.serving {
            None => None,
            Some(newest) => match judge(newest, access) {
                None => return Ok(Arc::clone(newest)),
                Some(news) => Some(news),
            },
        };
        if let Some(older) = accepted.and_then(|sha256| self.shelf.older(name, sha256)) {
            return Ok(older);
        }
        Err(match (held_back, &entry.error) {
            (Some(news), _) => format!(
                "the connector `{name}` asks for what this connection has not granted: {}; \
                 `jackfield connections accept {}` grants it",
                news.join("; "),
                connection.name
            ),
            (None, Some(error)) => format!("the connector `{name}` is broken: {error}"),
            (None, None) => format!("the connector `{name}` is being compiled; try again soon"),
        })
    }

    /// The newest version of a connection's connector, and what that asks beyond what a person granted;
    /// `None` where nothing keeps it from serving.
    #[must_use]
    pub fn newest_for(
        &self,
        connection: &Connection,
    ) -> Option<(Arc<Connector>, Option<Vec<String>>)> {
        let newest = self.newest(&connection.connector)?;
        let news = news(&newest, connection);
        Some((newest, news))
    }

    /// Compiles the versions again that people accepted and that another engine compiled: what was
    /// accepted outlives an upgrade of the host.
    pub async fn restore(&self, accepted: BTreeSet<(ConnectorName, String)>) {
        // Most of them lie in the folder and are being compiled there.
        let mut changes = self.changes();
        while self.list().iter().any(|info| info.status == ConnectorStatus::Compiling) {
            if changes.changed().await.is_err() {
                return;
            }
        }
        for (name, sha256) in accepted {
            if let Err(why) = self.shelf.restore(&name, &sha256).await {
                tracing::warn!(connector = %name, sha256, why, "an accepted version is lost");
            }
        }
    }

    /// Forgets compiled code that neither serves nor was accepted, where there is more of it than
    /// `compiled_bytes_max`.
    pub async fn forget_unused(&self, accepted: BTreeSet<String>) {
        let serving = self.snapshot.load_full();
        let serving = serving.values().filter_map(|entry| entry.serving.as_ref());
        let mut used = accepted;
        used.extend(serving.map(|connector| connector.sha256().to_owned()));
        let shelf = Arc::clone(&self.shelf);
        match spawn_blocking(move || shelf.forget_unused(&used)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "unused compiled code stays for now"),
            Err(error) => tracing::error!(%error, "compiled code was not looked through"),
        }
    }

    /// Counts up with each change of any connector; tests and streams wait for it.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn publish(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl Connector {
    /// The file's stem.
    #[must_use]
    pub fn name(&self) -> &ConnectorName {
        &self.name
    }

    /// SHA-256 of the file, hex.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.version.sha256
    }

    /// Who it is and what it asks for.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.version.manifest
    }

    /// What it can do.
    #[must_use]
    pub fn interfaces(&self) -> Interfaces {
        self.version.loaded.interfaces()
    }

    /// Since when this version serves.
    #[must_use]
    pub fn loaded_at(&self) -> Timestamp {
        self.loaded_at
    }

    pub(super) fn loaded(&self) -> &Loaded {
        &self.version.loaded
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn turns(&self) -> &Semaphore {
        &self.turns
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("connectors", &self.list()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Connector");
        shown.field("name", &self.name).field("sha256", &self.sha256()).finish_non_exhaustive()
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
            loaded_at: serving.map(|connector| connector.loaded_at),
        }
    }
}

/// The news of a version for a connection, worked out once for both.
fn judge(newest: &Connector, access: &Access) -> Option<Vec<String>> {
    if let Some(judged) = access.judged.load().as_ref().filter(|j| j.sha256 == newest.sha256()) {
        return judged.news.clone();
    }
    let news = news(newest, &access.connection);
    let judged = Judged { sha256: newest.sha256().to_owned(), news: news.clone() };
    access.judged.store(Some(Arc::new(judged)));
    news
}

/// What a version asks beyond a connection's grants and settings; `None` where it may serve.
fn news(connector: &Connector, connection: &Connection) -> Option<Vec<String>> {
    if connection.accepted_sha256.as_deref() == Some(connector.sha256()) {
        return None;
    }
    let manifest = connector.manifest();
    let mut news: Vec<String> = Vec::new();
    // What it has no use for any more is no news.
    let concerns = |name: &str| manifest.knows(name);
    let fits = manifest.validate(&connection.settings, &connection.secrets_set, concerns);
    news.extend(fits.err().into_iter().flatten().map(|problem| problem.to_string()));
    if let Ok(demanded) = manifest.demands(&connection.settings) {
        news.extend(covers(&connection.grants, &demanded));
    }
    (!news.is_empty()).then_some(news)
}

fn cache_folder(config: &Config) -> PathBuf {
    config.data.join(CACHE_FOLDER)
}

fn sha256_of(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}
