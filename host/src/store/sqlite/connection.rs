//! Runs the SQL statements of the store's rules (`store/sql`) on a connection to the SQLite file,
//! and caches the prepared statements. Never begins a transaction that writes.

use std::str;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, Statement, params_from_iter};

use crate::store::StoreError;
use crate::store::sql::database::{Database, Failure, OnRow, ResultRow, SnapshotReads};
use crate::store::sql::values::{Kind, Value};

impl Database for Connection {
    fn change(&self, sql: &str, params: &[Value<'_>]) -> Result<usize, Failure> {
        Ok(self.prepare_cached(sql)?.execute(params_from_iter(params))?)
    }

    fn query(&self, sql: &str, params: &[Value<'_>], on_row: OnRow<'_>) -> Result<(), Failure> {
        let mut statement = self.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(params))?;
        while let Some(row) = rows.next()? {
            if on_row(row)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn in_snapshot(&self, reads: SnapshotReads<'_>) -> Result<(), StoreError> {
        let snapshot = self.unchecked_transaction()?;
        reads(&*snapshot)
    }
}

impl ResultRow for Row<'_> {
    fn position(&self, name: &str) -> Option<usize> {
        AsRef::<Statement<'_>>::as_ref(self).column_index(name).ok()
    }

    fn value(&self, position: usize) -> Result<Value<'_>, Failure> {
        Ok(match self.get_ref(position)? {
            ValueRef::Null => Value::Null(Kind::Bytes),
            ValueRef::Integer(value) => Value::Int(value),
            ValueRef::Text(bytes) => {
                let text = str::from_utf8(bytes);
                Value::Text(text.map_err(|error| rusqlite::Error::Utf8Error(position, error))?)
            }
            ValueRef::Blob(bytes) => Value::Bytes(bytes),
            ValueRef::Real(_) => return Err(rusqlite::Error::InvalidQuery.into()),
        })
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null(_) => ValueRef::Null,
            Self::Bool(value) => ValueRef::Integer((*value).into()),
            Self::Int(value) => ValueRef::Integer(*value),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
            Self::Id(id) => ValueRef::Blob(id.as_bytes()),
        }))
    }
}
