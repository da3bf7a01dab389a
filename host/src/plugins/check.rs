//! Loads one connector file as the server would, for `jackfield check` and `jackfield invoke`.
//!
//! Uses neither the plugins folder nor the compiled code of a server.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::config::Config;
use crate::domain::{Clock, ConnectorName, milliseconds};
use crate::manifest::Manifest;
use crate::runtime::{Connector, Engine, Interfaces, Sandbox};
use crate::secret::Sealer;

use super::cache::Cache;
use super::error::PluginError;
use super::kind::FileKind;
use super::loader::VersionLoader;

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
    config: Arc<Config>,
    engine: Arc<Engine>,
    sandbox: Arc<Sandbox>,
    clock: Arc<dyn Clock>,
) -> Result<(Arc<Connector>, CheckReport), PluginError> {
    let kind = FileKind::of(file).ok_or(PluginError::Extension)?;
    let name: ConnectorName = file.file_stem().unwrap_or_default().to_string_lossy().parse()?;
    let limits = config.limits_of(&name);
    let bytes = tokio::fs::metadata(file).await.map_err(PluginError::Read)?.len();
    kind.check_size(bytes, &limits)?;
    let content = tokio::fs::read(file).await.map_err(PluginError::Read)?;
    let folder = tempfile::tempdir().map_err(PluginError::Store)?;
    let cache = Cache::open(folder.path().join("compiled"), Sealer::fresh())?;
    let loader = VersionLoader::open(config, engine, sandbox, clock, cache)?;
    let started = Instant::now();
    let version = loader.build(&name, kind, content, &limits).await?;
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
