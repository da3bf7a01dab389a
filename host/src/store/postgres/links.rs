//! The PostgreSQL connections of the store's threads. One connection writes batches; the others
//! only read.
//!
//! The operations of a batch run under the store's lock, so the operations of several servers never
//! run at the same time.

use std::{mem, slice};

use sqlx::Error;

use super::errors::{describe_error, ends_connection};
use super::schema::TAKE_STORE_LOCK;
use super::session::Session;
use crate::store::sql::database::Database;
use crate::store::sql::history_rows::{self, HistoryRow, HistoryRows};
use crate::store::sql::queue::Batch;
use crate::store::sql::readers::ReadLink;
use crate::store::sql::writer::{Durability, WriteLink};
use crate::store::{DatabaseError, StoreError};

pub(super) struct WritingLink(pub(super) Session);

impl WritingLink {
    /// Runs changes in the open transaction, and commits. Each change has a savepoint of its own,
    /// to undo this change if it failed. With `is_single`, there is only one change and no
    /// savepoint: if the change failed, the whole transaction is rolled back.
    fn run_and_commit<W: FnOnce(&dyn Database) -> bool>(
        &self,
        is_single: bool,
        changes: impl Iterator<Item = W>,
    ) -> Result<(), DatabaseError> {
        for (index, change) in changes.enumerate() {
            if index > 0 {
                self.execute_sql(NEXT_SAVEPOINT)?;
            }
            match (change(&self.0), is_single) {
                (true, _) => {}
                (false, true) => return self.execute_sql("ROLLBACK"),
                (false, false) => self.execute_sql(ROLL_BACK_TO_SAVEPOINT)?,
            }
        }
        self.0.commit()
    }

    /// Writes rows of the history in the transaction, and commits. Writes all rows together. If
    /// this fails, writes each row in a savepoint of its own.
    fn commit_history(&self, rows: &[HistoryRow]) -> Result<(), DatabaseError> {
        if !history_rows::write(rows, &self.0) {
            self.execute_sql(ROLL_BACK_TO_SAVEPOINT)?;
            let rows = rows.iter().map(slice::from_ref);
            let changes = rows.map(|row| move |db: &dyn Database| history_rows::write(row, db));
            return self.run_and_commit(false, changes);
        }
        self.0.commit()
    }

    /// Begins a transaction. If the connection was lost since the last batch, connects again.
    fn begin(&self, sql: &str) -> Result<(), DatabaseError> {
        self.0.connect()?;
        match self.0.execute_sql(sql) {
            Err(error) if ends_connection(&error) => {
                self.0.connect()?;
                self.execute_sql(sql)?;
            }
            result => result.map_err(|error| self.describe(&error))?,
        }
        self.0.is_in_transaction.set(true);
        Ok(())
    }

    fn execute_sql(&self, sql: &str) -> Result<(), DatabaseError> {
        self.0.execute_sql(sql).map_err(|error| self.describe(&error))
    }

    fn describe(&self, error: &Error) -> DatabaseError {
        describe_error(&self.0.address.display_url, error)
    }

    /// Commits the history of a batch, and then its operations. After an error, a transaction may
    /// still be open.
    fn try_commit(&self, batch: &mut Batch) -> Result<(), DatabaseError> {
        // Write the history first: an operation may delete rows that the history adds. The commit
        // of the history is not durable; the next durable commit makes it durable.
        if !batch.history.is_empty() {
            self.begin(BEGIN_HISTORY)?;
            // Take the history out of the batch only after the transaction has begun: if the
            // database cannot be reached, the history must stay in the batch for the next attempt.
            let HistoryRows { rows, health } =
                history_rows::make_rows(mem::take(&mut batch.history));
            self.commit_history(&rows)?;
            if !health.is_empty() {
                self.begin(BEGIN_HISTORY)?;
                self.commit_history(&health)?;
            }
            self.0.is_in_transaction.set(false);
        }
        if batch.operations.is_empty() {
            return Ok(());
        }
        let synchronous = match batch.durability {
            Durability::Durable => "on",
            Durability::Lazy => "off",
        };
        // READ COMMITTED: the operations must read what the previous owner of the lock committed.
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = {synchronous}; \
             {TAKE_STORE_LOCK}"
        );
        let is_single = batch.operations.len() == 1;
        self.begin(&if is_single { begin } else { format!("{begin}; {SAVEPOINT}") })?;
        let operations = batch.operations.iter_mut();
        let changes = operations.map(|operation| move |db: &dyn Database| operation.run(db));
        self.run_and_commit(is_single, changes)
    }
}

const BEGIN_HISTORY: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; \
                             SET LOCAL synchronous_commit = off; SAVEPOINT operation";
const SAVEPOINT: &str = "SAVEPOINT operation";
const NEXT_SAVEPOINT: &str = "RELEASE SAVEPOINT operation; SAVEPOINT operation";
const ROLL_BACK_TO_SAVEPOINT: &str = "ROLLBACK TO SAVEPOINT operation";

impl WriteLink for WritingLink {
    fn commit(&mut self, batch: &mut Batch) -> Result<(), DatabaseError> {
        let committed = self.try_commit(batch);
        self.0.is_in_transaction.set(false);
        if committed.is_err() && self.0.execute_sql("ROLLBACK").is_err() {
            self.0.disconnect();
        }
        committed
    }

    fn disconnect(&mut self) {
        self.0.disconnect();
    }

    fn on_answered(&mut self) {
        self.0.measure_clock_if_due(false);
    }

    fn on_idle(&mut self) {
        self.0.measure_clock_if_due(true);
    }

    fn close(self: Box<Self>) {
        self.0.close();
    }
}

pub(super) struct ReadingLink(pub(super) Session);

impl ReadLink for ReadingLink {
    fn database(&mut self) -> Result<&dyn Database, StoreError> {
        // A read that panicked has left its transaction open.
        if self.0.is_in_transaction.get() {
            self.0.disconnect();
        }
        self.0.connect()?;
        Ok(&self.0)
    }
}
