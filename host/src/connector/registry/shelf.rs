//! The versions of connectors that are loaded, each once, whatever names its bytes have.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;

use crate::config::Config;
use crate::connector::compile::{compile, shortened};
use crate::connector::engine::{Engine, Loaded};
use crate::connector::manifest::Manifest;
use crate::connector::sandbox::Sandbox;
use crate::domain::{Clock, ConnectorName, Limits};

use super::cache::Cache;
use super::{Connector, sha256_of};

/// Superseded versions kept loaded for connections that have not accepted the newest.
const OLDER_MAX: usize = 100;
/// Compilers at once.
const COMPILERS: usize = 2;
/// How long compiled code is left alone: it may be about to serve.
const FRESH: Duration = Duration::from_secs(600);

/// Loads versions from the cache, or makes them.
pub(super) struct Shelf {
    pub(super) config: Arc<Config>,
    pub(super) clock: Arc<dyn Clock>,
    engine: Arc<Engine>,
    sandbox: Arc<Sandbox>,
    cache: Cache,
    compiler: PathBuf,
    /// Whoever compiles holds one.
    pub(super) compilers: Semaphore,
    versions: Mutex<BTreeMap<String, Weak<Version>>>,
    older: Mutex<BTreeMap<(ConnectorName, String), Arc<Connector>>>,
    /// By connector, so that versions of one connector share its runs.
    turns: Mutex<BTreeMap<ConnectorName, Arc<Semaphore>>>,
}

/// One content of a file, loaded.
pub(super) struct Version {
    pub(super) sha256: String,
    pub(super) manifest: Manifest,
    pub(super) loaded: Loaded,
}

impl Shelf {
    pub(super) fn open(
        config: Arc<Config>,
        engine: Arc<Engine>,
        sandbox: Arc<Sandbox>,
        clock: Arc<dyn Clock>,
        cache: PathBuf,
    ) -> Result<Self, String> {
        let compiler = match &config.compiler {
            Some(path) => path.clone(),
            None => std::env::current_exe()
                .map_err(|error| format!("the path of this program is unknown: {error}"))?,
        };
        Ok(Self {
            config,
            clock,
            engine,
            sandbox,
            cache: Cache::open(cache)?,
            compiler,
            compilers: Semaphore::new(COMPILERS),
            versions: Mutex::default(),
            older: Mutex::default(),
            turns: Mutex::default(),
        })
    }

    /// A version that is loaded or needs only to be mapped.
    pub(super) fn known(&self, sha256: &str) -> Option<Arc<Version>> {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(version) = versions.get(sha256).and_then(Weak::upgrade) {
            return Some(version);
        }
        let fingerprint = self.engine.fingerprint();
        let raw = self.cache.manifest(sha256, fingerprint)?;
        let loaded = self.engine.load(&self.cache.code(sha256, fingerprint));
        let manifest = Manifest::read(&raw);
        let (Ok(loaded), Ok(manifest)) = (loaded, manifest) else {
            self.cache.forget(sha256, fingerprint);
            return None;
        };
        versions.retain(|_, version| version.strong_count() > 0);
        let version = Arc::new(Version { sha256: sha256.to_owned(), manifest, loaded });
        versions.insert(sha256.to_owned(), Arc::downgrade(&version));
        Some(version)
    }

    /// Compiles a file's content, loads it and asks it who it is.
    ///
    /// # Errors
    /// Why this is no connector that the host can use, in words of a bounded length.
    pub(super) async fn make(
        &self,
        wasm: Vec<u8>,
        limits: &Limits,
    ) -> Result<Arc<Version>, String> {
        self.made(wasm, limits).await.map_err(|why| shortened(&why))
    }

    async fn made(&self, wasm: Vec<u8>, limits: &Limits) -> Result<Arc<Version>, String> {
        let sha256 = sha256_of(&wasm);
        if let Some(version) = self.known(&sha256) {
            return Ok(version);
        }
        let fingerprint = self.engine.fingerprint();
        let code = self.cache.code(&sha256, fingerprint);
        self.compile(wasm, &sha256, limits).await?;
        let loaded = self.engine.load(&code)?;
        let raw = self
            .sandbox
            .describe(&loaded, limits)
            .await
            .map_err(|refusal| format!("its `describe` failed: {refusal}"))?;
        let manifest = Manifest::read(&raw).map_err(|error| error.to_string())?;
        if let Err(error) = self.cache.keep_manifest(&sha256, fingerprint, &raw) {
            tracing::warn!(%error, "the manifest is not kept: the next start compiles again");
        }
        let version = Arc::new(Version { sha256: sha256.clone(), manifest, loaded });
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.insert(sha256, Arc::downgrade(&version));
        Ok(version)
    }

    async fn compile(&self, wasm: Vec<u8>, sha256: &str, limits: &Limits) -> Result<(), String> {
        let cannot = |error: std::io::Error| {
            format!("the folder of compiled code cannot be written: {error}")
        };
        // The child reads a copy: the file itself may change while it reads.
        let desk = self.cache.desk().map_err(cannot)?;
        let (input, output) = (desk.path().join("in.wasm"), desk.path().join("out.cwasm"));
        tokio::fs::write(&input, wasm).await.map_err(cannot)?;
        compile(&self.compiler, &input, &output, limits).await?;
        tokio::fs::rename(&input, self.cache.source(sha256)).await.map_err(cannot)?;
        let code = self.cache.code(sha256, self.engine.fingerprint());
        tokio::fs::rename(&output, code).await.map_err(cannot)
    }

    /// Compiles a superseded version again, where it was compiled for another engine.
    ///
    /// # Errors
    /// Its file is not kept, or this engine does not take it.
    pub(super) async fn restore(&self, name: &ConnectorName, sha256: &str) -> Result<(), String> {
        let _turn = self.compilers.acquire().await;
        if self.known(sha256).is_some() {
            return Ok(());
        }
        let source = self.cache.source(sha256);
        let wasm = tokio::fs::read(&source)
            .await
            .map_err(|error| format!("{} cannot be read: {error}", source.display()))?;
        if sha256_of(&wasm) != sha256 {
            return Err(format!("{} is not the file that it was", source.display()));
        }
        self.make(wasm, &self.config.limits_of(name)).await.map(|_| ())
    }

    /// A version under a connector's name.
    pub(super) fn connector(&self, name: &ConnectorName, version: Arc<Version>) -> Arc<Connector> {
        let limits = self.config.limits_of(name);
        let runs = usize::try_from(limits.concurrent_runs).unwrap_or(Semaphore::MAX_PERMITS);
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let turns = turns.entry(name.clone()).or_insert_with(|| Arc::new(Semaphore::new(runs)));
        Arc::new(Connector {
            name: name.clone(),
            version,
            limits,
            turns: Arc::clone(turns),
            loaded_at: self.clock.now(),
        })
    }

    /// Forgets compiled code that nobody uses, where there is too much of it.
    pub(super) fn forget_unused(&self, used: &BTreeSet<String>) -> io::Result<()> {
        let before = SystemTime::from(self.clock.now()) - FRESH;
        let bytes_max = self.config.compiled_bytes_max;
        self.cache.prune(bytes_max, self.engine.fingerprint(), used, before)
    }

    /// A superseded version, if the cache still has it.
    pub(super) fn older(&self, name: &ConnectorName, sha256: &str) -> Option<Arc<Connector>> {
        let key = (name.clone(), sha256.to_owned());
        let mut older = self.older.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connector) = older.get(&key) {
            return Some(Arc::clone(connector));
        }
        let connector = self.connector(name, self.known(sha256)?);
        if older.len() >= OLDER_MAX {
            older.clear();
        }
        older.insert(key, Arc::clone(&connector));
        Some(connector)
    }
}
