//! Reads the plugins folder: its files, whether they changed, and their content. Blocking work runs outside
//! the async threads.
//!
//! Knows nothing of connectors but the ending of their files.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;

use super::error::PluginError;

/// Most files of the folder that are read.
const FILES_MAX: usize = 1_000;

/// What is compared to see whether a file changed: different after every change of its content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FileStamp {
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    device: u64,
    inode: u64,
    unreadable: Option<io::ErrorKind>,
}

/// A `*.wasm` of the folder.
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

    /// Checks what is known before the file is read.
    ///
    /// # Errors
    /// Why the file need not be read.
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

/// All `*.wasm` of a folder by stem. Symbolic links are followed.
pub(super) async fn list(folder: PathBuf) -> io::Result<BTreeMap<String, FoundFile>> {
    let listing = spawn_blocking(move || {
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
    });
    listing.await.map_err(io::Error::other)?
}

/// Reads a whole file; `None` if it is gone or changed since `stamp`.
pub(super) async fn read_unchanged(
    path: PathBuf,
    stamp: FileStamp,
) -> Result<Option<Vec<u8>>, PluginError> {
    let reading = spawn_blocking(move || match read_if_unchanged(&path, &stamp) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read,
    });
    reading.await.map_err(io::Error::other).flatten().map_err(PluginError::Read)
}

fn read_if_unchanged(path: &Path, stamp: &FileStamp) -> io::Result<Option<Vec<u8>>> {
    let file = fs::File::open(path)?;
    if FileStamp::new(&file.metadata()?) != *stamp {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    // A file that grows while it is read must not be read without limit.
    (&file).take(stamp.len).read_to_end(&mut bytes)?;
    Ok((FileStamp::new(&file.metadata()?) == *stamp).then_some(bytes))
}

/// The stem of a file that may be a connector.
fn stem(file: &str) -> Option<&str> {
    if file.starts_with('.') { None } else { file.strip_suffix(".wasm") }
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
        for other in [".redmine.wasm", "redmine.wasm.unfinished", "redmine.txt", "wasm"] {
            assert_eq!(stem(other), None);
        }
    }

    #[tokio::test]
    async fn a_file_that_changed_is_not_read() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.wasm");
        fs::write(&path, "one").unwrap();
        let file = found(home.path()).await;
        let read = || read_unchanged(path.clone(), file.stamp());
        assert_eq!(read().await.unwrap(), Some(b"one".to_vec()));
        fs::write(&path, "longer").unwrap();
        assert_eq!(read().await.unwrap(), None);
        let too_large = file.check(2).unwrap_err();
        assert!(too_large.to_string().contains("limits.component_bytes"), "{too_large}");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let folder = found(home.path()).await;
        assert!(matches!(folder.check(9_999_999), Err(PluginError::NotAFile)));
    }
}
