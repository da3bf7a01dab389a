//! Copies a database while a server may write to it, and prepares a copy that will be restored.
//!
//! The database that is copied is never changed.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rusqlite::Connection;

use super::errors::describe_open_error;
use super::file;
use crate::domain::AuditEntry;
use crate::secret::Sealer;
use crate::store::sql::audit;
use crate::store::sql::starts::{self, StartCounter};
use crate::store::{DatabaseError, StoreError, TableRows};

/// Writes the current content of a database to a new file, and syncs this file. Returns the number
/// of rows of each table.
pub(super) fn copy(database: &Path, copy: &Path) -> Result<Vec<TableRows>, StoreError> {
    let not_written = |error: io::Error| {
        let failure = format!("the copy {} cannot be written", copy.display());
        DatabaseError::new(failure, error, Some("choose another place with free space"))
    };
    // `VACUUM INTO` accepts an existing empty file and keeps its mode.
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(copy).map_err(not_written)?;
    let source = file::connect_for_reading(database)?;
    file::refuse_moved(database, &source)?;
    let name = copy.to_string_lossy();
    source
        .execute("VACUUM INTO ?", [name.as_ref()])
        .map_err(|error| describe_open_error(copy, error))?;
    File::open(copy).and_then(|file| file.sync_all()).map_err(not_written)?;
    table_rows(&file::connect_for_reading(copy)?)
}

/// Checks a copy, brings its schema up to date, and records the restoration in its audit log.
/// Ensures that the next start detects that the database at `place` fell behind. After an error,
/// the caller must discard the copy, because it may already be changed. Returns the number of rows
/// of each table.
pub(super) fn prepare(
    copy: &Path,
    place: &Path,
    sealer: &Sealer,
    entry: AuditEntry,
) -> Result<Vec<TableRows>, StoreError> {
    if !file::is_sealed_with(copy, sealer)? {
        return Err(StoreError::Unusable(
            "the secrets in the backup were sealed with another key: restore the backup together with \
             the key of that time. Nothing was changed"
                .to_owned(),
        ));
    }
    let connection = file::open(copy, sealer)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let found: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    if found != "ok" {
        return Err(StoreError::Unusable(format!(
            "the backup is damaged ({found}): restore another one. Nothing was changed"
        )));
    }
    let rows = table_rows(&connection)?;
    audit::add(&connection, entry)?;
    let counter = StartCounter::with_file_beside(place);
    let stored = starts::stored_starts(&connection)?;
    // Write the counter before the database is replaced. If the replacement then fails, a server
    // with the old database also searches the tracker before it creates defects. This is not
    // necessary, but harmless.
    counter.write(counter.read()?.max(stored.saturating_add(1)))?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(rows)
}

fn table_rows(db: &Connection) -> Result<Vec<TableRows>, StoreError> {
    let mut names = db.prepare(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'
         ORDER BY name",
    )?;
    let count = |table: rusqlite::Result<String>| {
        let table = table?;
        let rows: i64 = file::first_value(db, &format!("SELECT COUNT(*) FROM \"{table}\""), [])?;
        Ok(TableRows { table, rows: rows.unsigned_abs() })
    };
    names.query_map([], |row| row.get(0))?.map(count).collect()
}
