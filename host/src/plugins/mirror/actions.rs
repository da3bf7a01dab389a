//! The actions of the mirror: a version that other servers use is written into the folder, a file
//! of the folder is shared, a connector is removed.
//!
//! Never loses a file that only this folder has: a copy of it stays.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::ConnectorName;
use crate::plugins::error::PluginError;
use crate::plugins::install;
use crate::plugins::kind::FileKind;
use crate::store::{SharedConnector, SharedFile, StoreError};

use super::files::kind_of;
use super::local::{self, Compared, LocalFile, has_mark, keep_copies, set_mark};
use super::rules::{Action, Agreed};
use super::{ActionError, Mirror, NameState, blocking};

/// How long a file must be missing before the connector is removed at all servers: some programs
/// delete a file before they write the new one.
const MISSING_MIN: Duration = Duration::from_secs(1);

/// Why a connector was not removed at all servers.
#[derive(Debug, thiserror::Error)]
pub(in crate::plugins) enum RemoveSharedError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    File(#[from] PluginError),
}

impl Mirror {
    /// Makes the folder what the servers decided: writes the version that they use, or removes the
    /// file. Returns whether it did: a file that is not the `compared` one any more stays.
    /// `is_stored`: the store has the file that is lost by this.
    pub(super) async fn apply_decision(
        &self,
        name: &ConnectorName,
        shared: &SharedConnector,
        (compared, is_stored): (Compared, bool),
    ) -> Result<bool, ActionError> {
        let content = match shared.current() {
            None => None,
            Some(version) => {
                let kind = kind_of(version);
                kind.check_size(version.bytes, &self.config.now().limits_of(name))?;
                Some((kind, self.content_kept_or_stored(name, version).await?))
            }
        };
        if !is_stored {
            self.keep_copy(name).await?;
        }
        let (folder, owned) = (self.folder.clone(), name.clone());
        let write = move || {
            if !compared.holds(&folder, &owned)? {
                return Ok(false);
            }
            match content {
                Some((kind, content)) => install::put(&folder, &owned, kind, &content).map(drop)?,
                None => install::remove(&folder, &owned).map(drop)?,
            }
            Ok(true)
        };
        if !blocking(write).await? {
            return Ok(false);
        }
        let sha256 = shared.current().map(|version| version.sha256.as_str());
        let revision = shared.revision;
        tracing::info!(connector = %name, sha256, revision, "the folder follows a decision of the servers");
        Ok(true)
    }

    /// Keeps a copy of a file that would be lost, because the store does not have it.
    async fn keep_copy(&self, name: &ConnectorName) -> Result<(), ActionError> {
        let (folder, owned) = (self.folder.clone(), name.clone());
        for copy in blocking(move || keep_copies(&folder, &owned)).await? {
            tracing::warn!(connector = %name, copy = %copy.display(),
                "the servers of the database use another file; this one was kept as a copy");
        }
        Ok(())
    }

    pub(super) async fn share(
        &self,
        name: &ConnectorName,
        kind: FileKind,
        sha256: String,
        content: Vec<u8>,
    ) -> Result<i64, StoreError> {
        let is_script = kind == FileKind::Script;
        let (known, now) = (name.as_str().to_owned(), self.clock.now());
        let file = SharedFile { name: known, is_script, sha256: sha256.clone(), content };
        let revision = self.store.share_connector(file, now).await?;
        tracing::info!(connector = %name, sha256, revision, "a connector is shared with the other servers");
        Ok(revision)
    }

    /// Removes a connector whose file was deleted, if the folder is still the one that was compared
    /// before: a file system that is not mounted shows an empty folder.
    pub(super) async fn remove_missing(
        &self,
        name: &ConnectorName,
        known: &mut NameState,
    ) -> Result<Action, ActionError> {
        let folder = self.folder.clone();
        if !blocking(move || has_mark(&folder)).await? {
            tracing::warn!(connector = %name, "the plugins folder is another one now, or lost its \
                files; the connectors of the store are written into it");
            known.agreed = None;
            return Ok(Action::Again);
        }
        let since = *known.missing_since.get_or_insert_with(Instant::now);
        if since.elapsed() < MISSING_MIN {
            return Ok(Action::Again);
        }
        let revision = self.store.remove_connector(name.as_str(), self.clock.now()).await?;
        known.agreed = Some(Agreed { revision, sha256: None });
        known.missing_since = None;
        tracing::info!(connector = %name, revision, "a connector was removed at all servers, because its file was deleted");
        Ok(Action::Remove)
    }

    /// Removes a connector at all servers, as a person asked. Returns whether there was one.
    ///
    /// # Errors
    /// The store failed, or the file could not be removed here; it is tried again.
    pub(in crate::plugins) async fn remove(
        &self,
        name: &ConnectorName,
    ) -> Result<bool, RemoveSharedError> {
        let mut state = self.state.lock().await;
        let limits = self.config.now().limits_of(name);
        let is_here = !matches!(local::read(&self.folder, name, &limits).await, LocalFile::Nothing);
        let is_shared = self.shared.load().get(name).is_some_and(|it| !it.removed);
        if !is_here && !is_shared {
            return Ok(false);
        }
        if is_here {
            // A folder that cannot be written refuses now, before the others remove theirs.
            let folder = self.folder.clone();
            blocking(move || set_mark(&folder)).await?;
        }
        let revision = self.store.remove_connector(name.as_str(), self.clock.now()).await?;
        state.revision = None;
        let (folder, owned) = (self.folder.clone(), name.clone());
        blocking(move || install::remove(&folder, &owned)).await?;
        let known = state.names.entry(name.clone()).or_default();
        known.agreed = Some(Agreed { revision, sha256: None });
        known.seen = None;
        Ok(true)
    }
}
