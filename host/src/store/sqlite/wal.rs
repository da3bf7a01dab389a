//! When the write-ahead log is copied into the database: while nothing is written, or when the log
//! has become too long.
//!
//! SQLite would do it inside a commit, and the callers of that commit would wait for it.

use std::cell::Cell;

use rusqlite::Connection;

/// The pages (of 4 KiB) that the log has when it is shortened while nothing is written: 4 MiB.
const PAGES_ENOUGH: i32 = 1_000;
/// The pages at which writes wait for it: 64 MiB.
const PAGES_MAX: i32 = 16_000;

thread_local! {
    /// The pages in the log after the last commit of this thread's connection.
    static PAGES: Cell<i32> = const { Cell::new(0) };
}

/// Counts the pages of the log of this connection, in the thread that uses it. SQLite's own
/// checkpoints end.
pub(super) fn count_pages(connection: &Connection) {
    connection.wal_hook(Some(|_, pages| {
        PAGES.set(pages);
        Ok(())
    }));
}

/// The write-ahead log, as its writing thread sees it.
#[derive(Default)]
pub(super) struct Log {
    /// The pages at which the last attempt was made: a reader may have kept the log.
    tried_at: i32,
}

impl Log {
    /// Nothing is being written.
    pub(super) fn shorten(&mut self, connection: Option<&Connection>) {
        if PAGES.get() >= PAGES_ENOUGH {
            self.checkpoint(connection);
        }
    }

    /// A batch was committed.
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
            Err(error) => tracing::debug!(%error, "the write-ahead log was not shortened"),
        }
    }
}
