//! Writes connectors' files into the plugins folder, and removes them from it.
//!
//! A file is written completely or not at all. Never decides which version serves: the scanner
//! does.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::domain::ConnectorName;

use super::kind::FileKind;

/// The mode of a new file.
const PLUGIN_MODE: u32 = 0o644;

/// The path of a connector's file.
pub(super) fn path(plugins: &Path, name: &ConnectorName, kind: FileKind) -> PathBuf {
    plugins.join(name.as_str()).with_extension(kind.extension())
}

/// Puts a file into the plugins folder, in place of the one that the connector has, and removes the
/// connector's file of another kind. Returns the path.
///
/// # Errors
/// The plugins folder cannot be written.
pub(super) fn put(
    plugins: &Path,
    name: &ConnectorName,
    kind: FileKind,
    content: &[u8],
) -> io::Result<PathBuf> {
    let target = path(plugins, name, kind);
    let mode = fs::metadata(&target).map_or(PLUGIN_MODE, |it| it.permissions().mode());
    write(&target, content, mode)?;
    for other in FileKind::ALL.into_iter().filter(|other| *other != kind) {
        remove_file(&path(plugins, name, other))?;
    }
    Ok(target)
}

/// Removes a connector's files. Returns whether there was one.
///
/// # Errors
/// The plugins folder cannot be written.
pub(super) fn remove(plugins: &Path, name: &ConnectorName) -> io::Result<bool> {
    let mut removed = false;
    for kind in FileKind::ALL {
        removed |= remove_file(&path(plugins, name, kind))?;
    }
    Ok(removed)
}

/// Writes a file completely, or not at all.
pub(super) fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix(".version-").permissions(Permissions::from_mode(mode));
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

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
    fn a_file_replaces_the_connectors_file_of_either_kind() {
        let home = tempfile::tempdir().unwrap();
        let (folder, name) = (home.path(), "c".parse().unwrap());
        fs::write(folder.join("other.js"), "").unwrap();
        let script = put(folder, &name, FileKind::Script, b"one").unwrap();
        assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o777, PLUGIN_MODE);
        fs::set_permissions(&script, Permissions::from_mode(0o640)).unwrap();
        put(folder, &name, FileKind::Script, b"two").unwrap();
        assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o777, 0o640);
        let component = put(folder, &name, FileKind::Component, b"three").unwrap();
        assert!(!script.exists() && fs::read(&component).unwrap() == b"three");
        assert!(remove(folder, &name).unwrap() && !remove(folder, &name).unwrap());
        assert!(folder.join("other.js").exists(), "another connector was removed");
    }
}
