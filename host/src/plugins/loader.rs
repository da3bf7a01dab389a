//! Loads versions of connectors: from the folder of compiled code, or by compiling them.
//!
//! Each content is loaded once, even if several files have it. Decides nothing about which version serves.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use data_encoding::HEXLOWER;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::fs;
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::domain::{Clock, ConnectorName, Limits};
use crate::manifest::Manifest;
use crate::runtime::{Connector, Engine, Sandbox, Version, compile};

use super::cache::Cache;
use super::error::{PluginError, StartError};

/// Superseded versions that stay loaded for connections that have not accepted the newest.
const SUPERSEDED_MAX: usize = 100;
/// Compiler processes at a time.
const COMPILERS_MAX: usize = 2;
/// Younger compiled code is not deleted: it may serve soon.
const UNUSED_MIN_AGE: Duration = Duration::from_secs(600);

/// Loads versions.
pub(super) struct VersionLoader {
    pub(super) config: Arc<Config>,
    clock: Arc<dyn Clock>,
    engine: Arc<Engine>,
    sandbox: Arc<Sandbox>,
    cache: Cache,
    /// The executable that compiles.
    compiler: PathBuf,
    /// Acquire one before [`VersionLoader::build`].
    pub(super) compile_permits: Semaphore,
    /// Loaded versions by SHA-256.
    versions: Mutex<BTreeMap<String, Weak<Version>>>,
    superseded: Mutex<BTreeMap<(ConnectorName, String), Arc<Connector>>>,
}

impl VersionLoader {
    /// # Errors
    /// The path of the compiler is unknown.
    pub(super) fn open(
        config: Arc<Config>,
        engine: Arc<Engine>,
        sandbox: Arc<Sandbox>,
        clock: Arc<dyn Clock>,
        cache: Cache,
    ) -> Result<Self, StartError> {
        let compiler = match &config.compiler {
            Some(path) => path.clone(),
            None => std::env::current_exe().map_err(StartError::Compiler)?,
        };
        Ok(Self {
            config,
            clock,
            engine,
            sandbox,
            cache,
            compiler,
            compile_permits: Semaphore::new(COMPILERS_MAX),
            versions: Mutex::default(),
            superseded: Mutex::default(),
        })
    }

    /// A version that is loaded, or compiled and only needs to be mapped.
    pub(super) fn cached(&self, sha256: &str) -> Option<Arc<Version>> {
        let mut versions = self.versions.lock();
        if let Some(version) = versions.get(sha256).and_then(Weak::upgrade) {
            return Some(version);
        }
        let fingerprint = self.engine.fingerprint();
        let raw = self.cache.manifest(sha256, fingerprint)?;
        let loaded = self.engine.load(&self.cache.code(sha256, fingerprint));
        let manifest = Manifest::read(&raw);
        let (Ok(loaded), Ok(manifest)) = (loaded, manifest) else {
            self.cache.delete(sha256, fingerprint);
            return None;
        };
        versions.retain(|_, version| version.strong_count() > 0);
        let version = Arc::new(Version { sha256: sha256.to_owned(), manifest, loaded });
        versions.insert(sha256.to_owned(), Arc::downgrade(&version));
        Some(version)
    }

    /// Compiles a file's content, loads it and calls its `describe`.
    ///
    /// # Errors
    /// Why the host cannot use it.
    pub(super) async fn build(
        &self,
        wasm: Vec<u8>,
        limits: &Limits,
    ) -> Result<Arc<Version>, PluginError> {
        let sha256 = sha256_of(&wasm);
        if let Some(version) = self.cached(&sha256) {
            return Ok(version);
        }
        let fingerprint = self.engine.fingerprint();
        self.compile(&wasm, &sha256, limits).await?;
        let loaded = self.engine.load(&self.cache.code(&sha256, fingerprint))?;
        let described = self.sandbox.describe(&loaded, limits).await;
        let raw = described.map_err(PluginError::Describe)?;
        let manifest = Manifest::read(&raw)?;
        if let Err(error) = self.cache.write_manifest(&sha256, fingerprint, &raw) {
            tracing::warn!(%error, "cannot store a manifest: the next start compiles the connector again");
        }
        let version = Arc::new(Version { sha256: sha256.clone(), manifest, loaded });
        self.versions.lock().insert(sha256, Arc::downgrade(&version));
        Ok(version)
    }

    /// Compiles in a temporary folder and moves the result into the cache.
    async fn compile(&self, wasm: &[u8], sha256: &str, limits: &Limits) -> Result<(), PluginError> {
        let folder = self.cache.temporary_folder().map_err(PluginError::Store)?;
        let files = compile(&self.compiler, wasm, folder.path(), limits).await?;
        let stored = self.cache.store(sha256, self.engine.fingerprint(), &files);
        stored.await.map_err(PluginError::Store)
    }

    /// Compiles a superseded version again, if it was compiled for another engine.
    ///
    /// # Errors
    /// Its component is not stored, or this engine refuses it.
    pub(super) async fn restore(
        &self,
        name: &ConnectorName,
        sha256: &str,
    ) -> Result<(), PluginError> {
        let _permit = self.compile_permits.acquire().await;
        if self.cached(sha256).is_some() {
            return Ok(());
        }
        let source = self.cache.source(sha256);
        let wasm = fs::read(&source).await.map_err(PluginError::Read)?;
        if sha256_of(&wasm) != sha256 {
            return Err(PluginError::SourceChanged(source));
        }
        self.build(wasm, &self.config.limits_of(name)).await.map(|_| ())
    }

    /// Puts a version under a connector's name.
    pub(super) fn connector(&self, name: &ConnectorName, version: Arc<Version>) -> Arc<Connector> {
        let limits = self.config.limits_of(name);
        Arc::new(Connector::new(name.clone(), version, limits, self.clock.now()))
    }

    /// A superseded version, if it is still cached.
    pub(super) fn superseded(&self, name: &ConnectorName, sha256: &str) -> Option<Arc<Connector>> {
        let key = (name.clone(), sha256.to_owned());
        let mut superseded = self.superseded.lock();
        if let Some(connector) = superseded.get(&key) {
            return Some(Arc::clone(connector));
        }
        let connector = self.connector(name, self.cached(sha256)?);
        if superseded.len() >= SUPERSEDED_MAX {
            superseded.clear();
        }
        superseded.insert(key, Arc::clone(&connector));
        Some(connector)
    }

    /// Deletes unused compiled code, if there is more than `compiled_bytes_max`.
    pub(super) fn delete_unused(&self, used: &BTreeSet<String>) -> io::Result<()> {
        let before = SystemTime::from(self.clock.now()) - UNUSED_MIN_AGE;
        let bytes_max = self.config.compiled_bytes_max;
        self.cache.prune(bytes_max, self.engine.fingerprint(), used, before)
    }
}

/// The SHA-256 of a file's content, hex.
pub(super) fn sha256_of(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}
