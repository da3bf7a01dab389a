//! The connections of the store's threads to the SQLite file: one writes batches, the others only
//! read. Never decides which operations share a batch.

use std::path::PathBuf;
use std::{mem, slice};

use rusqlite::Connection;

use super::errors::describe_error;
use super::file;
use super::wal::Log;
use crate::store::sql::database::Database;
use crate::store::sql::history_rows::{self, HistoryRow, HistoryRows};
use crate::store::sql::queue::Batch;
use crate::store::sql::readers::ReadLink;
use crate::store::sql::writer::{Durability, WriteLink};
use crate::store::{DatabaseError, StoreError};

/// The connection of the thread that writes.
pub(super) struct WritingLink {
    /// `None` after a failure; the next batch connects again.
    connection: Option<Connection>,
    path: PathBuf,
    /// The durability to which the connection is set; `None` if it was not set yet.
    durability: Option<Durability>,
    log: Log,
}

impl WritingLink {
    /// `path` is the file to which the next batch connects after a failure.
    pub(super) fn new(connection: Connection, path: PathBuf) -> Self {
        Self { connection: Some(connection), path, durability: None, log: Log::default() }
    }

    /// Writes the history and runs the operations in one transaction, each operation in its own
    /// savepoint.
    fn try_commit(&mut self, batch: &mut Batch) -> rusqlite::Result<()> {
        if self.connection.is_none() {
            self.durability = None;
        }
        let db = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(file::connect(&self.path)?),
        };
        if self.durability != Some(batch.durability) {
            run(db, pragma(batch.durability))?;
            self.durability = Some(batch.durability);
        }
        run(db, "BEGIN IMMEDIATE")?;
        // Write the history first: an operation may delete rows that the history adds.
        let HistoryRows { rows, health } = history_rows::make_rows(mem::take(&mut batch.history));
        write_rows(db, &rows)?;
        write_rows(db, &health)?;
        for operation in &mut batch.operations {
            in_savepoint(db, |db| operation.run(db))?;
        }
        run(db, "COMMIT")
    }

    /// Rolls back the transaction of a failed batch. If that fails, drops the connection.
    fn roll_back(&mut self) {
        let Some(connection) = &self.connection else { return };
        // The rollback fails if SQLite itself has ended the transaction.
        if run(connection, "ROLLBACK").is_err() {
            self.connection = None;
        }
    }
}

impl WriteLink for WritingLink {
    fn commit(&mut self, batch: &mut Batch) -> Result<(), DatabaseError> {
        self.try_commit(batch).map_err(|error| {
            self.roll_back();
            describe_error(error)
        })
    }

    fn disconnect(&mut self) {
        self.connection = None;
    }

    fn on_answered(&mut self) {
        self.log.limit(self.connection.as_ref(), &self.path);
    }

    fn on_idle(&mut self) {
        self.log.copy_if_idle(&self.path);
    }

    fn close(mut self: Box<Self>) {
        self.log.close();
        if let Some(connection) = self.connection
            && let Err((_, error)) = connection.close()
        {
            tracing::warn!(%error, "the database file was not closed cleanly");
        }
    }
}

/// A connection of a thread that reads.
pub(super) struct ReadingLink(pub(super) Connection);

impl ReadLink for ReadingLink {
    fn database(&mut self) -> Result<&dyn Database, StoreError> {
        Ok(&self.0)
    }
}

fn run(db: &Connection, sql: &str) -> rusqlite::Result<()> {
    db.prepare_cached(sql)?.execute([]).map(drop)
}

/// Writes all rows of the history together. If that fails, writes each row separately.
fn write_rows(db: &Connection, rows: &[HistoryRow]) -> rusqlite::Result<()> {
    if rows.is_empty() || in_savepoint(db, |db| history_rows::write(rows, db))? {
        return Ok(());
    }
    for row in rows {
        in_savepoint(db, |db| history_rows::write(slice::from_ref(row), db))?;
    }
    Ok(())
}

/// Runs `work` in a savepoint, and undoes its changes if it failed. Returns whether it succeeded.
fn in_savepoint(db: &Connection, work: impl FnOnce(&Connection) -> bool) -> rusqlite::Result<bool> {
    run(db, "SAVEPOINT operation")?;
    let succeeded = work(db);
    if !succeeded {
        run(db, "ROLLBACK TO operation")?;
    }
    run(db, "RELEASE operation")?;
    Ok(succeeded)
}

fn pragma(durability: Durability) -> &'static str {
    match durability {
        Durability::Lazy => "PRAGMA synchronous = NORMAL",
        Durability::Durable => "PRAGMA synchronous = FULL",
    }
}
