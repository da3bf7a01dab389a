//! Opens the database file: sets its permissions, migrates its schema, and checks its key.
//!
//! A file is refused, and its content is not changed, if damage is found, if a newer Jackfield
//! wrote it, if its rows were moved into another database, or if its secrets were sealed
//! (encrypted) with another key.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use rusqlite::types::FromSql;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Params, params};

use super::errors::describe_open_error;
use super::wal;
use crate::secret::{Sealed, Sealer, Secret};
use crate::store::sql::meta::KEY_CHECK;
use crate::store::transfer::MOVED_TO;
use crate::store::{DatabaseError, StoreError};

/// The changes of the schema, in order. A released change is never edited.
pub(super) const MIGRATIONS: [&str; 21] = [
    include_str!("../../../migrations/sqlite/0001_start.sql"),
    include_str!("../../../migrations/sqlite/0002_rename_columns_and_outcomes.sql"),
    include_str!("../../../migrations/sqlite/0003_classes_of_writes.sql"),
    include_str!("../../../migrations/sqlite/0004_bytes_of_events_and_deleted_connections.sql"),
    include_str!("../../../migrations/sqlite/0005_http1_only.sql"),
    include_str!("../../../migrations/sqlite/0006_small_rows.sql"),
    include_str!("../../../migrations/sqlite/0007_test_manager.sql"),
    include_str!("../../../migrations/sqlite/0008_report.sql"),
    include_str!("../../../migrations/sqlite/0009_follow_ups.sql"),
    include_str!("../../../migrations/sqlite/0010_recordings.sql"),
    include_str!("../../../migrations/sqlite/0011_fewer_indexes.sql"),
    include_str!("../../../migrations/sqlite/0012_webhook_auth.sql"),
    include_str!("../../../migrations/sqlite/0013_accounts.sql"),
    include_str!("../../../migrations/sqlite/0014_audit.sql"),
    include_str!("../../../migrations/sqlite/0015_unrecognised_events.sql"),
    include_str!("../../../migrations/sqlite/0016_answers_of_recordings.sql"),
    include_str!("../../../migrations/sqlite/0017_revisions_and_webhook_paths.sql"),
    include_str!("../../../migrations/sqlite/0018_refused_attempts.sql"),
    include_str!("../../../migrations/sqlite/0019_search_events.sql"),
    include_str!("../../../migrations/sqlite/0020_shared_stores.sql"),
    include_str!("../../../migrations/sqlite/0021_steps_and_trace_context.sql"),
];
/// Maximum time that a statement waits for the lock of another connection, for example of a backup
/// or a CLI command.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of prepared statements that each connection caches.
const CACHED_STATEMENTS_MAX: usize = 128;
/// The page cache of the writing connection, KiB. For each event, this connection reads and writes
/// pages of several large indexes.
const WRITER_CACHE_KIB: i64 = 8 * 1_024;

/// Opens an existing file for writing. Never creates a file: if a person has moved the database, an
/// empty file must not replace it.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS_MAX);
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    // When SQLite begins to overwrite the write-ahead log, it truncates a log of more than this
    // many bytes.
    connection.pragma_update_and_check(None, "journal_size_limit", 67_108_864, |_| Ok(()))?;
    wal::count_pages(&connection);
    Ok(connection)
}

/// Opens or creates the file for writing, brings its schema up to date, and checks its key.
pub(super) fn open(path: &Path, sealer: &Sealer) -> Result<Connection, StoreError> {
    make_private(path)?;
    let mut connection = connect(path).map_err(|error| describe_open_error(path, error))?;
    // If the file is refused, `connection` is dropped. This removes the write-ahead log.
    prepare(path, &mut connection, sealer)?;
    Ok(connection)
}

/// Creates the file if it is missing. Removes the access of users outside the file's group, if the
/// user that runs Jackfield owns the file. The file of another owner is not changed; the data
/// folder already denies access to other users. SQLite creates its other files, such as the
/// write-ahead log, with the same mode.
fn make_private(path: &Path) -> Result<(), StoreError> {
    let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    let closed = opened.and_then(|file| {
        let metadata = file.metadata()?;
        let is_open = metadata.mode() & 0o007 != 0;
        if is_open && metadata.uid() == rustix::process::geteuid().as_raw() {
            file.set_permissions(Permissions::from_mode(metadata.mode() & 0o770))?;
        }
        Ok(())
    });
    closed.map_err(|error| {
        let failure = format!("the database {} cannot be written", path.display());
        let fix = "check that its folder exists and belongs to the user that runs Jackfield";
        DatabaseError::new(failure, error, Some(fix)).into()
    })
}

/// Migrates and checks the file in one transaction, so that a refused file stays unchanged.
fn prepare(path: &Path, connection: &mut Connection, sealer: &Sealer) -> Result<(), StoreError> {
    let failed = |error| describe_open_error(path, error);
    let transaction = connection.transaction().map_err(failed)?;
    migrate(path, &transaction)?;
    refuse_moved(path, &transaction)?;
    check_key(path, &transaction, sealer)?;
    check_tables(path, &transaction)?;
    transaction.commit().map_err(failed)
}

/// Runs the migrations that the file does not have yet. Refuses a file that a newer version wrote.
fn migrate(path: &Path, db: &Connection) -> Result<(), StoreError> {
    let failed = |error| describe_open_error(path, error);
    let version = schema_version(db).map_err(failed)?;
    let Some(missing) = MIGRATIONS.get(version..) else {
        return Err(StoreError::Unusable(format!(
            "the database {} was written by a newer Jackfield (its schema is {version}); run that \
             version, or restore a backup that is older than the update",
            path.display()
        )));
    };
    for sql in missing {
        db.execute_batch(sql).map_err(failed)?;
    }
    db.pragma_update(None, "user_version", MIGRATIONS.len()).map_err(failed)
}

/// Returns how many migrations the file has. Early versions counted them in a table, which is
/// deleted here.
fn schema_version(db: &Connection) -> rusqlite::Result<usize> {
    let has_table: bool = first_value(
        db,
        "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = '_sqlx_migrations')",
        [],
    )?;
    if !has_table {
        return db.pragma_query_value(None, "user_version", |row| row.get(0));
    }
    let version = first_value(db, "SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations", [])?;
    db.execute_batch("DROP TABLE _sqlx_migrations")?;
    Ok(version)
}

/// Refuses a file whose rows were moved into another database, because servers now use that
/// database.
pub(super) fn refuse_moved(path: &Path, db: &Connection) -> Result<(), StoreError> {
    let place = first_value::<Vec<u8>>(db, "SELECT value FROM meta WHERE name = ?", [MOVED_TO]);
    let Some(place) = place.optional().map_err(|error| describe_open_error(path, error))? else {
        return Ok(());
    };
    Err(StoreError::Unusable(format!(
        "the database {} was moved to {}: set `store` to that address, or restore an older backup",
        path.display(),
        String::from_utf8_lossy(&place)
    )))
}

/// If the file contains no sealed text yet, seals a text with the key, and stores it. Otherwise
/// checks that the key opens the stored text.
fn check_key(path: &Path, db: &Connection, sealer: &Sealer) -> Result<(), StoreError> {
    let failed = |error| describe_open_error(path, error);
    let Some(sealed) = read_key_check(db).map_err(failed)? else {
        let sealed = sealer
            .seal(KEY_CHECK, &Secret::new(KEY_CHECK.to_owned()))
            .map_err(|error| DatabaseError::new("the key cannot seal the secrets", error, None))?;
        let insert = "INSERT INTO meta (name, value) VALUES (?, ?)";
        return db.execute(insert, params![KEY_CHECK, sealed.0]).map(drop).map_err(failed);
    };
    sealer.open_sealed(KEY_CHECK, &Sealed(sealed)).map(drop).map_err(|_| {
        StoreError::Unusable(format!(
            "the secrets in {} were sealed with another key: restore the key file that the last \
             `secrets rotate` wrote, or that the first start wrote if there was no rotation",
            path.display()
        ))
    })
}

fn read_key_check(db: &Connection) -> rusqlite::Result<Option<Vec<u8>>> {
    first_value(db, "SELECT value FROM meta WHERE name = ?", [KEY_CHECK]).optional()
}

/// Checks the pages of the most important tables. Does not check the history, because the history
/// may be large.
fn check_tables(path: &Path, db: &Connection) -> Result<(), StoreError> {
    for table in ["connections", "tokens", "secrets", "defects", "decisions", "account_tokens"] {
        let found: String =
            first_value(db, "SELECT quick_check FROM pragma_quick_check(?)", [table])
                .map_err(|error| describe_open_error(path, error))?;
        if found != "ok" {
            return Err(StoreError::Unusable(format!(
                "the database {} is damaged in its table `{table}` ({}); restore the data folder \
                 from a backup",
                path.display(),
                found.lines().next().unwrap_or_default()
            )));
        }
    }
    Ok(())
}

pub(super) fn connect_for_reading(path: &Path) -> Result<Connection, StoreError> {
    let connect = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS_MAX);
        // Most reads look up single rows, so 512 KiB of pages is enough.
        connection.pragma_update(None, "cache_size", -512)?;
        Ok(connection)
    };
    connect().map_err(|error| describe_open_error(path, error))
}

pub(super) fn is_sealed_with(path: &Path, sealer: &Sealer) -> Result<bool, StoreError> {
    let sealed = connect(path).and_then(|connection| read_key_check(&connection));
    let sealed = sealed.map_err(|error| describe_open_error(path, error))?;
    Ok(sealed.is_some_and(|sealed| sealer.open_sealed(KEY_CHECK, &Sealed(sealed)).is_ok()))
}

pub(super) fn first_value<T: FromSql>(
    db: &Connection,
    sql: &str,
    params: impl Params,
) -> rusqlite::Result<T> {
    db.prepare_cached(sql)?.query_row(params, |row| row.get(0))
}
