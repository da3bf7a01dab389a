//! Reads the plugins folder: finds its files, shows whether they may have changed, and reads their
//! content. Blocking calls run outside the threads of the async runtime.
//!
//! This file never interprets the content of a connector.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::domain::Limits;

use super::error::PluginError;
use super::file_kind::FileKind;

/// Maximum number of connectors in the folder. Files of further connectors are ignored.
const FILES_MAX: usize = 1_000;
/// Maximum time for a call to the file system, including the wait for its permit. A network file
/// system may wait for its server forever.
const FILE_SYSTEM_CALL_MAX: Duration = Duration::from_secs(60);
/// Limits the number of threads that read the folder. A thread that waits forever counts too.
static READER_PERMITS: Semaphore = Semaphore::const_new(4);

/// The properties that show whether a file may have changed. Different stamps do not prove that the
/// content changed, because some file systems change the device, the inode or a time of an
/// unchanged file. Equal stamps do not prove the opposite, because some file systems store times in
/// whole seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FileStamp {
    len: u64,
    /// The time of the last change of the content: seconds and nanoseconds.
    modified: (i64, i64),
    /// The time of the last change of the content or of the metadata: seconds and nanoseconds.
    changed: (i64, i64),
    device: u64,
    inode: u64,
    /// The kind of the error if the metadata cannot be read.
    unreadable: Option<io::ErrorKind>,
    /// Whether a file with the same stem was found before. Then neither file can be used.
    has_same_stem: bool,
}

/// A `*.wasm` or `*.js` file in the folder, not yet read.
pub(super) struct FoundFile {
    pub(super) kind: FileKind,
    stamp: FileStamp,
    /// Whether the path is a regular file, or a symbolic link to one.
    is_file: bool,
    /// The error if the metadata cannot be read.
    error: Option<io::Error>,
}

impl FoundFile {
    fn at(path: &Path, kind: FileKind) -> Self {
        match fs::metadata(path) {
            Ok(metadata) => {
                let (stamp, is_file) = (FileStamp::new(&metadata), metadata.is_file());
                Self { kind, stamp, is_file, error: None }
            }
            Err(error) => {
                let unreadable = Some(error.kind());
                let stamp = FileStamp { unreadable, ..FileStamp::default() };
                Self { kind, stamp, is_file: false, error: Some(error) }
            }
        }
    }

    pub(super) fn stamp(&self) -> FileStamp {
        self.stamp.clone()
    }

    pub(super) fn check(self, limits: &Limits) -> Result<(), PluginError> {
        if self.stamp.has_same_stem {
            return Err(PluginError::TwoFiles);
        }
        if let Some(error) = self.error {
            return Err(PluginError::Read(error));
        }
        if !self.is_file {
            return Err(PluginError::NotAFile);
        }
        self.kind.check_size(self.stamp.len, limits)
    }
}

impl FileStamp {
    #[cfg(test)]
    pub(super) fn of_inode(inode: u64) -> Self {
        Self { inode, ..Self::default() }
    }

    fn new(metadata: &Metadata) -> Self {
        Self {
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            device: metadata.dev(),
            inode: metadata.ino(),
            unreadable: None,
            has_same_stem: false,
        }
    }
}

/// Returns the `*.wasm` and `*.js` files of a folder, by stem, at most [`FILES_MAX`]. Symbolic
/// links are followed. If two files have the same stem, neither of them can be used.
pub(super) async fn list_files(folder: PathBuf) -> io::Result<BTreeMap<String, FoundFile>> {
    run_blocking(move || {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some((stem, kind)) = stem_and_kind(&name) else { continue };
            if files.len() == FILES_MAX {
                tracing::warn!(
                    FILES_MAX,
                    "the plugins folder has too many files; the other files are ignored"
                );
                break;
            }
            let mut file = FoundFile::at(&entry.path(), kind);
            file.stamp.has_same_stem = files.contains_key(stem);
            files.insert(stem.to_owned(), file);
        }
        Ok(files)
    })
    .await
}

/// Reads a whole file. Returns `None` if the file does not exist any more. For a symbolic link
/// whose target does not exist, returns an error.
pub(super) async fn read_file(
    path: PathBuf,
    kind: FileKind,
    limits: &Limits,
) -> Result<Option<Vec<u8>>, PluginError> {
    let bytes_max = kind.bytes_max(limits);
    let reading = run_blocking(move || match fs::File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => Ok(None),
        Err(error) => Err(error),
        Ok(file) => {
            let mut bytes = Vec::new();
            // Limit the read, because the size that the file system reports may be wrong.
            file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        }
    });
    match reading.await.map_err(PluginError::Read)? {
        Some(bytes) => kind.check_size(bytes.len() as u64, limits).map(|()| Some(bytes)),
        None => Ok(None),
    }
}

/// Runs a blocking call to the file system outside the async threads.
async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let reading = async {
        let permit = READER_PERMITS.acquire().await.map_err(io::Error::other)?;
        let work = move || {
            let _permit = permit;
            work()
        };
        spawn_blocking(work).await.map_err(io::Error::other)?
    };
    let no_answer = || Err(io::Error::other("the file system does not answer"));
    timeout(FILE_SYSTEM_CALL_MAX, reading).await.unwrap_or_else(|_| no_answer())
}

/// Returns the stem and the kind of a file that may be a connector. For a file such as `NAME.WASM`,
/// returns the whole name, which is not a valid connector name, so the file is reported and not
/// ignored.
fn stem_and_kind(file: &str) -> Option<(&str, FileKind)> {
    if file.starts_with('.') {
        return None;
    }
    let (stem, extension) = file.rsplit_once('.')?;
    let is_extension = |kind: &FileKind| extension.eq_ignore_ascii_case(kind.extension());
    let kind = FileKind::ALL.into_iter().find(is_extension)?;
    Some((if extension == kind.extension() { stem } else { file }, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn find_file_a(folder: &Path) -> FoundFile {
        list_files(folder.to_owned()).await.unwrap().remove("a").unwrap()
    }

    #[test]
    fn only_components_and_scripts_are_found() {
        use FileKind::{Component, Script};
        assert_eq!(stem_and_kind("redmine.wasm"), Some(("redmine", Component)));
        assert_eq!(stem_and_kind("Red Mine.wasm"), Some(("Red Mine", Component)));
        assert_eq!(stem_and_kind("redmine.js"), Some(("redmine", Script)));
        assert_eq!(stem_and_kind("a.wasm.js"), Some(("a.wasm", Script)));
        assert_eq!(stem_and_kind("REDMINE.WASM"), Some(("REDMINE.WASM", Component)), "reported");
        assert_eq!(
            stem_and_kind("redmine.Js"),
            Some(("redmine.Js", Script)),
            "reported, not ignored"
        );
        for other in [".redmine.wasm", "redmine.wasm.unfinished", "a.mjs", "wasm", "js"] {
            assert_eq!(stem_and_kind(other), None);
        }
    }

    #[tokio::test]
    async fn two_files_with_the_same_stem_are_refused() {
        let home = tempfile::tempdir().unwrap();
        for name in ["a.js", "a.wasm"] {
            fs::write(home.path().join(name), "one").unwrap();
        }
        let both = find_file_a(home.path()).await;
        let stamp = both.stamp();
        assert!(matches!(both.check(&Limits::default()), Err(PluginError::TwoFiles)));
        fs::remove_file(home.path().join("a.wasm")).unwrap();
        let one = find_file_a(home.path()).await;
        assert_ne!(one.stamp(), stamp);
        assert_eq!(one.kind, FileKind::Script);
        one.check(&Limits::default()).unwrap();
    }

    #[tokio::test]
    async fn only_files_of_an_allowed_size_are_read() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.wasm");
        let limits = |component_bytes| Limits { component_bytes, ..Limits::default() };
        let read = async |path, bytes| read_file(path, FileKind::Component, &limits(bytes)).await;
        fs::write(&path, "one").unwrap();
        assert_eq!(read(path.clone(), 3).await.unwrap(), Some(b"one".to_vec()));
        for too_large in [
            find_file_a(home.path()).await.check(&limits(2)).err(),
            read(path.clone(), 2).await.err(),
        ] {
            let text = too_large.unwrap().to_string();
            assert!(text.contains("limits.component_bytes"), "{text}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(read(path.clone(), 3).await.unwrap(), None);
        std::os::unix::fs::symlink(home.path().join("missing"), &path).unwrap();
        assert!(
            matches!(read(path.clone(), 3).await, Err(PluginError::Read(_))),
            "a link whose target does not exist"
        );
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let folder = find_file_a(home.path()).await;
        assert!(matches!(folder.check(&limits(9_999_999)), Err(PluginError::NotAFile)));
        assert!(matches!(read(path.clone(), 3).await, Err(PluginError::Read(_))));
        // The kernel reports the size 0 for this file, as some file systems do.
        let unsized_file = read(PathBuf::from("/proc/self/stat"), 9_999).await.unwrap().unwrap();
        assert!(!unsized_file.is_empty());
    }
}
