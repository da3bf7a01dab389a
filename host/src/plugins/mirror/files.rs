//! Lists the versions of connectors, and reads their files from this server or from the store.
//!
//! The SHA-256 of each content is checked before the content is returned.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::task::spawn_blocking;

use crate::domain::ConnectorName;
use crate::plugins::error::PluginError;
use crate::plugins::file_kind::FileKind;
use crate::plugins::loader::sha256_of;
use crate::plugins::versions::KeptVersion;
use crate::store::SharedVersion;

use super::Mirror;

impl Mirror {
    /// Returns the versions to which a person can roll back: the versions in the store, in the
    /// order of `SharedConnector::versions`, and then this server's versions that the store does
    /// not have.
    pub(in crate::plugins) fn all_versions(
        &self,
        name: &ConnectorName,
        own_versions: Vec<KeptVersion>,
    ) -> Vec<KeptVersion> {
        let shared_connectors = self.shared.load();
        let shared = shared_connectors
            .get(name)
            .map(|connector| connector.versions.as_slice())
            .unwrap_or_default();
        let kept_version = |version: &SharedVersion| KeptVersion {
            sha256: version.sha256.clone(),
            bytes: version.bytes,
            used_from: SystemTime::from(version.at),
            file: self.versions.path(name, &version.sha256, file_kind(version)),
        };
        let is_not_shared =
            |version: &KeptVersion| !shared.iter().any(|other| other.sha256 == version.sha256);
        shared
            .iter()
            .map(kept_version)
            .chain(own_versions.into_iter().filter(is_not_shared))
            .collect()
    }

    /// Copies the file of a version from the store if this server does not keep the file.
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

    /// Returns the content of a file in the store.
    ///
    /// # Errors
    /// The store failed or does not have the file, or the file has another SHA-256 or more than
    /// `bytes_max` bytes.
    pub(in crate::plugins) async fn content_from_store(
        &self,
        sha256: &str,
        bytes_max: u64,
    ) -> Result<Vec<u8>, PluginError> {
        let stored = self.store.connector_file(sha256, bytes_max).await;
        let content = stored.map_err(|error| PluginError::Read(io::Error::other(error)))?;
        let content = content.ok_or_else(|| PluginError::NotStored(sha256.to_owned()))?;
        let expected = sha256.to_owned();
        let checking = spawn_blocking(move || (sha256_of(&content) == expected).then_some(content));
        let checked = checking.await.map_err(|error| PluginError::Read(io::Error::other(error)))?;
        checked.ok_or_else(|| PluginError::NotStored(sha256.to_owned()))
    }

    /// Returns the content of a version: from the files that this server keeps, or else from the
    /// store.
    pub(super) async fn version_content(
        &self,
        name: &ConnectorName,
        version: &SharedVersion,
    ) -> Result<Vec<u8>, PluginError> {
        let kept_file = self.versions.path(name, &version.sha256, file_kind(version));
        let sha256 = version.sha256.clone();
        let read_kept_file = move || {
            let content = std::fs::read(kept_file).ok()?;
            (sha256_of(&content) == sha256).then_some(content)
        };
        match spawn_blocking(read_kept_file).await {
            Ok(Some(content)) => Ok(content),
            _ => self.content_from_store(&version.sha256, version.bytes).await,
        }
    }
}

pub(super) fn file_kind(version: &SharedVersion) -> FileKind {
    if version.is_script { FileKind::Script } else { FileKind::Component }
}
