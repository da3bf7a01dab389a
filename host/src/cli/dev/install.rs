//! Installs a connector's file in the plugins folder atomically, and waits until the server has
//! loaded or refused the file. The file with the connector's name is never incomplete.

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

/// Maximum time until the server has loaded a version. This is enough for a compilation with the
/// default `compile_ms`, and for the other steps.
const LOAD_TIMEOUT: Duration = Duration::from_secs(300);
const POLL_PERIOD: Duration = Duration::from_millis(30);
/// The permissions of an installed file. All users may read it, because the server may run as
/// another user.
const FILE_MODE: u32 = 0o644;

/// The plugins folder of a server, and the name of the connector that is installed in it.
pub(super) struct PluginsFolder {
    folder: PathBuf,
    name: ConnectorName,
}

/// How the installation of a version ended.
pub(super) enum InstallResult {
    /// The server has loaded the version. Connections may still need a person's consent to it.
    Loaded(Box<Connector>),
    /// The server refused the version, for this reason.
    Refused(String),
    /// The command was stopped before the server had decided.
    Stopped,
}

impl PluginsFolder {
    /// Returns an error if the folder does not exist.
    pub(super) fn open(folder: PathBuf, name: ConnectorName) -> anyhow::Result<Self> {
        if !folder.is_dir() {
            bail!(
                "there is no plugins folder {}: name the folder of the server with --plugins",
                super::display_path(&folder)
            );
        }
        Ok(Self { folder, name })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn name(&self) -> &ConnectorName {
        &self.name
    }

    /// Copies the file into the folder atomically: a reader sees the complete old file or the
    /// complete new one. Returns the SHA-256 of the new content.
    pub(super) fn install(&self, file: &Path) -> anyhow::Result<String> {
        let content =
            fs::read(file).with_context(|| format!("cannot read {}", super::display_path(file)))?;
        let extension = file.extension().unwrap_or_default().to_string_lossy();
        let installed = self.folder.join(format!("{}.{extension}", self.name));
        self.write_atomically(&installed, &content)
            .with_context(|| format!("cannot write {}", super::display_path(&installed)))?;
        Ok(HEXLOWER.encode(&Sha256::digest(&content)))
    }

    fn write_atomically(&self, file: &Path, content: &[u8]) -> std::io::Result<()> {
        let mut builder = tempfile::Builder::new();
        let mut temporary = builder.prefix(".dev-").suffix(".part").tempfile_in(&self.folder)?;
        temporary.write_all(content)?;
        temporary.as_file().set_permissions(Permissions::from_mode(FILE_MODE))?;
        temporary.persist(file).map(|_| ()).map_err(|error| error.error)
    }
}

/// Returns the error that the server now reports for the connector.
pub(super) fn current_error(admin: &Client, name: &ConnectorName) -> Option<String> {
    admin.get_by_name::<Connector>("connector", name.as_str()).ok()?.decode().ok()?.error
}

/// Waits until the server has loaded or refused the version, at most [`LOAD_TIMEOUT`].
/// `error_before` is the connector's error before the installation. The server reports no SHA-256
/// of a file that it cannot read. Then only a different error shows that the server refused the new
/// file.
pub(super) fn wait_for_version(
    admin: &Client,
    name: &ConnectorName,
    sha256: &str,
    error_before: Option<&str>,
    stop: &CancellationToken,
) -> anyhow::Result<InstallResult> {
    let deadline = Instant::now() + LOAD_TIMEOUT;
    while !stop.is_cancelled() {
        let connector = admin.get_by_name::<Connector>("connector", name.as_str());
        match connector.and_then(|answer| answer.decode()) {
            Ok(connector) => {
                let is_new_error =
                    connector.error.is_some() && connector.error.as_deref() != error_before;
                let is_refused = match connector.broken_sha256.as_deref() {
                    Some(broken) => broken == sha256,
                    None => is_new_error,
                };
                if is_refused {
                    return Ok(InstallResult::Refused(connector.error.unwrap_or_default()));
                }
                if connector.sha256.as_deref() == Some(sha256) && connector.error.is_none() {
                    return Ok(InstallResult::Loaded(Box::new(connector)));
                }
            }
            // The server has not found the connector yet, or is restarting: try again.
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => {}
        }
        if Instant::now() > deadline {
            bail!(
                "the server did not load the new version within {} s: check that it reads this \
                 plugins folder, and read its log",
                LOAD_TIMEOUT.as_secs()
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
    fn install_replaces_the_file_and_leaves_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("built.wasm");
        fs::write(&source, b"new").unwrap();
        let plugins = folder.path().join("plugins");
        let name: ConnectorName = "qa".parse().unwrap();
        let missing = PluginsFolder::open(plugins.clone(), name.clone()).err().unwrap().to_string();
        assert!(missing.contains("--plugins"), "{missing}");
        fs::create_dir(&plugins).unwrap();
        fs::write(plugins.join("qa.wasm"), b"old").unwrap();
        let plugins_folder = PluginsFolder::open(plugins.clone(), name).unwrap();
        let sha256 = plugins_folder.install(&source).unwrap();
        assert_eq!(sha256, HEXLOWER.encode(&Sha256::digest(b"new")));
        let names: Vec<_> =
            fs::read_dir(&plugins).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(names, ["qa.wasm"]);
        assert_eq!(fs::read(plugins.join("qa.wasm")).unwrap(), b"new");
        let mode = fs::metadata(plugins.join("qa.wasm")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, FILE_MODE);
    }
}
