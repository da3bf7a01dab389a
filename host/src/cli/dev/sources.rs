//! The sources of a connector: what they are now, and when they change.
//!
//! Notifications only say that something may have changed. The content decides, so that a build
//! that writes into its own folder is not built again and again.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::cli::output::eprint;

/// Folders that builds and tools write.
const IGNORED: [&str; 5] = ["target", "node_modules", "__pycache__", "dist", "venv"];
const FILES_MAX: usize = 2_000;
const FOLDERS_MAX: usize = 500;
/// How much of a file is compared; of the rest, only its length.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The writes to a file follow each other within this time.
const QUIET: Duration = Duration::from_millis(40);
const QUIET_MAX: Duration = Duration::from_secs(1);
/// Sources are also looked at without a notification.
const POLL_PERIOD: Duration = Duration::from_secs(2);
const STOP_PERIOD: Duration = Duration::from_millis(100);

/// The content of all sources.
#[derive(Clone, Debug)]
pub(super) struct Fingerprint {
    digest: [u8; 32],
    /// The time of the newest change.
    pub(super) newest: SystemTime,
}

/// Equal content is equal, whenever it was written.
impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

/// The sources below a folder, or one file.
pub(super) struct Sources {
    path: PathBuf,
    watcher: Option<RecommendedWatcher>,
    changes: Receiver<()>,
}

impl Sources {
    /// Watches a file or a folder. If the system cannot, they are looked at every few seconds.
    pub(super) fn watch(path: &Path) -> Self {
        let (sender, changes) = channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if !event.is_ok_and(|event| event.kind.is_access()) {
                let _ = sender.send(());
            }
        });
        let watcher = watcher.inspect_err(|error| {
            eprint(&format!("warning: changes are seen only every 2 s: {error}"));
        });
        Self { path: path.to_owned(), watcher: watcher.ok(), changes }
    }

    /// Reads the sources. New folders are watched from now on.
    pub(super) fn fingerprint(&mut self) -> Fingerprint {
        let found = ProjectFiles::below(&self.path);
        if let Some(watcher) = &mut self.watcher {
            for folder in &found.folders {
                // A folder that is watched already, or that is gone, needs nothing.
                let _ = watcher.watch(folder, RecursiveMode::NonRecursive);
            }
        }
        let (mut digest, mut newest) = (Sha256::new(), SystemTime::UNIX_EPOCH);
        for file in &found.files {
            let Ok(mut open) = File::open(file) else { continue };
            let Ok(metadata) = open.metadata() else { continue };
            newest = newest.max(metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH));
            digest.update(file.as_os_str().as_encoded_bytes());
            digest.update([0]);
            digest.update(metadata.len().to_le_bytes());
            let mut content = Vec::new();
            let _ = open.by_ref().take(FILE_BYTES_MAX).read_to_end(&mut content);
            digest.update(content);
        }
        Fingerprint { digest: digest.finalize().into(), newest }
    }

    /// The sources once they do not change any more: a file may be half-written. Not longer than
    /// a second, because something may write all the time.
    pub(super) fn wait_until_quiet(&mut self, mut found: Fingerprint) -> Fingerprint {
        let start = Instant::now();
        while start.elapsed() < QUIET_MAX {
            std::thread::sleep(QUIET);
            let again = self.fingerprint();
            if again == found {
                break;
            }
            found = again;
        }
        found
    }

    /// Waits until something may have changed; false if it was stopped.
    pub(super) fn wait_for_change(&self, stop: &CancellationToken) -> bool {
        let start = Instant::now();
        while !stop.is_cancelled() {
            match self.changes.recv_timeout(STOP_PERIOD) {
                Ok(()) => {
                    // One change has several notifications.
                    while self.changes.try_recv().is_ok() {}
                    return true;
                }
                Err(RecvTimeoutError::Timeout) if start.elapsed() >= POLL_PERIOD => return true,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(STOP_PERIOD),
            }
        }
        false
    }
}

/// The files and folders of a project, without what builds make.
#[derive(Default)]
struct ProjectFiles {
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

impl ProjectFiles {
    fn below(path: &Path) -> Self {
        let mut found = Self::default();
        if path.is_dir() {
            found.add(path);
        } else {
            found.files.push(path.to_owned());
            found.folders.extend(path.parent().map(Path::to_owned));
        }
        // File systems list entries in different orders.
        found.files.sort();
        found
    }

    fn add(&mut self, folder: &Path) {
        let mut waiting = vec![folder.to_owned()];
        while let Some(folder) = waiting.pop() {
            if self.folders.len() >= FOLDERS_MAX {
                return;
            }
            let entries = fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
            self.folders.push(folder);
            for entry in entries {
                let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
                // The connector that a build makes is in the project's folder.
                if name.starts_with('.') || name.ends_with(".wasm") {
                    continue;
                }
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() && !IGNORED.contains(&name.as_str()) => {
                        waiting.push(path);
                    }
                    Ok(kind) if !kind.is_dir() && self.files.len() < FILES_MAX => {
                        self.files.push(path);
                    }
                    _ => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_changed_content_of_a_source_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("src/lib.rs", "one");
        let mut sources = Sources::watch(folder.path());
        let first = sources.fingerprint();
        for made in ["target/x", ".build/x", "qa.wasm", "node_modules/a/b.js", "src/.lib.rs.swp"] {
            write(made, "made by a build");
        }
        write("src/lib.rs", "one");
        assert!(sources.fingerprint() == first);
        write("src/lib.rs", "two");
        let second = sources.fingerprint();
        assert!(second != first && second.newest > SystemTime::UNIX_EPOCH);
        write("src/deep/er/mod.rs", "");
        assert!(sources.fingerprint() != second, "a new file is a change");
    }

    #[test]
    fn a_change_of_the_one_file_is_noticed_and_waiting_ends_when_it_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("qa.wasm");
        fs::write(&file, "one").unwrap();
        let mut sources = Sources::watch(&file);
        let first = sources.fingerprint();
        let stop = CancellationToken::new();
        fs::write(&file, "two").unwrap();
        assert!(sources.wait_for_change(&stop));
        assert!(sources.fingerprint() != first);
        stop.cancel();
        assert!(!sources.wait_for_change(&stop));
    }
}
