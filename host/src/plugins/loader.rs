//! Loads versions of connectors: from the folder of compiled code, or by compiling them.
//!
//! Connectors whose files have the same kind and content can share one loaded version. This module
//! never decides which version a connection uses.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use data_encoding::HEXLOWER;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::fs;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use crate::config::LiveConfig;
use crate::domain::{Clock, ConnectorName, Limits};
use crate::manifest::Manifest;
use crate::runtime::{
    CompileError, CompileLimits, Compiler, Connector, Engine, LoadedComponent, RUNNER, Sandbox,
    ScriptRunner, Version, check_executable, check_magic_bytes,
};

use super::attempts::Attempts;
use super::cache::Cache;
use super::error::{PluginError, StartError};
use super::file_kind::FileKind;
use super::scripts::{self, RUNNER_SHA256, script_text};

/// Maximum number of superseded versions (older than the newest one) that stay loaded. Before one
/// more is added, all are dropped.
const SUPERSEDED_MAX: usize = 100;
/// Maximum number of components that are compiled at the same time.
const COMPILERS_MAX: u32 = 2;
/// Compiled code that is younger than this is not deleted, because a connection may need it soon.
const UNUSED_MIN_AGE: Duration = Duration::from_secs(600);

/// The right to compile a component or to parse a script, until the value is dropped.
pub(super) struct BuildPermit<'a> {
    _script: Option<SemaphorePermit<'a>>,
    _compile: Option<SemaphorePermit<'a>>,
}

pub(super) struct VersionLoader {
    pub(super) config: Arc<LiveConfig>,
    clock: Arc<dyn Clock>,
    engine: Arc<Engine>,
    sandbox: Arc<Sandbox>,
    cache: Cache,
    compiler: Compiler,
    attempts: Attempts,
    compile_permits: Semaphore,
    /// Only one script is parsed at the same time.
    script_permit: Semaphore,
    /// The runner of scripts. It is loaded when the first script is loaded.
    runner: OnceCell<ScriptRunner>,
    /// Loaded versions by kind and SHA-256.
    versions: Mutex<BTreeMap<(FileKind, String), Weak<Version>>>,
    /// Superseded versions that stay loaded, by connector and SHA-256.
    superseded: Mutex<BTreeMap<(ConnectorName, String), Arc<Connector>>>,
}

impl VersionLoader {
    pub(super) fn open(
        config: Arc<LiveConfig>,
        engine: Arc<Engine>,
        sandbox: Arc<Sandbox>,
        clock: Arc<dyn Clock>,
        cache: Cache,
    ) -> Result<Self, StartError> {
        check_executable(cache.folder())?;
        let compiler = Compiler::for_engine(&engine, config.current().compiler.as_deref());
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
            script_permit: Semaphore::new(1),
            runner: OnceCell::new(),
            versions: Mutex::default(),
            superseded: Mutex::default(),
        })
    }

    pub(super) fn with_attempts_in(self, folder: &Path) -> Self {
        Self { attempts: Attempts::in_folder(folder), ..self }
    }

    pub(super) fn now(&self) -> SystemTime {
        SystemTime::from(self.clock.now())
    }

    pub(super) fn delete_unused_code_above(
        &self,
        bytes_max: u64,
        mut used: BTreeSet<String>,
    ) -> io::Result<()> {
        if self.runner.initialized() {
            used.insert(RUNNER_SHA256.clone());
        }
        let before = self.now() - UNUSED_MIN_AGE;
        self.cache.prune(bytes_max, self.engine.fingerprint(), &used, before)
    }

    /// Returns a version that is loaded already, or whose compiled code is in the cache.
    pub(super) fn cached(&self, kind: FileKind, sha256: &str) -> Option<Arc<Version>> {
        let mut versions = self.versions.lock();
        let key = (kind, sha256.to_owned());
        if let Some(version) = versions.get(&key).and_then(Weak::upgrade) {
            return Some(version);
        }
        let fingerprint = self.engine.fingerprint();
        let raw_manifest = self.cache.manifest(kind, sha256, fingerprint)?;
        let code = self.cache.code_path(kind, sha256, fingerprint);
        let loaded = match kind {
            FileKind::Component => self.engine.load(&code).ok(),
            FileKind::Script => self.cached_script(&code),
        };
        let (Some(loaded), Ok(manifest)) = (loaded, Manifest::read(&raw_manifest)) else {
            self.cache.delete(kind, sha256, fingerprint);
            return None;
        };
        versions.retain(|_, version| version.strong_count() > 0);
        let version = Version::new(sha256.to_owned(), manifest, loaded);
        versions.insert(key, Arc::downgrade(&version));
        Some(version)
    }

    /// Loads a script that the runner has parsed before.
    fn cached_script(&self, code: &Path) -> Option<LoadedComponent> {
        let script = scripts::read_program(code)?;
        let runner = match self.runner.get() {
            Some(runner) => runner.clone(),
            None => {
                let runner = self.cached_runner()?;
                // `set` fails only if another job has set the same runner meanwhile.
                let _ = self.runner.set(runner.clone());
                runner
            }
        };
        runner.with_script(script).ok()
    }

    fn cached_runner(&self) -> Option<ScriptRunner> {
        let (kind, fingerprint) = (FileKind::Component, self.engine.fingerprint());
        if !self.cache.has_code(kind, &RUNNER_SHA256, fingerprint) {
            return None;
        }
        self.engine.load_runner(&self.cache.code_path(kind, &RUNNER_SHA256, fingerprint)).ok()
    }

    /// Waits for a permit to compile a component, or to parse a script, for which the runner may
    /// have to be compiled. The caller must keep the permit during [`VersionLoader::build`]. If the
    /// machine has little free memory, only one component is compiled at the same time.
    pub(super) async fn build_permit(
        &self,
        kind: FileKind,
        limits: &Limits,
    ) -> Option<BuildPermit<'_>> {
        let script = match kind {
            FileKind::Script => Some(self.script_permit.acquire().await.ok()?),
            FileKind::Component => None,
        };
        if script.is_some() && self.is_runner_compiled() {
            return Some(BuildPermit { _script: script, _compile: None });
        }
        let is_memory_low = CompileLimits::now(limits).memory_bytes < limits.compile_memory_bytes;
        let permits = if is_memory_low { COMPILERS_MAX } else { 1 };
        let compile = self.compile_permits.acquire_many(permits).await.ok()?;
        Some(BuildPermit { _script: script, _compile: Some(compile) })
    }

    fn is_runner_compiled(&self) -> bool {
        let fingerprint = self.engine.fingerprint();
        let is_cached = || self.cache.has_code(FileKind::Component, &RUNNER_SHA256, fingerprint);
        self.runner.initialized() || is_cached()
    }

    /// Returns the cached version with this content. If there is none, compiles the content, loads
    /// the compiled code and calls its `describe`.
    pub(super) async fn build(
        &self,
        name: &ConnectorName,
        kind: FileKind,
        content: Vec<u8>,
        limits: &Limits,
    ) -> Result<Arc<Version>, PluginError> {
        let sha256 = sha256_of(&content);
        if let Some(version) = self.cached(kind, &sha256) {
            return Ok(version);
        }
        let fingerprint = self.engine.fingerprint();
        let loaded = match kind {
            FileKind::Component => {
                self.compile(&content, &sha256, limits).await?;
                self.engine.load(&self.cache.code_path(kind, &sha256, fingerprint))?
            }
            FileKind::Script => self.prepare_script(name, &content, &sha256, limits).await?,
        };
        let described = self.sandbox.describe(&loaded, name, limits).await;
        let raw_manifest = described.map_err(PluginError::Describe)?;
        let manifest = Manifest::read(&raw_manifest)?;
        let written = self.cache.write_manifest(kind, &sha256, fingerprint, Some(&raw_manifest));
        if let Err(error) = written {
            tracing::warn!(%error, "cannot store a manifest: the next start compiles the connector again");
        }
        let mut versions = self.versions.lock();
        let key = (kind, sha256.clone());
        // Another job may have loaded the same content meanwhile.
        if let Some(version) = versions.get(&key).and_then(Weak::upgrade) {
            return Ok(version);
        }
        let version = Version::new(sha256, manifest, loaded);
        versions.insert(key, Arc::downgrade(&version));
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
        let stored = self.cache.store(FileKind::Component, sha256, fingerprint, &compiled?).await;
        stored.map_err(PluginError::Store)
    }

    /// Calls the runner to parse a script, and moves the result into the cache.
    async fn prepare_script(
        &self,
        name: &ConnectorName,
        content: &[u8],
        sha256: &str,
        limits: &Limits,
    ) -> Result<LoadedComponent, PluginError> {
        let text = script_text(content)?.to_owned();
        let runner = self.runner.get_or_try_init(|| self.load_runner(limits)).await?;
        let prepared = self.sandbox.prepare(runner, name, text, limits).await;
        let script = prepared?;
        let folder = self.cache.temporary_folder().map_err(PluginError::Store)?;
        let files =
            scripts::write_program(folder.path(), content, &script).map_err(PluginError::Store)?;
        let loaded = runner.with_script(script)?;
        let fingerprint = self.engine.fingerprint();
        let stored = self.cache.store(FileKind::Script, sha256, fingerprint, &files).await;
        stored.map_err(PluginError::Store)?;
        Ok(loaded)
    }

    async fn load_runner(&self, limits: &Limits) -> Result<ScriptRunner, PluginError> {
        if let Some(runner) = self.cached_runner() {
            return Ok(runner);
        }
        let (kind, sha256, fingerprint) =
            (FileKind::Component, &*RUNNER_SHA256, self.engine.fingerprint());
        self.compile(RUNNER, sha256, limits).await?;
        let runner = self.engine.load_runner(&self.cache.code_path(kind, sha256, fingerprint))?;
        let written = self.cache.write_manifest(kind, sha256, fingerprint, None);
        written.map_err(PluginError::Store)?;
        Ok(runner)
    }

    /// Compiles a version again if its code for this engine is not in the cache.
    pub(super) async fn recompile(
        &self,
        name: &ConnectorName,
        sha256: &str,
    ) -> Result<(), PluginError> {
        let limits = self.config.current().limits_of(name);
        let is_stored = |kind: &FileKind| self.cache.source_path(*kind, sha256).exists();
        let kind = FileKind::ALL.into_iter().find(is_stored).unwrap_or(FileKind::Component);
        let _permit = self.build_permit(kind, &limits).await;
        if self.cached_of_any_kind(sha256).is_some() {
            return Ok(());
        }
        let source = self.cache.source_path(kind, sha256);
        let content = fs::read(&source).await.map_err(PluginError::Read)?;
        if sha256_of(&content) != sha256 {
            return Err(PluginError::SourceChanged(source));
        }
        self.build(name, kind, content, &limits).await.map(|_| ())
    }

    fn cached_of_any_kind(&self, sha256: &str) -> Option<Arc<Version>> {
        FileKind::ALL.into_iter().find_map(|kind| self.cached(kind, sha256))
    }

    pub(super) fn connector(&self, name: &ConnectorName, version: Arc<Version>) -> Arc<Connector> {
        let limits = self.config.current().limits_of(name);
        Arc::new(Connector::new(name.clone(), version, limits, self.clock.now()))
    }

    /// Returns this version, and keeps it loaded, if it is loaded already or its compiled code is
    /// in the cache.
    pub(super) fn superseded_version(
        &self,
        name: &ConnectorName,
        sha256: &str,
    ) -> Option<Arc<Connector>> {
        let key = (name.clone(), sha256.to_owned());
        let mut superseded = self.superseded.lock();
        if let Some(connector) = superseded.get(&key) {
            return Some(Arc::clone(connector));
        }
        let connector = self.connector(name, self.cached_of_any_kind(sha256)?);
        if superseded.len() >= SUPERSEDED_MAX {
            superseded.clear();
        }
        superseded.insert(key, Arc::clone(&connector));
        Some(connector)
    }

    pub(super) fn delete_unused(&self, used: BTreeSet<String>) -> io::Result<()> {
        self.delete_unused_code_above(self.config.current().compiled_bytes_max, used)
    }
}

pub(super) fn sha256_of(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}
