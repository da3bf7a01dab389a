//! Reads the plugins folder: its files, whether they changed, and their content. Blocking work runs
//! outside the async threads.
//!
//! Knows nothing about connectors except the file name extension.

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
use super::kind::FileKind;

/// Maximum number of files that are read from the folder.
const FILES_MAX: usize = 1_000;
/// Maximum time that a file system may take to answer. A network file system may wait for its
/// server forever.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Limits the threads that read the folder. A thread that waits forever counts, too.
static READERS: Semaphore = Semaphore::const_new(4);

/// The properties that show whether a file may have changed. A difference is only a hint: some file
/// systems change the device, the inode or a time of the same file, and some store times in whole
/// seconds. The content decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FileStamp {
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    device: u64,
    inode: u64,
    unreadable: Option<io::ErrorKind>,
    is_one_of_two: bool,
}

/// A `*.wasm` or `*.js` file in the folder, not yet read.
pub(super) struct FoundFile {
    pub(super) kind: FileKind,
    stamp: FileStamp,
    is_file: bool,
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

    /// Checks the type and size of the file, before it is read.
    ///
    /// # Errors
    /// The file cannot be used; the error says why.
    pub(super) fn check(self, limits: &Limits) -> Result<(), PluginError> {
        if self.stamp.is_one_of_two {
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
            is_one_of_two: false,
        }
    }
}

/// Returns all `*.wasm` and `*.js` files of a folder, by stem. Symbolic links are followed. Of two
/// files with the same stem, neither can be used.
pub(super) async fn list(folder: PathBuf) -> io::Result<BTreeMap<String, FoundFile>> {
    blocking(move || {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some((stem, kind)) = stem(&name) else { continue };
            if found.len() == FILES_MAX {
                tracing::warn!(
                    FILES_MAX,
                    "the plugins folder has too many files; ignoring the rest"
                );
                break;
            }
            let mut file = FoundFile::at(&entry.path(), kind);
            file.stamp.is_one_of_two = found.contains_key(stem);
            found.insert(stem.to_owned(), file);
        }
        Ok(found)
    })
    .await
}

/// Reads a whole file; `None` if the file does not exist any more. A symbolic link to nothing
/// exists.
pub(super) async fn read(
    path: PathBuf,
    kind: FileKind,
    limits: &Limits,
) -> Result<Option<Vec<u8>>, PluginError> {
    let bytes_max = kind.bytes_max(limits);
    let reading = blocking(move || match fs::File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => Ok(None),
        Err(error) => Err(error),
        Ok(file) => {
            let mut bytes = Vec::new();
            // The size that the file system reports may be wrong.
            file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        }
    });
    match reading.await.map_err(PluginError::Read)? {
        Some(bytes) => kind.check_size(bytes.len() as u64, limits).map(|()| Some(bytes)),
        None => Ok(None),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let reading = async {
        let reader = READERS.acquire().await.map_err(io::Error::other)?;
        let work = move || {
            let _reader = reader;
            work()
        };
        spawn_blocking(work).await.map_err(io::Error::other)?
    };
    let no_answer = || Err(io::Error::other("the file system does not answer"));
    timeout(ANSWER_MAX, reading).await.unwrap_or_else(|_| no_answer())
}

/// Returns the stem and the kind of a file that may be a connector; `None` for other files. For
/// `NAME.WASM` returns the whole name, which is not a valid connector name, so that the file is
/// reported and not ignored.
fn stem(file: &str) -> Option<(&str, FileKind)> {
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

    async fn found(folder: &Path) -> FoundFile {
        list(folder.to_owned()).await.unwrap().remove("a").unwrap()
    }

    #[test]
    fn only_components_and_scripts_count() {
        use FileKind::{Component, Script};
        assert_eq!(stem("redmine.wasm"), Some(("redmine", Component)));
        assert_eq!(stem("Red Mine.wasm"), Some(("Red Mine", Component)));
        assert_eq!(stem("redmine.js"), Some(("redmine", Script)));
        assert_eq!(stem("a.wasm.js"), Some(("a.wasm", Script)));
        assert_eq!(stem("REDMINE.WASM"), Some(("REDMINE.WASM", Component)), "reported");
        assert_eq!(stem("redmine.Js"), Some(("redmine.Js", Script)), "reported, not ignored");
        for other in [".redmine.wasm", "redmine.wasm.unfinished", "a.mjs", "wasm", "js"] {
            assert_eq!(stem(other), None);
        }
    }

    #[tokio::test]
    async fn two_files_of_one_name_are_refused() {
        let home = tempfile::tempdir().unwrap();
        for name in ["a.js", "a.wasm"] {
            fs::write(home.path().join(name), "one").unwrap();
        }
        let both = found(home.path()).await;
        let stamp = both.stamp();
        assert!(matches!(both.check(&Limits::default()), Err(PluginError::TwoFiles)));
        fs::remove_file(home.path().join("a.wasm")).unwrap();
        let one = found(home.path()).await;
        assert_ne!(one.stamp(), stamp);
        assert_eq!(one.kind, FileKind::Script);
        one.check(&Limits::default()).unwrap();
    }

    #[tokio::test]
    async fn only_files_of_an_allowed_size_are_read() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.wasm");
        let limits = |component_bytes| Limits { component_bytes, ..Limits::default() };
        let read = async |path, bytes| read(path, FileKind::Component, &limits(bytes)).await;
        fs::write(&path, "one").unwrap();
        assert_eq!(read(path.clone(), 3).await.unwrap(), Some(b"one".to_vec()));
        for too_large in
            [found(home.path()).await.check(&limits(2)).err(), read(path.clone(), 2).await.err()]
        {
            let text = too_large.unwrap().to_string();
            assert!(text.contains("limits.component_bytes"), "{text}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(read(path.clone(), 3).await.unwrap(), None);
        std::os::unix::fs::symlink(home.path().join("away"), &path).unwrap();
        assert!(
            matches!(read(path.clone(), 3).await, Err(PluginError::Read(_))),
            "a link to nothing"
        );
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let folder = found(home.path()).await;
        assert!(matches!(folder.check(&limits(9_999_999)), Err(PluginError::NotAFile)));
        assert!(matches!(read(path.clone(), 3).await, Err(PluginError::Read(_))));
        // The kernel reports the size 0 for this file, as some file systems do.
        let unsized_file = read(PathBuf::from("/proc/self/stat"), 9_999).await.unwrap().unwrap();
        assert!(!unsized_file.is_empty());
    }
}
