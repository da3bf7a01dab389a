//! Who else has access to a folder or a file of the server. A folder may be shared with its group, as
//! volumes of container platforms are; a file with a key or a token belongs to the server alone.
//!
//! Never changes a mode: a person may have given that folder by mistake.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Why a folder or a file is not safe to use.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Something else has the folder's name.
    #[error("{} is not a folder: remove it", .0.display())]
    NotAFolder(PathBuf),
    /// Another user may have planted it, and may change it.
    #[error(
        "{} belongs to user {owner}, not to user {user}: move it away, or run `chown {user} {}` if \
         you trust its content", .path.display(), .path.display()
    )]
    OtherOwner {
        /// The folder or file.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who runs the server.
        user: u32,
    },
    /// Everybody has access.
    #[error(
        "other users have access to {} (mode {mode:o}): run `{fix} {}`, and replace what they may have \
         read or written there", .path.display(), .path.display()
    )]
    Others {
        /// The folder or file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The command that ends it.
        fix: &'static str,
    },
    /// It cannot be examined or read.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Checks a folder: of this user or root, and closed to others. Its group may write to it.
///
/// # Errors
/// Why it is not safe to use, and how to fix it.
pub fn check_folder(path: &Path) -> Result<(), AccessError> {
    let metadata = fs::symlink_metadata(path).map_err(|source| io_error(path, source))?;
    // The folder itself may be named by a link; what is behind it counts.
    let metadata = if metadata.is_symlink() { fs::metadata(path) } else { Ok(metadata) };
    let metadata = metadata.map_err(|source| io_error(path, source))?;
    if !metadata.is_dir() {
        return Err(AccessError::NotAFolder(path.to_owned()));
    }
    if metadata.uid() != 0 {
        check_owner(path, &metadata)?;
    }
    check_others(path, path, &metadata, "chmod o-rwx")
}

/// Reads a file with a key or a token: of this user, and closed to others. What its group can read is a
/// warning.
///
/// # Errors
/// Why it is not safe to use, and how to fix it; or it cannot be read.
pub fn read_private(path: &Path) -> Result<Zeroizing<String>, AccessError> {
    let failed = |source| io_error(path, source);
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    check_owner(path, &metadata)?;
    check_others(path, path.parent().unwrap_or(path), &metadata, "chmod 600")?;
    if metadata.mode() & 0o070 != 0 {
        tracing::warn!(file = %path.display(), "the group of this file has access to it");
    }
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

fn check_owner(path: &Path, metadata: &Metadata) -> Result<(), AccessError> {
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner == user {
        return Ok(());
    }
    Err(AccessError::OtherOwner { path: path.to_owned(), owner, user })
}

/// `folder` is where to try whether modes have an effect.
fn check_others(
    path: &Path,
    folder: &Path,
    metadata: &Metadata,
    fix: &'static str,
) -> Result<(), AccessError> {
    let mode = metadata.mode() & 0o7777;
    if mode & 0o007 == 0 {
        return Ok(());
    }
    if modes_have_no_effect(folder) {
        tracing::warn!(path = %path.display(), "this file system has no modes: protect it otherwise");
        return Ok(());
    }
    Err(AccessError::Others { path: path.to_owned(), mode, fix })
}

/// Whether a new file that is closed to others still reads as open: some file systems, such as those of
/// Windows, have one mode for everything.
fn modes_have_no_effect(folder: &Path) -> bool {
    let file = tempfile::NamedTempFile::new_in(folder);
    let file = file.and_then(|file| file.as_file().metadata());
    file.is_ok_and(|metadata| metadata.mode() & 0o007 != 0)
}

fn io_error(path: &Path, source: io::Error) -> AccessError {
    AccessError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_folder_may_be_shared_with_its_group_only() {
        let home = tempfile::tempdir().unwrap();
        for (mode, is_safe) in [
            (0o700, true),
            (0o2770, true),
            (0o750, true),
            (0o701, false),
            (0o755, false),
            (0o777, false),
        ] {
            set_mode(home.path(), mode);
            let checked = check_folder(home.path());
            assert_eq!(checked.is_ok(), is_safe, "{mode:o}: {checked:?}");
            if let Err(error) = checked {
                assert!(error.to_string().contains("run `chmod o-rwx "), "{error}");
            }
            assert_eq!(home.path().metadata().unwrap().mode() & 0o7777, mode, "nothing is changed");
        }
        set_mode(home.path(), 0o700);
        fs::write(home.path().join("file"), "").unwrap();
        assert!(matches!(check_folder(&home.path().join("file")), Err(AccessError::NotAFolder(_))));
        symlink(home.path(), home.path().join("link")).unwrap();
        assert!(check_folder(&home.path().join("link")).is_ok());
    }

    #[test]
    fn a_private_file_is_closed_to_others() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("token");
        fs::write(&file, "text").unwrap();
        for (mode, is_safe) in
            [(0o600, true), (0o660, true), (0o640, true), (0o604, false), (0o666, false)]
        {
            set_mode(&file, mode);
            assert_eq!(read_private(&file).is_ok(), is_safe, "{mode:o}");
        }
    }

    /// Root may read everything, so the owner decides. A file of another user exists on each system
    /// where the tests do not run as root, and can be made where they do.
    #[test]
    fn what_another_user_owns_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let planted = home.path().join("planted");
        fs::write(&planted, "text").unwrap();
        set_mode(&planted, 0o600);
        let is_root = rustix::process::geteuid().is_root();
        let file = if is_root {
            std::os::unix::fs::chown(&planted, Some(65_534), None).unwrap();
            planted
        } else {
            PathBuf::from("/proc/1/comm")
        };
        assert!(matches!(read_private(&file), Err(AccessError::OtherOwner { .. })));
        if is_root {
            std::os::unix::fs::chown(home.path(), Some(65_534), None).unwrap();
            assert!(matches!(check_folder(home.path()), Err(AccessError::OtherOwner { .. })));
        }
    }
}
