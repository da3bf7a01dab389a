//! Keeps the plugins folder equal to the connectors that the servers of one database share. The
//! mirror applies the decisions of other servers to the folder: another version of a connector, or
//! its removal. The mirror also shares changes of the folder with the other servers. A file is
//! shared only after this server has loaded it.

mod actions;
mod files;
mod local;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::config::LiveConfig;
use crate::domain::{Backoff, Clock, ConnectorName};
use crate::store::{Change, Changes, ConnectorStore, SharedConnector, StoreError};

use super::catalog::Catalog;
use super::error::PluginError;
use super::versions::KeptVersions;

use local::{FolderId, LocalFile, ScannerState, folder_id, set_mark};
use rules::{Action, LastAgreement, choose_action};

pub(super) use actions::RemoveSharedError;
pub(super) use local::has_other_file;

/// The time after which folder and store are compared again if no change is reported.
const POLL_PERIOD: Duration = Duration::from_secs(2);
/// The time after which folder and store are compared again while a connector needs another
/// comparison. A connector with a `failed_comparison` does not count.
const POLL_PERIOD_UNDECIDED: Duration = Duration::from_millis(500);
/// The pause before a connector is compared again, after its file could not be read, written or
/// fetched, or was not loaded yet.
const FILE_RETRY: Duration = Duration::from_secs(30);
/// The pause before a connector is compared again after the store failed. The pause doubles at each
/// further failure, up to [`STORE_RETRY_MAX`].
const STORE_RETRY: Duration = Duration::from_secs(1);
const STORE_RETRY_MAX: Duration = Duration::from_secs(60);
/// Maximum number of comparisons of all connectors in a row, if each one changes the store.
const COMPARISONS_MAX: u32 = 3;

pub(super) struct Mirror {
    store: Arc<dyn ConnectorStore>,
    catalog: Arc<Catalog>,
    versions: Arc<KeptVersions>,
    config: Arc<LiveConfig>,
    clock: Arc<dyn Clock>,
    folder: PathBuf,
    /// The connectors that the store had when it was last read.
    shared: ArcSwap<BTreeMap<ConnectorName, SharedConnector>>,
    /// Locked while folder and store are compared, and while a person's request changes a file.
    state: Mutex<MirrorState>,
}

/// While this lock exists, the mirror neither reads nor writes the folder.
pub(super) struct MirrorLock<'m> {
    _state: MutexGuard<'m, MirrorState>,
}

/// The results of earlier comparisons of folder and store.
#[derive(Default)]
struct MirrorState {
    /// The revision of the store when the store was last read; `None` if the store must be read
    /// again.
    revision: Option<i64>,
    /// The number of the scanner's snapshot when the folder was last compared.
    snapshot: Option<u64>,
    /// The identity of the folder that is compared.
    folder: Option<FolderId>,
    is_scanned: bool,
    /// Whether the files that the folder had at the start, or when it was replaced, were compared.
    /// A file that appears later counts as a change by a person.
    are_initial_files_compared: bool,
    /// The state of each connector that the folder or the store has.
    names: BTreeMap<ConnectorName, ConnectorState>,
}

/// The results of earlier comparisons of one connector.
#[derive(Default)]
struct ConnectorState {
    /// The state in which folder and store agreed last; `None` if it is not known.
    last_agreement: Option<LastAgreement>,
    /// The input of the last comparison; `None` if the connector must be compared again.
    compared_input: Option<ComparisonInput>,
    /// The instant since which the file is missing although the connector was not removed.
    missing_since: Option<Instant>,
    /// The input of the comparison whose action failed, and the instant of the failure.
    failed_comparison: Option<(ComparisonInput, Instant)>,
    /// The input and the instant of the comparison in which the scanner had not loaded the file.
    pending_comparison: Option<(ComparisonInput, Instant)>,
    /// The pause after failures of the store for this connector.
    store_failures: Option<Backoff>,
}

/// The input of a comparison. A change of the folder changes the input only after the scanner has
/// found the change.
#[derive(PartialEq, Eq)]
struct ComparisonInput {
    /// The revision of the connector in the store; `None` if the store has never had the connector.
    revision: Option<i64>,
    /// What the scanner reports about the connector; `None` if the scanner has found no file.
    scanned: Option<ScannerState>,
}

/// The reason why an action was not completed.
enum ActionError {
    Store(StoreError),
    /// The file of one connector is too large, or could not be read, written or fetched.
    File(PluginError),
}

impl From<StoreError> for ActionError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<PluginError> for ActionError {
    fn from(error: PluginError) -> Self {
        Self::File(error)
    }
}

pub(super) type MirrorParts =
    (Arc<dyn ConnectorStore>, Arc<Catalog>, Arc<KeptVersions>, Arc<LiveConfig>, Arc<dyn Clock>);

impl Mirror {
    pub(super) fn new(
        (store, catalog, versions, config, clock): MirrorParts,
        folder: PathBuf,
    ) -> Self {
        let (shared, state) = (ArcSwap::default(), Mutex::default());
        Self { store, catalog, versions, config, clock, folder, shared, state }
    }

    /// Writes the mark file (`local.rs`) and the connectors that the servers share into the folder.
    /// Call this function before the folder is scanned.
    pub(super) async fn prepare_folder(&self) {
        self.mark_folder().await;
        self.state.lock().await.folder = self.folder_id().await;
        if let Err(error) = self.sync().await {
            tracing::warn!(%error, "cannot read the connectors of the store");
        }
    }

    async fn mark_folder(&self) {
        let folder = self.folder.clone();
        if let Err(error) = run_blocking(move || set_mark(&folder)).await {
            let reason = error.to_string();
            tracing::warn!(folder = %self.folder.display(), reason, "cannot write into the plugins \
                folder, so it does not get the connectors that the other servers share. Give the \
                server's user the right to write into it, or set `plugins_source = \"folder\"`");
        }
    }

    /// Compares folder and store each time the folder or the store may have changed. Never returns.
    pub(super) async fn run(self: Arc<Self>) {
        let (mut snapshots, mut changes) = (self.catalog.changes(), self.store.connector_changes());
        let mut has_failed = false;
        self.state.lock().await.is_scanned = true;
        loop {
            let pause = self.time_until_next_poll().await;
            tokio::select! {
                Ok(()) = snapshots.changed() => {}
                () = connectors_changed(&mut changes) => {}
                () = sleep(pause) => {}
            }
            match self.sync().await {
                Ok(()) => has_failed = false,
                Err(error) if has_failed => {
                    tracing::debug!(%error, "cannot compare the plugins folder with the store")
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot compare the plugins folder with the store; the \
                        loaded connectors stay in use, and the server tries again");
                    has_failed = true;
                }
            }
        }
    }

    async fn time_until_next_poll(&self) -> Duration {
        let is_undecided = |connector_state: &ConnectorState| {
            connector_state.compared_input.is_none() && connector_state.failed_comparison.is_none()
        };
        let has_undecided = self.state.lock().await.names.values().any(is_undecided);
        if has_undecided { POLL_PERIOD_UNDECIDED } else { POLL_PERIOD }
    }

    /// Compares folder and store like [`Self::sync`], for a person who waits. The connector `name`
    /// is compared even if the scanner reports no change, because its file may have changed twice
    /// between two scans.
    pub(super) async fn sync_now(&self, name: &ConnectorName) -> Result<(), StoreError> {
        let mut state = self.state.lock().await;
        if let Some(connector_state) = state.names.get_mut(name) {
            (connector_state.compared_input, connector_state.failed_comparison) = (None, None);
            (connector_state.pending_comparison, connector_state.store_failures) = (None, None);
        }
        self.compare_until_store_unchanged(&mut state).await
    }

    /// Compares folder and store, and executes the actions that the rules choose.
    ///
    /// # Errors
    /// The store failed. If a file cannot be read or written, the failure is only logged, and the
    /// file is compared again later.
    pub(super) async fn sync(&self) -> Result<(), StoreError> {
        let mut state = self.state.lock().await;
        self.compare_until_store_unchanged(&mut state).await
    }

    pub(super) async fn lock(&self) -> MirrorLock<'_> {
        MirrorLock { _state: self.state.lock().await }
    }

    /// Returns the SHA-256 of the version that the servers use.
    pub(super) fn current(&self, name: &ConnectorName) -> Option<String> {
        Some(self.shared.load().get(name)?.current()?.sha256.clone())
    }

    async fn compare_until_store_unchanged(
        &self,
        state: &mut MirrorState,
    ) -> Result<(), StoreError> {
        for _ in 0..COMPARISONS_MAX {
            if !self.compare_all(state).await? {
                break;
            }
        }
        Ok(())
    }

    /// Compares the connectors that may differ. Returns whether the store was changed.
    async fn compare_all(&self, state: &mut MirrorState) -> Result<bool, StoreError> {
        let revision = self.store.connectors_revision().await?;
        if state.revision != Some(revision) {
            self.read_store().await?;
        }
        self.check_folder_identity(state).await;
        let (snapshot, scanned) = self.catalog.numbered_snapshot();
        let are_all_compared = state.names.values().all(|name| name.compared_input.is_some());
        if are_all_compared && state.revision == Some(revision) && state.snapshot == Some(snapshot)
        {
            state.are_initial_files_compared |= state.is_scanned;
            return Ok(false);
        }
        let shared = self.shared.load_full();
        let scanned_names = scanned.keys().filter_map(|name| name.parse().ok());
        let names: BTreeSet<ConnectorName> = shared
            .keys()
            .cloned()
            .chain(scanned_names)
            .chain(state.names.keys().cloned())
            .collect();
        let (mut changed, mut failure) = (false, None);
        let (folder, are_initial_files_compared) = (state.folder, state.are_initial_files_compared);
        for name in names {
            let new = || ConnectorState {
                last_agreement: are_initial_files_compared.then(LastAgreement::without_connector),
                ..ConnectorState::default()
            };
            let connector_state = state.names.entry(name.clone()).or_insert_with(new);
            let input = ComparisonInput {
                revision: shared.get(&name).map(|connector| connector.revision),
                scanned: scanned.get(name.as_str()).map(ScannerState::of),
            };
            if connector_state.compared_input.as_ref() == Some(&input)
                || connector_state.has_to_wait(&input)
            {
                continue;
            }
            connector_state.compared_input = None;
            let store_and_scanner = (shared.get(&name), input.scanned.as_ref());
            let result = self.compare(&name, connector_state, store_and_scanner, folder).await;
            match connector_state.record_result(&name, input, result) {
                Ok(has_changed_store) => changed |= has_changed_store,
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        state.revision = (!changed).then_some(revision);
        state.snapshot = Some(snapshot);
        state.are_initial_files_compared |= state.is_scanned;
        let is_needed = |connector_state: &ConnectorState| {
            connector_state.last_agreement.as_ref().is_some_and(|agreed| agreed.revision > 0)
                || !connector_state.compared_input.as_ref().is_some_and(ComparisonInput::is_empty)
        };
        state.names.retain(|_, connector_state| is_needed(connector_state));
        Ok(changed)
    }

    async fn read_store(&self) -> Result<(), StoreError> {
        let stored = self.store.shared_connectors().await?;
        // Connectors whose name is not valid in this version of Jackfield are ignored.
        let valid = stored
            .into_iter()
            .filter_map(|connector| Some((connector.name.parse().ok()?, connector)));
        self.shared.store(Arc::new(valid.collect()));
        Ok(())
    }

    async fn folder_id(&self) -> Option<FolderId> {
        let folder = self.folder.clone();
        run_blocking(move || folder_id(&folder)).await.ok()
    }

    /// Drops the state of all connectors if the path of the plugins folder leads to another folder
    /// now.
    async fn check_folder_identity(&self, state: &mut MirrorState) {
        let Some(found) = self.folder_id().await else { return };
        if state.folder.is_some_and(|before| before != found) {
            tracing::warn!(
                "the plugins folder was replaced by another folder; the connectors of the store are \
                 written into it"
            );
            state.names.clear();
            state.snapshot = None;
            state.are_initial_files_compared = false;
            self.mark_folder().await;
        }
        state.folder = Some(found);
    }

    /// Compares one connector, and executes the action that the rules choose. `expected` is the
    /// identity that the folder had when this round of comparisons began.
    async fn compare(
        &self,
        name: &ConnectorName,
        connector_state: &mut ConnectorState,
        (shared, scanned): (Option<&SharedConnector>, Option<&ScannerState>),
        expected: Option<FolderId>,
    ) -> Result<Action, ActionError> {
        let limits = self.config.current().limits_of(name);
        let file = local::read_local_file(&self.folder, name, &limits).await;
        let action = choose_action(
            connector_state.last_agreement.as_ref(),
            &file.to_folder_file(scanned),
            shared,
        );
        if action != Action::Remove {
            connector_state.missing_since = None;
        }
        // An action for all servers is executed only if the folder is still the one that was
        // compared. A connector is removed only if the scanner does not find its file either.
        let is_found_by_scanner = action == Action::Remove && scanned.is_some();
        if matches!(action, Action::Remove | Action::Share)
            && (is_found_by_scanner || self.folder_id().await != expected)
        {
            return Ok(Action::CompareAgain);
        }
        let agreed = |shared: &SharedConnector| LastAgreement {
            revision: shared.revision,
            sha256: shared.current().map(|version| version.sha256.clone()),
        };
        match (action, shared, file) {
            (Action::Agree, Some(shared), _) => {
                connector_state.last_agreement = Some(agreed(shared))
            }
            (Action::Install | Action::Uninstall, Some(shared), file) => {
                let is_stored = file.is_stored(shared);
                // The content is dropped here, so that only one file is in memory at the same time.
                let compared = (file.without_content(), is_stored);
                if !self.apply_decision(name, shared, compared).await? {
                    return Ok(Action::CompareAgain);
                }
                connector_state.last_agreement = Some(agreed(shared));
            }
            (Action::Share, _, LocalFile::One { kind, sha256, content }) => {
                let revision = self.share(name, kind, sha256.clone(), content).await?;
                connector_state.last_agreement =
                    Some(LastAgreement { revision, sha256: Some(sha256) });
            }
            (Action::Remove, ..) => return self.remove_missing(name, connector_state).await,
            _ => {}
        }
        Ok(action)
    }
}

impl ConnectorState {
    /// Records the result of a comparison. Returns whether the comparison has changed the store.
    fn record_result(
        &mut self,
        name: &ConnectorName,
        input: ComparisonInput,
        result: Result<Action, ActionError>,
    ) -> Result<bool, StoreError> {
        let action = match result {
            Ok(action) => action,
            Err(ActionError::Store(error)) => {
                let first_failure = Backoff::new(STORE_RETRY, STORE_RETRY_MAX);
                self.store_failures.get_or_insert(first_failure).fail(Instant::now().into_std());
                return Err(error);
            }
            Err(ActionError::File(error)) => {
                self.log_failure(name, &error, &input);
                self.failed_comparison = Some((input, Instant::now()));
                return Ok(false);
            }
        };
        (self.failed_comparison, self.pending_comparison, self.store_failures) = (None, None, None);
        match action {
            Action::Wait => self.pending_comparison = Some((input, Instant::now())),
            Action::CompareAgain => {}
            _ => self.compared_input = Some(input),
        }
        Ok(matches!(action, Action::Share | Action::Remove))
    }

    fn log_failure(&self, name: &ConnectorName, error: &PluginError, input: &ComparisonInput) {
        if self.failed_comparison.as_ref().is_none_or(|(failed_input, _)| failed_input != input) {
            let reason = error.to_string();
            tracing::warn!(connector = %name, reason, "the plugins folder differs from the store");
        }
    }

    /// A change of the input ends the wait for a file, but not the pause after a failure of the
    /// store.
    fn has_to_wait(&self, input: &ComparisonInput) -> bool {
        let mut waiting = [&self.failed_comparison, &self.pending_comparison].into_iter().flatten();
        self.store_failures.is_some_and(|backoff| backoff.is_pausing(Instant::now().into_std()))
            || waiting.any(|(before, at)| before == input && at.elapsed() < FILE_RETRY)
    }
}

impl ComparisonInput {
    fn is_empty(&self) -> bool {
        self.revision.is_none() && self.scanned.is_none()
    }
}

/// Waits until another server has changed the connectors in the store, or may have changed them.
async fn connectors_changed(changes: &mut Changes) {
    while !matches!(changes.next().await, Change::Connectors | Change::Missed) {}
}

async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, PluginError> {
    let result = spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    result.map_err(PluginError::Folder)
}
