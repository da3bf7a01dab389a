//! Checks who else has access to a folder or a file of the server. A folder may be shared with its
//! group, like the volumes of container platforms. A file with a key or a token should belong to
//! the server alone; access of its group is a warning.
//!
//! Never changes a mode: a person may have named the wrong folder.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// The reason why a folder or a file is not safe to use.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The path is not a folder.
    #[error("{} is not a folder: remove it", .0.display())]
    NotAFolder(PathBuf),
    /// Another user owns the path, and may have created it or may change it.
    #[error(
        "{} belongs to user {owner}, not to user {user}: move it away, or run `chown {user} {}` if \
         you trust its content", .path.display(), .path.display()
    )]
    OtherOwner {
        /// The path of the folder or file.
        path: PathBuf,
        /// The id of the owner.
        owner: u32,
        /// The id of the user that runs the server.
        user: u32,
    },
    /// Users outside the group have access.
    #[error(
        "other users have access to {} (mode {mode:o}): run `{fix} {}`, and replace what they may have \
         read or written there", .path.display(), .path.display()
    )]
    Others {
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

/// A risk that is reported, but does not prevent the use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessWarning {
    /// The group of a file with a key or a token has access to it.
    #[error("the group of {} has access to it", .0.display())]
    Group(PathBuf),
    /// The file system has no owners or modes of its own.
    #[error(
        "the file system of {} has no modes or owners, so that Jackfield cannot see who has access",
        .0.display()
    )]
    NoModes(PathBuf),
}

impl AccessWarning {
    /// Returns the action that removes the risk, for people.
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

/// Checks that a folder belongs to this user or root, and that other users have no access. Its
/// group may have access.
///
/// # Errors
/// The folder is not safe to use; the error says how to fix it.
pub fn check_folder(path: &Path) -> Result<(), AccessError> {
    inspect_folder(path).map(|warning| warning.iter().for_each(AccessWarning::log))
}

/// Like [`check_folder`], but returns the warning instead of logging it.
///
/// # Errors
/// The same as those of [`check_folder`].
pub fn inspect_folder(path: &Path) -> Result<Option<AccessWarning>, AccessError> {
    let metadata = fs::symlink_metadata(path).map_err(|source| io_error(path, source))?;
    // The path may be a symbolic link: check the folder that it leads to.
    let metadata = if metadata.is_symlink() { fs::metadata(path) } else { Ok(metadata) };
    let metadata = metadata.map_err(|source| io_error(path, source))?;
    if !metadata.is_dir() {
        return Err(AccessError::NotAFolder(path.to_owned()));
    }
    let by_root = metadata.uid() == 0;
    match check_owner(path, &metadata) {
        Err(error) if !by_root => warn_if_no_modes(path, error),
        _ => check_others(path, path, &metadata, "chmod o-rwx"),
    }
}

/// Reads a file with a key or a token. It must belong to this user, and other users must have no
/// access. Logs a warning if its group has access.
///
/// # Errors
/// The file is not safe to use, or cannot be read; the error says how to fix it.
pub fn read_private(path: &Path) -> Result<Zeroizing<String>, AccessError> {
    let (mut file, warning) = open_private(path)?;
    warning.iter().for_each(AccessWarning::log);
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(|source| io_error(path, source))?;
    Ok(text)
}

/// Like [`read_private`], but only returns the warning.
///
/// # Errors
/// The same as those of [`read_private`].
pub fn inspect_private(path: &Path) -> Result<Option<AccessWarning>, AccessError> {
    open_private(path).map(|(_, warning)| warning)
}

/// Opens a file with a key or a token, and checks its owner and mode.
fn open_private(path: &Path) -> Result<(File, Option<AccessWarning>), AccessError> {
    let failed = |source| io_error(path, source);
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let folder = path.parent().unwrap_or(path);
    let warning = match check_owner(path, &metadata) {
        Err(error) => warn_if_no_modes(folder, error)?,
        Ok(()) => check_others(path, folder, &metadata, "chmod 600")?,
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

/// Fails if other users have access. Creates a file in `folder` if it must find out whether file
/// modes have an effect there.
fn check_others(
    path: &Path,
    folder: &Path,
    metadata: &Metadata,
    fix: &'static str,
) -> Result<Option<AccessWarning>, AccessError> {
    let mode = metadata.mode() & 0o7777;
    match mode & 0o007 {
        0 => Ok(None),
        _ => warn_if_no_modes(folder, AccessError::Others { path: path.to_owned(), mode, fix }),
    }
}

/// Turns an error into a warning if the file system of `folder` has no owners or modes: then the
/// error means nothing, and no command can fix it.
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

/// Whether a file that this user creates with mode 0600 would be refused for the same reason: then
/// the file system stores no owners or modes, like some of Windows.
fn new_file_has_same_error(error: &AccessError, owner: u32, mode: u32, user: u32) -> bool {
    match error {
        AccessError::OtherOwner { owner: other, .. } => owner == *other && owner != user,
        AccessError::Others { .. } => mode & 0o007 != 0,
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

    /// Values recorded on CIFS, mounted with `uid=0,gid=2000,file_mode=0660` and with
    /// `file_mode=0777`.
    #[test]
    fn if_every_file_has_the_same_owner_and_mode_neither_is_an_error() {
        let path = || PathBuf::from("/data/secret-key");
        let other = AccessError::OtherOwner { path: path(), owner: 0, user: 1_000 };
        let open = AccessError::Others { path: path(), mode: 0o777, fix: "chmod 600" };
        assert!(new_file_has_same_error(&other, 0, 0o660, 1_000), "a new file is root's, too");
        assert!(
            !new_file_has_same_error(&other, 1_000, 0o600, 1_000),
            "root or somebody else made that one"
        );
        assert!(new_file_has_same_error(&open, 1_000, 0o777, 1_000));
        assert!(!new_file_has_same_error(&open, 1_000, 0o600, 1_000));
        for warning in [AccessWarning::NoModes(path()), AccessWarning::Group(path())] {
            assert!(warning.to_string().contains("access") && !warning.fix().is_empty());
        }
    }

    /// As root, the test creates a file of another user. Otherwise the test uses an existing one.
    #[test]
    fn files_and_folders_of_another_user_are_refused() {
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
