//! Stores the bodies of answers that are too large for memory. Each run has at most one temporary
//! file in the data folder.
//!
//! The file has no name, so the system deletes it when it is closed or the process crashes. Blocks
//! are only appended, never changed. All bytes that a run has written count against
//! `spool_bytes_max` until its file is closed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::task::spawn_blocking;

/// One run may use at most `spool_bytes_max` divided by this number.
const RUN_SHARE_DIVISOR: u64 = 4;

/// The folder and the size limit of the temporary files of all runs.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    bytes_max: u64,
    /// The size of all files together, including bytes that are being written.
    used_bytes: AtomicU64,
}

/// The temporary file of one run. The file is created when the first block is appended.
#[derive(Debug)]
pub(super) struct RunSpool {
    spool: Arc<Spool>,
    file: OnceLock<File>,
    /// The size of the file, including bytes that are being written.
    written_bytes: Mutex<u64>,
}

/// A part of the file. A block contains bytes of one body only.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub(super) offset: u64,
    pub(super) bytes: usize,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SpoolError {
    #[error(
        "`spool_bytes_max` = {0}: the large bodies of all runs need more bytes, or those of this \
         run need more than a quarter of this number; if they should fit, set a larger number"
    )]
    Full(u64),
    #[error("cannot store a large body in the data folder: {0}")]
    Disk(#[from] io::Error),
}

impl Spool {
    pub(super) fn new(folder: PathBuf, bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { folder, bytes_max, used_bytes: AtomicU64::new(0) })
    }
}

impl RunSpool {
    pub(super) fn new(spool: &Arc<Spool>) -> Arc<Self> {
        let spool = Arc::clone(spool);
        Arc::new(Self { spool, file: OnceLock::new(), written_bytes: Mutex::default() })
    }

    pub(super) async fn append(self: &Arc<Self>, data: Vec<u8>) -> Result<Block, SpoolError> {
        let bytes = data.len();
        let offset = self.reserve(bytes as u64)?;
        let run = Arc::clone(self);
        run_blocking(move || run.open_file()?.write_all_at(&data, offset)).await?;
        Ok(Block { offset, bytes })
    }

    pub(super) async fn read(
        self: &Arc<Self>,
        block: Block,
        bytes_max: usize,
    ) -> io::Result<Vec<u8>> {
        let run = Arc::clone(self);
        run_blocking(move || {
            let mut data = vec![0; block.bytes.min(bytes_max)];
            run.open_file()?.read_exact_at(&mut data, block.offset)?;
            Ok(data)
        })
        .await
    }

    fn reserve(&self, bytes: u64) -> Result<u64, SpoolError> {
        let max = self.spool.bytes_max;
        let mut written_bytes = self.written_bytes.lock();
        let sum = written_bytes.checked_add(bytes).filter(|sum| *sum <= max / RUN_SHARE_DIVISOR);
        let sum = sum.ok_or(SpoolError::Full(max))?;
        let used_bytes = &self.spool.used_bytes;
        let add = |used_bytes: u64| used_bytes.checked_add(bytes).filter(|sum| *sum <= max);
        used_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .map_err(|_| SpoolError::Full(max))?;
        Ok(std::mem::replace(&mut *written_bytes, sum))
    }

    fn open_file(&self) -> io::Result<&File> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        std::fs::create_dir_all(&self.spool.folder)?;
        let file = tempfile::tempfile_in(&self.spool.folder)?;
        // Two tasks may append the first block at the same time. Both tasks then use the file that
        // was stored first.
        Ok(self.file.get_or_init(|| file))
    }
}

impl Drop for RunSpool {
    fn drop(&mut self) {
        self.spool.used_bytes.fetch_sub(*self.written_bytes.get_mut(), Ordering::Relaxed);
    }
}

async fn run_blocking<T: Send + 'static>(
    operation: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(operation).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
