//! Puts a connector's file into the plugins folder in one step, and waits until the server uses it
//! or refuses it.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::api::Connector;
use crate::cli::client::Client;
use crate::domain::ConnectorName;

/// How long the server may take: as long as its longest compilation, and the rest of the loading.
const LOAD_MAX: Duration = Duration::from_secs(300);
const POLL_PERIOD: Duration = Duration::from_millis(30);
/// The permissions of an installed file: the server may run as another user.
const MODE: u32 = 0o644;

/// The plugins folder of a server, for one connector.
pub(super) struct Plugins {
    folder: PathBuf,
    name: ConnectorName,
}

/// What the server made of a version.
pub(super) enum InstallResult {
    /// It is in use.
    Serves(Box<Connector>),
    /// The server does not load it, for this reason.
    Refused(String),
    /// The command ended before.
    Stopped,
}

impl Plugins {
    /// Checks that the folder exists.
    pub(super) fn open(folder: PathBuf, name: ConnectorName) -> anyhow::Result<Self> {
        if !folder.is_dir() {
            bail!("there is no plugins folder {}: give it with --plugins", super::shown(&folder));
        }
        Ok(Self { folder, name })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn name(&self) -> &ConnectorName {
        &self.name
    }

    /// Copies the file into the folder; a reader sees the old file or the whole new one. Returns
    /// the SHA-256 of its content.
    pub(super) fn install(&self, file: &Path) -> anyhow::Result<String> {
        let content =
            fs::read(file).with_context(|| format!("cannot read {}", super::shown(file)))?;
        let extension = file.extension().unwrap_or_default().to_string_lossy();
        let installed = self.folder.join(format!("{}.{extension}", self.name));
        self.replace(&installed, &content)
            .with_context(|| format!("cannot write {}", super::shown(&installed)))?;
        Ok(HEXLOWER.encode(&Sha256::digest(&content)))
    }

    fn replace(&self, file: &Path, content: &[u8]) -> std::io::Result<()> {
        let mut temporary = tempfile::Builder::new();
        let mut new = temporary.prefix(".dev-").suffix(".part").tempfile_in(&self.folder)?;
        new.write_all(content)?;
        new.as_file().set_permissions(Permissions::from_mode(MODE))?;
        new.persist(file).map(|_| ()).map_err(|error| error.error)
    }
}

/// The error of the connector's file that is installed now, if any.
pub(super) fn error_now(admin: &Client, name: &ConnectorName) -> Option<String> {
    admin.get_by_name::<Connector>("connector", name.as_str()).ok()?.decode().ok()?.error
}

/// Waits until the version is in use or refused. `before` is the error before it was installed: a
/// file that the server cannot read has no SHA-256, only another error.
pub(super) fn await_version(
    admin: &Client,
    name: &ConnectorName,
    sha256: &str,
    before: Option<&str>,
    stop: &CancellationToken,
) -> anyhow::Result<InstallResult> {
    let deadline = Instant::now() + LOAD_MAX;
    while !stop.is_cancelled() {
        let connector = admin.get_by_name::<Connector>("connector", name.as_str());
        match connector.and_then(|answer| answer.decode()) {
            Ok(connector) => {
                let is_new_error =
                    connector.error.is_some() && connector.error.as_deref() != before;
                let is_refused = match connector.broken_sha256.as_deref() {
                    Some(broken) => broken == sha256,
                    None => is_new_error,
                };
                if is_refused {
                    return Ok(InstallResult::Refused(connector.error.unwrap_or_default()));
                }
                if connector.sha256.as_deref() == Some(sha256) && connector.error.is_none() {
                    return Ok(InstallResult::Serves(Box::new(connector)));
                }
            }
            // The server does not know the connector yet, or restarts.
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => {}
        }
        if Instant::now() > deadline {
            bail!(
                "the server has not loaded the new version within {} s: does it read this plugins \
                 folder? Its log says more",
                LOAD_MAX.as_secs()
            );
        }
        std::thread::sleep(POLL_PERIOD);
    }
    Ok(InstallResult::Stopped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installed_file_is_complete_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("built.wasm");
        fs::write(&source, b"new").unwrap();
        let plugins = folder.path().join("plugins");
        let name: ConnectorName = "qa".parse().unwrap();
        let missing = Plugins::open(plugins.clone(), name.clone()).err().unwrap().to_string();
        assert!(missing.contains("--plugins"), "{missing}");
        fs::create_dir(&plugins).unwrap();
        fs::write(plugins.join("qa.wasm"), b"old").unwrap();
        let it = Plugins::open(plugins.clone(), name).unwrap();
        let sha256 = it.install(&source).unwrap();
        assert_eq!(sha256, HEXLOWER.encode(&Sha256::digest(b"new")));
        let names: Vec<_> =
            fs::read_dir(&plugins).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(names, ["qa.wasm"]);
        assert_eq!(fs::read(plugins.join("qa.wasm")).unwrap(), b"new");
        let mode = fs::metadata(plugins.join("qa.wasm")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
    }
}
