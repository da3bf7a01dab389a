//! The files of versions: which ones there are, and where their content is, here or in the store.
//!
//! Never returns a content that does not have its SHA-256.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::task::spawn_blocking;

use crate::domain::ConnectorName;
use crate::plugins::error::PluginError;
use crate::plugins::kind::FileKind;
use crate::plugins::loader::sha256_of;
use crate::plugins::versions::KeptVersion;
use crate::store::SharedVersion;

use super::Mirror;

impl Mirror {
    /// The versions to which a person can go back: those of the store in its order, then those that
    /// only this server keeps.
    pub(in crate::plugins) fn all_versions(
        &self,
        name: &ConnectorName,
        own: Vec<KeptVersion>,
    ) -> Vec<KeptVersion> {
        let all = self.shared.load();
        let shared = all.get(name).map(|it| it.versions.as_slice()).unwrap_or_default();
        let kept = |version: &SharedVersion| KeptVersion {
            sha256: version.sha256.clone(),
            bytes: version.bytes,
            served_at: SystemTime::from(version.at),
            file: self.versions.path(name, &version.sha256, kind_of(version)),
        };
        let is_own = |it: &KeptVersion| !shared.iter().any(|other| other.sha256 == it.sha256);
        shared.iter().map(kept).chain(own.into_iter().filter(is_own)).collect()
    }

    /// Makes sure that this server keeps the file of a version: takes it from the store if
    /// necessary.
    ///
    /// # Errors
    /// The store does not have it, or it cannot be written.
    pub(in crate::plugins) async fn keep_version_file(
        &self,
        name: &ConnectorName,
        version: &KeptVersion,
    ) -> io::Result<()> {
        if version.file.exists() {
            return Ok(());
        }
        let content = self
            .content_from_store(&version.sha256, version.bytes)
            .await
            .map_err(io::Error::other)?;
        let (versions, owned, version) =
            (Arc::clone(&self.versions), name.clone(), version.clone());
        let adding = spawn_blocking(move || versions.add(&owned, &version, &content));
        adding.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// The content of a file in the store.
    ///
    /// # Errors
    /// The store does not have it, or has another content.
    pub(in crate::plugins) async fn content_from_store(
        &self,
        sha256: &str,
        bytes_max: u64,
    ) -> Result<Vec<u8>, PluginError> {
        let read = self.store.connector_file(sha256, bytes_max).await;
        let content = read.map_err(|error| PluginError::Read(io::Error::other(error)))?;
        let content = content.ok_or_else(|| PluginError::NotStored(sha256.to_owned()))?;
        let expected = sha256.to_owned();
        let checking = spawn_blocking(move || (sha256_of(&content) == expected).then_some(content));
        let checked = checking.await.map_err(|error| PluginError::Read(io::Error::other(error)))?;
        checked.ok_or_else(|| PluginError::NotStored(sha256.to_owned()))
    }

    /// The content of a version: from the versions that this server keeps, else from the store.
    pub(super) async fn content_kept_or_stored(
        &self,
        name: &ConnectorName,
        version: &SharedVersion,
    ) -> Result<Vec<u8>, PluginError> {
        let kept = self.versions.path(name, &version.sha256, kind_of(version));
        let sha256 = version.sha256.clone();
        let read = move || {
            let content = std::fs::read(kept).ok()?;
            (sha256_of(&content) == sha256).then_some(content)
        };
        match spawn_blocking(read).await {
            Ok(Some(content)) => Ok(content),
            _ => self.content_from_store(&version.sha256, version.bytes).await,
        }
    }
}

pub(super) fn kind_of(version: &SharedVersion) -> FileKind {
    if version.is_script { FileKind::Script } else { FileKind::Component }
}
