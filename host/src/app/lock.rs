//! The lock of a data folder: one server at a time. During a rolling update the next one waits for it.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep};

use crate::config::{DataFolder, check_folder};

/// How often a lock that another process holds is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(200);
/// The shortest wait: a compiler process that a killed server was just starting has the lock for a moment.
const WAIT_MIN: Duration = Duration::from_secs(1);

/// Held until the process ends.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

impl DataLock {
    /// Creates the data folder (0700) where it is missing, checks who else has access, and locks it for this
    /// process; waits so long for another server to end.
    ///
    /// # Errors
    /// One line that says why not and how to fix it.
    pub async fn acquire(folder: &DataFolder, wait: Duration) -> anyhow::Result<Self> {
        let data = folder.path();
        let what = || {
            format!(
                "cannot use the data folder {}: it must be a folder that this user may write",
                data.display()
            )
        };
        DirBuilder::new().recursive(true).mode(0o700).create(data).with_context(what)?;
        check_folder(data).context("cannot use the data folder")?;
        let mut options = File::options();
        let options = options.create(true).truncate(false).write(true);
        let mut file = options.open(folder.lock()).with_context(what)?;
        take(&file, data, wait).await?;
        // For `jackfield doctor`, which finds the process by it.
        let process = format!("{}\n", std::process::id());
        file.set_len(0).and_then(|()| file.write_all(process.as_bytes())).with_context(what)?;
        Ok(Self { _file: file })
    }
}

async fn take(file: &File, data: &Path, wait: Duration) -> anyhow::Result<()> {
    let (shown, start) = (data.display(), Instant::now());
    let mut is_announced = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if start.elapsed() < wait.max(WAIT_MIN) => {
                if wait > WAIT_MIN && !std::mem::replace(&mut is_announced, true) {
                    let seconds = wait.as_secs();
                    tracing::info!(
                        seconds,
                        "another jackfield serves {shown}: waiting for its end"
                    );
                }
                sleep(TRY_AGAIN).await;
            }
            Err(TryLockError::WouldBlock) => bail!(
                "another jackfield serves the data folder {shown}: stop it first, give this one a \
                 --data of its own, or let it wait with --wait-for-lock SECONDS"
            ),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| {
                    format!(
                        "cannot lock {shown}: does its file system have locks? Use a local disk or a \
                         block volume"
                    )
                });
            }
        }
    }
}
