//! Copies the rows of a SQLite file into an empty PostgreSQL database.
//!
//! The rows are never copied partly: one transaction adds all rows, and then the file is marked as
//! moved. If the copy is interrupted, the next call copies all rows again. If all rows were copied
//! and only the mark is missing, the next call only sets the mark.

use std::collections::HashMap;
use std::ops::ControlFlow;

use uuid::Uuid;

use super::sql::database::{Database, Failure, params};
use super::sql::meta::{self, KEY_CHECK};
use super::sql::values::{Kind, Value};
use super::{StoreError, TableRows};

/// The name of a random id in the table `meta` of the file. The copy gets the same id, so that a
/// later call recognises the copy of this file.
const COPY_ID: &str = "copy-id";
/// The name of a value in the table `meta` of a copied file. The value is the address of the
/// database that has the copied rows.
pub(super) const MOVED_TO: &str = "moved-to";

/// The names of the copied tables. Each table comes after the tables that it refers to. The second
/// value is the column that PostgreSQL numbers by a sequence, if the table has such a column.
const TABLES: [(&str, Option<&str>); 13] = [
    ("connections", None),
    ("tokens", Some("rowid")),
    ("secrets", None),
    ("defects", None),
    ("decisions", Some("seq")),
    ("follow_ups", None),
    ("events", None),
    ("event_words", None),
    ("recordings", Some("seq")),
    ("counts", Some("rowid")),
    ("account_tokens", None),
    ("sessions", None),
    ("audit", None),
];
/// Maximum number of rows that one statement inserts.
const INSERT_ROWS_MAX: usize = 100;

/// Copies all rows, or nothing if an earlier call has copied them. Call this in a transaction of
/// `to`. Returns the number of rows of each table. Fails if, after the copy, a table of `to` has
/// another number of rows than in `from`.
pub(super) fn copy_all_rows(
    from: &dyn Database,
    to: &dyn Database,
) -> Result<Vec<TableRows>, StoreError> {
    let id = read_or_make_copy_id(from)?;
    let earlier = meta::read(to, COPY_ID)?;
    if earlier.as_deref() == Some(id.as_slice()) {
        // An earlier call copied all rows, but the file was not marked. A server may have changed
        // the copy since, so do not compare the numbers of rows. Only the commit of a change waits
        // for a synchronous standby, so write a row: then the standby has the copy.
        meta::write(to, COPY_ID, id)?;
        return TABLES
            .iter()
            .map(|(table, _)| Ok(table_rows(table, count_rows(to, table)?)))
            .collect();
    }
    let mut is_empty = earlier.is_none();
    for (table, _) in TABLES {
        is_empty &= count_rows(to, table)? == 0;
    }
    if !is_empty {
        let why =
            "the target database already has rows: copy into a database that no server has used";
        return Err(StoreError::Conflict(why.to_owned()));
    }
    for (table, sequence_column) in TABLES {
        copy_table(from, to, table, sequence_column)?;
    }
    copy_meta(from, to)?;
    meta::write(to, COPY_ID, id)?;
    TABLES.iter().map(|(table, _)| compare_row_counts(from, to, table)).collect()
}

fn read_or_make_copy_id(from: &dyn Database) -> Result<Vec<u8>, StoreError> {
    if let Some(id) = meta::read(from, COPY_ID)? {
        return Ok(id);
    }
    let id = Uuid::new_v4().to_string().into_bytes();
    meta::write(from, COPY_ID, id.clone())?;
    Ok(id)
}

fn count_rows(db: &dyn Database, table: &str) -> Result<i64, StoreError> {
    Ok(db.required_row(&format!("SELECT COUNT(*) FROM {table}"), params![])?)
}

fn compare_row_counts(
    from: &dyn Database,
    to: &dyn Database,
    table: &str,
) -> Result<TableRows, StoreError> {
    let (rows, copied) = (count_rows(from, table)?, count_rows(to, table)?);
    if rows != copied {
        let why = format!(
            "{copied} of {rows} rows of the table `{table}` were copied: repeat the command"
        );
        return Err(StoreError::Unusable(why));
    }
    Ok(table_rows(table, copied))
}

fn table_rows(table: &str, count: i64) -> TableRows {
    TableRows { table: table.to_owned(), rows: count.unsigned_abs() }
}

/// Copies the values of the table `meta`, except those that other functions write to `to`.
fn copy_meta(from: &dyn Database, to: &dyn Database) -> Result<(), StoreError> {
    let values: Vec<(String, Vec<u8>)> =
        from.all_rows("SELECT name, value FROM meta", params![])?;
    for (name, value) in values {
        if ![KEY_CHECK, COPY_ID, "ready"].contains(&name.as_str()) {
            meta::write(to, &name, value)?;
        }
    }
    Ok(())
}

/// An owned copy of a value, for use after its row was read.
enum OwnedValue {
    Null(Kind),
    Bool(bool),
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
    Id(Uuid),
}

impl OwnedValue {
    /// Converts a value of SQLite to the kind of the PostgreSQL column. `None` if the column
    /// contains ids and the bytes are not an id.
    fn new(value: Value<'_>, kind: Kind) -> Option<Self> {
        Some(match (value, kind) {
            (Value::Int(value), Kind::Bool) => Self::Bool(value != 0),
            (Value::Bytes(bytes), Kind::Id) => Self::Id(Uuid::from_slice(bytes).ok()?),
            (Value::Null(_), _) => Self::Null(kind),
            (Value::Bool(value), _) => Self::Bool(value),
            (Value::Int(value), _) => Self::Int(value),
            (Value::Text(text), _) => Self::Text(text.to_owned()),
            (Value::Bytes(bytes), _) => Self::Bytes(bytes.to_owned()),
            (Value::Id(id), _) => Self::Id(id),
        })
    }

    fn as_value(&self) -> Value<'_> {
        match self {
            Self::Null(kind) => Value::Null(*kind),
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Text(text) => Value::Text(text),
            Self::Bytes(bytes) => Value::Bytes(bytes),
            Self::Id(id) => Value::Id(*id),
        }
    }
}

/// Copies the rows of a table, and sets the sequence of its `sequence_column`.
fn copy_table(
    from: &dyn Database,
    to: &dyn Database,
    table: &str,
    sequence_column: Option<&str>,
) -> Result<(), StoreError> {
    let columns = read_columns(to, table)?;
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let mut rows: Vec<OwnedValue> = Vec::new();
    let select = format!("SELECT {} FROM {table}", names.join(", "));
    from.query(&select, params![], &mut |row| {
        for (position, (name, kind)) in columns.iter().enumerate() {
            let value = OwnedValue::new(row.value(position)?, *kind);
            rows.push(
                value.ok_or_else(|| Failure::unreadable_column(name, "the value is not an id"))?,
            );
        }
        if rows.len() == INSERT_ROWS_MAX * columns.len() {
            insert_rows(to, table, &names, &rows)?;
            rows.clear();
        }
        Ok(ControlFlow::Continue(()))
    })?;
    insert_rows(to, table, &names, &rows)?;
    if let Some(column) = sequence_column {
        let next = format!(
            "SELECT setval(pg_get_serial_sequence('{table}', '{column}'), \
             COALESCE(MAX({column}), 0) + 1, FALSE) FROM {table}"
        );
        to.query(&next, params![], &mut |_| Ok(ControlFlow::Continue(())))?;
    }
    Ok(())
}

/// Returns the names and kinds of the columns of a PostgreSQL table. Omits generated columns.
fn read_columns(to: &dyn Database, table: &str) -> Result<Vec<(String, Kind)>, StoreError> {
    let kinds = HashMap::from([
        ("boolean", Kind::Bool),
        ("bigint", Kind::Int),
        ("text", Kind::Text),
        ("bytea", Kind::Bytes),
        ("uuid", Kind::Id),
    ]);
    let rows: Vec<(String, String)> = to.all_rows(
        "SELECT column_name::text, data_type::text FROM information_schema.columns
         WHERE table_schema = current_schema() AND table_name = ?
           AND is_generated = 'NEVER' ORDER BY ordinal_position",
        params![table],
    )?;
    let with_kind = |(name, kind): (String, String)| {
        let kind = kinds.get(kind.as_str()).copied();
        let kind = kind.ok_or_else(|| {
            StoreError::Unusable(format!("the column {table}.{name} has an unknown type"))
        })?;
        Ok((name, kind))
    };
    rows.into_iter().map(with_kind).collect()
}

fn insert_rows(
    to: &dyn Database,
    table: &str,
    names: &[&str],
    rows: &[OwnedValue],
) -> Result<(), super::sql::database::Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let row = format!("({})", vec!["?"; names.len()].join(", "));
    let all = vec![row; rows.len() / names.len()].join(", ");
    let sql = format!("INSERT INTO {table} ({}) VALUES {all}", names.join(", "));
    let values: Vec<Value<'_>> = rows.iter().map(OwnedValue::as_value).collect();
    to.change(&sql, &values).map(drop)
}
