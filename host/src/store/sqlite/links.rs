//! The connections of the store's threads to the SQLite file. One connection writes batches; the
//! others only read. Never decides which operations share a batch.

use std::path::PathBuf;
use std::{mem, slice};

use rusqlite::Connection;

use super::errors::describe_error;
use super::file;
use super::wal::LogCopier;
use crate::store::sql::database::Database;
use crate::store::sql::history_rows::{self, HistoryRow, HistoryRows};
use crate::store::sql::queue::Batch;
use crate::store::sql::readers::ReadLink;
use crate::store::sql::writer::{Durability, WriteLink};
use crate::store::{DatabaseError, StoreError};

pub(super) struct WritingLink {
    /// The open connection; `None` after a failure. The next batch then connects again.
    connection: Option<Connection>,
    path: PathBuf,
    /// The durability that was set for the connection last; `None` if none was set yet.
    durability: Option<Durability>,
    log_copier: LogCopier,
}

impl WritingLink {
    pub(super) fn new(connection: Connection, path: PathBuf) -> Self {
        Self {
            connection: Some(connection),
            path,
            durability: None,
            log_copier: LogCopier::default(),
        }
    }

    /// Writes the history and runs the operations in one transaction, each operation in its own
    /// savepoint. Then commits.
    fn try_commit(&mut self, batch: &mut Batch) -> rusqlite::Result<()> {
        if self.connection.is_none() {
            self.durability = None;
        }
        let db = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(file::connect(&self.path)?),
        };
        if self.durability != Some(batch.durability) {
            run_sql(db, synchronous_pragma(batch.durability))?;
            self.durability = Some(batch.durability);
        }
        run_sql(db, "BEGIN IMMEDIATE")?;
        // Write the history first: an operation may delete rows that the history adds.
        let HistoryRows { rows, health } = history_rows::make_rows(mem::take(&mut batch.history));
        write_rows(db, &rows)?;
        write_rows(db, &health)?;
        for operation in &mut batch.operations {
            in_savepoint(db, |db| operation.run(db))?;
        }
        run_sql(db, "COMMIT")
    }

    /// Rolls back the transaction of a failed batch. If that fails, drops the connection.
    fn roll_back(&mut self) {
        let Some(connection) = &self.connection else { return };
        // The rollback fails if SQLite itself has ended the transaction.
        if run_sql(connection, "ROLLBACK").is_err() {
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
        self.log_copier.limit_log(self.connection.as_ref(), &self.path);
    }

    fn on_idle(&mut self) {
        self.log_copier.copy_if_idle(&self.path);
    }

    fn close(mut self: Box<Self>) {
        self.log_copier.close();
        if let Some(connection) = self.connection
            && let Err((_, error)) = connection.close()
        {
            tracing::warn!(%error, "the database file was not closed cleanly");
        }
    }
}

pub(super) struct ReadingLink(pub(super) Connection);

impl ReadLink for ReadingLink {
    fn database(&mut self) -> Result<&dyn Database, StoreError> {
        Ok(&self.0)
    }
}

fn run_sql(db: &Connection, sql: &str) -> rusqlite::Result<()> {
    db.prepare_cached(sql)?.execute([]).map(drop)
}

/// Writes these rows together. If that fails, writes each row separately.
fn write_rows(db: &Connection, rows: &[HistoryRow]) -> rusqlite::Result<()> {
    if rows.is_empty() || in_savepoint(db, |db| history_rows::write(rows, db))? {
        return Ok(());
    }
    for row in rows {
        in_savepoint(db, |db| history_rows::write(slice::from_ref(row), db))?;
    }
    Ok(())
}

/// Runs `work` in a savepoint. If `work` fails, undoes its changes. Returns whether `work`
/// succeeded.
fn in_savepoint(db: &Connection, work: impl FnOnce(&Connection) -> bool) -> rusqlite::Result<bool> {
    run_sql(db, "SAVEPOINT operation")?;
    let succeeded = work(db);
    if !succeeded {
        run_sql(db, "ROLLBACK TO operation")?;
    }
    run_sql(db, "RELEASE operation")?;
    Ok(succeeded)
}

fn synchronous_pragma(durability: Durability) -> &'static str {
    match durability {
        Durability::Lazy => "PRAGMA synchronous = NORMAL",
        Durability::Durable => "PRAGMA synchronous = FULL",
    }
}
