//! `jackfield check`: would the host take this file, and what is it? Touches neither the folder nor the
//! compiled code of a server.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::connector::Manifest;
use crate::connector::engine::{Engine, Loaded};
use crate::connector::sandbox::Sandbox;
use crate::domain::{Clock, ConnectorName};

use super::Interfaces;
use super::shelf::Shelf;

/// What is told of a file that the host would take.
#[derive(Debug, Clone)]
pub struct CheckReport {
    /// SHA-256 of the file, hex.
    pub sha256: String,
    /// Size of the file, in bytes.
    pub bytes: u64,
    /// Time to compile, link and describe it, milliseconds.
    pub compile_ms: u64,
    /// Who it says it is.
    pub manifest: Manifest,
    /// What it can do.
    pub interfaces: Interfaces,
    /// Names of what it imports.
    pub imports: Vec<String>,
    /// Names of what it exports.
    pub exports: Vec<String>,
}

/// Compiles, links and describes a file as the server would.
///
/// # Errors
/// Why the server would not take it.
pub(crate) async fn check_file(
    file: &Path,
    config: Arc<Config>,
    engine: Arc<Engine>,
    sandbox: Arc<Sandbox>,
    clock: Arc<dyn Clock>,
) -> Result<CheckReport, String> {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    if file.extension().is_none_or(|extension| extension != "wasm") {
        return Err("a connector's file ends in .wasm".to_owned());
    }
    let name: ConnectorName =
        stem.parse().map_err(|error| format!("{error}; copy the file to another name"))?;
    let limits = config.limits_of(&name);
    let found = tokio::fs::metadata(file).await.map_err(|error| error.to_string())?;
    if found.len() > limits.component_bytes {
        return Err(format!(
            "it has {} bytes: over `limits.component_bytes` = {}",
            found.len(),
            limits.component_bytes
        ));
    }
    let wasm = tokio::fs::read(file).await.map_err(|error| error.to_string())?;
    let desk = tempfile::tempdir().map_err(|error| format!("no folder to compile in: {error}"))?;
    let cache = desk.path().join("compiled");
    let shelf = Shelf::open(config, Arc::clone(&engine), sandbox, clock, cache)?;
    let started = Instant::now();
    let version = shelf.make(wasm, &limits).await?;
    let (imports, exports) = names(&version.loaded, &engine);
    Ok(CheckReport {
        sha256: version.sha256.clone(),
        bytes: found.len(),
        compile_ms: milliseconds(started.elapsed()),
        manifest: version.manifest.clone(),
        interfaces: version.loaded.interfaces(),
        imports,
        exports,
    })
}

fn names(loaded: &Loaded, engine: &Engine) -> (Vec<String>, Vec<String>) {
    let kind = loaded.pre.component().component_type();
    let engine = engine.inner();
    let imports = kind.imports(engine).map(|(name, _)| name.to_owned()).collect();
    let exports = kind.exports(engine).map(|(name, _)| name.to_owned()).collect();
    (imports, exports)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
