//! Writes connectors' files into the plugins folder, and removes them from it.
//!
//! A file is written completely or not at all. This module never decides which version is in use:
//! the scanner decides.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::domain::ConnectorName;

use super::file_kind::FileKind;

/// The beginning of the name of a file that is being written. The scanner ignores such a file.
pub(super) const UNFINISHED_PREFIX: &str = ".version-";
/// The permissions of a new connector file.
const NEW_FILE_MODE: u32 = 0o644;

/// Returns the path of a connector's file in the plugins folder.
pub(super) fn connector_file_path(plugins: &Path, name: &ConnectorName, kind: FileKind) -> PathBuf {
    plugins.join(name.as_str()).with_extension(kind.extension())
}

/// Writes a connector's file into the plugins folder: replaces the file of the same kind, and
/// removes the file of the other kind. Returns the path of the new file.
///
/// # Errors
/// The plugins folder cannot be written.
pub(super) fn write_connector_file(
    plugins: &Path,
    name: &ConnectorName,
    kind: FileKind,
    content: &[u8],
) -> io::Result<PathBuf> {
    let target = connector_file_path(plugins, name, kind);
    let mode =
        fs::metadata(&target).map_or(NEW_FILE_MODE, |metadata| metadata.permissions().mode());
    write_atomically(&target, content, mode)?;
    for other in FileKind::ALL.into_iter().filter(|other| *other != kind) {
        remove_file(&connector_file_path(plugins, name, other))?;
    }
    Ok(target)
}

/// Removes a connector's files of both kinds. Returns whether there was a file.
///
/// # Errors
/// The plugins folder cannot be written.
pub(super) fn remove_connector_files(plugins: &Path, name: &ConnectorName) -> io::Result<bool> {
    let mut removed = false;
    for kind in FileKind::ALL {
        removed |= remove_file(&connector_file_path(plugins, name, kind))?;
    }
    Ok(removed)
}

/// Creates the plugins folder if it does not exist. Deletes unfinished files that a killed process
/// left in it a day ago or earlier; a younger file may belong to a process that still writes it.
///
/// # Errors
/// The folder cannot be created.
pub(super) fn prepare_folder(plugins: &Path) -> io::Result<()> {
    fs::create_dir_all(plugins)?;
    delete_unfinished(plugins, Duration::from_secs(24 * 60 * 60));
    Ok(())
}

/// Deletes unfinished files of at least this age. Only logs an error.
pub(super) fn delete_unfinished(folder: &Path, age: Duration) {
    if let Err(error) = delete_temporary(folder, UNFINISHED_PREFIX, age) {
        tracing::warn!(%error, folder = %folder.display(), "cannot delete unfinished files");
    }
}

/// Deletes files and folders whose names begin with `prefix` and that are at least this old, and
/// all of them if the age is zero.
pub(super) fn delete_temporary(folder: &Path, prefix: &str, age: Duration) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_old = || {
            let modified = entry.metadata().and_then(|metadata| metadata.modified()).ok();
            modified.is_some_and(|at| at.elapsed().is_ok_and(|file_age| file_age >= age))
        };
        let is_temporary = entry.file_name().to_string_lossy().starts_with(prefix);
        if is_temporary && (age.is_zero() || is_old()) {
            match entry.file_type()?.is_dir() {
                true => fs::remove_dir_all(entry.path())?,
                false => fs::remove_file(entry.path())?,
            }
        }
    }
    Ok(())
}

/// Writes a file completely or not at all, and syncs it to the disk.
pub(super) fn write_atomically(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix(UNFINISHED_PREFIX).permissions(Permissions::from_mode(mode));
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

/// Removes a file. Returns whether there was a file.
fn remove_file(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_files_of_a_killed_process_are_deleted() {
        let home = tempfile::tempdir().unwrap();
        let file = |name: &str| home.path().join(name);
        for name in [".version-old", ".version-new", "c.wasm"] {
            fs::write(file(name), "").unwrap();
        }
        for name in [".version-old", "c.wasm"] {
            let file = File::options().write(true).open(file(name)).unwrap();
            let two_days = Duration::from_secs(2 * 24 * 60 * 60);
            file.set_modified(file.metadata().unwrap().modified().unwrap() - two_days).unwrap();
        }
        let existing =
            || [".version-old", ".version-new", "c.wasm"].map(|name| file(name).exists());
        prepare_folder(home.path()).unwrap();
        assert_eq!(existing(), [false, true, true]);
        delete_unfinished(home.path(), Duration::ZERO);
        assert_eq!(existing(), [false, false, true]);
    }

    #[test]
    fn a_file_replaces_the_connectors_file_of_either_kind() {
        let home = tempfile::tempdir().unwrap();
        let (folder, name) = (home.path(), "c".parse().unwrap());
        fs::write(folder.join("other.js"), "").unwrap();
        let script = write_connector_file(folder, &name, FileKind::Script, b"one").unwrap();
        assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o777, NEW_FILE_MODE);
        fs::set_permissions(&script, Permissions::from_mode(0o640)).unwrap();
        write_connector_file(folder, &name, FileKind::Script, b"two").unwrap();
        assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o777, 0o640);
        let component = write_connector_file(folder, &name, FileKind::Component, b"three").unwrap();
        assert!(!script.exists() && fs::read(&component).unwrap() == b"three");
        assert!(
            remove_connector_files(folder, &name).unwrap()
                && !remove_connector_files(folder, &name).unwrap()
        );
        assert!(folder.join("other.js").exists(), "another connector was removed");
    }
}
