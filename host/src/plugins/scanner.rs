//! The task that owns the plugins folder: finds changed files, waits until they are complete, has them
//! compiled, and publishes the snapshot.
//!
//! Nothing else changes the snapshot.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use crate::domain::ConnectorName;
use crate::runtime::Version;

use super::catalog::{Catalog, Entry, Snapshot};
use super::error::PluginError;
use super::folder::{FileStamp, FoundFile, list, read_unchanged};
use super::loader::{VersionLoader, sha256_of};
use super::watch::watch;

/// A file with new content is complete when it has not changed for this time.
const UNCHANGED_FOR: Duration = Duration::from_millis(100);
/// The shortest time between two scans after notifications.
const SCAN_GAP: Duration = Duration::from_millis(10);

/// Scans the folder.
pub(super) struct Scanner {
    catalog: Arc<Catalog>,
    loader: Arc<VersionLoader>,
    folder: PathBuf,
    files: BTreeMap<String, File>,
    snapshot: Snapshot,
    snapshot_changed: bool,
    jobs: JoinSet<CompileJob>,
}

/// A `*.wasm` of the folder.
struct File {
    stamp: FileStamp,
    state: FileState,
}

/// What the scanner does about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileState {
    /// Its content is new and may be incomplete; when it was first seen like this.
    New(Instant),
    /// A job compiles it.
    Compiling,
    /// It serves or is broken, until it changes.
    Processed,
}

/// A compile job that has ended.
struct CompileJob {
    name: String,
    stamp: FileStamp,
    /// `None`: the file changed before it was read.
    result: Result<Option<Arc<Version>>, PluginError>,
}

impl Scanner {
    pub(super) fn new(catalog: Arc<Catalog>, loader: Arc<VersionLoader>, folder: PathBuf) -> Self {
        Self {
            catalog,
            loader,
            folder,
            files: BTreeMap::new(),
            snapshot: Snapshot::new(),
            snapshot_changed: false,
            jobs: JoinSet::new(),
        }
    }

    /// Keeps the snapshot up to date. Never returns.
    pub(super) async fn run(mut self) {
        let changed = Arc::new(Notify::new());
        let _watcher = watch(&self.folder, Arc::clone(&changed));
        let interval = Duration::from_millis(self.loader.config.rescan_ms);
        loop {
            let next = Instant::now() + interval;
            let next = self.next_complete().map_or(next, |complete| complete.min(next));
            tokio::select! {
                () = changed.notified() => tokio::time::sleep(SCAN_GAP).await,
                () = sleep_until(next) => {}
                job = next_ended(&mut self.jobs) => self.apply(job),
            }
            if let Err(error) = self.scan().await {
                let folder = self.folder.display();
                tracing::warn!(%error, %folder, "cannot read the plugins folder; nothing changes");
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

    /// When the next new file is complete, if it does not change.
    fn next_complete(&self) -> Option<Instant> {
        let complete_at = |file: &File| match file.state {
            FileState::New(since) => Some(since + UNCHANGED_FOR),
            _ => None,
        };
        self.files.values().filter_map(complete_at).min()
    }

    /// Processes a file if it changed, and compiles it when it is complete.
    async fn update_file(&mut self, name: String, found: FoundFile) {
        let stamp = found.stamp();
        match self.files.get(&name).filter(|file| file.stamp == stamp).map(|file| file.state) {
            Some(FileState::Processed | FileState::Compiling) => {}
            Some(FileState::New(since)) => {
                if since.elapsed() >= UNCHANGED_FOR {
                    self.start_compile_job(name, stamp);
                }
            }
            None => {
                let state = self.process_change(&name, found).await;
                self.files.insert(name, File { stamp, state });
            }
        }
    }

    /// Serves a changed file at once if its content was compiled before.
    async fn process_change(&mut self, name: &str, found: FoundFile) -> FileState {
        match self.cached_version(name, found).await {
            Ok(Some(version)) => self.serve(name, version),
            Err(error) => self.mark_broken(name, &error),
            Ok(None) => {
                if !self.snapshot.contains_key(name) {
                    self.snapshot.insert(name.to_owned(), Entry::default());
                    self.snapshot_changed = true;
                }
                return FileState::New(Instant::now());
            }
        }
        FileState::Processed
    }

    /// The version with the file's content, if that was compiled before. `None` also while the file is
    /// being written.
    async fn cached_version(
        &self,
        name: &str,
        found: FoundFile,
    ) -> Result<Option<Arc<Version>>, PluginError> {
        let stamp = found.stamp();
        found.check(self.loader.config.limits_of(&name.parse()?).component_bytes)?;
        let Some(wasm) = read_unchanged(self.path(name), stamp).await? else { return Ok(None) };
        let loader = Arc::clone(&self.loader);
        let lookup = spawn_blocking(move || loader.cached(&sha256_of(&wasm)));
        lookup.await.map_err(|error| PluginError::Read(io::Error::other(error)))
    }

    fn start_compile_job(&mut self, name: String, stamp: FileStamp) {
        let Ok(connector) = name.parse::<ConnectorName>() else { return };
        let loader = Arc::clone(&self.loader);
        let path = self.path(&name);
        if let Some(file) = self.files.get_mut(&name) {
            file.state = FileState::Compiling;
        }
        self.jobs.spawn(async move {
            // Before the file is read, so that few files are in memory at a time.
            let _permit = loader.compile_permits.acquire().await;
            let limits = loader.config.limits_of(&connector);
            let result = match read_unchanged(path, stamp.clone()).await {
                Ok(Some(wasm)) => loader.build(wasm, &limits).await.map(Some),
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            };
            CompileJob { name, stamp, result }
        });
    }

    /// Applies the result of a job, unless the file changed since.
    fn apply(&mut self, job: CompileJob) {
        let Some(file) = self.files.get_mut(&job.name) else { return };
        if file.stamp != job.stamp {
            return;
        }
        file.state = FileState::Processed;
        match job.result {
            Ok(Some(version)) => self.serve(&job.name, version),
            Err(error) => self.mark_broken(&job.name, &error),
            Ok(None) => file.state = FileState::New(Instant::now()),
        }
    }

    fn serve(&mut self, name: &str, version: Arc<Version>) {
        let Ok(connector) = name.parse::<ConnectorName>() else { return };
        let entry = self.snapshot.entry(name.to_owned()).or_default();
        let same = entry.serving.as_ref().is_some_and(|now| now.sha256() == version.sha256);
        if same && entry.error.is_none() {
            return;
        }
        if !same {
            tracing::info!(connector = name, sha256 = version.sha256, "a connector is ready");
            entry.serving = Some(self.loader.connector(&connector, version));
        }
        entry.error = None;
        self.snapshot_changed = true;
    }

    fn mark_broken(&mut self, name: &str, error: &PluginError) {
        // Logged as a string, whose control characters the log escapes: the text may be a stranger's.
        let reason = error.to_string();
        tracing::warn!(connector = name, reason, "cannot use a connector's file");
        self.snapshot.entry(name.to_owned()).or_default().error = Some(reason);
        self.snapshot_changed = true;
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.wasm"))
    }
}

/// The next job that ends; waits forever if there is none.
async fn next_ended(jobs: &mut JoinSet<CompileJob>) -> CompileJob {
    loop {
        match jobs.join_next().await {
            Some(Ok(job)) => return job,
            Some(Err(error)) => tracing::error!(%error, "a compile job panicked"),
            None => return pending().await,
        }
    }
}
