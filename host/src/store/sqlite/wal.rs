//! Decides when the write-ahead log is copied into the database file (a checkpoint), and copies it
//! in a thread of its own.
//!
//! Otherwise SQLite would copy the log during a commit, and the callers of that commit would wait.
//! SQLite overwrites the log from its start only after the whole log was copied. So the writing
//! thread copies the few pages that were added during the copy.

use std::cell::Cell;
use std::path::Path;
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use super::file;

/// If the log has this many pages of 4 KiB (together 4 MiB), it is copied when no write is queued.
const IDLE_COPY_PAGES: i32 = 1_000;
/// If the log has this many pages (32 MiB), it is copied even while the writing thread writes.
const COPY_PAGES: i32 = 8_000;
/// If the log has this many pages (64 MiB), writes wait until the log is copied.
const BLOCKING_COPY_PAGES: i32 = 16_000;
/// If at most this many pages were added during a copy, the writing thread copies the rest.
const REST_PAGES_MAX: i32 = 64;
/// Maximum number of copies in a row. Each copies only the pages that were added during the copy
/// before.
const COPIES_MAX: u32 = 5;

thread_local! {
    /// The number of pages in the log after the last commit of this thread's connection.
    static PAGES: Cell<i32> = const { Cell::new(0) };
}

/// Installs a hook that counts the pages of the log, in the thread that uses the connection. The
/// hook replaces the one with which SQLite copies the log itself.
pub(super) fn count_pages(connection: &Connection) {
    connection.wal_hook(Some(|_, pages| {
        PAGES.set(pages);
        Ok(())
    }));
}

/// The state of the copying of the write-ahead log, for the writing thread.
#[derive(Default)]
pub(super) struct Log {
    /// The thread that copies the log; `None` if none is running.
    copying: Option<JoinHandle<()>>,
    /// The length of the log at the last attempt, in pages. The log does not become shorter while a
    /// reader still needs its pages.
    tried_at: i32,
}

impl Log {
    /// Starts to copy the log if it is long enough. Call this while no write is queued.
    pub(super) fn copy_if_idle(&mut self, path: &Path) {
        if self.copying.is_none() && PAGES.get() >= IDLE_COPY_PAGES {
            self.start_copy(path);
        }
    }

    /// Copies the log if it is too long. Call this after the callers of a batch were answered.
    pub(super) fn limit(&mut self, connection: Option<&Connection>, path: &Path) {
        let pages = PAGES.get();
        if pages < self.tried_at {
            self.tried_at = 0;
        }
        let added = pages.saturating_sub(self.tried_at);
        match self.copying.take() {
            Some(copying) if copying.is_finished() || added >= BLOCKING_COPY_PAGES => {
                let _ = copying.join();
                // If nothing was written during the copy, the log has already been restarted.
                if pages >= IDLE_COPY_PAGES {
                    self.copy_rest(connection);
                }
            }
            None if added >= BLOCKING_COPY_PAGES => self.copy_rest(connection),
            None if added >= COPY_PAGES => self.start_copy(path),
            copying => self.copying = copying,
        }
    }

    /// Waits until the copying thread has ended.
    pub(super) fn close(&mut self) {
        if let Some(copying) = self.copying.take() {
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
        self.copying = copying.ok();
    }

    fn copy_rest(&mut self, connection: Option<&Connection>) {
        let Some(connection) = connection else { return };
        self.tried_at = PAGES.get();
        match copy(connection) {
            // The next commit overwrites the log from its start.
            Ok(copied) if copied.is_all() => PAGES.set(0),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "the write-ahead log was not copied"),
        }
    }
}

/// Copies the log repeatedly, until few pages are left.
fn copy_most(connection: &Connection) -> rusqlite::Result<()> {
    let mut before = 0;
    for _ in 0..COPIES_MAX {
        let pages = copy(connection)?.pages;
        if pages.saturating_sub(before) <= REST_PAGES_MAX {
            break;
        }
        before = pages;
    }
    Ok(())
}

/// The result of a copy: the number of pages in the log, and how many of them are copied.
struct Copied {
    pages: i32,
    copied: i32,
}

impl Copied {
    fn is_all(&self) -> bool {
        self.pages == self.copied
    }
}

/// Copies the pages that no reader still needs in the log. Never waits for readers or writers.
fn copy(connection: &Connection) -> rusqlite::Result<Copied> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        Ok(Copied { pages: row.get(1)?, copied: row.get(2)? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_restarted_during_continuous_writes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("test.db");
        std::fs::write(&path, "").expect("an empty file");
        let connection = file::connect(&path).expect("a database");
        connection.execute_batch("CREATE TABLE t (content BLOB)").expect("a table");
        let mut log = Log::default();
        let (mut copied_by_thread, mut longest) = (false, 0);
        // Each row has 251 pages.
        for _ in 0..2 * BLOCKING_COPY_PAGES / 251 {
            let row = "INSERT INTO t VALUES (zeroblob(1024000))";
            connection.execute(row, []).expect("a row");
            longest = longest.max(PAGES.get());
            log.limit(Some(&connection), &path);
            if let Some(copying) = &log.copying {
                copied_by_thread = true;
                // The test writes faster than a server does, so it waits for the end of the copy.
                while !copying.is_finished() && PAGES.get() >= COPY_PAGES + 1_000 {
                    thread::yield_now();
                }
            }
        }
        log.close();
        assert!(copied_by_thread, "no other thread copied the log");
        assert!(longest < BLOCKING_COPY_PAGES, "the log had {longest} pages");
    }
}
