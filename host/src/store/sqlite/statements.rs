//! Runs SQL: prepares each statement once for each connection, and converts rows to values.

use rusqlite::types::FromSql;
use rusqlite::{Connection, Error, Params, Row};
use uuid::Uuid;

/// A value that is read from the columns of a row.
pub(super) trait FromRow: Sized {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self>;
}

/// Runs statements on a connection.
pub(super) trait Statements {
    /// Runs a statement that returns no row; returns how many rows it changed.
    fn change(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize>;
    /// Returns the first row of a query, if there is one.
    fn one<T: FromRow>(&self, sql: &str, params: impl Params) -> rusqlite::Result<Option<T>>;
    /// Returns all rows of a query.
    fn all<T: FromRow>(&self, sql: &str, params: impl Params) -> rusqlite::Result<Vec<T>>;

    /// Returns the first row of a query that always has one.
    fn only<T: FromRow>(&self, sql: &str, params: impl Params) -> rusqlite::Result<T> {
        self.one(sql, params)?.ok_or(Error::QueryReturnedNoRows)
    }
}

impl Statements for Connection {
    fn change(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.prepare_cached(sql)?.execute(params)
    }

    fn one<T: FromRow>(&self, sql: &str, params: impl Params) -> rusqlite::Result<Option<T>> {
        let mut statement = self.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        rows.next()?.map(T::from_row).transpose()
    }

    fn all<T: FromRow>(&self, sql: &str, params: impl Params) -> rusqlite::Result<Vec<T>> {
        self.prepare_cached(sql)?.query_map(params, T::from_row)?.collect()
    }
}

macro_rules! from_columns {
    ($($kind:ident $column:literal),+) => {
        impl<$($kind: FromSql),+> FromRow for ($($kind,)+) {
            fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
                Ok(($(row.get($column)?,)+))
            }
        }
    };
}

/// Reads a value from the only column of a row.
macro_rules! from_column {
    ($($kind:ty),+) => {$(
        impl FromRow for $kind {
            fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
                row.get(0)
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
        impl $crate::store::sqlite::statements::FromRow for $row {
            fn from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
                Ok(Self {
                    $($column: row.get(stringify!($column))?,)+
                    $($($optional: match row.get(stringify!($optional)) {
                        Err(rusqlite::Error::InvalidColumnName(_)) => None,
                        read => read?,
                    },)+)?
                })
            }
        }
    };
}

pub(super) use from_row;
