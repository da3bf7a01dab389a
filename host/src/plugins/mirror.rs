//! Keeps the plugins folder equal to the connectors that the servers of one database share: writes
//! decisions of other servers into the folder, and shares files that the scanner accepted.
//!
//! Never decides which version serves: the scanner does, as for any file. A file is shared only
//! after it was loaded here, so a broken one stays where it is.

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
use super::versions::Versions;

use local::{FolderId, LocalFile, Scanned, id_of, set_mark};
use rules::{Action, Agreed, decide};

pub(super) use actions::RemoveSharedError;
pub(super) use local::has_other;

/// How often the store is asked for decisions of other servers, besides at each notification.
const POLL: Duration = Duration::from_secs(2);
/// The same while a file of the folder was not decided about.
const POLL_UNDECIDED: Duration = Duration::from_millis(500);
/// The pause after a file could not be read, written or fetched.
const RETRY: Duration = Duration::from_secs(30);
/// The pause after the store failed for a name. It doubles at each further failure.
const STORE_RETRY: Duration = Duration::from_secs(1);
/// The longest such pause.
const STORE_RETRY_MAX: Duration = Duration::from_secs(60);
/// How often all names are compared again because something was changed.
const COMPARISONS_MAX: u32 = 3;

/// Keeps a plugins folder equal to the store.
pub(super) struct Mirror {
    store: Arc<dyn ConnectorStore>,
    catalog: Arc<Catalog>,
    versions: Arc<Versions>,
    config: Arc<LiveConfig>,
    clock: Arc<dyn Clock>,
    folder: PathBuf,
    /// The connectors of the store when it was last read.
    shared: ArcSwap<BTreeMap<ConnectorName, SharedConnector>>,
    /// Held while folder and store are compared.
    state: Mutex<State>,
}

/// Keeps the mirror from reading and writing the folder.
pub(super) struct MirrorLock<'m> {
    _state: MutexGuard<'m, State>,
}

#[derive(Default)]
struct State {
    /// The last decision when the store was read; `None`: read it again.
    revision: Option<i64>,
    /// The number of the snapshot when the folder was compared.
    snapshot: Option<u64>,
    /// The folder that is compared.
    folder: Option<FolderId>,
    /// Whether the scanner has seen the folder.
    is_scanned: bool,
    /// Whether all files that the folder had at first were compared: a later file is a change.
    is_compared: bool,
    names: BTreeMap<ConnectorName, NameState>,
}

#[derive(Default)]
struct NameState {
    agreed: Option<Agreed>,
    /// What the last comparison saw; `None`: compare again.
    seen: Option<Seen>,
    /// Since when the file is missing although it should not be.
    missing_since: Option<Instant>,
    /// What was seen when an action failed, and when that was.
    failed: Option<(Seen, Instant)>,
    /// What was seen when the scanner had not loaded the file, and when that was.
    pending: Option<(Seen, Instant)>,
    /// The failures of the store for this name.
    store_failures: Option<Backoff>,
}

/// What a comparison depends on. A change of the folder counts once the scanner has seen it.
#[derive(PartialEq, Eq)]
struct Seen {
    revision: Option<i64>,
    scanned: Option<Scanned>,
}

/// Why an action was not completed.
enum ActionError {
    Store(StoreError),
    /// Concerns this file only.
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

/// What the mirror reads from and writes to, its settings and its clock.
pub(super) type Parts =
    (Arc<dyn ConnectorStore>, Arc<Catalog>, Arc<Versions>, Arc<LiveConfig>, Arc<dyn Clock>);

impl Mirror {
    pub(super) fn new((store, catalog, versions, config, clock): Parts, folder: PathBuf) -> Self {
        let (shared, state) = (ArcSwap::default(), Mutex::default());
        Self { store, catalog, versions, config, clock, folder, shared, state }
    }

    /// Marks the folder, so that it is recognised, and writes what the servers share into it. Call
    /// it before the folder is scanned.
    pub(super) async fn prepare_folder(&self) {
        self.mark().await;
        self.state.lock().await.folder = self.folder_id().await;
        if let Err(error) = self.sync().await {
            tracing::warn!(%error, "cannot read the connectors of the store");
        }
    }

    async fn mark(&self) {
        let folder = self.folder.clone();
        if let Err(error) = blocking(move || set_mark(&folder)).await {
            let reason = error.to_string();
            tracing::warn!(folder = %self.folder.display(), reason, "cannot write into the plugins \
                folder: it does not get what the other servers share. Give the server's user the \
                right to write into it, or set `plugins_source = \"folder\"`");
        }
    }

    /// Compares folder and store whenever one of them may have changed. Never returns.
    pub(super) async fn run(self: Arc<Self>) {
        let (mut snapshots, mut changes) = (self.catalog.changes(), self.store.connector_changes());
        let mut failed = false;
        self.state.lock().await.is_scanned = true;
        loop {
            let pause = self.pause().await;
            tokio::select! {
                Ok(()) = snapshots.changed() => {}
                () = connectors_changed(&mut changes) => {}
                () = sleep(pause) => {}
            }
            match self.sync().await {
                Ok(()) => failed = false,
                Err(error) if failed => tracing::debug!(%error, "the connectors are not compared"),
                Err(error) => {
                    tracing::warn!(%error, "cannot compare the plugins folder with the store; the \
                        connectors stay as they are, and this is repeated");
                    failed = true;
                }
            }
        }
    }

    async fn pause(&self) -> Duration {
        let is_undecided = |it: &NameState| it.seen.is_none() && it.failed.is_none();
        let undecided = self.state.lock().await.names.values().any(is_undecided);
        if undecided { POLL_UNDECIDED } else { POLL }
    }

    /// The same as [`Self::sync`], for a person who waits: compares this name in any case. Its file
    /// may have changed twice before the scanner looked.
    pub(super) async fn sync_now(&self, name: &ConnectorName) -> Result<(), StoreError> {
        let mut state = self.state.lock().await;
        if let Some(known) = state.names.get_mut(name) {
            (known.seen, known.failed, known.pending) = (None, None, None);
            known.store_failures = None;
        }
        self.compare_until_unchanged(&mut state).await
    }

    /// Compares folder and store, and takes the actions that follow.
    ///
    /// # Errors
    /// The store failed. A file that cannot be read or written is logged, and tried again later.
    pub(super) async fn sync(&self) -> Result<(), StoreError> {
        let mut state = self.state.lock().await;
        self.compare_until_unchanged(&mut state).await
    }

    /// Held while a person's file is written: meanwhile, no decision of another server is written.
    pub(super) async fn lock(&self) -> MirrorLock<'_> {
        MirrorLock { _state: self.state.lock().await }
    }

    /// The version of a connector that the servers use.
    pub(super) fn current(&self, name: &ConnectorName) -> Option<String> {
        Some(self.shared.load().get(name)?.current()?.sha256.clone())
    }

    async fn compare_until_unchanged(&self, state: &mut State) -> Result<(), StoreError> {
        for _ in 0..COMPARISONS_MAX {
            if !self.compare_all(state).await? {
                break;
            }
        }
        Ok(())
    }

    /// Compares once. Returns whether the store was changed.
    async fn compare_all(&self, state: &mut State) -> Result<bool, StoreError> {
        let revision = self.store.connectors_revision().await?;
        if state.revision != Some(revision) {
            self.read_store().await?;
        }
        self.follow_folder(state).await;
        let (snapshot, scanned) = self.catalog.numbered();
        let is_compared_now = state.names.values().all(|name| name.seen.is_some());
        if is_compared_now && state.revision == Some(revision) && state.snapshot == Some(snapshot) {
            state.is_compared |= state.is_scanned;
            return Ok(false);
        }
        let shared = self.shared.load_full();
        let valid = scanned.keys().filter_map(|name| name.parse().ok());
        let names: BTreeSet<ConnectorName> =
            shared.keys().cloned().chain(valid).chain(state.names.keys().cloned()).collect();
        let (mut changed, mut failure) = (false, None);
        let (folder, is_compared) = (state.folder, state.is_compared);
        for name in names {
            let new = || NameState {
                agreed: is_compared.then(Agreed::on_nothing),
                ..NameState::default()
            };
            let known = state.names.entry(name.clone()).or_insert_with(new);
            let seen = Seen {
                revision: shared.get(&name).map(|it| it.revision),
                scanned: scanned.get(name.as_str()).map(Scanned::of),
            };
            if known.seen.as_ref() == Some(&seen) || known.has_to_wait(&seen) {
                continue;
            }
            known.seen = None;
            let both = (shared.get(&name), seen.scanned.as_ref());
            let result = self.compare(&name, known, both, folder).await;
            match known.note(&name, seen, result) {
                Ok(has_decided) => changed |= has_decided,
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        state.revision = (!changed).then_some(revision);
        state.snapshot = Some(snapshot);
        state.is_compared |= state.is_scanned;
        let is_needed = |it: &NameState| {
            it.agreed.as_ref().is_some_and(|it| it.revision > 0)
                || !it.seen.as_ref().is_some_and(Seen::is_empty)
        };
        state.names.retain(|_, known| is_needed(known));
        Ok(changed)
    }

    async fn read_store(&self) -> Result<(), StoreError> {
        let all = self.store.shared_connectors().await?;
        // A name that this version does not allow is of no use here.
        let named = all.into_iter().filter_map(|it| Some((it.name.parse().ok()?, it)));
        self.shared.store(Arc::new(named.collect()));
        Ok(())
    }

    async fn folder_id(&self) -> Option<FolderId> {
        let folder = self.folder.clone();
        blocking(move || id_of(&folder)).await.ok()
    }

    /// Forgets what was agreed if the path leads to another folder now.
    async fn follow_folder(&self, state: &mut State) {
        let Some(found) = self.folder_id().await else { return };
        if state.folder.is_some_and(|before| before != found) {
            tracing::warn!(
                "the plugins folder is another one now; it gets the connectors of the store"
            );
            state.names.clear();
            state.snapshot = None;
            state.is_compared = false;
            self.mark().await;
        }
        state.folder = Some(found);
    }

    /// Decides about one name, and acts. `expected` is the folder that was compared before.
    async fn compare(
        &self,
        name: &ConnectorName,
        known: &mut NameState,
        (shared, scanned): (Option<&SharedConnector>, Option<&Scanned>),
        expected: Option<FolderId>,
    ) -> Result<Action, ActionError> {
        let limits = self.config.now().limits_of(name);
        let file = local::read(&self.folder, name, &limits).await;
        let decided = decide(known.agreed.as_ref(), &file.found(scanned), shared);
        if decided != Action::Remove {
            known.missing_since = None;
        }
        // What all servers get is decided only if the folder is still the one that was compared,
        // and if the scanner misses a missing file, too.
        let is_seen = decided == Action::Remove && scanned.is_some();
        if matches!(decided, Action::Remove | Action::Share)
            && (is_seen || self.folder_id().await != expected)
        {
            return Ok(Action::Again);
        }
        let agreed = |shared: &SharedConnector| Agreed {
            revision: shared.revision,
            sha256: shared.current().map(|version| version.sha256.clone()),
        };
        match (decided, shared, file) {
            (Action::Agree, Some(shared), _) => known.agreed = Some(agreed(shared)),
            (Action::Install | Action::Uninstall, Some(shared), file) => {
                let is_stored = file.is_in(shared);
                // Its content is dropped, so that one file is in memory at a time.
                let compared = (file.without_content(), is_stored);
                if !self.apply_decision(name, shared, compared).await? {
                    return Ok(Action::Again);
                }
                known.agreed = Some(agreed(shared));
            }
            (Action::Share, _, LocalFile::One { kind, sha256, content }) => {
                let revision = self.share(name, kind, sha256.clone(), content).await?;
                known.agreed = Some(Agreed { revision, sha256: Some(sha256) });
            }
            (Action::Remove, ..) => return self.remove_missing(name, known).await,
            _ => {}
        }
        Ok(decided)
    }
}

impl NameState {
    /// Notes the result of a comparison. Returns whether the store was changed.
    fn note(
        &mut self,
        name: &ConnectorName,
        seen: Seen,
        result: Result<Action, ActionError>,
    ) -> Result<bool, StoreError> {
        let action = match result {
            Ok(action) => action,
            Err(ActionError::Store(error)) => {
                let first = Backoff::new(STORE_RETRY, STORE_RETRY_MAX);
                self.store_failures.get_or_insert(first).fail(Instant::now().into_std());
                return Err(error);
            }
            Err(ActionError::File(error)) => {
                self.log_failure(name, &error, &seen);
                self.failed = Some((seen, Instant::now()));
                return Ok(false);
            }
        };
        (self.failed, self.pending, self.store_failures) = (None, None, None);
        match action {
            Action::Wait => self.pending = Some((seen, Instant::now())),
            Action::Again => {}
            _ => self.seen = Some(seen),
        }
        Ok(matches!(action, Action::Share | Action::Remove))
    }

    /// Logs a failure, unless it is repeated.
    fn log_failure(&self, name: &ConnectorName, error: &PluginError, seen: &Seen) {
        if self.failed.as_ref().is_none_or(|(then, _)| then != seen) {
            let reason = error.to_string();
            tracing::warn!(connector = %name, reason, "the plugins folder differs from the store");
        }
    }

    /// Whether the name has to wait: the store failed and its pause lasts, or nothing has changed
    /// since an action failed, or began to wait for the scanner, less than [`RETRY`] ago.
    fn has_to_wait(&self, seen: &Seen) -> bool {
        let mut waiting = [&self.failed, &self.pending].into_iter().flatten();
        self.store_failures.is_some_and(|it| it.is_pausing(Instant::now().into_std()))
            || waiting.any(|(then, at)| then == seen && at.elapsed() < RETRY)
    }
}

impl Seen {
    fn is_empty(&self) -> bool {
        self.revision.is_none() && self.scanned.is_none()
    }
}

/// Waits until another server has decided something.
async fn connectors_changed(changes: &mut Changes) {
    while !matches!(changes.next().await, Change::Connectors | Change::Missed) {}
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, PluginError> {
    let done = spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(PluginError::Folder)
}
