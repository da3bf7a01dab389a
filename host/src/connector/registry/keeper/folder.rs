//! What the disk says: the files of the folder, whether they changed, their content. Blocking work is
//! done off the runtime's threads.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;

/// Files of the folder that are looked at.
const FILES_MAX: usize = 1_000;

/// Changes whenever a file's content may have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    device: u64,
    inode: u64,
    error: Option<String>,
}

/// A `*.wasm` as it was seen.
pub(super) struct Seen {
    stamp: Stamp,
    is_file: bool,
}

impl Seen {
    fn of(path: &Path) -> Self {
        match fs::metadata(path) {
            Ok(found) => Self { stamp: Stamp::of(&found), is_file: found.is_file() },
            Err(error) => {
                let error = format!("the file cannot be read: {error}");
                Self { stamp: Stamp { error: Some(error), ..Stamp::default() }, is_file: false }
            }
        }
    }

    pub(super) fn stamp(&self) -> Stamp {
        self.stamp.clone()
    }

    /// Why it need not even be read.
    pub(super) fn unusable(&self, bytes_max: u64) -> Option<String> {
        if let Some(error) = &self.stamp.error {
            return Some(error.clone());
        }
        if !self.is_file {
            return Some("it is no file".to_owned());
        }
        (self.stamp.len > bytes_max).then(|| {
            format!("it has {} bytes: over `limits.component_bytes` = {bytes_max}", self.stamp.len)
        })
    }
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        Self {
            len: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
            device: found.dev(),
            inode: found.ino(),
            error: None,
        }
    }
}

/// All `*.wasm` of a folder by stem, links followed.
pub(super) async fn list(folder: PathBuf) -> Result<BTreeMap<String, Seen>, String> {
    let shown = folder.display().to_string();
    let listed = spawn_blocking(move || {
        let mut seen = BTreeMap::new();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(stem) = stem(&name) else { continue };
            if seen.len() == FILES_MAX {
                tracing::warn!(FILES_MAX, "the folder has more connectors than are looked at");
                break;
            }
            seen.insert(stem.to_owned(), Seen::of(&entry.path()));
        }
        Ok::<_, std::io::Error>(seen)
    });
    match listed.await {
        Ok(Ok(seen)) => Ok(seen),
        Ok(Err(error)) => Err(format!("the connectors' folder {shown} cannot be read: {error}")),
        Err(error) => Err(format!("the connectors' folder {shown} was not read: {error}")),
    }
}

/// Reads a whole file and makes something of it; `None` where it no longer is what it was.
pub(super) async fn read<T: Send + 'static>(
    path: PathBuf,
    stamp: Stamp,
    make: impl FnOnce(Vec<u8>) -> T + Send + 'static,
) -> Option<Result<T, String>> {
    let work = spawn_blocking(move || match whole(&path, &stamp) {
        Ok(Some(bytes)) => Some(Ok(make(bytes))),
        Ok(None) => None,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => Some(Err(format!("the file cannot be read: {error}"))),
    });
    work.await.unwrap_or_else(|error| Some(Err(format!("the file was not read: {error}"))))
}

fn whole(path: &Path, stamp: &Stamp) -> std::io::Result<Option<Vec<u8>>> {
    let file = fs::File::open(path)?;
    if Stamp::of(&file.metadata()?) != *stamp {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    // A file that grows meanwhile is read no further than it was long.
    (&file).take(stamp.len).read_to_end(&mut bytes)?;
    Ok((Stamp::of(&file.metadata()?) == *stamp).then_some(bytes))
}

/// The stem of a file that may be a connector.
fn stem(file: &str) -> Option<&str> {
    if file.starts_with('.') { None } else { file.strip_suffix(".wasm") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_wasm_files_count() {
        assert_eq!(stem("redmine.wasm"), Some("redmine"));
        assert_eq!(stem("Red Mine.wasm"), Some("Red Mine"));
        for other in [".redmine.wasm", "redmine.wasm.unfinished", "redmine.txt", "wasm"] {
            assert_eq!(stem(other), None);
        }
    }

    #[tokio::test]
    async fn a_file_that_changed_is_not_taken() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.wasm");
        fs::write(&path, "one").unwrap();
        let seen = list(home.path().to_owned()).await.unwrap().remove("a").unwrap();
        let read_it = || read(path.clone(), seen.stamp(), |bytes| bytes);
        assert_eq!(read_it().await, Some(Ok(b"one".to_vec())));
        fs::write(&path, "longer").unwrap();
        assert_eq!(read_it().await, None);
        assert!(seen.unusable(2).unwrap().contains("component_bytes"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let folder = list(home.path().to_owned()).await.unwrap().remove("a").unwrap();
        assert!(folder.unusable(9_999_999).unwrap().contains("no file"));
    }
}
