//! Checks whether compiled code can be run from a folder. Some systems do not run code that was
//! written by the running process.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::ptr;

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mmap_anonymous, mprotect, munmap};

/// At least as large as a memory page of every supported system.
const LENGTH: usize = 64 << 10;

/// The reason why compiled code cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum CannotRun {
    /// The file system is mounted `noexec`.
    #[error(
        "{} is on a file system that is mounted `noexec`, and compiled connectors run from there: mount \
         it with `exec`, or move the data folder (for `check` and `demo`: TMPDIR) to another file system",
        .0.display()
    )]
    NoExec(PathBuf),
    /// The system lets the process run no new code.
    #[error(
        "the system lets this process run no code that was compiled at run time: remove \
         `MemoryDenyWriteExecute=` from its service, or what else forbids it (PR_SET_MDWE, SELinux execmem)"
    )]
    Denied,
    /// The check itself failed, so the answer is not known.
    #[error("cannot check whether compiled code runs from {}: {source}", .folder.display())]
    Io {
        /// The folder that was checked.
        folder: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

/// Maps a file of the folder as the engine maps compiled code.
///
/// # Errors
/// A rule of the system forbids it; the text says which one, and what to do.
pub(crate) fn check_executable(folder: &Path) -> Result<(), CannotRun> {
    let failed = |source| CannotRun::Io { folder: folder.to_owned(), source };
    let mut file = tempfile::tempfile_in(folder).map_err(failed)?;
    file.write_all(&vec![0; LENGTH]).map_err(failed)?;
    match (becomes_executable(Some(&file)), becomes_executable(None)) {
        (Ok(()), _) => Ok(()),
        (Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM), Ok(())) => {
            Err(CannotRun::NoExec(folder.to_owned()))
        }
        (Err(_), Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM)) => {
            Err(CannotRun::Denied)
        }
        (Err(error), _) => Err(failed(error.into())),
    }
}

/// Whether writable memory, of a file or not, can be made executable.
fn becomes_executable(file: Option<&File>) -> rustix::io::Result<()> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    #[expect(unsafe_code, reason = "only the system call shows what the system allows")]
    // SAFETY: a new mapping at an address that the system chooses. Nothing refers to it, nothing
    // jumps to it, and it is removed at once.
    unsafe {
        let mapped = match file {
            Some(file) => mmap(ptr::null_mut(), LENGTH, access, MapFlags::PRIVATE, file, 0)?,
            None => mmap_anonymous(ptr::null_mut(), LENGTH, access, MapFlags::PRIVATE)?,
        };
        let changed = mprotect(mapped, LENGTH, MprotectFlags::READ | MprotectFlags::EXEC);
        munmap(mapped, LENGTH)?;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_runs_from_a_temporary_folder_and_errors_name_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        check_executable(folder.path()).unwrap();
        let error = check_executable(&folder.path().join("none")).unwrap_err().to_string();
        assert!(error.contains("none"), "{error}");
        // In /proc, no file can be created.
        assert!(check_executable(Path::new("/proc")).is_err());
    }
}
