//! Decides when the write-ahead log is copied into the database file (a checkpoint). A separate
//! thread copies most of the log.
//!
//! By default, SQLite copies the log during a commit, and the callers of that commit wait. SQLite
//! overwrites the log from its start only after the whole log was copied. So the writing thread
//! copies the few pages that were added while the other thread copied.

use std::cell::Cell;
use std::path::Path;
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use super::file;

/// If the log has this many pages of 4 KiB (together about 4 MiB), it is copied when no write is
/// queued.
const IDLE_COPY_PAGES: i32 = 1_000;
/// If the log has grown by this many pages (about 32 MiB) since the writing thread last tried to
/// copy it, another thread copies it even while the writing thread writes.
const COPY_PAGES: i32 = 8_000;
/// If the log has grown by this many pages (about 64 MiB) since the writing thread last tried to
/// copy it, writes wait for a copy.
const BLOCKING_COPY_PAGES: i32 = 16_000;
/// If a copy has at most this many new pages, the copying thread ends after it, and the writing
/// thread copies the rest.
const REST_PAGES_MAX: i32 = 64;
/// Maximum number of copies that the copying thread makes, one after the other. Each copy after the
/// first contains only the pages that the previous copy has not copied.
const COPIES_MAX: u32 = 5;

thread_local! {
    /// The number of pages in the log after the last commit of this thread's connection; 0 after
    /// the writing thread has copied the whole log.
    static LOG_PAGES: Cell<i32> = const { Cell::new(0) };
}

/// Installs a hook that stores the length of the log in [`LOG_PAGES`] after each commit. The hook
/// replaces SQLite's own hook, which would copy the log.
pub(super) fn count_pages(connection: &Connection) {
    connection.wal_hook(Some(|_, pages| {
        LOG_PAGES.set(pages);
        Ok(())
    }));
}

/// Copies the write-ahead log for the writing thread, and starts the thread that copies most of it.
#[derive(Default)]
pub(super) struct LogCopier {
    /// The thread that copies the log, or has copied it and was not joined yet.
    copy_thread: Option<JoinHandle<()>>,
    /// The length of the log when the writing thread last tried to copy it, in pages; 0 if the log
    /// has become shorter since. The log stays long while a reader still needs its pages, so only
    /// its growth starts another attempt.
    pages_at_last_attempt: i32,
}

impl LogCopier {
    /// Starts to copy the log if it is long enough. Call this while no write is queued.
    pub(super) fn copy_if_idle(&mut self, path: &Path) {
        if self.copy_thread.is_none() && LOG_PAGES.get() >= IDLE_COPY_PAGES {
            self.start_copy(path);
        }
    }

    /// If the log has grown too much, copies it or starts the thread that copies it. If that thread
    /// has ended, copies the rest. Call this after the callers of a batch were answered.
    pub(super) fn limit_log(&mut self, connection: Option<&Connection>, path: &Path) {
        let pages = LOG_PAGES.get();
        if pages < self.pages_at_last_attempt {
            self.pages_at_last_attempt = 0;
        }
        let added = pages.saturating_sub(self.pages_at_last_attempt);
        match self.copy_thread.take() {
            Some(copying) if copying.is_finished() || added >= BLOCKING_COPY_PAGES => {
                let _ = copying.join();
                // A shorter log was overwritten from its start, because the thread had copied all
                // of it. Then there is no rest.
                if pages >= IDLE_COPY_PAGES {
                    self.copy_rest(connection);
                }
            }
            None if added >= BLOCKING_COPY_PAGES => self.copy_rest(connection),
            None if added >= COPY_PAGES => self.start_copy(path),
            copying => self.copy_thread = copying,
        }
    }

    /// Waits until the copying thread has ended.
    pub(super) fn close(&mut self) {
        if let Some(copying) = self.copy_thread.take() {
            let _ = copying.join();
        }
    }

    fn start_copy(&mut self, path: &Path) {
        let path = path.to_owned();
        let thread = thread::Builder::new().name("store-log".to_owned());
        let copying = thread.spawn(move || {
            if let Err(error) = file::connect(&path).and_then(|connection| copy_most(&connection)) {
                tracing::debug!(%error, "the write-ahead log was not copied");
            }
        });
        // If the thread cannot be started, the writing thread copies the log when it is too long.
        self.copy_thread = copying.ok();
    }

    /// Copies the pages that are not copied yet, in the writing thread.
    fn copy_rest(&mut self, connection: Option<&Connection>) {
        let Some(connection) = connection else { return };
        self.pages_at_last_attempt = LOG_PAGES.get();
        match copy_log(connection) {
            // The next commit overwrites the log from its start, unless an older read continues.
            Ok(copied) if copied.is_all() => LOG_PAGES.set(0),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "the write-ahead log was not copied"),
        }
    }
}

/// Copies the log at most [`COPIES_MAX`] times, until few pages are left.
fn copy_most(connection: &Connection) -> rusqlite::Result<()> {
    let mut before = 0;
    for _ in 0..COPIES_MAX {
        let pages = copy_log(connection)?.pages;
        if pages.saturating_sub(before) <= REST_PAGES_MAX {
            break;
        }
        before = pages;
    }
    Ok(())
}

/// The result of a copy: the number of pages in the log, and how many of these pages are copied.
struct CopyResult {
    pages: i32,
    copied_pages: i32,
}

impl CopyResult {
    fn is_all(&self) -> bool {
        self.pages == self.copied_pages
    }
}

/// Copies the pages of the log, except those that were added after the oldest read in progress
/// began. Never waits for readers or writers.
fn copy_log(connection: &Connection) -> rusqlite::Result<CopyResult> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        Ok(CopyResult { pages: row.get(1)?, copied_pages: row.get(2)? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_copied_and_overwritten_during_continuous_writes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("test.db");
        std::fs::write(&path, "").expect("an empty file");
        let connection = file::connect(&path).expect("a database");
        connection.execute_batch("CREATE TABLE t (content BLOB)").expect("a table");
        let mut log_copier = LogCopier::default();
        let (mut copied_by_thread, mut longest) = (false, 0);
        // Each row adds about 251 pages to the log.
        for _ in 0..2 * BLOCKING_COPY_PAGES / 251 {
            let row = "INSERT INTO t VALUES (zeroblob(1024000))";
            connection.execute(row, []).expect("a row");
            longest = longest.max(LOG_PAGES.get());
            log_copier.limit_log(Some(&connection), &path);
            if let Some(copying) = &log_copier.copy_thread {
                copied_by_thread = true;
                // The test writes faster than a server does, so it waits for the end of the copy.
                while !copying.is_finished() && LOG_PAGES.get() >= COPY_PAGES + 1_000 {
                    thread::yield_now();
                }
            }
        }
        log_copier.close();
        assert!(copied_by_thread, "no other thread copied the log");
        assert!(longest < BLOCKING_COPY_PAGES, "the log had {longest} pages");
    }
}
