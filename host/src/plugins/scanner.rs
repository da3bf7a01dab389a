//! The task that scans the plugins folder: finds changed files, waits until they are complete, has
//! them compiled, and publishes the snapshot.
//!
//! Only this task changes the snapshot.

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

use super::catalog::{Catalog, Entry, Snapshot};
use super::error::PluginError;
use super::folder::{FoundFile, list, read};
use super::kind::FileKind;
use super::loader::{VersionLoader, sha256_of};
use super::tracked::{Due, TrackedFile};
use super::versions::Versions;
use super::watch::watch;

/// The shortest time between two scans after notifications.
const SCAN_GAP: Duration = Duration::from_millis(10);
/// Maximum time of a job, besides that of its compiler: reading, `describe`, storing.
const JOB_MAX: Duration = Duration::from_secs(120);

/// The state of the task that scans the folder.
pub(super) struct Scanner {
    catalog: Arc<Catalog>,
    loader: Arc<VersionLoader>,
    versions: Arc<Versions>,
    folder: PathBuf,
    files: BTreeMap<String, TrackedFile>,
    snapshot: Snapshot,
    snapshot_changed: bool,
    jobs: JoinSet<JobResult>,
    /// The file name and content hash that each job loads.
    job_files: HashMap<Id, Content>,
}

/// Where the versions are published, loaded and kept.
type Parts = (Arc<Catalog>, Arc<VersionLoader>, Arc<Versions>);

/// A file's name and the SHA-256 of its content.
struct Content {
    name: String,
    sha256: String,
}

/// The result of loading a file. `None`: the file changed before it was read.
type JobResult = Result<Option<Arc<Version>>, PluginError>;

impl Scanner {
    pub(super) fn new((catalog, loader, versions): Parts, folder: PathBuf) -> Self {
        Self {
            catalog,
            loader,
            versions,
            folder,
            files: BTreeMap::new(),
            snapshot: Snapshot::new(),
            snapshot_changed: false,
            jobs: JoinSet::new(),
            job_files: HashMap::new(),
        }
    }

    /// Keeps the snapshot up to date. Never returns.
    pub(super) async fn run(mut self) {
        let changed = Arc::new(Notify::new());
        let _watcher = watch(&self.folder, Arc::clone(&changed));
        let interval = Duration::from_millis(self.loader.config.now().rescan_ms);
        loop {
            let next = Instant::now() + interval;
            let next = self.next_due().map_or(next, |due| due.min(next));
            tokio::select! {
                () = changed.notified() => tokio::time::sleep(SCAN_GAP).await,
                () = sleep_until(next) => {}
                (job, result) = next_ended(&mut self.jobs) => self.apply(job, result),
            }
            if let Err(error) = self.scan().await {
                let folder = self.folder.display();
                tracing::warn!(%error, %folder, "cannot read the plugins folder; the connectors stay as they are");
            }
        }
    }

    /// Reads the folder once and publishes the changes.
    pub(super) async fn scan(&mut self) -> io::Result<()> {
        let found = list(self.folder.clone()).await?;
        self.files.retain(|name, _| found.contains_key(name));
        for (name, _) in self.snapshot.extract_if(.., |name, _| !found.contains_key(name)) {
            tracing::warn!(connector = name, "a connector's file was removed");
            self.snapshot_changed = true;
        }
        for (name, file) in found {
            self.update_file(name, file).await;
        }
        if std::mem::take(&mut self.snapshot_changed) {
            self.catalog.publish(self.snapshot.clone());
        }
        Ok(())
    }

    /// Returns when the next file must be read or loaded, even if no notification arrives.
    fn next_due(&self) -> Option<Instant> {
        self.files.values().filter_map(TrackedFile::due_at).min()
    }

    /// Reads a file if it may have changed, and starts a job once its content is complete.
    async fn update_file(&mut self, name: String, found: FoundFile) {
        let due = self.files.get(&name).map(|file| file.due(&found.stamp(), Instant::now()));
        match due {
            Some(Due::Nothing) => {}
            Some(Due::Load) => self.start_job(&name, found.kind),
            Some(Due::Read) | None => self.read_file(&name, found).await,
        }
    }

    async fn read_file(&mut self, name: &str, found: FoundFile) {
        let (stamp, kind) = (found.stamp(), found.kind);
        let (sha256, failed) = match self.content(name, found).await {
            Ok(Some(sha256)) => (Some(sha256), None),
            Ok(None) => return, // The file is gone; the next scan handles that.
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
        match (failed, sha256) {
            (Some(error), _) => self.fail(name, &error),
            (None, Some(sha256)) if is_new => self.handle_new_content(name, kind, sha256).await,
            _ if self.files.get(name).is_some_and(|file| file.is_complete(now)) => {
                self.start_job(name, kind);
            }
            _ => {}
        }
    }

    /// Returns the SHA-256 of a file's content; `None` if the file does not exist any more.
    async fn content(&self, name: &str, found: FoundFile) -> Result<Option<String>, PluginError> {
        let limits = self.loader.config.now().limits_of(&name.parse()?);
        let kind = found.kind;
        found.check(&limits)?;
        let Some(content) = read(self.path(name, kind), kind, &limits).await? else {
            return Ok(None);
        };
        let hashing = spawn_blocking(move || sha256_of(&content));
        hashing.await.map(Some).map_err(|error| PluginError::Read(io::Error::other(error)))
    }

    /// Uses new content at once if it was compiled before. Otherwise waits until the content is
    /// complete.
    async fn handle_new_content(&mut self, name: &str, kind: FileKind, sha256: String) {
        let loader = Arc::clone(&self.loader);
        let cached = spawn_blocking(move || loader.cached(kind, &sha256)).await;
        let Some(file) = self.files.get_mut(name) else { return };
        if let Ok(Some(version)) = cached {
            file.set_processed();
            self.serve(name, version);
        } else if file.keeps_changing(Instant::now()) {
            self.mark_broken(name, &PluginError::KeepsChanging);
        } else if !self.snapshot.contains_key(name) {
            self.snapshot.insert(name.to_owned(), Entry::default());
            self.snapshot_changed = true;
        }
    }

    fn start_job(&mut self, name: &str, kind: FileKind) {
        let (Ok(connector), Some(file)) = (name.parse::<ConnectorName>(), self.files.get_mut(name))
        else {
            return;
        };
        let Some(sha256) = file.sha256().map(str::to_owned) else { return };
        file.set_loading();
        let (loader, path) = (Arc::clone(&self.loader), self.path(name, kind));
        let content = Content { name: name.to_owned(), sha256: sha256.clone() };
        let job = self.jobs.spawn(async move {
            let limits = loader.config.now().limits_of(&connector);
            let _permit = loader.build_permit(kind, &limits).await;
            let load = async {
                match read(path, kind, &limits).await? {
                    Some(content) if sha256_of(&content) == sha256 => {
                        loader.build(&connector, kind, content, &limits).await.map(Some)
                    }
                    _ => Ok(None),
                }
            };
            let longest = Duration::from_millis(limits.compile_ms) + JOB_MAX;
            timeout(longest, load).await.unwrap_or(Err(PluginError::Unfinished("takes too long")))
        });
        self.job_files.insert(job.id(), content);
    }

    /// Applies the result of a job, unless the file's content changed since.
    fn apply(&mut self, job: Id, result: JobResult) {
        let Some(Content { name, sha256 }) = self.job_files.remove(&job) else { return };
        let Some(file) = self.files.get_mut(&name) else { return };
        if !file.is_loading(&sha256) {
            return;
        }
        match result {
            Ok(Some(version)) => {
                file.set_processed();
                self.serve(&name, version);
            }
            Ok(None) => file.set_changed(Instant::now()),
            Err(error) => self.fail(&name, &error),
        }
    }

    /// Reports a failure. If the cause may be temporary, the file is tried again later.
    fn fail(&mut self, name: &str, error: &PluginError) {
        self.mark_broken(name, error);
        match self.files.get_mut(name) {
            Some(file) if error.may_be_temporary() => file.set_failed(Instant::now()),
            Some(file) => file.set_processed(),
            None => {}
        }
    }

    fn serve(&mut self, name: &str, version: Arc<Version>) {
        let Ok(connector) = name.parse::<ConnectorName>() else { return };
        let entry = self.snapshot.entry(name.to_owned()).or_default();
        let same = entry.newest_loaded.as_ref().is_some_and(|now| now.sha256() == version.sha256);
        if same && entry.error.is_none() {
            return;
        }
        if !same {
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
        self.snapshot_changed = true;
    }

    fn mark_broken(&mut self, name: &str, error: &PluginError) {
        // Logged as a string, so that the log escapes control characters: the text may come from
        // the connector.
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
                entry.newest_loaded = last_served(&self.versions, &self.loader, name);
            }
            entry.error = Some(reason);
            entry.broken_sha256 = sha256;
            self.snapshot_changed = true;
        }
    }

    fn path(&self, name: &str, kind: FileKind) -> PathBuf {
        self.folder.join(format!("{name}.{}", kind.extension()))
    }
}

/// The version of a connector that served last before the start, if its compiled code is cached. It
/// stays in use while the file in the folder cannot be used, as it does without a restart.
fn last_served(versions: &Versions, loader: &VersionLoader, name: &str) -> Option<Arc<Connector>> {
    let name = name.parse::<ConnectorName>().ok()?;
    let last = versions.list(&name).into_iter().next()?;
    let connector = loader.superseded(&name, &last.sha256)?;
    tracing::info!(connector = %name, sha256 = last.sha256, "the version that served last stays in use");
    Some(connector)
}

/// Waits for the next job that ends, and returns its result; waits forever if no job runs.
async fn next_ended(jobs: &mut JoinSet<JobResult>) -> (Id, JobResult) {
    match jobs.join_next_with_id().await {
        Some(Ok(ended)) => ended,
        Some(Err(error)) => {
            tracing::error!(%error, "a compile job panicked");
            (error.id(), Err(PluginError::Unfinished("failed")))
        }
        None => pending().await,
    }
}
