//! What the rules ask of a database engine: to run a statement with its parameters, and to pass on
//! the rows that it returns.
//!
//! A statement is SQL that each engine understands, with `?` or `?1` for its parameters. Never
//! copies a value that its caller does not keep.

use std::ops::ControlFlow;

use uuid::Uuid;

use super::values::{FromValue, Value};
use crate::store::changes::Change;
use crate::store::{DatabaseError, StoreError};

/// An open connection to the database.
pub(in crate::store) trait Database {
    /// Runs a statement that returns no row; returns how many rows it changed.
    fn change(&self, sql: &str, params: &[Value<'_>]) -> Result<usize, Failure>;
    /// Runs an `INSERT` once for each of these rows of parameters, in their order. It has one
    /// `VALUES (?, …)`, and no other parameter. An engine may insert many rows with one statement.
    fn change_rows(&self, sql: &str, rows: &[Vec<Value<'_>>]) -> Result<(), Failure> {
        rows.iter().try_for_each(|params| self.change(sql, params).map(drop))
    }
    /// Passes on the rows of a query, until there is none or no further one is wanted.
    fn query(&self, sql: &str, params: &[Value<'_>], each: Each<'_>) -> Result<(), Failure>;
    /// Notifies the other servers of a change when it is committed. Does nothing in an engine that
    /// no other server uses.
    fn notify(&self, _: &Change) -> Result<(), Failure> {
        Ok(())
    }
    /// As [`Self::query`], for rows of which these columns are read, each followed by a comma. An
    /// engine may ask for them instead of `*`.
    fn query_columns(
        &self,
        sql: &str,
        _columns: &'static str,
        params: &[Value<'_>],
        each: Each<'_>,
    ) -> Result<(), Failure> {
        self.query(sql, params, each)
    }
    /// Makes this transaction durable, if the engine may crash while its servers go on. Then a
    /// change that only a power cut of the server may lose is not lost.
    fn make_durable(&self) -> Result<(), Failure> {
        Ok(())
    }
    /// Runs reads that all see the same state of the database.
    fn in_snapshot(&self, reads: Reads<'_>) -> Result<(), StoreError>;
}

/// Receives a row of a query, and says whether it wants the next one.
pub(in crate::store) type Each<'a> =
    &'a mut dyn FnMut(&dyn Columns) -> Result<ControlFlow<()>, Failure>;
/// Reads of one state of the database.
pub(in crate::store) type Reads<'a> = &'a mut dyn FnMut(&dyn Database) -> Result<(), StoreError>;

/// A row of a query.
pub(in crate::store) trait Columns {
    /// The position of the column with this name; `None` if the row has none.
    fn position(&self, name: &str) -> Option<usize>;
    /// The value at a position.
    fn value(&self, position: usize) -> Result<Value<'_>, Failure>;
}

/// Why a statement failed.
#[derive(Debug)]
pub(in crate::store) struct Failure {
    /// Whether the change would violate a constraint of the schema.
    pub(in crate::store) violates: bool,
    pub(in crate::store) error: DatabaseError,
}

impl Failure {
    pub(in crate::store) fn of_value(column: &str, why: &'static str) -> Self {
        let failure = format!("the column `{column}` cannot be read");
        Self { violates: false, error: DatabaseError::new(failure, why, None) }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        failure.error.into()
    }
}

impl dyn Database + '_ {
    /// Returns the first row of a query, if there is one.
    pub(in crate::store) fn one<T: FromRow>(
        &self,
        sql: &str,
        params: &[Value<'_>],
    ) -> Result<Option<T>, Failure> {
        let mut found = None;
        self.query_columns(sql, T::COLUMNS, params, &mut |row| {
            found = Some(T::from_row(row)?);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }

    /// Returns the first row of a query that always has one.
    pub(in crate::store) fn only<T: FromRow>(
        &self,
        sql: &str,
        params: &[Value<'_>],
    ) -> Result<T, Failure> {
        self.one(sql, params)?.ok_or_else(|| Failure {
            violates: false,
            error: DatabaseError::new("the database failed", "a query returned no row", None),
        })
    }

    /// Returns all rows of a query.
    pub(in crate::store) fn all<T: FromRow>(
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

/// A value that is read from the columns of a row.
pub(in crate::store) trait FromRow: Sized {
    /// The columns that each row must have, each followed by a comma; empty if their order counts.
    const COLUMNS: &'static str = "";
    fn from_row(row: &dyn Columns) -> Result<Self, Failure>;
}

/// Reads the value at a position; `name` is for the error.
pub(super) fn at<T: FromValue>(
    row: &dyn Columns,
    position: usize,
    name: &str,
) -> Result<T, Failure> {
    T::from_value(row.value(position)?)
        .ok_or_else(|| Failure::of_value(name, "its value has another type"))
}

/// Reads the value of the column with this name.
pub(super) fn named<T: FromValue>(row: &dyn Columns, name: &str) -> Result<T, Failure> {
    let position = row.position(name).ok_or_else(|| Failure::of_value(name, "it is missing"))?;
    at(row, position, name)
}

/// Reads the value of a column that the row may not have.
pub(super) fn optional<T: FromValue>(row: &dyn Columns, name: &str) -> Result<Option<T>, Failure> {
    row.position(name).map_or(Ok(None), |position| at(row, position, name))
}

macro_rules! from_columns {
    ($($kind:ident $column:literal),+) => {
        impl<$($kind: FromValue),+> FromRow for ($($kind,)+) {
            fn from_row(row: &dyn Columns) -> Result<Self, Failure> {
                Ok(($(at(row, $column, stringify!($column))?,)+))
            }
        }
    };
}

/// Reads a value from the only column of a row.
macro_rules! from_column {
    ($($kind:ty),+) => {$(
        impl FromRow for $kind {
            fn from_row(row: &dyn Columns) -> Result<Self, Failure> {
                at(row, 0, "0")
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
                row: &dyn $crate::store::sql::database::Columns,
            ) -> Result<Self, $crate::store::sql::database::Failure> {
                Ok(Self {
                    $($column: $crate::store::sql::database::named(row, stringify!($column))?,)+
                    $($($optional: $crate::store::sql::database::optional(
                        row,
                        stringify!($optional),
                    )?,)+)?
                })
            }
        }
    };
}

/// The parameters of a statement, in the order of their numbers.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$($crate::store::sql::values::ToValue::to_value(&$value)),*]
    };
}

pub(super) use from_row;
pub(in crate::store) use params;
