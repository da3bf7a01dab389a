//! Decides when the write-ahead log is copied into the database, and copies it in a thread of its
//! own.
//!
//! SQLite would copy the log inside a commit, and the callers of that commit would wait. A log
//! starts again at its beginning only after all of it was copied, so the writing thread copies the
//! few pages that were added meanwhile.

use std::cell::Cell;
use std::path::Path;
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use super::file;

/// If the log has this many pages of 4 KiB (4 MiB), it is copied as soon as nothing is written.
const PAGES_IF_IDLE: i32 = 1_000;
/// If the log has this many pages (32 MiB), it is copied while others write.
const PAGES_ENOUGH: i32 = 8_000;
/// If the log has this many pages (64 MiB), writes wait until it is copied.
const PAGES_MAX: i32 = 16_000;
/// If no more pages than this were added during a copy, the writing thread copies the rest.
const PAGES_FEW: i32 = 64;
/// The maximum number of copies that follow each other. Each is shorter than the one before.
const COPIES_MAX: u32 = 5;

thread_local! {
    /// The pages in the log after the last commit of this thread's connection.
    static PAGES: Cell<i32> = const { Cell::new(0) };
}

/// Counts the pages of this connection's log, in the thread that uses the connection. This hook
/// replaces the one by which SQLite copies the log itself.
pub(super) fn count_pages(connection: &Connection) {
    connection.wal_hook(Some(|_, pages| {
        PAGES.set(pages);
        Ok(())
    }));
}

/// The write-ahead log, as the writing thread sees it.
#[derive(Default)]
pub(super) struct Log {
    /// The thread that copies.
    copying: Option<JoinHandle<()>>,
    /// The length at the last attempt, in pages. A reader can keep the log from becoming shorter.
    tried_at: i32,
}

impl Log {
    /// Begins to copy a log that is not short. Call it while nothing is written.
    pub(super) fn copy_if_idle(&mut self, path: &Path) {
        if self.copying.is_none() && PAGES.get() >= PAGES_IF_IDLE {
            self.start_copy(path);
        }
    }

    /// Keeps the log within its limits. Call it after the callers of a batch were answered.
    pub(super) fn limit(&mut self, connection: Option<&Connection>, path: &Path) {
        let pages = PAGES.get();
        if pages < self.tried_at {
            self.tried_at = 0;
        }
        let added = pages.saturating_sub(self.tried_at);
        match self.copying.take() {
            Some(copying) if copying.is_finished() || added >= PAGES_MAX => {
                let _ = copying.join();
                // After a copy while nothing was written, the log already started again.
                if pages >= PAGES_IF_IDLE {
                    self.copy_rest(connection);
                }
            }
            None if added >= PAGES_MAX => self.copy_rest(connection),
            None if added >= PAGES_ENOUGH => self.start_copy(path),
            copying => self.copying = copying,
        }
    }

    /// Waits until nothing is copied.
    pub(super) fn close(&mut self) {
        if let Some(copying) = self.copying.take() {
            let _ = copying.join();
        }
    }

    fn start_copy(&mut self, path: &Path) {
        let path = path.to_owned();
        let thread = thread::Builder::new().name("store-log".to_owned());
        let copying = thread.spawn(move || {
            if let Err(error) = file::connect(&path).and_then(|it| copy_most(&it)) {
                tracing::debug!(%error, "the write-ahead log was not copied");
            }
        });
        // Without a thread, the writing thread copies the log when it has become too long.
        self.copying = copying.ok();
    }

    fn copy_rest(&mut self, connection: Option<&Connection>) {
        let Some(connection) = connection else { return };
        self.tried_at = PAGES.get();
        match copy(connection) {
            // The next commit begins at the start of the log.
            Ok(copied) if copied.is_all() => PAGES.set(0),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "the write-ahead log was not copied"),
        }
    }
}

/// Copies the log until few pages are left.
fn copy_most(connection: &Connection) -> rusqlite::Result<()> {
    let mut before = 0;
    for _ in 0..COPIES_MAX {
        let pages = copy(connection)?.pages;
        if pages.saturating_sub(before) <= PAGES_FEW {
            break;
        }
        before = pages;
    }
    Ok(())
}

/// What a copy found in the log when it began.
struct Copied {
    pages: i32,
    copied: i32,
}

impl Copied {
    fn is_all(&self) -> bool {
        self.pages == self.copied
    }
}

/// Copies the pages that no reader still needs in the log. Does not wait for readers or writers.
fn copy(connection: &Connection) -> rusqlite::Result<Copied> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        Ok(Copied { pages: row.get(1)?, copied: row.get(2)? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_starts_again_while_others_write() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("test.db");
        std::fs::write(&path, "").expect("an empty file");
        let connection = file::connect(&path).expect("a database");
        connection.execute_batch("CREATE TABLE t (content BLOB)").expect("a table");
        let mut log = Log::default();
        let (mut copied_beside, mut longest) = (false, 0);
        // Each row has 251 pages.
        for _ in 0..2 * PAGES_MAX / 251 {
            let row = "INSERT INTO t VALUES (zeroblob(1024000))";
            connection.execute(row, []).expect("a row");
            longest = longest.max(PAGES.get());
            log.limit(Some(&connection), &path);
            if let Some(copying) = &log.copying {
                copied_beside = true;
                // The test writes faster than a server: let the copy end.
                while !copying.is_finished() && PAGES.get() >= PAGES_ENOUGH + 1_000 {
                    thread::yield_now();
                }
            }
        }
        log.close();
        assert!(copied_beside, "no other thread copied the log");
        assert!(longest < PAGES_MAX, "the log had {longest} pages");
    }
}
