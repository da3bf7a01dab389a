//! The task that scans the plugins folder. The task finds changed files, waits until they are
//! complete, starts their compilation, and publishes the snapshot for `catalog.rs`.
//!
//! No other task changes the snapshot.

use std::collections::{BTreeMap, HashMap};
use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{Id, JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout};

use crate::domain::ConnectorName;
use crate::runtime::{Connector, Version};

use super::catalog::{Catalog, CatalogEntry, Snapshot};
use super::error::PluginError;
use super::file_kind::FileKind;
use super::folder::{FoundFile, list_files, read_file};
use super::loader::{VersionLoader, sha256_of};
use super::tracked_file::{NextAction, TrackedFile};
use super::versions::KeptVersions;
use super::watch::watch_folder;

/// The pause between a notification and the scan that it triggers. All notifications during this
/// pause trigger only one further scan.
const NOTIFICATION_PAUSE: Duration = Duration::from_millis(10);
/// Maximum time to load a file, in addition to the maximum compile time: to read the file, to call
/// `describe` and to store the code.
const JOB_TIME_MAX: Duration = Duration::from_secs(120);

pub(super) struct Scanner {
    catalog: Arc<Catalog>,
    loader: Arc<VersionLoader>,
    versions: Arc<KeptVersions>,
    folder: PathBuf,
    /// The state of each file in the folder, by the stem of the file name.
    files: BTreeMap<String, TrackedFile>,
    /// The snapshot that is published after the current scan.
    snapshot: Snapshot,
    /// Whether `snapshot` differs from the published snapshot.
    has_snapshot_changed: bool,
    jobs: JoinSet<JobResult>,
    job_files: HashMap<Id, JobFile>,
}

type ScannerParts = (Arc<Catalog>, Arc<VersionLoader>, Arc<KeptVersions>);

/// The file that a job loads.
struct JobFile {
    /// The stem of the file name.
    name: String,
    /// The SHA-256 of the content that the job loads, hex.
    sha256: String,
}

/// The result of a job; `None` if the file was changed or removed before the job read it.
type JobResult = Result<Option<Arc<Version>>, PluginError>;

impl Scanner {
    pub(super) fn new((catalog, loader, versions): ScannerParts, folder: PathBuf) -> Self {
        Self {
            catalog,
            loader,
            versions,
            folder,
            files: BTreeMap::new(),
            snapshot: Snapshot::new(),
            has_snapshot_changed: false,
            jobs: JoinSet::new(),
            job_files: HashMap::new(),
        }
    }

    /// Keeps the snapshot up to date. Never returns.
    pub(super) async fn run(mut self) {
        let changed = Arc::new(Notify::new());
        let _watcher = watch_folder(&self.folder, Arc::clone(&changed));
        let interval = Duration::from_millis(self.loader.config.current().rescan_ms);
        loop {
            let timer_scan = Instant::now() + interval;
            let next_scan = self.next_action_at().map_or(timer_scan, |at| at.min(timer_scan));
            tokio::select! {
                () = changed.notified() => tokio::time::sleep(NOTIFICATION_PAUSE).await,
                () = sleep_until(next_scan) => {}
                (job, result) = next_ended_job(&mut self.jobs) => self.apply_result(job, result),
            }
            if let Err(error) = self.scan().await {
                let folder = self.folder.display();
                tracing::warn!(%error, %folder, "cannot read the plugins folder; the loaded connectors stay in use");
            }
        }
    }

    /// Reads the folder once, and publishes a snapshot if something changed.
    pub(super) async fn scan(&mut self) -> io::Result<()> {
        let found = list_files(self.folder.clone()).await?;
        self.files.retain(|name, _| found.contains_key(name));
        for (name, _) in self.snapshot.extract_if(.., |name, _| !found.contains_key(name)) {
            tracing::warn!(connector = name, "a connector's file was removed");
            self.has_snapshot_changed = true;
        }
        for (name, file) in found {
            self.update_file(name, file).await;
        }
        if std::mem::take(&mut self.has_snapshot_changed) {
            self.catalog.publish(self.snapshot.clone());
        }
        Ok(())
    }

    fn next_action_at(&self) -> Option<Instant> {
        self.files.values().filter_map(TrackedFile::next_action_at).min()
    }

    async fn update_file(&mut self, name: String, found: FoundFile) {
        let tracked = self.files.get(&name);
        let action = tracked.map(|file| file.next_action(&found.stamp(), Instant::now()));
        match action {
            Some(NextAction::Nothing) => {}
            Some(NextAction::Load) => self.start_job(&name, found.kind),
            Some(NextAction::Read) | None => self.read_file(&name, found).await,
        }
    }

    /// Reads a file, and starts a job if its content is complete.
    async fn read_file(&mut self, name: &str, found: FoundFile) {
        let (stamp, kind) = (found.stamp(), found.kind);
        let (sha256, failure) = match self.content_hash(name, found).await {
            Ok(Some(sha256)) => (Some(sha256), None),
            Ok(None) => return, // The file was removed; the next scan handles this.
            Err(error) => (None, Some(error)),
        };
        let now = Instant::now();
        let is_new = match self.files.get_mut(name) {
            Some(file) => file.record_read(stamp, sha256.clone(), now),
            None => {
                let file = TrackedFile::new(stamp, sha256.clone(), now);
                self.files.insert(name.to_owned(), file);
                true
            }
        };
        match (failure, sha256) {
            (Some(error), _) => self.record_failure(name, &error),
            (None, Some(sha256)) if is_new => self.handle_new_content(name, kind, sha256).await,
            _ if self.files.get(name).is_some_and(|file| file.is_complete(now)) => {
                self.start_job(name, kind);
            }
            _ => {}
        }
    }

    async fn content_hash(
        &self,
        name: &str,
        found: FoundFile,
    ) -> Result<Option<String>, PluginError> {
        let limits = self.loader.config.current().limits_of(&name.parse()?);
        let kind = found.kind;
        found.check(&limits)?;
        let Some(content) = read_file(self.file_path(name, kind), kind, &limits).await? else {
            return Ok(None);
        };
        let hashing = spawn_blocking(move || sha256_of(&content));
        hashing.await.map(Some).map_err(|error| PluginError::Read(io::Error::other(error)))
    }

    /// Uses new content at once if it was compiled before. Otherwise, a later scan loads the
    /// content when the content is complete.
    async fn handle_new_content(&mut self, name: &str, kind: FileKind, sha256: String) {
        let loader = Arc::clone(&self.loader);
        let cached = spawn_blocking(move || loader.cached(kind, &sha256)).await;
        let Some(file) = self.files.get_mut(name) else { return };
        if let Ok(Some(version)) = cached {
            file.set_processed();
            self.use_version(name, version);
        } else if file.keeps_changing(Instant::now()) {
            self.mark_broken(name, &PluginError::KeepsChanging);
        } else if !self.snapshot.contains_key(name) {
            self.snapshot.insert(name.to_owned(), CatalogEntry::default());
            self.has_snapshot_changed = true;
        }
    }

    fn start_job(&mut self, name: &str, kind: FileKind) {
        let (Ok(connector), Some(file)) = (name.parse::<ConnectorName>(), self.files.get_mut(name))
        else {
            return;
        };
        let Some(sha256) = file.sha256().map(str::to_owned) else { return };
        file.set_loading();
        let (loader, path) = (Arc::clone(&self.loader), self.file_path(name, kind));
        let job_file = JobFile { name: name.to_owned(), sha256: sha256.clone() };
        let job = self.jobs.spawn(async move {
            let limits = loader.config.current().limits_of(&connector);
            let _permit = loader.build_permit(kind, &limits).await;
            let load = async {
                match read_file(path, kind, &limits).await? {
                    Some(content) if sha256_of(&content) == sha256 => {
                        loader.build(&connector, kind, content, &limits).await.map(Some)
                    }
                    _ => Ok(None),
                }
            };
            let time_max = Duration::from_millis(limits.compile_ms) + JOB_TIME_MAX;
            timeout(time_max, load).await.unwrap_or(Err(PluginError::Unfinished("takes too long")))
        });
        self.job_files.insert(job.id(), job_file);
    }

    /// Applies the result of a job, unless the content of the file has changed since.
    fn apply_result(&mut self, job: Id, result: JobResult) {
        let Some(JobFile { name, sha256 }) = self.job_files.remove(&job) else { return };
        let Some(file) = self.files.get_mut(&name) else { return };
        if !file.is_loading(&sha256) {
            return;
        }
        match result {
            Ok(Some(version)) => {
                file.set_processed();
                self.use_version(&name, version);
            }
            Ok(None) => file.set_changed(Instant::now()),
            Err(error) => self.record_failure(&name, &error),
        }
    }

    fn record_failure(&mut self, name: &str, error: &PluginError) {
        self.mark_broken(name, error);
        match self.files.get_mut(name) {
            Some(file) if error.may_be_temporary() => file.set_failed(Instant::now()),
            Some(file) => file.set_processed(),
            None => {}
        }
    }

    /// Uses a loaded version from now on, and keeps a copy of its file.
    fn use_version(&mut self, name: &str, version: Arc<Version>) {
        let Ok(connector) = name.parse::<ConnectorName>() else { return };
        let entry = self.snapshot.entry(name.to_owned()).or_default();
        let in_use = entry.newest_loaded.as_ref();
        let is_in_use = in_use.is_some_and(|connector| connector.sha256() == version.sha256);
        if is_in_use && entry.error.is_none() {
            return;
        }
        if !is_in_use {
            tracing::info!(connector = name, sha256 = version.sha256, "a connector is ready");
            let (versions, sha256) = (Arc::clone(&self.versions), version.sha256.clone());
            let (folder, now) = (self.folder.clone(), self.loader.now());
            entry.newest_loaded = Some(self.loader.connector(&connector, version));
            spawn_blocking(move || {
                if let Err(error) = versions.keep(&connector, &sha256, &folder, now) {
                    tracing::warn!(%error, %connector, "cannot keep a copy of a connector's file");
                }
            });
        }
        entry.error = None;
        entry.broken_sha256 = None;
        self.has_snapshot_changed = true;
    }

    /// Records that the file of a connector cannot be used. The version in use stays in use.
    fn mark_broken(&mut self, name: &str, error: &PluginError) {
        // Log a string, so that control characters in a connector's text are escaped.
        let reason = error.to_string();
        let sha256 = self.files.get(name).and_then(|file| file.sha256().map(str::to_owned));
        let entry = self.snapshot.entry(name.to_owned()).or_default();
        if entry.error.as_ref() != Some(&reason) || entry.broken_sha256 != sha256 {
            tracing::warn!(
                connector = name,
                reason,
                "cannot use the file of a connector; replace it"
            );
            if entry.newest_loaded.is_none() {
                entry.newest_loaded = last_used_version(&self.versions, &self.loader, name);
            }
            entry.error = Some(reason);
            entry.broken_sha256 = sha256;
            self.has_snapshot_changed = true;
        }
    }

    fn file_path(&self, name: &str, kind: FileKind) -> PathBuf {
        self.folder.join(format!("{name}.{}", kind.extension()))
    }
}

/// Returns the version that came into use last, if its compiled code is in the cache. So a
/// connector whose file cannot be used still works after a restart.
fn last_used_version(
    versions: &KeptVersions,
    loader: &VersionLoader,
    name: &str,
) -> Option<Arc<Connector>> {
    let name = name.parse::<ConnectorName>().ok()?;
    let last = versions.list(&name).into_iter().next()?;
    let connector = loader.superseded_version(&name, &last.sha256)?;
    tracing::info!(connector = %name, sha256 = last.sha256, "the version that was in use last is used again");
    Some(connector)
}

/// Waits forever if no job runs.
async fn next_ended_job(jobs: &mut JoinSet<JobResult>) -> (Id, JobResult) {
    match jobs.join_next_with_id().await {
        Some(Ok(ended)) => ended,
        Some(Err(error)) => {
            tracing::error!(%error, "the task that loads a connector's file panicked");
            (error.id(), Err(PluginError::Unfinished("failed")))
        }
        None => pending().await,
    }
}
