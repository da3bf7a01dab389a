//! Opens the database file: its permissions, its schema, its key.
//!
//! A file that is refused is left unchanged: it is damaged, a newer Jackfield wrote it, or its
//! secrets were sealed with another key.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
};
use sqlx::{ConnectOptions as _, Connection as _, SqlSafeStr as _};

use super::errors::{cannot_migrate, cannot_open};
use crate::secret::{Sealed, Sealer, Secret};
use crate::store::{DatabaseError, StoreError};

/// Number, name and SQL of each change of the schema. One that was released never changes.
const MIGRATIONS: [(i64, &str, &str); 4] = [
    (1, "start", include_str!("../../../migrations/sqlite/0001_start.sql")),
    (
        2,
        "rename columns and outcomes",
        include_str!("../../../migrations/sqlite/0002_rename_columns_and_outcomes.sql"),
    ),
    (3, "classes of writes", include_str!("../../../migrations/sqlite/0003_classes_of_writes.sql")),
    (
        4,
        "bytes of events and deleted connections",
        include_str!("../../../migrations/sqlite/0004_bytes_of_events_and_deleted_connections.sql"),
    ),
];
/// How long a statement waits for another process, such as a backup or a CLI command.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const READERS_MAX: u32 = 4;
/// Names a text that is sealed beside the secrets. Whether it opens shows whether a key is right.
pub(super) const KEY_CHECK: &str = "key-check";

/// The options of every connection that writes to the file.
pub(super) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("wal_autocheckpoint", "1000")
        .pragma("journal_size_limit", "67108864")
        .disable_statement_logging()
}

/// Opens the file, or creates it, for writing; brings its schema up to date and checks its key.
pub(super) async fn open(path: &Path, sealer: &Sealer) -> Result<SqliteConnection, StoreError> {
    make_private(path)?;
    let failed = |error| cannot_open(path, error);
    let mut connection = options(path).connect().await.map_err(failed)?;
    match prepare(path, &mut connection, sealer).await {
        Ok(()) => Ok(connection),
        Err(error) => {
            // Removes the write-ahead log, so that no new file stays beside a refused one.
            let _ = connection.close().await;
            Err(error)
        }
    }
}

/// The changes of the schema. Not by sqlx's macro, which builds SQLite a second time, for the compiler.
pub(super) fn migrator() -> Migrator {
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(MIGRATIONS.into_iter().map(migration).collect())
}

/// Closes the file to others than its group, if it is this user's. Another owner decides for themselves: the
/// data folder is closed to others. SQLite gives the files beside it the same permissions.
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

/// One transaction: the migrations are kept only if the file passes every check.
async fn prepare(
    path: &Path,
    connection: &mut SqliteConnection,
    sealer: &Sealer,
) -> Result<(), StoreError> {
    let failed = |error| cannot_open(path, error);
    let mut transaction = connection.begin().await.map_err(failed)?;
    migrator().run(&mut *transaction).await.map_err(|error| cannot_migrate(path, error))?;
    check_key(path, &mut transaction, sealer).await?;
    check_pages(path, &mut transaction).await?;
    transaction.commit().await.map_err(failed)
}

/// The first start seals a text; every later start must be able to open it.
async fn check_key(
    path: &Path,
    connection: &mut SqliteConnection,
    sealer: &Sealer,
) -> Result<(), StoreError> {
    let failed = |error| cannot_open(path, error);
    let Some(sealed) = read_key_check(connection).await.map_err(failed)? else {
        let sealed = sealer
            .seal(KEY_CHECK, &Secret::new(KEY_CHECK.to_owned()))
            .map_err(|error| DatabaseError::new("the key cannot seal the secrets", error, None))?;
        sqlx::query("INSERT INTO meta (name, value) VALUES (?, ?)")
            .bind(KEY_CHECK)
            .bind(sealed.0)
            .execute(connection)
            .await
            .map_err(failed)?;
        return Ok(());
    };
    sealer.open_sealed(KEY_CHECK, &Sealed(sealed)).map(drop).map_err(|_| {
        StoreError::Unusable(format!(
            "the secrets in {} were sealed with another key: restore the key file that the last \
             `secrets rotate` wrote, or that the first start wrote if there was no rotation",
            path.display()
        ))
    })
}

async fn read_key_check(connection: &mut SqliteConnection) -> Result<Option<Vec<u8>>, sqlx::Error> {
    sqlx::query_scalar("SELECT value FROM meta WHERE name = ?")
        .bind(KEY_CHECK)
        .fetch_optional(connection)
        .await
}

/// Checks the tables that decide about defects. The history may be large and is not checked.
async fn check_pages(path: &Path, connection: &mut SqliteConnection) -> Result<(), StoreError> {
    for table in ["connections", "tokens", "secrets", "defects", "decisions"] {
        let found: String = sqlx::query_scalar("SELECT quick_check FROM pragma_quick_check(?)")
            .bind(table)
            .fetch_one(&mut *connection)
            .await
            .map_err(|error| cannot_open(path, error))?;
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

/// A few connections that can only read.
pub(super) async fn readers(path: &Path) -> Result<SqlitePool, StoreError> {
    SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        // A connection to a file does not break while it is idle.
        .test_before_acquire(false)
        .connect_with(
            SqliteConnectOptions::new()
                .filename(path)
                .read_only(true)
                .busy_timeout(BUSY_TIMEOUT)
                // Readers look up single rows: 512 KiB of pages is enough.
                .pragma("cache_size", "-512")
                .disable_statement_logging(),
        )
        .await
        .map_err(|error| cannot_open(path, error))
}

/// Whether this is the key of an existing file.
pub(super) async fn opens_with(path: &Path, sealer: &Sealer) -> Result<bool, StoreError> {
    let failed = |error| cannot_open(path, error);
    let mut connection = options(path).connect().await.map_err(failed)?;
    let sealed = read_key_check(&mut connection).await;
    let _ = connection.close().await;
    Ok(sealed
        .map_err(failed)?
        .is_some_and(|sealed| sealer.open_sealed(KEY_CHECK, &Sealed(sealed)).is_ok()))
}

/// The smallest write, which shows whether a write succeeds.
pub(super) async fn check_writable(db: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO meta (name, value) VALUES ('ready', x'00')
         ON CONFLICT (name) DO UPDATE SET value = CASE value WHEN x'00' THEN x'01' ELSE x'00' END",
    )
    .execute(db)
    .await?;
    Ok(())
}
