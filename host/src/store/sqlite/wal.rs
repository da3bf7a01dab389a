//! Decides when the write-ahead log is copied into the database: while nothing is written, or when
//! the log has become too long.
//!
//! SQLite would copy the log inside a commit, and the callers of that commit would wait.

use std::cell::Cell;

use rusqlite::Connection;

/// If the log has this many pages of 4 KiB (4 MiB), it is copied into the database as soon as
/// nothing is written.
const PAGES_ENOUGH: i32 = 1_000;
/// If the log has this many pages (64 MiB), writes wait until it is copied into the database.
const PAGES_MAX: i32 = 16_000;

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
    /// The length at the last attempt, in pages. A reader can keep the log from becoming shorter.
    tried_at: i32,
}

impl Log {
    /// Shortens a long log. Call it while nothing is written.
    pub(super) fn copy_back(&mut self, connection: Option<&Connection>) {
        if PAGES.get() >= PAGES_ENOUGH {
            self.checkpoint(connection);
        }
    }

    /// Shortens the log if it is too long. Call it after each commit.
    pub(super) fn limit(&mut self, connection: Option<&Connection>) {
        let pages = PAGES.get();
        if pages < self.tried_at {
            self.tried_at = 0;
        }
        if pages.saturating_sub(self.tried_at) >= PAGES_MAX {
            self.checkpoint(connection);
        }
    }

    fn checkpoint(&mut self, connection: Option<&Connection>) {
        let Some(connection) = connection else { return };
        self.tried_at = PAGES.get();
        let done = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
            Ok(row.get::<_, i32>(1)? == row.get::<_, i32>(2)?)
        });
        match done {
            // The next commit begins at the start of the log.
            Ok(true) => PAGES.set(0),
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "the write-ahead log was not copied back"),
        }
    }
}
