//! Copies a SQLite file into an empty PostgreSQL database, once.
//!
//! Never copies half of it: one transaction adds all rows, and the file is marked after it. A copy
//! that was interrupted begins again, or only sets the mark.

use std::collections::HashMap;
use std::ops::ControlFlow;

use uuid::Uuid;

use super::sql::database::{Database, Failure, params};
use super::sql::meta::{self, KEY_CHECK};
use super::sql::values::{Kind, Value};
use super::{StoreError, TableRows};

/// The name of the value that tells the copies of a file apart: in the file its own, in a database
/// that of the file that was copied.
const COPY_ID: &str = "copy-id";
/// The name of the value in a file that was copied: where its rows are now.
pub(super) const MOVED_TO: &str = "moved-to";

/// The tables, each after those that it refers to, and the column that counts its rows.
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
/// Number of rows that one statement inserts.
const ROWS: usize = 100;

/// Copies all rows. Call it in a transaction of `to`. Returns the number of rows of each table, and
/// fails if a table of `to` has another number.
pub(super) fn copy(from: &dyn Database, to: &dyn Database) -> Result<Vec<TableRows>, StoreError> {
    let id = copy_id(from)?;
    let earlier = meta::read(to, COPY_ID)?;
    if earlier.as_deref() == Some(id.as_slice()) {
        // The copy was complete, and only the mark was missing. A server may have used it since.
        return TABLES.iter().map(|(table, _)| Ok(rows(table, count(to, table)?))).collect();
    }
    let mut is_empty = earlier.is_none();
    for (table, _) in TABLES {
        is_empty &= count(to, table)? == 0;
    }
    if !is_empty {
        let why = "the target has rows already: copy into a database that no server has used";
        return Err(StoreError::Conflict(why.to_owned()));
    }
    for (table, counted) in TABLES {
        copy_table(from, to, table, counted)?;
    }
    copy_meta(from, to)?;
    meta::write(to, COPY_ID, id)?;
    TABLES.iter().map(|(table, _)| compare(from, to, table)).collect()
}

fn copy_id(from: &dyn Database) -> Result<Vec<u8>, StoreError> {
    if let Some(id) = meta::read(from, COPY_ID)? {
        return Ok(id);
    }
    let id = Uuid::new_v4().to_string().into_bytes();
    meta::write(from, COPY_ID, id.clone())?;
    Ok(id)
}

fn count(db: &dyn Database, table: &str) -> Result<i64, StoreError> {
    Ok(db.only(&format!("SELECT COUNT(*) FROM {table}"), params![])?)
}

fn compare(from: &dyn Database, to: &dyn Database, table: &str) -> Result<TableRows, StoreError> {
    let (had, has) = (count(from, table)?, count(to, table)?);
    if had != has {
        let why = format!("{has} of {had} rows of the table `{table}` were copied: try it again");
        return Err(StoreError::Unusable(why));
    }
    Ok(rows(table, has))
}

fn rows(table: &str, count: i64) -> TableRows {
    TableRows { table: table.to_owned(), rows: count.unsigned_abs() }
}

/// Copies the named values, except those that belong to a database.
fn copy_meta(from: &dyn Database, to: &dyn Database) -> Result<(), StoreError> {
    let values: Vec<(String, Vec<u8>)> = from.all("SELECT name, value FROM meta", params![])?;
    for (name, value) in values {
        if ![KEY_CHECK, COPY_ID, "ready"].contains(&name.as_str()) {
            meta::write(to, &name, value)?;
        }
    }
    Ok(())
}

/// A value that outlives its row.
enum Owned {
    Null(Kind),
    Bool(bool),
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
    Id(Uuid),
}

impl Owned {
    /// Converts a value of SQLite, which has fewer types; `None`: it is not an id where one is
    /// wanted.
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

    fn value(&self) -> Value<'_> {
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

fn copy_table(
    from: &dyn Database,
    to: &dyn Database,
    table: &str,
    counted: Option<&str>,
) -> Result<(), StoreError> {
    let columns = columns(to, table)?;
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let mut rows: Vec<Owned> = Vec::new();
    let select = format!("SELECT {} FROM {table}", names.join(", "));
    from.query(&select, params![], &mut |row| {
        for (position, (name, kind)) in columns.iter().enumerate() {
            let value = Owned::new(row.value(position)?, *kind);
            rows.push(value.ok_or_else(|| Failure::of_value(name, "it is not an id"))?);
        }
        if rows.len() == ROWS * columns.len() {
            insert(to, table, &names, &rows)?;
            rows.clear();
        }
        Ok(ControlFlow::Continue(()))
    })?;
    insert(to, table, &names, &rows)?;
    if let Some(counted) = counted {
        let next = format!(
            "SELECT setval(pg_get_serial_sequence('{table}', '{counted}'), \
             COALESCE(MAX({counted}), 0) + 1, FALSE) FROM {table}"
        );
        to.query(&next, params![], &mut |_| Ok(ControlFlow::Continue(())))?;
    }
    Ok(())
}

/// The columns of a PostgreSQL table and their kinds, without generated columns.
fn columns(to: &dyn Database, table: &str) -> Result<Vec<(String, Kind)>, StoreError> {
    let kinds = HashMap::from([
        ("boolean", Kind::Bool),
        ("bigint", Kind::Int),
        ("text", Kind::Text),
        ("bytea", Kind::Bytes),
        ("uuid", Kind::Id),
    ]);
    let rows: Vec<(String, String)> = to.all(
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

fn insert(
    to: &dyn Database,
    table: &str,
    names: &[&str],
    rows: &[Owned],
) -> Result<(), super::sql::database::Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let row = format!("({})", vec!["?"; names.len()].join(", "));
    let all = vec![row; rows.len() / names.len()].join(", ");
    let sql = format!("INSERT INTO {table} ({}) VALUES {all}", names.join(", "));
    let values: Vec<Value<'_>> = rows.iter().map(Owned::value).collect();
    to.change(&sql, &values).map(drop)
}
