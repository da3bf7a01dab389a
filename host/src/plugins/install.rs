//! Writes connectors' files into the plugins folder, and removes them from it.
//!
//! A file is written completely or not at all. This module never decides which version is in use.

use std::ffi::OsStr;
use std::fs::{self, DirEntry, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::domain::ConnectorName;

use super::file_kind::FileKind;

/// The beginning of the name of a file that is being written. The scanner ignores such a file.
const UNFINISHED_PREFIX: &str = ".version-";
const RANDOM_CHARS: usize = 6;
/// A temporary file that is at least this old is deleted: no process is expected to write it any
/// more.
pub(super) const ABANDONED_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// The permissions of a new connector file.
const NEW_FILE_MODE: u32 = 0o644;

pub(super) fn connector_file_path(plugins: &Path, name: &ConnectorName, kind: FileKind) -> PathBuf {
    plugins.join(name.as_str()).with_extension(kind.extension())
}

/// Writes a connector's file into the plugins folder: replaces the file of the same kind, and
/// removes the file of the other kind. Returns the path of the new file.
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
pub(super) fn remove_connector_files(plugins: &Path, name: &ConnectorName) -> io::Result<bool> {
    let mut removed = false;
    for kind in FileKind::ALL {
        removed |= remove_file(&connector_file_path(plugins, name, kind))?;
    }
    Ok(removed)
}

/// Creates the plugins folder if it does not exist. Deletes unfinished files in it that are at
/// least [`ABANDONED_AGE`] old.
pub(super) fn prepare_folder(plugins: &Path) -> io::Result<()> {
    fs::create_dir_all(plugins)?;
    delete_unfinished(plugins, ABANDONED_AGE);
    Ok(())
}

/// Deletes unfinished files of at least this age. An error is logged and not returned.
pub(super) fn delete_unfinished(folder: &Path, age: Duration) {
    let deleted = fs::read_dir(folder).and_then(|mut entries| {
        entries.try_for_each(|entry| {
            let entry = entry?;
            let is_ours = entry.file_type()?.is_file() && is_unfinished_name(&entry.file_name());
            if is_ours && is_older(&entry, age) {
                fs::remove_file(entry.path()).or_else(ignore_missing)?;
            }
            Ok(())
        })
    });
    if let Err(error) = deleted {
        tracing::warn!(%error, folder = %folder.display(), "cannot delete unfinished files");
    }
}

fn is_unfinished_name(name: &OsStr) -> bool {
    let random = name.to_str().and_then(|name| name.strip_prefix(UNFINISHED_PREFIX));
    random.is_some_and(|it| {
        it.len() == RANDOM_CHARS && it.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Whether a file was last changed at least `age` ago. If `age` is zero, this is true for any file.
pub(super) fn is_older(entry: &DirEntry, age: Duration) -> bool {
    let modified = entry.metadata().and_then(|metadata| metadata.modified()).ok();
    age.is_zero() || modified.is_some_and(|at| at.elapsed().is_ok_and(|elapsed| elapsed >= age))
}

pub(super) fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

pub(super) fn unfinished_file() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED_PREFIX).rand_bytes(RANDOM_CHARS);
    builder
}

/// Writes a file completely or not at all, and syncs it to the disk.
pub(super) fn write_atomically(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let mut builder = unfinished_file();
    let mut file = builder.permissions(Permissions::from_mode(mode)).tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

/// Returns whether there was a file.
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
    fn only_unfinished_files_of_a_killed_process_are_deleted() {
        const OURS: [&str; 2] = [".version-oldOLD", ".version-newNEW"];
        const OTHERS: [&str; 3] = [".version-notes.txt", ".version-a.b.c.", "c.wasm"];
        let home = tempfile::tempdir().unwrap();
        let file = |name: &str| home.path().join(name);
        for name in OURS.iter().chain(&OTHERS) {
            fs::write(file(name), "").unwrap();
        }
        fs::create_dir(file(".version-folder")).unwrap();
        let old = File::options().write(true).open(file(OURS[0])).unwrap();
        let two_days = Duration::from_secs(2 * 24 * 60 * 60);
        old.set_modified(old.metadata().unwrap().modified().unwrap() - two_days).unwrap();
        prepare_folder(home.path()).unwrap();
        assert_eq!(OURS.map(|name| file(name).exists()), [false, true]);
        delete_unfinished(home.path(), Duration::ZERO);
        assert!(!file(OURS[1]).exists());
        assert!(OTHERS.iter().all(|name| file(name).exists()));
        assert!(file(".version-folder").exists());
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
