//! Checks whether the system runs compiled code from a folder. Some systems do not let a process
//! run code that the process itself has written. Never runs code for this check.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::ptr;

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mmap_anonymous, mprotect, munmap};

/// The size of each mapping that the check creates, bytes. A memory page is not larger than this on
/// any supported system.
const MAPPING_BYTES: usize = 64 << 10;

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
    /// The system does not let the process run new code.
    #[error(
        "the system does not let this process run code that was compiled at run time: remove \
         `MemoryDenyWriteExecute=` from its service, or another rule that forbids it (PR_SET_MDWE, \
         SELinux execmem)"
    )]
    Denied,
    /// The check itself failed.
    #[error("cannot check whether compiled code runs from {}: {source}", .folder.display())]
    Io {
        /// The folder that was checked.
        folder: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

/// Checks whether a file in this folder can be mapped as the engine maps compiled code.
pub(crate) fn check_executable(folder: &Path) -> Result<(), CannotRun> {
    let failed = |source| CannotRun::Io { folder: folder.to_owned(), source };
    let mut file = tempfile::tempfile_in(folder).map_err(failed)?;
    file.write_all(&vec![0; MAPPING_BYTES]).map_err(failed)?;
    match (try_to_make_executable(Some(&file)), try_to_make_executable(None)) {
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

/// Maps writable memory, and then makes it executable. The memory is from this file, or anonymous
/// if `file` is `None`.
fn try_to_make_executable(file: Option<&File>) -> rustix::io::Result<()> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    #[expect(unsafe_code, reason = "only the system call shows what the system allows")]
    // SAFETY: the mapping is new, at an address that the system chooses. No reference points into
    // it, no code jumps to it, and it is removed at once.
    unsafe {
        let mapped = match file {
            Some(file) => mmap(ptr::null_mut(), MAPPING_BYTES, access, MapFlags::PRIVATE, file, 0)?,
            None => mmap_anonymous(ptr::null_mut(), MAPPING_BYTES, access, MapFlags::PRIVATE)?,
        };
        let changed = mprotect(mapped, MAPPING_BYTES, MprotectFlags::READ | MprotectFlags::EXEC);
        munmap(mapped, MAPPING_BYTES)?;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_can_run_from_a_temporary_folder_and_an_error_names_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        check_executable(folder.path()).unwrap();
        let error = check_executable(&folder.path().join("none")).unwrap_err().to_string();
        assert!(error.contains("none"), "{error}");
        // No file can be created in /proc.
        assert!(check_executable(Path::new("/proc")).is_err());
    }
}
