//! Checks the owner and the mode of a folder or a file of the server. A folder may be shared with
//! its group, like the volumes of container platforms. If the group has access to a file with a key
//! or a token, this is a warning, not an error.
//!
//! This module never changes the mode of a file or folder, because a person may have configured the
//! wrong folder.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// The reason why a folder or a file is not safe to use.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The path is not a folder.
    #[error("{} is not a folder: move this file to another place", .0.display())]
    NotAFolder(PathBuf),
    /// Another user owns the folder or file, and may change it.
    #[error(
        "{} belongs to user {owner}, not to user {user}: move it to another place, \
         or run `chown {user} {}` if you trust its content", .path.display(), .path.display()
    )]
    OtherOwner {
        /// The path of the folder or file.
        path: PathBuf,
        /// The id of the owner.
        owner: u32,
        /// The id of the user that runs this process.
        user: u32,
    },
    /// Users outside the group have access to the folder or file.
    #[error(
        "other users have access to {} (mode {mode:o}): run `{fix} {}`, and replace what they may have \
         read or written there", .path.display(), .path.display()
    )]
    OpenToOthers {
        /// The path of the folder or file.
        path: PathBuf,
        /// The mode bits of the folder or file.
        mode: u32,
        /// The command that removes the access of others, without the path.
        fix: &'static str,
    },
    /// The folder or file cannot be examined or read.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The path of the folder or file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

/// A risk that does not prevent the use of the folder or file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessWarning {
    /// The file contains a key or a token, and its group has access to the file.
    #[error("the group of {} has access to it", .0.display())]
    Group(PathBuf),
    /// The file system does not store owners or does not store modes.
    #[error(
        "the file system of {} stores no modes or owners, so Jackfield cannot find out who has \
         access",
        .0.display()
    )]
    NoModes(PathBuf),
}

impl AccessWarning {
    /// Describes for people how to remove the risk.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            Self::Group(file) => {
                format!("run `chmod 600 {}`, unless no other user is in the group", file.display())
            }
            Self::NoModes(_) => {
                "make sure that only this user can reach the file system, or move the data folder"
                    .to_owned()
            }
        }
    }

    fn log(&self) {
        tracing::warn!(fix = self.fix(), "{self}");
    }
}

/// Checks that a folder belongs to this user or root, and that users outside its group have no
/// access. If the file system stores no owners or modes, logs a warning instead.
///
/// # Errors
/// The folder is not safe to use, or cannot be examined.
pub fn check_folder(path: &Path) -> Result<(), AccessError> {
    inspect_folder(path).map(|warning| warning.iter().for_each(AccessWarning::log))
}

/// Checks a folder like [`check_folder`], but returns the warning instead of logging it.
///
/// # Errors
/// The errors of [`check_folder`].
pub fn inspect_folder(path: &Path) -> Result<Option<AccessWarning>, AccessError> {
    let metadata = fs::symlink_metadata(path).map_err(|source| io_error(path, source))?;
    // Check the folder to which a symbolic link points.
    let metadata = if metadata.is_symlink() { fs::metadata(path) } else { Ok(metadata) };
    let metadata = metadata.map_err(|source| io_error(path, source))?;
    if !metadata.is_dir() {
        return Err(AccessError::NotAFolder(path.to_owned()));
    }
    let is_owned_by_root = metadata.uid() == 0;
    match check_owner(path, &metadata) {
        Err(error) if !is_owned_by_root => warn_if_no_modes(path, error),
        _ => check_access_of_others(path, path, &metadata, "chmod o-rwx"),
    }
}

/// Reads a file with a key or a token. Logs a warning if its group has access, or if the file
/// system stores no owners or modes.
///
/// # Errors
/// The file is not safe to use, or cannot be read.
pub fn read_private(path: &Path) -> Result<Zeroizing<String>, AccessError> {
    let (mut file, warning) = open_private(path)?;
    warning.iter().for_each(AccessWarning::log);
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(|source| io_error(path, source))?;
    Ok(text)
}

/// Checks a file like [`read_private`], but returns only the warning.
///
/// # Errors
/// The errors of [`read_private`].
pub fn inspect_private(path: &Path) -> Result<Option<AccessWarning>, AccessError> {
    open_private(path).map(|(_, warning)| warning)
}

fn open_private(path: &Path) -> Result<(File, Option<AccessWarning>), AccessError> {
    let failed = |source| io_error(path, source);
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let folder = path.parent().unwrap_or(path);
    let warning = match check_owner(path, &metadata) {
        Err(error) => warn_if_no_modes(folder, error)?,
        Ok(()) => check_access_of_others(path, folder, &metadata, "chmod 600")?,
    };
    let is_shared = metadata.mode() & 0o070 != 0;
    Ok((file, warning.or_else(|| is_shared.then(|| AccessWarning::Group(path.to_owned())))))
}

fn check_owner(path: &Path, metadata: &Metadata) -> Result<(), AccessError> {
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner == user {
        return Ok(());
    }
    Err(AccessError::OtherOwner { path: path.to_owned(), owner, user })
}

/// May create a temporary file in `folder`, to find out whether modes have an effect there.
fn check_access_of_others(
    path: &Path,
    folder: &Path,
    metadata: &Metadata,
    fix: &'static str,
) -> Result<Option<AccessWarning>, AccessError> {
    let mode = metadata.mode() & 0o7777;
    match mode & 0o007 {
        0 => Ok(None),
        _ => {
            warn_if_no_modes(folder, AccessError::OpenToOthers { path: path.to_owned(), mode, fix })
        }
    }
}

/// Turns an error into a warning if the file system of `folder` does not store owners or modes.
fn warn_if_no_modes(
    folder: &Path,
    error: AccessError,
) -> Result<Option<AccessWarning>, AccessError> {
    let user = rustix::process::geteuid().as_raw();
    let file = tempfile::NamedTempFile::new_in(folder);
    let file = file.and_then(|file| file.as_file().metadata());
    match file {
        Ok(new) if new_file_has_same_error(&error, new.uid(), new.mode(), user) => {
            Ok(Some(AccessWarning::NoModes(folder.to_owned())))
        }
        _ => Err(error),
    }
}

/// Whether a new file, which `user` created with mode 0600 and which now has this `owner` and
/// `mode`, has the same error. If so, the file system does not store owners or modes.
fn new_file_has_same_error(error: &AccessError, owner: u32, mode: u32, user: u32) -> bool {
    match error {
        AccessError::OtherOwner { owner: other, .. } => owner == *other && owner != user,
        AccessError::OpenToOthers { .. } => mode & 0o007 != 0,
        AccessError::NotAFolder(_) | AccessError::Io { .. } => false,
    }
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
            assert_eq!(
                home.path().metadata().unwrap().mode() & 0o7777,
                mode,
                "the check changed the mode"
            );
        }
        set_mode(home.path(), 0o700);
        fs::write(home.path().join("file"), "").unwrap();
        assert!(matches!(check_folder(&home.path().join("file")), Err(AccessError::NotAFolder(_))));
        symlink(home.path(), home.path().join("link")).unwrap();
        assert!(check_folder(&home.path().join("link")).is_ok());
    }

    #[test]
    fn a_private_file_must_not_be_accessible_to_others() {
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

    /// The values were recorded on CIFS, mounted with `uid=0,gid=2000,file_mode=0660` and with
    /// `file_mode=0777`.
    #[test]
    fn an_owner_or_mode_that_new_files_also_get_is_not_an_error() {
        let path = || PathBuf::from("/data/secret-key");
        let other = AccessError::OtherOwner { path: path(), owner: 0, user: 1_000 };
        let open = AccessError::OpenToOthers { path: path(), mode: 0o777, fix: "chmod 600" };
        assert!(
            new_file_has_same_error(&other, 0, 0o660, 1_000),
            "a new file also belongs to root"
        );
        assert!(
            !new_file_has_same_error(&other, 1_000, 0o600, 1_000),
            "another user created the file"
        );
        assert!(new_file_has_same_error(&open, 1_000, 0o777, 1_000));
        assert!(!new_file_has_same_error(&open, 1_000, 0o600, 1_000));
        for warning in [AccessWarning::NoModes(path()), AccessWarning::Group(path())] {
            assert!(warning.to_string().contains("access") && !warning.fix().is_empty());
        }
    }

    #[test]
    fn files_and_folders_of_another_user_are_refused() {
        let home = tempfile::tempdir().unwrap();
        let foreign_file = home.path().join("planted");
        fs::write(&foreign_file, "text").unwrap();
        set_mode(&foreign_file, 0o600);
        let is_root = rustix::process::geteuid().is_root();
        let file = if is_root {
            std::os::unix::fs::chown(&foreign_file, Some(65_534), None).unwrap();
            foreign_file
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
