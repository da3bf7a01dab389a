//! Loads one connector file in the same way as the server, for commands such as `jackfield check`.
//!
//! This module never uses the plugins folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::config::LiveConfig;
use crate::domain::{Clock, ConnectorName, milliseconds};
use crate::manifest::Manifest;
use crate::runtime::{Connector, Engine, Interfaces, Sandbox};
use crate::secret::Sealer;

use super::cache::Cache;
use super::error::{PluginError, StartError};
use super::file_kind::FileKind;
use super::loader::VersionLoader;

/// Maximum size of the compiled code in the cache folder of a user, bytes.
const USER_CODE_BYTES_MAX: u64 = 1 << 30;

/// The place where compiled code is stored.
#[derive(Debug, Clone)]
pub enum CodeCache {
    /// Compiled code is not stored, so each file is compiled.
    Temporary,
    /// Compiled code is stored in this cache folder of a user. If the folder cannot be used,
    /// compiled code is not stored.
    User(PathBuf),
    /// Compiled code is stored in the folder of a server, which may be running.
    Server {
        /// The folder of compiled code.
        folder: PathBuf,
        /// The file with the key that seals the digests in the folder.
        key: PathBuf,
    },
}

pub(crate) type LoaderParts = (Arc<LiveConfig>, Arc<Engine>, Arc<Sandbox>, Arc<dyn Clock>);

/// The properties of a file that the server can load.
#[derive(Debug, Clone)]
pub struct CheckReport {
    /// SHA-256 of the file, hex.
    pub sha256: String,
    /// Size of the file, in bytes.
    pub bytes: u64,
    /// The time to load the file, milliseconds.
    pub compile_ms: u64,
    /// The manifest that `describe` returned.
    pub manifest: Manifest,
    /// The interfaces of the contract that the connector exports.
    pub interfaces: Interfaces,
    /// The names of everything that the component or script imports.
    pub imports: Vec<String>,
    /// The names of everything that the component or script exports.
    pub exports: Vec<String>,
}

/// Loads a file. If its compiled code is not stored yet, compiles it and calls its `describe`.
///
/// # Errors
/// The server cannot load the file. The error contains the reason.
pub(crate) async fn load_file(
    file: &Path,
    code_cache: &CodeCache,
    (config, engine, sandbox, clock): LoaderParts,
) -> Result<(Arc<Connector>, CheckReport), PluginError> {
    let kind = FileKind::of_path(file).ok_or(PluginError::Extension)?;
    let name: ConnectorName = file.file_stem().unwrap_or_default().to_string_lossy().parse()?;
    let limits = config.current().limits_of(&name);
    let bytes = tokio::fs::metadata(file).await.map_err(PluginError::Read)?.len();
    kind.check_size(bytes, &limits)?;
    let content = tokio::fs::read(file).await.map_err(PluginError::Read)?;
    let folder = tempfile::tempdir().map_err(PluginError::Store)?;
    let cache = match code_cache.open()? {
        Some(cache) => cache,
        None => Cache::open(folder.path().join("compiled"), Sealer::fresh())?,
    };
    let loader = VersionLoader::open(config, engine, sandbox, clock, cache)?;
    let loader = loader.with_attempts_in(folder.path());
    let started = Instant::now();
    let version = loader.build(&name, kind, content, &limits).await?;
    if let CodeCache::User(_) = code_cache {
        let used_versions = BTreeSet::from([version.sha256.clone()]);
        if let Err(error) = loader.delete_unused_code_above(USER_CODE_BYTES_MAX, used_versions) {
            tracing::debug!(%error, "cannot delete unused compiled code");
        }
    }
    let (imports, exports) = version.loaded.imports_and_exports();
    let report = CheckReport {
        sha256: version.sha256.clone(),
        bytes,
        compile_ms: milliseconds(started.elapsed()),
        manifest: version.manifest.clone(),
        interfaces: version.loaded.interfaces(),
        imports,
        exports,
    };
    Ok((loader.connector(&name, version), report))
}

impl CodeCache {
    /// Opens the folder; `None` if compiled code is not stored.
    fn open(&self) -> Result<Option<Cache>, PluginError> {
        match self {
            Self::Temporary => Ok(None),
            Self::User(user) => {
                Ok(Self::open_shared(&user.join("compiled"), &user.join("key")).ok())
            }
            Self::Server { folder, key } => Self::open_shared(folder, key).map(Some),
        }
    }

    fn open_shared(folder: &Path, key: &Path) -> Result<Cache, PluginError> {
        let folder = folder.to_owned();
        Ok(Cache::open_shared(folder, || {
            Sealer::load_or_create(None, key).map_err(StartError::from)
        })?)
    }
}
