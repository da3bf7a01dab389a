//! Bodies that are too large for memory, in one temporary file for each run, in the data folder.
//!
//! The file has no name, so the system deletes it when the run ends, also after a crash. Blocks are
//! only appended. All bytes that a run has written count against `spool_bytes_max` until it ends.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::task::spawn_blocking;

/// One run may use `spool_bytes_max` divided by this number.
const RUN_DIVISOR: u64 = 4;

/// The temporary files of all runs.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    bytes_max: u64,
    used: AtomicU64,
}

/// The temporary file of one run, created when the first block is appended.
#[derive(Debug)]
pub(super) struct RunSpool {
    spool: Arc<Spool>,
    file: OnceLock<File>,
    bytes: Mutex<u64>,
}

/// A part of the file that has the bytes of one body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub(super) at: u64,
    pub(super) bytes: usize,
}

/// The reason why a body cannot be stored in the file.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpoolError {
    /// The temporary files have reached their maximum size.
    #[error(
        "`spool_bytes_max` = {0}: the large bodies of all runs need more space, or those of this run \
         more than a quarter of it"
    )]
    Full(u64),
    /// The disk failed.
    #[error("cannot store a large body in the data folder: {0}")]
    Disk(#[from] io::Error),
}

impl Spool {
    pub(super) fn new(folder: PathBuf, bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { folder, bytes_max, used: AtomicU64::new(0) })
    }
}

impl RunSpool {
    pub(super) fn new(spool: &Arc<Spool>) -> Arc<Self> {
        let spool = Arc::clone(spool);
        Arc::new(Self { spool, file: OnceLock::new(), bytes: Mutex::default() })
    }

    /// Appends a block to the file and returns its place.
    pub(super) async fn append(self: &Arc<Self>, data: Vec<u8>) -> Result<Block, SpoolError> {
        let bytes = data.len();
        let at = self.reserve(bytes as u64)?;
        let run = Arc::clone(self);
        blocking(move || run.open_file()?.write_all_at(&data, at)).await?;
        Ok(Block { at, bytes })
    }

    /// Reads the beginning of a block.
    pub(super) async fn read(
        self: &Arc<Self>,
        block: Block,
        bytes_max: usize,
    ) -> io::Result<Vec<u8>> {
        let run = Arc::clone(self);
        blocking(move || {
            let mut data = vec![0; block.bytes.min(bytes_max)];
            run.open_file()?.read_exact_at(&mut data, block.at)?;
            Ok(data)
        })
        .await
    }

    /// Reserves the place of the next block.
    fn reserve(&self, bytes: u64) -> Result<u64, SpoolError> {
        let max = self.spool.bytes_max;
        let mut own = self.bytes.lock();
        let sum = own.checked_add(bytes).filter(|sum| *sum <= max / RUN_DIVISOR);
        let sum = sum.ok_or(SpoolError::Full(max))?;
        let used = &self.spool.used;
        let within = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= max);
        used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within)
            .map_err(|_| SpoolError::Full(max))?;
        Ok(std::mem::replace(&mut *own, sum))
    }

    /// Opens the file; creates it at the first call.
    fn open_file(&self) -> io::Result<&File> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        std::fs::create_dir_all(&self.spool.folder)?;
        let file = tempfile::tempfile_in(&self.spool.folder)?;
        // Two tasks may both append a first block. Both then use the file that was stored first.
        Ok(self.file.get_or_init(|| file))
    }
}

impl Drop for RunSpool {
    fn drop(&mut self) {
        self.spool.used.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

/// File work that may wait for the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
