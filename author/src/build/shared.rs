//! The folders in which projects share the tools of PyPI: one for each list of packages. A list
//! pins versions and hashes, so equal lists give equal tools. Zig's compiled libraries depend on
//! the folder of the compiler, so they are shared, too.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use super::tools::PYTHON;

/// A folder of tools that no other build changes meanwhile.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// Released when this is dropped. The project's own folder has none.
    _lock: Option<File>,
}

/// The folder of a list of packages below `shared`; `own`, that of the project, if there is no
/// shared one, or it cannot be written.
pub(super) fn folder(shared: Option<&Path>, own: PathBuf, list: &str) -> Folder {
    shared.and_then(|shared| locked(shared, list)).unwrap_or(Folder { path: own, _lock: None })
}

fn locked(shared: &Path, list: &str) -> Option<Folder> {
    let mut hasher = DefaultHasher::new();
    // A virtual environment belongs to a version of Python.
    (list, PYTHON.printed()).hash(&mut hasher);
    let path = shared.join(format!("{:016x}", hasher.finish()));
    fs::create_dir_all(shared).ok()?;
    let lock = File::create(path.with_extension("lock")).ok()?;
    lock.lock().ok()?;
    Some(Folder { path, _lock: Some(lock) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lists_share_a_folder_and_one_that_cannot_be_written_is_not_used() {
        let (cache, own) = (tempfile::tempdir().unwrap(), PathBuf::from("own"));
        let path = |shared, list| folder(shared, own.clone(), list).path;
        let first = path(Some(cache.path()), "zig==1");
        assert!(first.starts_with(cache.path()));
        assert_eq!(path(Some(cache.path()), "zig==1"), first);
        assert_ne!(path(Some(cache.path()), "zig==2"), first);
        assert_eq!(path(None, "zig==1"), own);
        assert_eq!(path(Some(Path::new("/proc/none")), "zig==1"), own);
    }

    #[test]
    fn a_second_build_waits_for_the_first() {
        let cache = tempfile::tempdir().unwrap();
        let first = folder(Some(cache.path()), PathBuf::new(), "zig==1");
        let file = File::open(first.path.with_extension("lock")).unwrap();
        assert!(file.try_lock().is_err());
        drop(first);
        assert!(file.try_lock().is_ok());
    }
}
