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

use super::error::PluginError;

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
}

/// A `*.wasm` file in the folder, not yet read.
pub(super) struct FoundFile {
    stamp: FileStamp,
    is_file: bool,
    error: Option<io::Error>,
}

impl FoundFile {
    fn at(path: &Path) -> Self {
        match fs::metadata(path) {
            Ok(metadata) => {
                Self { stamp: FileStamp::new(&metadata), is_file: metadata.is_file(), error: None }
            }
            Err(error) => {
                let unreadable = Some(error.kind());
                let stamp = FileStamp { unreadable, ..FileStamp::default() };
                Self { stamp, is_file: false, error: Some(error) }
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
    pub(super) fn check(self, bytes_max: u64) -> Result<(), PluginError> {
        if let Some(error) = self.error {
            return Err(PluginError::Read(error));
        }
        if !self.is_file {
            return Err(PluginError::NotAFile);
        }
        let bytes = self.stamp.len;
        if bytes > bytes_max {
            return Err(PluginError::TooLarge { bytes, bytes_max });
        }
        Ok(())
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
        }
    }
}

/// Returns all `*.wasm` files of a folder, by stem. Symbolic links are followed.
pub(super) async fn list(folder: PathBuf) -> io::Result<BTreeMap<String, FoundFile>> {
    blocking(move || {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(stem) = stem(&name) else { continue };
            if found.len() == FILES_MAX {
                tracing::warn!(
                    FILES_MAX,
                    "the plugins folder has too many files; ignoring the rest"
                );
                break;
            }
            found.insert(stem.to_owned(), FoundFile::at(&entry.path()));
        }
        Ok(found)
    })
    .await
}

/// Reads a whole file; `None` if the file does not exist any more.
pub(super) async fn read(path: PathBuf, bytes_max: u64) -> Result<Option<Vec<u8>>, PluginError> {
    let reading = blocking(move || match fs::File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(file) => {
            let mut bytes = Vec::new();
            // The size that the file system reports may be wrong.
            file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        }
    });
    match reading.await.map_err(PluginError::Read)? {
        Some(bytes) if bytes.len() as u64 > bytes_max => {
            Err(PluginError::TooLarge { bytes: bytes.len() as u64, bytes_max })
        }
        read => Ok(read),
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

/// Returns the stem of a file that may be a connector; `None` for other files. For `NAME.WASM`
/// returns the whole name, which is not a valid connector name, so that the file is reported and
/// not ignored.
fn stem(file: &str) -> Option<&str> {
    if file.starts_with('.') {
        return None;
    }
    let is_other_case =
        || Path::new(file).extension()?.eq_ignore_ascii_case("wasm").then_some(file);
    file.strip_suffix(".wasm").or_else(is_other_case)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn found(folder: &Path) -> FoundFile {
        list(folder.to_owned()).await.unwrap().remove("a").unwrap()
    }

    #[test]
    fn only_wasm_files_count() {
        assert_eq!(stem("redmine.wasm"), Some("redmine"));
        assert_eq!(stem("Red Mine.wasm"), Some("Red Mine"));
        assert_eq!(stem("REDMINE.WASM"), Some("REDMINE.WASM"), "reported, not ignored");
        for other in [".redmine.wasm", "redmine.wasm.unfinished", "redmine.txt", "wasm"] {
            assert_eq!(stem(other), None);
        }
    }

    #[tokio::test]
    async fn only_files_of_an_allowed_size_are_read() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.wasm");
        fs::write(&path, "one").unwrap();
        assert_eq!(read(path.clone(), 3).await.unwrap(), Some(b"one".to_vec()));
        for too_large in
            [found(home.path()).await.check(2).err(), read(path.clone(), 2).await.err()]
        {
            let text = too_large.unwrap().to_string();
            assert!(text.contains("limits.component_bytes"), "{text}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(read(path.clone(), 3).await.unwrap(), None);
        fs::create_dir(&path).unwrap();
        let folder = found(home.path()).await;
        assert!(matches!(folder.check(9_999_999), Err(PluginError::NotAFile)));
        assert!(matches!(read(path.clone(), 3).await, Err(PluginError::Read(_))));
        // The kernel reports the size 0 for this file, as some file systems do.
        let unsized_file = read(PathBuf::from("/proc/self/stat"), 9_999).await.unwrap().unwrap();
        assert!(!unsized_file.is_empty());
    }
}
