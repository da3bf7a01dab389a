//! Finds a version of a connector by its hash, for a replay: the newest, or one that is kept.
//!
//! Never changes which version serves.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use crate::domain::ConnectorName;
use crate::runtime::Connector;

use super::error::PluginError;
use super::kind::FileKind;
use super::loader::sha256_of;
use super::versions::{NoVersion, choose};
use super::{ConnectorUnavailable, Plugins};

/// The word for the newest version that can be used.
const NEWEST: &str = "newest";

/// The reason why no version of a connector was found.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// No version can be used.
    #[error(transparent)]
    Unavailable(#[from] ConnectorUnavailable),
    /// No version fits.
    #[error("cannot use a version of `{name}`: {source}")]
    NoVersion {
        /// The connector.
        name: ConnectorName,
        /// Why.
        source: NoVersion,
    },
    /// The kept file cannot be loaded any more.
    #[error("cannot use the kept version {sha256}: {source}")]
    NotUsable {
        /// SHA-256 of the file.
        sha256: String,
        /// Why.
        source: PluginError,
    },
}

impl Plugins {
    /// The version whose SHA-256 begins with `wanted`, or the `newest`. A kept file is compiled
    /// again if its code is not there any more.
    ///
    /// # Errors
    /// No version fits, or its file cannot be used.
    pub async fn version(
        &self,
        name: &ConnectorName,
        wanted: &str,
    ) -> Result<Arc<Connector>, VersionError> {
        let newest = self.newest(name);
        if wanted == NEWEST {
            return Ok(newest?);
        }
        let is_wanted = |it: &Arc<Connector>| !wanted.is_empty() && it.sha256().starts_with(wanted);
        if let Some(newest) = newest.ok().filter(is_wanted) {
            return Ok(newest);
        }
        let versions = self.versions(name);
        let chosen = choose(&versions, None, Some(wanted))
            .map_err(|source| VersionError::NoVersion { name: name.clone(), source })?;
        let sha256 = chosen.sha256.clone();
        if let Some(connector) = self.loader.superseded(name, &sha256) {
            return Ok(connector);
        }
        let not_usable = |source| VersionError::NotUsable { sha256: sha256.clone(), source };
        let fetched = self.fetch(name, chosen).await;
        fetched.map_err(|error| not_usable(PluginError::Read(error)))?;
        let kind = FileKind::of(&chosen.file).unwrap_or(FileKind::Component);
        let file = chosen.file.clone();
        let reading = spawn_blocking(move || std::fs::read(file)).await;
        let content = reading.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let content = content.map_err(|error| not_usable(PluginError::Read(error)))?;
        if sha256_of(&content) != sha256 {
            return Err(not_usable(PluginError::SourceChanged(chosen.file.clone())));
        }
        let limits = self.loader.config.now().limits_of(name);
        let _permit = self.loader.build_permit(kind, &limits).await;
        let built = self.loader.build(name, kind, content, &limits).await;
        Ok(self.loader.connector(name, built.map_err(not_usable)?))
    }
}
