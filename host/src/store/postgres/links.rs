//! The connections of the threads to PostgreSQL: one that writes batches, and some that only read.
//!
//! A batch holds the store's lock, so that the rules see one writer, whatever the number of
//! servers.

use std::{mem, slice};

use super::errors::{describe_error, ends_connection};
use super::schema::LOCK;
use super::session::Session;
use crate::store::sql::database::Database;
use crate::store::sql::history_rows::{self, HistoryRow, HistoryRows};
use crate::store::sql::queue::Batch;
use crate::store::sql::readers::ReadLink;
use crate::store::sql::writer::{Durability, WriteLink};
use crate::store::{DatabaseError, StoreError};

/// The connection that writes.
pub(super) struct Writing(pub(super) Session);

impl Writing {
    /// Runs each work in a savepoint of the transaction, and commits. A lone work needs no
    /// savepoint.
    fn run_and_commit<W: FnOnce(&dyn Database) -> bool>(
        &self,
        lone: bool,
        works: impl Iterator<Item = W>,
    ) -> Result<(), DatabaseError> {
        for (index, work) in works.enumerate() {
            if index > 0 {
                self.run(NEXT_SAVEPOINT)?;
            }
            match (work(&self.0), lone) {
                (true, _) => {}
                (false, true) => return self.run("ROLLBACK"),
                (false, false) => self.run(UNDO)?,
            }
        }
        self.0.commit()
    }

    /// Writes rows of the history in a transaction: together, or if that fails, each in a savepoint
    /// of its own.
    fn commit_history(&self, rows: &[HistoryRow]) -> Result<(), DatabaseError> {
        if !history_rows::write(rows, &self.0) {
            self.run(UNDO)?;
            let works = rows.iter().map(slice::from_ref);
            let works = works.map(|row| move |db: &dyn Database| history_rows::write(row, db));
            return self.run_and_commit(false, works);
        }
        self.0.commit()
    }

    /// Begins a transaction. If the connection was lost while nothing was written, connects again.
    fn begin(&self, sql: &str) -> Result<(), DatabaseError> {
        self.0.connect()?;
        match self.0.simple(sql) {
            Err(error) if ends_connection(&error) => {
                self.0.connect()?;
                self.run(sql)?;
            }
            begun => begun.map_err(|error| describe_error(&self.0.address.place, &error))?,
        }
        self.0.in_transaction.set(true);
        Ok(())
    }

    fn run(&self, sql: &str) -> Result<(), DatabaseError> {
        self.0.simple(sql).map_err(|error| describe_error(&self.0.address.place, &error))
    }

    fn try_commit(&self, batch: &mut Batch) -> Result<(), DatabaseError> {
        // The history first: an operation may delete rows that the history adds. A later commit
        // that is durable makes it durable too.
        if !batch.history.is_empty() {
            self.begin(BEGIN_HISTORY)?;
            // Only now: while the database cannot be reached, the history waits in the batch.
            let HistoryRows { rows, health } = history_rows::rows(mem::take(&mut batch.history));
            self.commit_history(&rows)?;
            if !health.is_empty() {
                self.begin(BEGIN_HISTORY)?;
                self.commit_history(&health)?;
            }
            self.0.in_transaction.set(false);
        }
        if batch.operations.is_empty() {
            return Ok(());
        }
        let synchronous = match batch.durability {
            Durability::Durable => "on",
            Durability::Lazy => "off",
        };
        // The rules must see what the holder of the lock before has committed.
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = {synchronous}; {LOCK}"
        );
        let lone = batch.operations.len() == 1;
        self.begin(&if lone { begin } else { format!("{begin}; {SAVEPOINT}") })?;
        let works = batch.operations.iter_mut();
        self.run_and_commit(lone, works.map(|it| move |db: &dyn Database| it.run(db)))
    }
}

const BEGIN_HISTORY: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; \
                             SET LOCAL synchronous_commit = off; SAVEPOINT operation";
const SAVEPOINT: &str = "SAVEPOINT operation";
const NEXT_SAVEPOINT: &str = "RELEASE SAVEPOINT operation; SAVEPOINT operation";
const UNDO: &str = "ROLLBACK TO SAVEPOINT operation";

impl WriteLink for Writing {
    fn commit(&mut self, batch: &mut Batch) -> Result<(), DatabaseError> {
        let committed = self.try_commit(batch);
        self.0.in_transaction.set(false);
        if committed.is_err() && self.0.simple("ROLLBACK").is_err() {
            self.0.forget();
        }
        committed
    }

    fn forget(&mut self) {
        self.0.forget();
    }

    fn idle(&mut self) {
        self.0.measure_clock();
    }

    fn close(self: Box<Self>) {
        self.0.close();
    }
}

/// A connection that reads.
pub(super) struct Reading(pub(super) Session);

impl ReadLink for Reading {
    fn database(&mut self) -> Result<&dyn Database, StoreError> {
        // A read that panicked left its snapshot open.
        if self.0.in_transaction.get() {
            self.0.forget();
        }
        self.0.connect()?;
        Ok(&self.0)
    }
}
