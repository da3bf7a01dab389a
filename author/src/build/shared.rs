//! Chooses the folders into which tools from PyPI are installed. Projects with the same list of
//! packages share a folder: a list pins versions and hashes, so equal lists install equal tools.
//! Zig stores compiled libraries for each path of the compiler, so projects share these, too.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use super::tools::PYTHON;

/// A folder with tools. While this value exists, no other build changes the folder.
pub(super) struct ToolsFolder {
    pub(super) path: PathBuf,
    /// The lock, released when the value is dropped. The project's own folder needs none.
    _lock: Option<File>,
}

/// The folder below `shared` for a list of packages, locked. Returns `own`, the folder of the
/// project, if there is no shared folder or if it cannot be written.
pub(super) fn tools_folder(shared: Option<&Path>, own: PathBuf, list: &str) -> ToolsFolder {
    let locked = shared.and_then(|shared| lock_shared(shared, list));
    locked.unwrap_or(ToolsFolder { path: own, _lock: None })
}

fn lock_shared(shared: &Path, list: &str) -> Option<ToolsFolder> {
    let mut hasher = DefaultHasher::new();
    // A virtual environment works only with the version of Python that created it.
    (list, PYTHON.printed_version()).hash(&mut hasher);
    let path = shared.join(format!("{:016x}", hasher.finish()));
    fs::create_dir_all(shared).ok()?;
    let lock = File::create(path.with_extension("lock")).ok()?;
    lock.lock().ok()?;
    Some(ToolsFolder { path, _lock: Some(lock) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lists_share_a_folder_unless_it_cannot_be_written() {
        let (cache, own) = (tempfile::tempdir().unwrap(), PathBuf::from("own"));
        let path = |shared, list| tools_folder(shared, own.clone(), list).path;
        let first = path(Some(cache.path()), "zig==1");
        assert!(first.starts_with(cache.path()));
        assert_eq!(path(Some(cache.path()), "zig==1"), first);
        assert_ne!(path(Some(cache.path()), "zig==2"), first);
        assert_eq!(path(None, "zig==1"), own);
        assert_eq!(path(Some(Path::new("/proc/none")), "zig==1"), own);
    }

    #[test]
    fn a_second_build_waits_until_the_first_releases_the_lock() {
        let cache = tempfile::tempdir().unwrap();
        let first = tools_folder(Some(cache.path()), PathBuf::new(), "zig==1");
        let file = File::open(first.path.with_extension("lock")).unwrap();
        assert!(file.try_lock().is_err());
        drop(first);
        assert!(file.try_lock().is_ok());
    }
}
