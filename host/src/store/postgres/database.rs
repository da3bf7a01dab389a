//! Runs the SQL statements of the store's rules (`store/sql`) in a PostgreSQL session, and reads
//! the rows that they return. Never repeats a statement that may have changed something.

use std::borrow::Cow;
use std::iter;
use std::ops::ControlFlow;
use std::sync::Arc;

use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgHasArrayType, PgRow};
use sqlx::{
    Arguments as _, AssertSqlSafe, Column as _, Encode, Error, Postgres, Row as _, Type,
    ValueRef as _,
};
use uuid::Uuid;

use super::dialect::{translate, translate_insert};
use super::errors::{ends_connection, statement_failure};
use super::session::Session;
use crate::store::changes::Change;
use crate::store::sql::database::{Database, Failure, OnRow, ResultRow, SnapshotReads, params};
use crate::store::sql::values::{Kind, Value};
use crate::store::{DatabaseError, StoreError};

/// The object identifiers (OIDs) of types in PostgreSQL's catalog `pg_type`.
mod oid {
    pub(super) const BOOL: u32 = 16;
    pub(super) const BYTEA: u32 = 17;
    pub(super) const INT8: u32 = 20;
    pub(super) const INT4: u32 = 23;
    pub(super) const TEXT: u32 = 25;
    pub(super) const UUID: u32 = 2950;
}

/// Maximum size of the parameters of one `INSERT` of history rows, bytes. A larger `INSERT` could
/// exceed the time limit of a statement. Only an `INSERT` of a single row may be larger.
const INSERT_BYTES_MAX: usize = 4 << 20;
/// Maximum number of rows of one `INSERT` of history rows.
const INSERT_ROWS_MAX: usize = 512;

impl Session {
    fn to_failure(&self, error: &Error) -> Failure {
        statement_failure(&self.address.display_url, error)
    }

    /// Calls `on_row` for each row of a query, until it returns `Break` or an error. The inner
    /// result contains an error of `on_row`. The outer result contains an error of the query.
    fn fetch(
        &self,
        sql: Arc<str>,
        arguments: PgArguments,
        on_row: OnRow<'_>,
    ) -> Result<Result<(), Failure>, Error> {
        use futures_util::TryStreamExt as _;

        let sql = AssertSqlSafe(sql);
        self.with_connection(async |connection| {
            let mut rows = sqlx::query_with(sql, arguments).fetch(connection);
            while let Some(row) = rows.try_next().await? {
                match on_row(&row) {
                    Ok(ControlFlow::Continue(())) => {}
                    Ok(ControlFlow::Break(())) => break,
                    Err(refused) => return Ok(Err(refused)),
                }
            }
            Ok(Ok(()))
        })
    }
}

impl Database for Session {
    fn change(&self, sql: &str, params: &[Value<'_>]) -> Result<usize, Failure> {
        let sql = AssertSqlSafe(self.translate_once(sql, |sql| translate(sql, "")));
        let arguments = to_arguments(params).map_err(|error| self.to_failure(&error))?;
        let done = self.with_connection(async |connection| {
            sqlx::query_with(sql, arguments).execute(connection).await
        });
        let done = done.map_err(|error| self.to_failure(&error))?;
        Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
    }

    fn insert_rows(&self, sql: &str, rows: &[Vec<Value<'_>>]) -> Result<(), Failure> {
        let sql = self.translate_once(sql, translate_insert);
        for rows in split_rows(rows) {
            let arguments = to_array_arguments(rows).map_err(|error| self.to_failure(&error))?;
            let sql = AssertSqlSafe(Arc::clone(&sql));
            let inserted = self.with_connection(async |connection| {
                sqlx::query_with(sql, arguments).execute(connection).await
            });
            inserted.map_err(|error| self.to_failure(&error))?;
        }
        Ok(())
    }

    fn query(&self, sql: &str, params: &[Value<'_>], on_row: OnRow<'_>) -> Result<(), Failure> {
        self.query_columns(sql, "", params, on_row)
    }

    fn query_columns(
        &self,
        sql: &str,
        columns: &'static str,
        params: &[Value<'_>],
        on_row: OnRow<'_>,
    ) -> Result<(), Failure> {
        let sql = self.translate_once(sql, |sql| translate(sql, columns));
        let make_arguments = || to_arguments(params).map_err(|error| self.to_failure(&error));
        let mut has_row = false;
        let note_row: OnRow<'_> = &mut |row| {
            has_row = true;
            on_row(row)
        };
        let mut read = self.fetch(Arc::clone(&sql), make_arguments()?, note_row);
        // If the connection ended before the first row, repeat the read, but not in a transaction.
        // A read changes nothing.
        if let Err(error) = &read
            && !has_row
            && !self.is_in_transaction.get()
            && ends_connection(error)
        {
            self.connect().map_err(|error| Failure { violates_constraint: false, error })?;
            read = self.fetch(sql, make_arguments()?, on_row);
        }
        read.map_err(|error| self.to_failure(&error))?
    }

    fn notify(&self, change: &Change) -> Result<(), Failure> {
        match change.to_text() {
            Some(text) => self.change("SELECT notify_servers(?)", params![text]).map(drop),
            None => Ok(()),
        }
    }

    fn make_durable(&self) -> Result<(), Failure> {
        let made = self.execute_sql("SET LOCAL synchronous_commit = on");
        made.map_err(|error| self.to_failure(&error))
    }

    fn in_snapshot(&self, reads: SnapshotReads<'_>) -> Result<(), StoreError> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        if self.execute_sql(begin).is_err() {
            self.connect()?;
            self.execute_sql(begin).map_err(|error| self.to_failure(&error))?;
        }
        self.is_in_transaction.set(true);
        let read = reads(self);
        self.is_in_transaction.set(false);
        if self.execute_sql("ROLLBACK").is_err() {
            self.disconnect();
        }
        read
    }
}

fn to_arguments(params: &[Value<'_>]) -> Result<PgArguments, Error> {
    let mut arguments = PgArguments::default();
    for param in params {
        add_argument(&mut arguments, *param).map_err(Error::Encode)?;
    }
    Ok(arguments)
}

fn add_argument(arguments: &mut PgArguments, value: Value<'_>) -> Result<(), BoxDynError> {
    match value {
        Value::Null(Kind::Bool) => arguments.add(None::<bool>),
        Value::Null(Kind::Int) => arguments.add(None::<i64>),
        Value::Null(Kind::Text) => arguments.add(None::<String>),
        Value::Null(Kind::Bytes) => arguments.add(None::<Vec<u8>>),
        Value::Null(Kind::Id) => arguments.add(None::<Uuid>),
        Value::Bool(value) => arguments.add(value),
        Value::Int(value) => arguments.add(value),
        Value::Text(text) => arguments.add(replace_nul(text)),
        Value::Bytes(bytes) => arguments.add(bytes),
        Value::Id(id) => arguments.add(id),
    }
}

/// Splits rows into parts that each fit into one `INSERT`.
fn split_rows<'r, 'v>(rows: &'r [Vec<Value<'v>>]) -> impl Iterator<Item = &'r [Vec<Value<'v>>]> {
    let mut rest = rows;
    iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |row: &&Vec<Value<'_>>| {
            bytes += row.iter().map(Value::size).sum::<usize>();
            bytes <= INSERT_BYTES_MAX
        };
        let fitting = rest.iter().take(INSERT_ROWS_MAX).take_while(fits).count();
        let part;
        (part, rest) = rest.split_at(fitting.max(1).min(rest.len()));
        (!part.is_empty()).then_some(part)
    })
}

/// Converts the parameters of several rows into one array for each column. The type of the first
/// value of a column is the type of its array.
fn to_array_arguments(rows: &[Vec<Value<'_>>]) -> Result<PgArguments, Error> {
    let mut arguments = PgArguments::default();
    for (column, first) in rows.first().into_iter().flatten().enumerate() {
        let values = rows.iter().map(|row| row.get(column).copied());
        let added = match first.kind() {
            Kind::Bool => add_array(&mut arguments, values, |value| match value {
                Value::Bool(value) => Some(value),
                _ => None,
            }),
            Kind::Int => add_array(&mut arguments, values, |value| match value {
                Value::Int(value) => Some(value),
                _ => None,
            }),
            Kind::Text => add_array(&mut arguments, values, |value| match value {
                Value::Text(text) => Some(replace_nul(text)),
                _ => None,
            }),
            Kind::Bytes => add_array(&mut arguments, values, |value| match value {
                Value::Bytes(bytes) => Some(bytes),
                _ => None,
            }),
            Kind::Id => add_array(&mut arguments, values, |value| match value {
                Value::Id(id) => Some(id),
                _ => None,
            }),
        };
        added.map_err(Error::Encode)?;
    }
    Ok(arguments)
}

fn add_array<'v, T>(
    arguments: &mut PgArguments,
    values: impl Iterator<Item = Option<Value<'v>>>,
    extract: impl Fn(Value<'v>) -> Option<T>,
) -> Result<(), BoxDynError>
where
    T: for<'q> Encode<'q, Postgres> + Type<Postgres> + PgHasArrayType,
{
    arguments.add(values.map(|value| value.and_then(&extract)).collect::<Vec<_>>())
}

/// Replaces the character U+0000, which texts in PostgreSQL cannot contain, by U+FFFD.
fn replace_nul(text: &str) -> Cow<'_, str> {
    match text.contains('\0') {
        true => Cow::Owned(text.replace('\0', "\u{fffd}")),
        false => Cow::Borrowed(text),
    }
}

impl ResultRow for PgRow {
    fn position(&self, name: &str) -> Option<usize> {
        self.try_column(name).ok().map(|column| column.ordinal())
    }

    fn value(&self, position: usize) -> Result<Value<'_>, Failure> {
        let raw = self.try_get_raw(position).map_err(unreadable_row_failure)?;
        if raw.is_null() {
            return Ok(Value::Null(Kind::Bytes));
        }
        let oid = raw.type_info().oid().map_or(0, |oid| oid.0);
        let bytes = raw.as_bytes().map_err(unreadable_row_failure)?;
        let value = match (oid, bytes) {
            (oid::BOOL, [value]) => Some(Value::Bool(*value != 0)),
            (oid::BYTEA, bytes) => Some(Value::Bytes(bytes)),
            (oid::INT8, bytes) => bytes.try_into().ok().map(i64::from_be_bytes).map(Value::Int),
            (oid::INT4, bytes) => {
                bytes.try_into().ok().map(i32::from_be_bytes).map(|it| Value::Int(it.into()))
            }
            (oid::TEXT, bytes) => str::from_utf8(bytes).ok().map(Value::Text),
            (oid::UUID, bytes) => Uuid::from_slice(bytes).ok().map(Value::Id),
            _ => None,
        };
        value.ok_or_else(|| {
            unreadable_row_failure(format!("the type {oid} of column {position} is not known"))
        })
    }
}

fn unreadable_row_failure(error: impl Into<BoxDynError>) -> Failure {
    Failure {
        violates_constraint: false,
        error: DatabaseError::new("a row cannot be read", error, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_split_at_the_maximum_number_and_the_maximum_size() {
        let text = "x".repeat(INSERT_BYTES_MAX / 2 - 100);
        let sizes = |rows: &[Vec<Value<'_>>]| split_rows(rows).map(<[_]>::len).collect::<Vec<_>>();
        assert!(sizes(&[]).is_empty());
        assert_eq!(sizes(&vec![vec![Value::Int(1)]; INSERT_ROWS_MAX + 1]), [INSERT_ROWS_MAX, 1]);
        assert_eq!(sizes(&vec![vec![Value::Text(&text), Value::Int(1)]; 5]), [2, 2, 1]);
        let large = "x".repeat(INSERT_BYTES_MAX + 1);
        let row = |text| vec![Value::Text(text)];
        assert_eq!(sizes(&[row("a"), row(&large), row("b")]), [1, 1, 1]);
    }
}
