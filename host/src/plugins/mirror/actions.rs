//! The actions of the mirror: it writes a version that other servers use into the folder, shares a
//! file of the folder, and removes a connector.
//!
//! If a decision of the servers replaces or removes a file that the store does not have, the mirror
//! keeps a copy of this file.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::ConnectorName;
use crate::plugins::error::PluginError;
use crate::plugins::file_kind::FileKind;
use crate::plugins::install;
use crate::store::{SharedConnector, SharedFile, StoreError};

use super::files::file_kind;
use super::local::{self, ComparedFile, LocalFile, has_mark, keep_copies, set_mark};
use super::rules::{Action, LastAgreement};
use super::{ActionError, ConnectorState, Mirror, run_blocking};

/// Minimum time for which a file must be missing before the connector is removed at all servers.
/// Some programs delete a file before they write the new one.
const MISSING_MIN: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub(in crate::plugins) enum RemoveSharedError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    File(#[from] PluginError),
}

impl Mirror {
    /// Applies a decision of the servers to the folder: writes the version that they use, or
    /// removes the file. If the folder no longer has the file `compared`, neither replaces nor
    /// removes a file, and returns false. `is_stored` is true if the store has the file that is
    /// replaced or removed. Otherwise a copy of this file is kept first.
    pub(super) async fn apply_decision(
        &self,
        name: &ConnectorName,
        shared: &SharedConnector,
        (compared, is_stored): (ComparedFile, bool),
    ) -> Result<bool, ActionError> {
        let content = match shared.current() {
            None => None,
            Some(version) => {
                let kind = file_kind(version);
                kind.check_size(version.bytes, &self.config.current().limits_of(name))?;
                Some((kind, self.version_content(name, version).await?))
            }
        };
        if !is_stored {
            self.keep_copy(name).await?;
        }
        let (folder, owned) = (self.folder.clone(), name.clone());
        let write = move || {
            if !compared.is_unchanged(&folder, &owned)? {
                return Ok(false);
            }
            match content {
                Some((kind, content)) => {
                    install::write_connector_file(&folder, &owned, kind, &content).map(drop)?
                }
                None => install::remove_connector_files(&folder, &owned).map(drop)?,
            }
            Ok(true)
        };
        if !run_blocking(write).await? {
            return Ok(false);
        }
        let sha256 = shared.current().map(|version| version.sha256.as_str());
        let revision = shared.revision;
        tracing::info!(connector = %name, sha256, revision, "the plugins folder was changed to match a \
            decision in the store");
        Ok(true)
    }

    async fn keep_copy(&self, name: &ConnectorName) -> Result<(), ActionError> {
        let (folder, owned) = (self.folder.clone(), name.clone());
        for copy in run_blocking(move || keep_copies(&folder, &owned)).await? {
            tracing::warn!(connector = %name, copy = %copy.display(),
                "the servers of the database use another file; a copy of the file in the plugins \
                folder was kept");
        }
        Ok(())
    }

    /// Stores a file of the folder as the version that all servers use. Returns the revision of
    /// this decision.
    pub(super) async fn share(
        &self,
        name: &ConnectorName,
        kind: FileKind,
        sha256: String,
        content: Vec<u8>,
    ) -> Result<i64, StoreError> {
        let is_script = kind == FileKind::Script;
        let (file_name, now) = (name.as_str().to_owned(), self.clock.now());
        let file = SharedFile { name: file_name, is_script, sha256: sha256.clone(), content };
        let revision = self.store.share_connector(file, now).await?;
        tracing::info!(connector = %name, sha256, revision, "a connector is shared with the other servers");
        Ok(revision)
    }

    /// Removes a connector at all servers after its file has been missing here for [`MISSING_MIN`],
    /// but not if the mark file is missing too: if the file system of the folder is no longer
    /// mounted, the folder is empty.
    pub(super) async fn remove_missing(
        &self,
        name: &ConnectorName,
        connector_state: &mut ConnectorState,
    ) -> Result<Action, ActionError> {
        let folder = self.folder.clone();
        if !run_blocking(move || has_mark(&folder)).await? {
            tracing::warn!(connector = %name, "the plugins folder has no file .shared-connectors any \
                more: the folder was replaced, or its files were deleted; the connectors of the store are \
                written into the folder");
            connector_state.last_agreement = None;
            return Ok(Action::CompareAgain);
        }
        let since = *connector_state.missing_since.get_or_insert_with(Instant::now);
        if since.elapsed() < MISSING_MIN {
            return Ok(Action::CompareAgain);
        }
        let revision = self.store.remove_connector(name.as_str(), self.clock.now()).await?;
        connector_state.last_agreement = Some(LastAgreement { revision, sha256: None });
        connector_state.missing_since = None;
        tracing::info!(connector = %name, revision, "a connector was removed at all servers, because its file was deleted");
        Ok(Action::Remove)
    }

    /// Removes a connector at all servers because a person requested it. Returns false if neither
    /// the folder nor the store had the connector.
    ///
    /// # Errors
    /// The store failed, or the folder cannot be written. If the store has recorded the removal,
    /// the mirror removes the file later.
    pub(in crate::plugins) async fn remove(
        &self,
        name: &ConnectorName,
    ) -> Result<bool, RemoveSharedError> {
        let mut state = self.state.lock().await;
        let limits = self.config.current().limits_of(name);
        let has_file = !matches!(
            local::read_local_file(&self.folder, name, &limits).await,
            LocalFile::Nothing
        );
        let is_shared = self.shared.load().get(name).is_some_and(|shared| !shared.removed);
        if !has_file && !is_shared {
            return Ok(false);
        }
        if has_file {
            // If the folder cannot be written, fail now, before the other servers remove their
            // files.
            let folder = self.folder.clone();
            run_blocking(move || set_mark(&folder)).await?;
        }
        let revision = self.store.remove_connector(name.as_str(), self.clock.now()).await?;
        state.revision = None;
        let (folder, owned) = (self.folder.clone(), name.clone());
        run_blocking(move || install::remove_connector_files(&folder, &owned)).await?;
        let connector_state = state.names.entry(name.clone()).or_default();
        connector_state.last_agreement = Some(LastAgreement { revision, sha256: None });
        connector_state.compared_input = None;
        Ok(true)
    }
}
