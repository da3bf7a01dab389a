//! Takes a connector's file from a person into the plugins folder, and removes one from it.
//!
//! An uploaded file passes the checks of the folder first; one that cannot be used changes nothing.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::domain::{ConnectorName, Limits};
use crate::store::StoreError;

use super::error::PluginError;
use super::kind::FileKind;
use super::loader::sha256_of;
use super::mirror::RemoveSharedError;
use super::rollback::NotServing;
use super::{Plugins, install};

/// How long a scan may take to see that a file was removed.
const REMOVAL_MAX: Duration = Duration::from_secs(30);

/// A file that was uploaded and serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// SHA-256 of the version that served before; absent if there was none.
    pub from: Option<String>,
    /// The file in the plugins folder.
    pub file: PathBuf,
}

/// The reason why an uploaded file does not serve.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The folder would not load it. Nothing was changed.
    #[error("{0}; nothing was changed")]
    NotUsable(#[from] PluginError),
    /// The plugins folder cannot be written.
    #[error(
        "cannot write {} ({source}): give the server's user the right to write into this folder, or \
         copy the file there yourself", .file.display()
    )]
    NotWritten {
        /// The connector's file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It serves at this server only.
    #[error(
        "`{name}` serves at this server, but the others do not know it yet ({source}): this is repeated \
         until they do"
    )]
    NotShared {
        /// The connector.
        name: ConnectorName,
        /// Why.
        source: StoreError,
    },
    /// The file was written, but does not serve.
    #[error("the file of `{name}` is in the plugins folder, but does not serve: {why}")]
    NotServing {
        /// The connector.
        name: ConnectorName,
        /// Why.
        why: NotServing,
    },
}

/// The reason why a connector was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The plugins folder has no file of this name.
    #[error("the plugins folder has no file of `{0}`")]
    Missing(ConnectorName),
    /// The store failed. It is not known whether the other servers still use it.
    #[error("cannot remove `{name}` at all servers: {source}")]
    NotShared {
        /// The connector.
        name: ConnectorName,
        /// Why.
        source: StoreError,
    },
    /// The plugins folder cannot be written.
    #[error(
        "cannot remove the file of `{name}` ({source}): give the server's user the right to write \
         into the plugins folder, or remove the file yourself"
    )]
    NotRemoved {
        /// The connector.
        name: ConnectorName,
        /// Why.
        source: io::Error,
    },
}

impl Plugins {
    /// The largest file that a connector of this name may have, bytes.
    #[must_use]
    pub fn upload_bytes_max(&self, name: &ConnectorName) -> u64 {
        self.loader.config.now().limits_of(name).component_bytes
    }

    /// Checks an uploaded file as the folder does, puts it into the plugins folder, and waits until
    /// it serves. Without `kind`, its content says whether it is a script.
    ///
    /// # Errors
    /// The file cannot be used, or the plugins folder cannot be written, or the file does
    /// not serve.
    pub async fn upload(
        &self,
        name: &ConnectorName,
        kind: Option<FileKind>,
        upload: File,
    ) -> Result<Uploaded, UploadError> {
        // Also keeps the memory low: one uploaded file is in memory at a time.
        let _one_at_a_time = self.changing_files.lock().await;
        let limits = self.loader.config.now().limits_of(name);
        let content = spawn_blocking(move || content(upload)).await.map_err(io::Error::other);
        let content = content.and_then(|read| read).map_err(PluginError::Read)?;
        let kind = kind.unwrap_or_else(|| FileKind::of_content(&content));
        let (before, sha256) = (self.info(name), sha256_of(&content));
        // Held until the version serves, so that it stays loaded.
        let _version = self.build(name, kind, content.clone(), &limits).await?;
        let (plugins, owned) = (self.folder.clone(), name.clone());
        let held = self.lock_mirror().await;
        let writing = spawn_blocking(move || install::put(&plugins, &owned, kind, &content));
        let written = writing.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        drop(held);
        let file = written.map_err(|source| {
            let file = install::path(&self.folder, name, kind);
            UploadError::NotWritten { file, source }
        })?;
        let from = before.as_ref().and_then(|info| info.sha256.clone());
        let error_before = before.and_then(|info| info.error);
        let served = self.await_serving(name, &sha256, error_before.as_deref()).await;
        served.map_err(|why| UploadError::NotServing { name: name.clone(), why })?;
        let shared = self.synchronize(name).await;
        shared.map_err(|source| UploadError::NotShared { name: name.clone(), source })?;
        tracing::info!(connector = %name, ?from, to = sha256, "a connector was uploaded");
        Ok(Uploaded { from, file })
    }

    /// The text of a connector's file, if that is a script: also of one that cannot be used.
    pub async fn script_source(&self, name: &ConnectorName) -> Option<String> {
        let file = install::path(&self.folder, name, FileKind::Script);
        let limits = self.loader.config.now().limits_of(name);
        let bytes_max = FileKind::Script.bytes_max(&limits);
        let read = move || {
            let mut text = Vec::new();
            File::open(file)?.take(bytes_max).read_to_end(&mut text)?;
            Ok::<_, io::Error>(String::from_utf8_lossy(&text).into_owned())
        };
        spawn_blocking(read).await.ok()?.ok()
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

    /// Removes a connector's file from the plugins folder, and waits until no connection can use
    /// it. The versions that are kept stay: a rollback brings the connector back.
    ///
    /// # Errors
    /// There is no such file, or the plugins folder cannot be written.
    pub async fn remove(&self, name: &ConnectorName) -> Result<(), RemoveError> {
        let _one_at_a_time = self.changing_files.lock().await;
        if !self.remove_file(name).await? {
            return Err(RemoveError::Missing(name.clone()));
        }
        let mut changes = self.changes();
        let gone = async { while self.info(name).is_some() && changes.changed().await.is_ok() {} };
        // The file is removed; a folder that cannot be scanned does not change that.
        let _ = timeout(REMOVAL_MAX, gone).await;
        tracing::info!(connector = %name, "a connector was removed");
        Ok(())
    }

    /// Removes the file, at all servers if they share the connectors. Returns whether there was
    /// one.
    async fn remove_file(&self, name: &ConnectorName) -> Result<bool, RemoveError> {
        let name = name.clone();
        let Some(mirror) = &self.mirror else {
            let (plugins, owned) = (self.folder.clone(), name.clone());
            let removing = spawn_blocking(move || install::remove(&plugins, &owned));
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

fn content(mut upload: File) -> io::Result<Vec<u8>> {
    upload.rewind()?;
    let mut content = Vec::new();
    upload.read_to_end(&mut content)?;
    Ok(content)
}
