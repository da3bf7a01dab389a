//! Loads one connector file as the server would, for `jackfield check` and `jackfield invoke`.
//!
//! Never uses the plugins folder; uses the compiled code of a server only if a person says so.

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
use super::kind::FileKind;
use super::loader::VersionLoader;

/// Compiled code in a user's cache, bytes.
const USER_CODE_BYTES_MAX: u64 = 1 << 30;

/// Where compiled code is kept.
#[derive(Debug, Clone)]
pub enum CodeCache {
    /// Nowhere: each file is compiled.
    Temporary,
    /// In this cache folder of a user; nowhere if it cannot be used.
    User(PathBuf),
    /// In the folder of a server, which may be running.
    Server {
        /// The folder of compiled code.
        folder: PathBuf,
        /// The file with the key of the folder.
        key: PathBuf,
    },
}

/// The parts that load a file.
pub(crate) type Parts = (Arc<LiveConfig>, Arc<Engine>, Arc<Sandbox>, Arc<dyn Clock>);

/// The properties of a file that the server would load.
#[derive(Debug, Clone)]
pub struct CheckReport {
    /// SHA-256 of the file, hex.
    pub sha256: String,
    /// Size of the file, in bytes.
    pub bytes: u64,
    /// Time to compile, link and describe the component, milliseconds.
    pub compile_ms: u64,
    /// The manifest that `describe` returned.
    pub manifest: Manifest,
    /// The connector interfaces that the component exports.
    pub interfaces: Interfaces,
    /// The names of everything that the component imports.
    pub imports: Vec<String>,
    /// The names of everything that the component exports.
    pub exports: Vec<String>,
}

/// Compiles, links and describes a file.
///
/// # Errors
/// The server would not load the file; the error says why.
pub(crate) async fn load_file(
    file: &Path,
    place: &CodeCache,
    (config, engine, sandbox, clock): Parts,
) -> Result<(Arc<Connector>, CheckReport), PluginError> {
    let kind = FileKind::of(file).ok_or(PluginError::Extension)?;
    let name: ConnectorName = file.file_stem().unwrap_or_default().to_string_lossy().parse()?;
    let limits = config.now().limits_of(&name);
    let bytes = tokio::fs::metadata(file).await.map_err(PluginError::Read)?.len();
    kind.check_size(bytes, &limits)?;
    let content = tokio::fs::read(file).await.map_err(PluginError::Read)?;
    let folder = tempfile::tempdir().map_err(PluginError::Store)?;
    let cache = match place.open()? {
        Some(cache) => cache,
        None => Cache::open(folder.path().join("compiled"), Sealer::fresh())?,
    };
    let loader = VersionLoader::open(config, engine, sandbox, clock, cache)?;
    let loader = loader.with_attempts_in(folder.path());
    let started = Instant::now();
    let version = loader.build(&name, kind, content, &limits).await?;
    if let CodeCache::User(_) = place {
        let used = BTreeSet::from([version.sha256.clone()]);
        if let Err(error) = loader.limit_code(USER_CODE_BYTES_MAX, used) {
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
    /// Opens the folder; `None` if code is kept nowhere.
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
        Ok(Cache::open_shared(folder, || Sealer::open(None, key).map_err(StartError::from))?)
    }
}
