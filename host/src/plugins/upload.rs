//! Puts uploaded files of connectors into the plugins folder, and removes files of connectors from
//! it.
//!
//! An uploaded file is first checked like a file in the folder. A file that cannot be used changes
//! nothing.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::domain::{ConnectorName, Limits};
use crate::store::StoreError;

use super::error::PluginError;
use super::file_kind::FileKind;
use super::loader::sha256_of;
use super::mirror::RemoveSharedError;
use super::rollback::NotInUse;
use super::{Plugins, install};

/// Maximum time to wait until a scan has found that a file was removed.
const REMOVAL_MAX: Duration = Duration::from_secs(30);

/// The result of an upload: the uploaded version is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// SHA-256 of the version that was in use before; `None` if there was none.
    pub from: Option<String>,
    /// The path of the file in the plugins folder.
    pub file: PathBuf,
}

/// The reason why an uploaded file is not in use, at this server or at the other servers.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The file cannot be used. Nothing was changed.
    #[error("{0}; nothing was changed")]
    NotUsable(#[from] PluginError),
    /// The plugins folder cannot be written.
    #[error(
        "cannot write {} ({source}): give the server's user the right to write into this folder, or \
         copy the file there yourself", .file.display()
    )]
    NotWritten {
        /// The path of the connector's file.
        file: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// This server uses the file, but could not share it with the other servers.
    #[error(
        "this server uses the new version of `{name}`, but could not share it with the other servers \
         ({source}): the server tries again until it succeeds"
    )]
    NotShared {
        /// The name of the connector.
        name: ConnectorName,
        /// The error of the store.
        source: StoreError,
    },
    /// The file was written, but is not in use.
    #[error("the file of `{name}` is in the plugins folder, but is not in use: {why}")]
    NotInUse {
        /// The name of the connector.
        name: ConnectorName,
        /// The reason why the file is not in use.
        why: NotInUse,
    },
}

/// The reason why a connector was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// Neither the plugins folder nor the store that the servers share has this connector.
    #[error("there is no connector `{0}`, so nothing was removed")]
    Missing(ConnectorName),
    /// The store failed. It is not known whether the other servers still use the connector.
    #[error("cannot remove `{name}` at all servers: {source}")]
    NotShared {
        /// The name of the connector.
        name: ConnectorName,
        /// The error of the store.
        source: StoreError,
    },
    /// The plugins folder cannot be written.
    #[error(
        "cannot remove the file of `{name}` ({source}): give the server's user the right to write \
         into the plugins folder, or remove the file yourself"
    )]
    NotRemoved {
        /// The name of the connector.
        name: ConnectorName,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl Plugins {
    /// Returns the maximum size of an uploaded file for this connector, bytes. The maximum for a
    /// script may be lower.
    #[must_use]
    pub fn upload_bytes_max(&self, name: &ConnectorName) -> u64 {
        self.loader.config.current().limits_of(name).component_bytes
    }

    /// Checks an uploaded file like a file in the plugins folder, writes it into that folder, and
    /// waits until it is in use. Without `kind`, the content decides whether the file is a script.
    ///
    /// # Errors
    /// The file cannot be used, the plugins folder cannot be written, the file does not come into
    /// use, or it cannot be shared with the other servers.
    pub async fn upload(
        &self,
        name: &ConnectorName,
        kind: Option<FileKind>,
        upload: File,
    ) -> Result<Uploaded, UploadError> {
        // Besides ordering the changes, this lock limits the memory: only one uploaded file is in
        // memory at the same time.
        let _one_at_a_time = self.file_change_lock.lock().await;
        let limits = self.loader.config.current().limits_of(name);
        let content = spawn_blocking(move || read_upload(upload)).await.map_err(io::Error::other);
        let content = content.and_then(|result| result).map_err(PluginError::Read)?;
        let kind = kind.unwrap_or_else(|| FileKind::of_content(&content));
        let (before, sha256) = (self.connector_info(name), sha256_of(&content));
        // The version stays loaded until it is in use, because this variable keeps it.
        let _version = self.build(name, kind, content.clone(), &limits).await?;
        let (plugins, owned) = (self.folder.clone(), name.clone());
        let mirror_lock = self.lock_mirror().await;
        let writing =
            spawn_blocking(move || install::write_connector_file(&plugins, &owned, kind, &content));
        let written = writing.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        drop(mirror_lock);
        let file = written.map_err(|source| {
            let file = install::connector_file_path(&self.folder, name, kind);
            UploadError::NotWritten { file, source }
        })?;
        let from = before.as_ref().and_then(|info| info.sha256.clone());
        let error_before = before.and_then(|info| info.error);
        let in_use = self.wait_until_in_use(name, &sha256, error_before.as_deref()).await;
        in_use.map_err(|why| UploadError::NotInUse { name: name.clone(), why })?;
        let shared = self.sync_with_store(name).await;
        shared.map_err(|source| UploadError::NotShared { name: name.clone(), source })?;
        tracing::info!(connector = %name, ?from, to = sha256, "a connector was uploaded");
        Ok(Uploaded { from, file })
    }

    /// Returns the text of a connector's file if the connector is a script, even if the script
    /// cannot be used. A text that is longer than the maximum size of a script is cut.
    pub async fn script_source(&self, name: &ConnectorName) -> Option<String> {
        let file = install::connector_file_path(&self.folder, name, FileKind::Script);
        let limits = self.loader.config.current().limits_of(name);
        let bytes_max = FileKind::Script.bytes_max(&limits);
        let read_text = move || {
            let mut text = Vec::new();
            File::open(file)?.take(bytes_max).read_to_end(&mut text)?;
            Ok::<_, io::Error>(String::from_utf8_lossy(&text).into_owned())
        };
        spawn_blocking(read_text).await.ok()?.ok()
    }

    async fn build(
        &self,
        name: &ConnectorName,
        kind: FileKind,
        content: Vec<u8>,
        limits: &Limits,
    ) -> Result<impl Sized + use<>, PluginError> {
        kind.check_size(content.len() as u64, limits)?;
        let _permit = self.loader.build_permit(kind, limits).await;
        self.loader.build(name, kind, content, limits).await
    }

    /// Removes a connector's file from the plugins folder, and waits until no connection of this
    /// server can use the connector, but not longer than 30 seconds. The kept versions are not
    /// deleted, so a rollback can restore the connector.
    ///
    /// # Errors
    /// The connector does not exist, the plugins folder cannot be written, or the store failed.
    pub async fn remove(&self, name: &ConnectorName) -> Result<(), RemoveError> {
        let _one_at_a_time = self.file_change_lock.lock().await;
        if !self.remove_file(name).await? {
            return Err(RemoveError::Missing(name.clone()));
        }
        let mut changes = self.changes();
        let removed = async {
            while self.connector_info(name).is_some() && changes.changed().await.is_ok() {}
        };
        // A time-out is not an error: the file is removed, even if the folder cannot be scanned
        // now.
        let _ = timeout(REMOVAL_MAX, removed).await;
        tracing::info!(connector = %name, "a connector was removed");
        Ok(())
    }

    /// Removes the file of a connector. If the servers share their connectors, removes the file at
    /// all servers. Returns whether the connector existed.
    async fn remove_file(&self, name: &ConnectorName) -> Result<bool, RemoveError> {
        let name = name.clone();
        let Some(mirror) = &self.mirror else {
            let (plugins, owned) = (self.folder.clone(), name.clone());
            let removing =
                spawn_blocking(move || install::remove_connector_files(&plugins, &owned));
            let removed = removing.await.unwrap_or_else(|error| Err(io::Error::other(error)));
            return removed.map_err(|source| RemoveError::NotRemoved { name, source });
        };
        mirror.remove(&name).await.map_err(|error| match error {
            RemoveSharedError::Store(source) => RemoveError::NotShared { name, source },
            RemoveSharedError::File(source) => {
                RemoveError::NotRemoved { name, source: io::Error::other(source) }
            }
        })
    }
}

fn read_upload(mut upload: File) -> io::Result<Vec<u8>> {
    upload.rewind()?;
    let mut content = Vec::new();
    upload.read_to_end(&mut content)?;
    Ok(content)
}
