//! Finds a version of a connector by its hash, for a replay: the newest version or a kept version.
//!
//! This file never changes which version is in use.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use crate::domain::ConnectorName;
use crate::runtime::Connector;

use super::error::PluginError;
use super::file_kind::FileKind;
use super::loader::sha256_of;
use super::versions::{NoVersion, choose_version};
use super::{ConnectorUnavailable, Plugins};

/// The argument that selects the newest version that can be used.
const NEWEST: &str = "newest";

/// The reason why no version of a connector can be returned.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// The newest version was requested, but no version of the connector is loaded.
    #[error(transparent)]
    Unavailable(#[from] ConnectorUnavailable),
    /// No kept version, or more than one, has a hash that begins with the given text.
    #[error("cannot use a version of `{name}`: {source}")]
    NoVersion {
        /// The name of the connector.
        name: ConnectorName,
        /// The reason why no kept version can be chosen.
        source: NoVersion,
    },
    /// The kept file cannot be loaded any more.
    #[error("cannot use the kept version {sha256}: {source}")]
    NotUsable {
        /// SHA-256 of the file.
        sha256: String,
        /// The reason why the kept file cannot be loaded.
        source: PluginError,
    },
}

impl Plugins {
    /// Returns the version whose SHA-256 begins with `wanted`, or the newest version if `wanted` is
    /// `newest`. A kept file is compiled again if its compiled code was deleted.
    ///
    /// # Errors
    /// There is no such version, or its file cannot be used.
    pub async fn version(
        &self,
        name: &ConnectorName,
        wanted: &str,
    ) -> Result<Arc<Connector>, VersionError> {
        let newest = self.newest(name);
        if wanted == NEWEST {
            return Ok(newest?);
        }
        let is_wanted = |connector: &Arc<Connector>| {
            !wanted.is_empty() && connector.sha256().starts_with(wanted)
        };
        if let Some(newest) = newest.ok().filter(is_wanted) {
            return Ok(newest);
        }
        let versions = self.versions(name);
        let chosen = choose_version(&versions, None, Some(wanted))
            .map_err(|source| VersionError::NoVersion { name: name.clone(), source })?;
        let sha256 = chosen.sha256.clone();
        if let Some(connector) = self.loader.superseded_version(name, &sha256) {
            return Ok(connector);
        }
        let not_usable = |source| VersionError::NotUsable { sha256: sha256.clone(), source };
        let fetched = self.fetch_version_file(name, chosen).await;
        fetched.map_err(|error| not_usable(PluginError::Read(error)))?;
        let kind = FileKind::of_path(&chosen.file).unwrap_or(FileKind::Component);
        let file = chosen.file.clone();
        let reading = spawn_blocking(move || std::fs::read(file)).await;
        let content = reading.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let content = content.map_err(|error| not_usable(PluginError::Read(error)))?;
        if sha256_of(&content) != sha256 {
            return Err(not_usable(PluginError::SourceChanged(chosen.file.clone())));
        }
        let limits = self.loader.config.current().limits_of(name);
        let _permit = self.loader.build_permit(kind, &limits).await;
        let built = self.loader.build(name, kind, content, &limits).await;
        Ok(self.loader.connector(name, built.map_err(not_usable)?))
    }
}
