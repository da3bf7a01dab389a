//! The task that owns the folder: notices what changed, waits until a file is whole, has it compiled,
//! and publishes the snapshot. Nothing else changes the snapshot.

mod folder;

use std::collections::BTreeMap;
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::connector::watch::watch;
use crate::domain::ConnectorName;

use super::shelf::Version;
use super::{Entry, Registry, Snapshot};
use folder::{Seen, Stamp, list, read};

/// How long a file with unknown content must stay as it is before it is taken for whole.
const SETTLE: Duration = Duration::from_millis(100);
/// The shortest time between two scans that notices ask for.
const SCAN_GAP: Duration = Duration::from_millis(10);
/// The folder's owner.
pub(super) struct Keeper {
    registry: Arc<Registry>,
    folder: PathBuf,
    files: BTreeMap<String, File>,
    snapshot: Snapshot,
    changed: bool,
    jobs: JoinSet<Done>,
}

/// One `*.wasm` of the folder.
struct File {
    stamp: Stamp,
    stage: Stage,
}

/// How far a file has come.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// Its content is unknown and may not be whole; since when it looks as it does.
    Settling(Instant),
    /// A job compiles it.
    Compiling,
    /// It serves, or it is broken, until it changes.
    Settled,
}

/// The end of a compile job.
struct Done {
    name: String,
    stamp: Stamp,
    /// `None`: the file changed before it was read.
    made: Option<Result<Arc<Version>, String>>,
}

impl Keeper {
    pub(super) fn new(registry: Arc<Registry>, folder: PathBuf) -> Self {
        Self {
            registry,
            folder,
            files: BTreeMap::new(),
            snapshot: Snapshot::new(),
            changed: false,
            jobs: JoinSet::new(),
        }
    }

    /// Keeps the snapshot up to date, for ever.
    pub(super) async fn keep(mut self) {
        let wake = Arc::new(Notify::new());
        let _watcher = watch(&self.folder, Arc::clone(&wake));
        let rescan = Duration::from_millis(self.registry.shelf.config.rescan_ms);
        loop {
            let next = Instant::now() + rescan;
            let next = self.settling().map_or(next, |settled| settled.min(next));
            tokio::select! {
                () = wake.notified() => tokio::time::sleep(SCAN_GAP).await,
                () = sleep_until(next) => {}
                done = joined(&mut self.jobs) => self.take(done),
            }
            if let Err(error) = self.scan().await {
                tracing::warn!(%error, "the connectors stay as they were");
            }
        }
    }

    /// Reads the folder once and publishes what came of it.
    pub(super) async fn scan(&mut self) -> Result<(), String> {
        let seen = list(self.folder.clone()).await?;
        self.files.retain(|name, _| seen.contains_key(name));
        for (name, _) in self.snapshot.extract_if(.., |name, _| !seen.contains_key(name)) {
            tracing::warn!(connector = name, "a connector's file is gone");
            self.changed = true;
        }
        for (name, seen) in seen {
            self.look(name, seen).await;
        }
        if std::mem::take(&mut self.changed) {
            self.registry.publish(self.snapshot.clone());
        }
        Ok(())
    }

    /// When the next settling file is due.
    fn settling(&self) -> Option<Instant> {
        let due = |file: &File| match file.stage {
            Stage::Settling(since) => Some(since + SETTLE),
            _ => None,
        };
        self.files.values().filter_map(due).min()
    }

    /// Takes note of one file, as far as it changed.
    async fn look(&mut self, name: String, seen: Seen) {
        let stamp = seen.stamp();
        let known = self.files.get(&name).filter(|file| file.stamp == stamp);
        match known.map(|file| file.stage.clone()) {
            Some(Stage::Settled | Stage::Compiling) => {}
            Some(Stage::Settling(since)) => {
                if since.elapsed() >= SETTLE {
                    self.compile(name, stamp);
                }
            }
            None => {
                let stage = self.judge(&name, &seen).await;
                self.files.insert(name, File { stamp, stage });
            }
        }
    }

    /// What a changed file is.
    async fn judge(&mut self, name: &str, seen: &Seen) -> Stage {
        let reason = match name.parse::<ConnectorName>() {
            Err(error) => Some(error.to_string()),
            Ok(parsed) => {
                let limit = self.registry.shelf.config.limits_of(&parsed).component_bytes;
                seen.unusable(limit)
            }
        };
        if let Some(reason) = reason {
            self.broken(name, reason);
            return Stage::Settled;
        }
        let shelf = Arc::clone(&self.registry.shelf);
        let content =
            read(self.path(name), seen.stamp(), move |wasm| shelf.known(&super::sha256_of(&wasm)));
        match content.await {
            Some(Ok(Some(version))) => {
                self.serve(name, version);
                Stage::Settled
            }
            Some(Err(reason)) => {
                self.broken(name, reason);
                Stage::Settled
            }
            // New, or still being written.
            Some(Ok(None)) | None => {
                if !self.snapshot.contains_key(name) {
                    self.snapshot.insert(name.to_owned(), Entry::default());
                    self.changed = true;
                }
                Stage::Settling(Instant::now())
            }
        }
    }

    fn compile(&mut self, name: String, stamp: Stamp) {
        let Ok(connector) = name.parse::<ConnectorName>() else { return };
        let shelf = Arc::clone(&self.registry.shelf);
        let path = self.path(&name);
        if let Some(file) = self.files.get_mut(&name) {
            file.stage = Stage::Compiling;
        }
        self.jobs.spawn(async move {
            let _turn = shelf.compilers.acquire().await;
            let limits = shelf.config.limits_of(&connector);
            let made = match read(path, stamp.clone(), |wasm| wasm).await {
                None => None,
                Some(Err(reason)) => Some(Err(reason)),
                Some(Ok(wasm)) => Some(shelf.make(wasm, &limits).await),
            };
            Done { name, stamp, made }
        });
    }

    /// Takes what a job made, unless the file has changed since.
    fn take(&mut self, done: Done) {
        let Some(file) = self.files.get_mut(&done.name) else { return };
        if file.stamp != done.stamp {
            return;
        }
        file.stage = Stage::Settled;
        match done.made {
            Some(Ok(version)) => self.serve(&done.name, version),
            Some(Err(reason)) => self.broken(&done.name, reason),
            None => file.stage = Stage::Settling(Instant::now()),
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
            tracing::info!(connector = name, sha256 = version.sha256, "a connector is live");
            entry.serving = Some(self.registry.shelf.connector(&connector, version));
        }
        entry.error = None;
        self.changed = true;
    }

    fn broken(&mut self, name: &str, reason: String) {
        tracing::warn!(connector = name, reason, "a connector's file cannot be used");
        self.snapshot.entry(name.to_owned()).or_default().error = Some(reason);
        self.changed = true;
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.wasm"))
    }
}

/// The next finished job; waits for ever where there is none.
async fn joined(jobs: &mut JoinSet<Done>) -> Done {
    loop {
        match jobs.join_next().await {
            Some(Ok(done)) => return done,
            Some(Err(error)) => tracing::error!(%error, "a compile job ended early"),
            None => return pending().await,
        }
    }
}
