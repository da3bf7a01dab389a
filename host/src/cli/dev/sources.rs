//! Watches the sources of a connector, and detects changes of their content.
//!
//! A notification of the file system only triggers a comparison of the content. Otherwise a build
//! that writes into its own project folder would trigger the next build.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::cli::output::eprint;

/// The names of folders that builds and tools write. These folders are not watched.
const IGNORED_FOLDERS: [&str; 5] = ["target", "node_modules", "__pycache__", "dist", "venv"];
/// Maximum number of files that are compared.
const FILES_MAX: usize = 2_000;
/// Maximum number of folders whose files are compared.
const FOLDERS_MAX: usize = 500;
/// Maximum number of bytes of a file that are compared. If a file is longer, its beginning and its
/// length are compared.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The sources count as complete if they do not change for this time.
const QUIET_PERIOD: Duration = Duration::from_millis(40);
/// Maximum time to wait until the sources stop changing.
const QUIET_WAIT_MAX: Duration = Duration::from_secs(1);
/// The period at which the sources are compared without a notification.
const POLL_PERIOD: Duration = Duration::from_secs(2);
/// The period at which a wait for changes checks whether the command was stopped.
const STOP_CHECK_PERIOD: Duration = Duration::from_millis(100);

/// A hash of the content of the sources.
#[derive(Clone, Debug)]
pub(super) struct Fingerprint {
    /// The SHA-256 of the path, the length and the first [`FILE_BYTES_MAX`] bytes of each file.
    digest: [u8; 32],
    /// The newest modification time of the sources.
    pub(super) newest_change: SystemTime,
}

/// Fingerprints of the same content are equal, even if the files were written again.
impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

/// The sources of a connector: the files below a project folder without the output of builds, or
/// one file.
pub(super) struct Sources {
    path: PathBuf,
    /// Sends the notifications; `None` if the system cannot send any.
    watcher: Option<RecommendedWatcher>,
    notifications: Receiver<()>,
}

impl Sources {
    /// Prepares to watch a file or a folder. [`Self::fingerprint`] then begins to watch it. If the
    /// system cannot send notifications, the sources are compared only every [`POLL_PERIOD`].
    pub(super) fn watch(path: &Path) -> Self {
        let (sender, notifications) = channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if !event.is_ok_and(|event| event.kind.is_access()) {
                let _ = sender.send(());
            }
        });
        let watcher = watcher.inspect_err(|error| {
            eprint(&format!(
                "warning: the system sends no file notifications, so changes are noticed only \
                 every 2 s: {error}"
            ));
        });
        Self { path: path.to_owned(), watcher: watcher.ok(), notifications }
    }

    /// Reads the sources and returns their fingerprint. Also begins to watch new folders.
    pub(super) fn fingerprint(&mut self) -> Fingerprint {
        let project = ProjectFiles::list(&self.path);
        if let Some(watcher) = &mut self.watcher {
            for folder in &project.folders {
                // Ignore errors: without a watch, changes are still found every `POLL_PERIOD`.
                let _ = watcher.watch(folder, RecursiveMode::NonRecursive);
            }
        }
        let (mut digest, mut newest_change) = (Sha256::new(), SystemTime::UNIX_EPOCH);
        for file in &project.files {
            let Ok(mut open) = File::open(file) else { continue };
            let Ok(metadata) = open.metadata() else { continue };
            newest_change =
                newest_change.max(metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH));
            digest.update(file.as_os_str().as_encoded_bytes());
            digest.update([0]);
            digest.update(metadata.len().to_le_bytes());
            let mut content = Vec::new();
            let _ = open.by_ref().take(FILE_BYTES_MAX).read_to_end(&mut content);
            digest.update(content);
        }
        Fingerprint { digest: digest.finalize().into(), newest_change }
    }

    /// Waits until the sources stop changing, because a file may be half-written. Waits only about
    /// a second, because a program may write continuously.
    pub(super) fn wait_until_quiet(&mut self, mut last: Fingerprint) -> Fingerprint {
        let start = Instant::now();
        while start.elapsed() < QUIET_WAIT_MAX {
            std::thread::sleep(QUIET_PERIOD);
            let current = self.fingerprint();
            if current == last {
                break;
            }
            last = current;
        }
        last
    }

    /// Waits until the sources may have changed. Returns false if `stop` was cancelled first.
    pub(super) fn wait_for_change(&self, stop: &CancellationToken) -> bool {
        let start = Instant::now();
        while !stop.is_cancelled() {
            match self.notifications.recv_timeout(STOP_CHECK_PERIOD) {
                Ok(()) => {
                    // Discard the other notifications of the same change.
                    while self.notifications.try_recv().is_ok() {}
                    return true;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(STOP_CHECK_PERIOD),
            }
            if start.elapsed() >= POLL_PERIOD {
                return true;
            }
        }
        false
    }
}

/// The files and folders of a project, without hidden ones and the output of builds.
#[derive(Default)]
struct ProjectFiles {
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

impl ProjectFiles {
    /// Lists the files below a folder, at most [`FILES_MAX`]. If the path is a file, lists only
    /// this file.
    fn list(path: &Path) -> Self {
        let mut listed = Self::default();
        if path.is_dir() {
            listed.add_folder(path);
        } else {
            listed.files.push(path.to_owned());
            listed.folders.extend(path.parent().map(Path::to_owned));
        }
        // Sort the files, because a file system may return its entries in any order.
        listed.files.sort();
        listed
    }

    fn add_folder(&mut self, folder: &Path) {
        let mut pending = vec![folder.to_owned()];
        while let Some(folder) = pending.pop() {
            if self.folders.len() >= FOLDERS_MAX {
                return;
            }
            let entries = fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
            self.folders.push(folder);
            for entry in entries {
                let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
                // Skip hidden entries. Skip components, because a build writes its component into
                // the folder of the project.
                if name.starts_with('.') || name.ends_with(".wasm") {
                    continue;
                }
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() && !IGNORED_FOLDERS.contains(&name.as_str()) => {
                        pending.push(path);
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
    fn only_changed_content_of_a_source_changes_the_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("src/lib.rs", "one");
        let mut sources = Sources::watch(folder.path());
        let first = sources.fingerprint();
        for generated in
            ["target/x", ".build/x", "qa.wasm", "node_modules/a/b.js", "src/.lib.rs.swp"]
        {
            write(generated, "made by a build");
        }
        write("src/lib.rs", "one");
        assert!(sources.fingerprint() == first);
        write("src/lib.rs", "two");
        let second = sources.fingerprint();
        assert!(second != first && second.newest_change > SystemTime::UNIX_EPOCH);
        write("src/deep/er/mod.rs", "");
        assert!(sources.fingerprint() != second, "a new file is a change");
    }

    #[test]
    fn a_wait_ends_when_the_file_changes_or_when_the_command_is_stopped() {
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
