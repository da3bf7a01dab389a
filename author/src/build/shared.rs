//! Chooses the folders into which tools from PyPI are installed. Projects with the same list of
//! packages and the same Python share a folder. The lists of the templates pin versions and hashes,
//! so equal lists install equal tools.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use super::tools::PYTHON;

/// A folder into which tools are installed. If it is a shared folder, no other build changes it
/// while this value exists.
pub(super) struct ToolsFolder {
    pub(super) path: PathBuf,
    /// The lock of a shared folder. It is `None` for the project's own folder, which needs no lock.
    _lock: Option<File>,
}

/// Chooses and locks the folder below `shared` for a list of packages. If `shared` is `None` or
/// cannot be written, returns the project's own folder, `own_folder`.
pub(super) fn choose_tools_folder(
    shared: Option<&Path>,
    own_folder: PathBuf,
    list: &str,
) -> ToolsFolder {
    let locked = shared.and_then(|shared| lock_shared_folder(shared, list));
    locked.unwrap_or(ToolsFolder { path: own_folder, _lock: None })
}

/// Waits until it can lock the folder for this list. Returns `None` if `shared` cannot be written.
fn lock_shared_folder(shared: &Path, list: &str) -> Option<ToolsFolder> {
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
    fn equal_lists_share_a_folder_if_it_can_be_written() {
        let (cache, own) = (tempfile::tempdir().unwrap(), PathBuf::from("own"));
        let path = |shared, list| choose_tools_folder(shared, own.clone(), list).path;
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
        let first = choose_tools_folder(Some(cache.path()), PathBuf::new(), "zig==1");
        let file = File::open(first.path.with_extension("lock")).unwrap();
        assert!(file.try_lock().is_err());
        drop(first);
        assert!(file.try_lock().is_ok());
    }
}
