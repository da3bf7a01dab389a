//! The interface between the store's rules and a database engine: the engine runs a statement with
//! its parameters, and passes on the rows that the statement returns.
//!
//! A statement is SQL that each engine can run, with `?` or `?1` for its parameters. (Only
//! PostgreSQL runs the statements about shared connectors.) A value of a row is copied only if the
//! caller keeps it.

use std::ops::ControlFlow;

use uuid::Uuid;

use super::values::{FromValue, Value};
use crate::store::changes::Change;
use crate::store::{DatabaseError, StoreError};

/// A connection to the database.
pub(in crate::store) trait Database {
    /// Runs a statement that returns no row. Returns the number of rows that it changed.
    fn change(&self, sql: &str, params: &[Value<'_>]) -> Result<usize, Failure>;
    /// Runs an `INSERT` once for each row of parameters, in their order. The `INSERT` has one
    /// `VALUES (?, …)`, and no other parameters. An engine may insert many rows with one statement.
    fn insert_rows(&self, sql: &str, rows: &[Vec<Value<'_>>]) -> Result<(), Failure> {
        rows.iter().try_for_each(|params| self.change(sql, params).map(drop))
    }
    /// Calls `on_row` for each row of a query, until `on_row` returns `Break` or an error.
    fn query(&self, sql: &str, params: &[Value<'_>], on_row: OnRow<'_>) -> Result<(), Failure>;
    /// Sends a notification of a change to the servers that use the database, as soon as the change
    /// is committed. Does nothing if only one server can use the database.
    fn notify(&self, _: &Change) -> Result<(), Failure> {
        Ok(())
    }
    /// Like [`Self::query`], for a caller that reads only the columns with these names. In
    /// `columns`, a comma follows each name. An engine may select these columns instead of `*`.
    fn query_columns(
        &self,
        sql: &str,
        _columns: &'static str,
        params: &[Value<'_>],
        on_row: OnRow<'_>,
    ) -> Result<(), Failure> {
        self.query(sql, params, on_row)
    }
    /// Makes the commit of this transaction durable, if the database engine can crash while the
    /// servers of Jackfield continue. Without this call, such a crash could lose the changes of a
    /// batch that is `Durability::Lazy`.
    fn make_durable(&self) -> Result<(), Failure> {
        Ok(())
    }
    /// Calls `reads`, whose queries all read the same state of the database.
    fn in_snapshot(&self, reads: SnapshotReads<'_>) -> Result<(), StoreError>;
}

/// Receives a row of a query. Returns `Break` if it needs no further row.
pub(in crate::store) type OnRow<'a> =
    &'a mut dyn FnMut(&dyn ResultRow) -> Result<ControlFlow<()>, Failure>;
pub(in crate::store) type SnapshotReads<'a> =
    &'a mut dyn FnMut(&dyn Database) -> Result<(), StoreError>;

/// A row of a query.
pub(in crate::store) trait ResultRow {
    /// Returns the position of the column with this name; `None` if the row has no such column.
    fn position(&self, name: &str) -> Option<usize>;
    fn value(&self, position: usize) -> Result<Value<'_>, Failure>;
}

#[derive(Debug)]
pub(in crate::store) struct Failure {
    /// Whether the change would violate a constraint of the schema.
    pub(in crate::store) violates_constraint: bool,
    pub(in crate::store) error: DatabaseError,
}

impl Failure {
    pub(in crate::store) fn unreadable_column(column: &str, why: &'static str) -> Self {
        let failure = format!("the column `{column}` cannot be read");
        Self { violates_constraint: false, error: DatabaseError::new(failure, why, None) }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        failure.error.into()
    }
}

impl dyn Database + '_ {
    pub(in crate::store) fn first_row<T: FromRow>(
        &self,
        sql: &str,
        params: &[Value<'_>],
    ) -> Result<Option<T>, Failure> {
        let mut first = None;
        self.query_columns(sql, T::COLUMNS, params, &mut |row| {
            first = Some(T::from_row(row)?);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(first)
    }

    pub(in crate::store) fn required_row<T: FromRow>(
        &self,
        sql: &str,
        params: &[Value<'_>],
    ) -> Result<T, Failure> {
        self.first_row(sql, params)?.ok_or_else(|| Failure {
            violates_constraint: false,
            error: DatabaseError::new("the database failed", "a query returned no row", None),
        })
    }

    pub(in crate::store) fn all_rows<T: FromRow>(
        &self,
        sql: &str,
        params: &[Value<'_>],
    ) -> Result<Vec<T>, Failure> {
        let mut all = Vec::new();
        self.query_columns(sql, T::COLUMNS, params, &mut |row| {
            all.push(T::from_row(row)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(all)
    }
}

/// A type whose values are read from the columns of a row.
pub(in crate::store) trait FromRow: Sized {
    /// The names of the columns that each row must have. A comma follows each name. Empty if the
    /// columns are read by their positions.
    const COLUMNS: &'static str = "";
    fn from_row(row: &dyn ResultRow) -> Result<Self, Failure>;
}

pub(super) fn read_column_at<T: FromValue>(
    row: &dyn ResultRow,
    position: usize,
    name: &str,
) -> Result<T, Failure> {
    T::from_value(row.value(position)?)
        .ok_or_else(|| Failure::unreadable_column(name, "its value has another type"))
}

pub(super) fn read_column<T: FromValue>(row: &dyn ResultRow, name: &str) -> Result<T, Failure> {
    let position =
        row.position(name).ok_or_else(|| Failure::unreadable_column(name, "it is missing"))?;
    read_column_at(row, position, name)
}

pub(super) fn read_optional_column<T: FromValue>(
    row: &dyn ResultRow,
    name: &str,
) -> Result<Option<T>, Failure> {
    row.position(name).map_or(Ok(None), |position| read_column_at(row, position, name))
}

/// Reads a tuple from the columns of a row, by their positions.
macro_rules! from_columns {
    ($($kind:ident $column:literal),+) => {
        impl<$($kind: FromValue),+> FromRow for ($($kind,)+) {
            fn from_row(row: &dyn ResultRow) -> Result<Self, Failure> {
                Ok(($(read_column_at(row, $column, stringify!($column))?,)+))
            }
        }
    };
}

/// Reads a value from the first column of a row.
macro_rules! from_column {
    ($($kind:ty),+) => {$(
        impl FromRow for $kind {
            fn from_row(row: &dyn ResultRow) -> Result<Self, Failure> {
                read_column_at(row, 0, "0")
            }
        }
    )+};
}

from_column!(bool, i64, usize, String, Uuid, Vec<u8>);
from_columns!(A 0, B 1);
from_columns!(A 0, B 1, C 2);
from_columns!(A 0, B 1, C 2, D 3);

/// Reads the columns of a row into a struct with fields of the same names; columns after `optional`
/// may be missing in the row.
macro_rules! from_row {
    ($row:ident { $($column:ident),+ $(; optional $($optional:ident),+)? $(,)? }) => {
        impl $crate::store::sql::database::FromRow for $row {
            const COLUMNS: &'static str = concat!($(stringify!($column), ", "),+);

            fn from_row(
                row: &dyn $crate::store::sql::database::ResultRow,
            ) -> Result<Self, $crate::store::sql::database::Failure> {
                Ok(Self {
                    $($column: $crate::store::sql::database::read_column(
                        row,
                        stringify!($column),
                    )?,)+
                    $($($optional: $crate::store::sql::database::read_optional_column(
                        row,
                        stringify!($optional),
                    )?,)+)?
                })
            }
        }
    };
}

/// Makes the parameters of a statement, in the order of their numbers.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$($crate::store::sql::values::ToValue::to_value(&$value)),*]
    };
}

pub(super) use from_row;
pub(in crate::store) use params;
