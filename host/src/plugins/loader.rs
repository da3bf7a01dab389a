//! Loads versions of connectors: from the folder of compiled code, or by compiling them.
//!
//! Each content is loaded once, even if several files have it. This module does not decide which
//! version a connection uses.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use data_encoding::HEXLOWER;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::fs;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::config::Config;
use crate::domain::{Clock, ConnectorName, Limits};
use crate::manifest::Manifest;
use crate::runtime::{
    CompileError, CompileLimits, Compiler, Connector, Engine, Sandbox, Version, check_executable,
    check_magic_bytes,
};

use super::attempts::Attempts;
use super::cache::Cache;
use super::error::{PluginError, StartError};

/// Maximum number of superseded versions that stay loaded, for connections that have not accepted
/// the newest one.
const SUPERSEDED_MAX: usize = 100;
/// Maximum number of compiler processes at a time.
const COMPILERS_MAX: u32 = 2;
/// Compiled code is not deleted before this age, because a connection may need it soon.
const UNUSED_MIN_AGE: Duration = Duration::from_secs(600);

/// Loads versions of connectors, and caches the loaded ones.
pub(super) struct VersionLoader {
    pub(super) config: Arc<Config>,
    clock: Arc<dyn Clock>,
    engine: Arc<Engine>,
    sandbox: Arc<Sandbox>,
    cache: Cache,
    compiler: Compiler,
    attempts: Attempts,
    compile_permits: Semaphore,
    /// Loaded versions by SHA-256.
    versions: Mutex<BTreeMap<String, Weak<Version>>>,
    superseded: Mutex<BTreeMap<(ConnectorName, String), Arc<Connector>>>,
}

impl VersionLoader {
    /// Opens the loader with an empty set of loaded versions.
    ///
    /// # Errors
    /// The compiler cannot be found, or the system does not run what it compiles.
    pub(super) fn open(
        config: Arc<Config>,
        engine: Arc<Engine>,
        sandbox: Arc<Sandbox>,
        clock: Arc<dyn Clock>,
        cache: Cache,
    ) -> Result<Self, StartError> {
        check_executable(cache.folder())?;
        let compiler = Compiler::for_engine(&engine, config.compiler.as_deref());
        let attempts = Attempts::in_folder(cache.folder());
        Ok(Self {
            config,
            clock,
            engine,
            sandbox,
            cache,
            compiler: compiler.map_err(StartError::Compiler)?,
            attempts,
            compile_permits: Semaphore::new(COMPILERS_MAX as usize),
            versions: Mutex::default(),
            superseded: Mutex::default(),
        })
    }

    /// Returns a version that is loaded, or that was compiled before and only needs to be mapped.
    pub(super) fn cached(&self, sha256: &str) -> Option<Arc<Version>> {
        let mut versions = self.versions.lock();
        if let Some(version) = versions.get(sha256).and_then(Weak::upgrade) {
            return Some(version);
        }
        let fingerprint = self.engine.fingerprint();
        let raw = self.cache.manifest(sha256, fingerprint)?;
        let loaded = self.engine.load(&self.cache.code_path(sha256, fingerprint));
        let manifest = Manifest::read(&raw);
        let (Ok(loaded), Ok(manifest)) = (loaded, manifest) else {
            self.cache.delete(sha256, fingerprint);
            return None;
        };
        versions.retain(|_, version| version.strong_count() > 0);
        let version = Version::new(sha256.to_owned(), manifest, loaded);
        versions.insert(sha256.to_owned(), Arc::downgrade(&version));
        Some(version)
    }

    /// Waits for a permit to compile. Take it before the file is read, so that few files are in
    /// memory at a time, and hold it during [`VersionLoader::build`]. If memory is short, only one
    /// compiler runs at a time.
    pub(super) async fn compile_permit(&self, limits: &Limits) -> Option<SemaphorePermit<'_>> {
        let is_short = CompileLimits::now(limits).memory_bytes < limits.compile_memory_bytes;
        self.compile_permits.acquire_many(if is_short { COMPILERS_MAX } else { 1 }).await.ok()
    }

    /// Compiles a file's content, loads it and calls its `describe`.
    ///
    /// # Errors
    /// The host cannot use the component; the error says why.
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
        let loaded = self.engine.load(&self.cache.code_path(&sha256, fingerprint))?;
        let described = self.sandbox.describe(&loaded, limits).await;
        let raw = described.map_err(PluginError::Describe)?;
        let manifest = Manifest::read(&raw)?;
        if let Err(error) = self.cache.write_manifest(&sha256, fingerprint, &raw) {
            tracing::warn!(%error, "cannot store a manifest: the next start compiles the connector again");
        }
        let version = Version::new(sha256.clone(), manifest, loaded);
        self.versions.lock().insert(sha256, Arc::downgrade(&version));
        Ok(version)
    }

    /// Compiles a component in a temporary folder and moves the result into the cache.
    async fn compile(&self, wasm: &[u8], sha256: &str, limits: &Limits) -> Result<(), PluginError> {
        check_magic_bytes(wasm).map_err(CompileError::from)?;
        let (limits, fingerprint) = (CompileLimits::now(limits), self.engine.fingerprint());
        let folder = self.cache.temporary_folder().map_err(PluginError::Store)?;
        let attempt = self.attempts.begin(sha256, fingerprint, &limits)?;
        let compiled = self.compiler.compile(wasm, folder.path(), &limits).await;
        attempt.end(&compiled);
        self.cache.store(sha256, fingerprint, &compiled?).await.map_err(PluginError::Store)
    }

    /// Compiles a superseded version again, if its code was compiled for another engine.
    ///
    /// # Errors
    /// The component of the version is not stored, or this engine refuses it.
    pub(super) async fn recompile(
        &self,
        name: &ConnectorName,
        sha256: &str,
    ) -> Result<(), PluginError> {
        let limits = self.config.limits_of(name);
        let _permit = self.compile_permit(&limits).await;
        if self.cached(sha256).is_some() {
            return Ok(());
        }
        let source = self.cache.source_path(sha256);
        let wasm = fs::read(&source).await.map_err(PluginError::Read)?;
        if sha256_of(&wasm) != sha256 {
            return Err(PluginError::SourceChanged(source));
        }
        self.build(wasm, &limits).await.map(|_| ())
    }

    /// Combines a connector's name with the version that it runs.
    pub(super) fn connector(&self, name: &ConnectorName, version: Arc<Version>) -> Arc<Connector> {
        let limits = self.config.limits_of(name);
        Arc::new(Connector::new(name.clone(), version, limits, self.clock.now()))
    }

    /// Returns a superseded version, if its compiled code is cached.
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

/// Returns the SHA-256 of a file's content, hex.
pub(super) fn sha256_of(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}
