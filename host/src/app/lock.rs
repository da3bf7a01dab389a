//! The lock of a data folder. The lock ensures that only one server uses the folder.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep};

use crate::config::{DataFolder, check_folder};

const TRY_LOCK_PERIOD: Duration = Duration::from_millis(200);
/// The minimum time to wait for the lock. If a server is killed while it starts a compiler process,
/// the compiler process has inherited the open lock file, and holds the lock until it executes its
/// own program.
const WAIT_MIN: Duration = Duration::from_secs(1);

/// The lock of a data folder. It is held until this value is dropped.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

impl DataLock {
    /// Creates the data folder (mode 0700) if it is missing, checks its owner and its mode, and
    /// locks it. `wait` is the maximum time to wait until another process releases the lock; less
    /// than one second counts as one second.
    ///
    /// # Errors
    /// One line that describes why the folder cannot be used, and how to fix this.
    pub async fn acquire(folder: &DataFolder, wait: Duration) -> anyhow::Result<Self> {
        let data = folder.path();
        let error_context = || {
            format!(
                "cannot use the data folder {}: it must be a folder that this user may write",
                data.display()
            )
        };
        DirBuilder::new().recursive(true).mode(0o700).create(data).with_context(error_context)?;
        check_folder(data).context("cannot use the data folder")?;
        let mut options = File::options();
        let options = options.create(true).truncate(false).write(true);
        let mut file = options.open(folder.lock()).with_context(error_context)?;
        lock_or_wait(&file, data, wait).await?;
        // `jackfield doctor` finds the process of the server by this id.
        let process = format!("{}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.write_all(process.as_bytes()))
            .with_context(error_context)?;
        Ok(Self { _file: file })
    }
}

async fn lock_or_wait(file: &File, data: &Path, wait: Duration) -> anyhow::Result<()> {
    let (folder, start) = (data.display(), Instant::now());
    let mut is_logged = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if start.elapsed() < wait.max(WAIT_MIN) => {
                if wait > WAIT_MIN && !std::mem::replace(&mut is_logged, true) {
                    let seconds = wait.as_secs();
                    tracing::info!(
                        seconds,
                        "another jackfield uses {folder}: waiting until it ends"
                    );
                }
                sleep(TRY_LOCK_PERIOD).await;
            }
            Err(TryLockError::WouldBlock) => bail!(
                "another jackfield uses the data folder {folder}: stop it first, use another folder with \
                 --data, or wait with --wait-for-lock SECONDS"
            ),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| {
                    format!(
                        "cannot lock {folder}: its file system may not support locks. Use a local \
                         disk or a block volume"
                    )
                });
            }
        }
    }
}
