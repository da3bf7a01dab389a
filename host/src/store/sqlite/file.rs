//! Opening the database file: its rights, its schema, its key; and what to say when it cannot be.
//!
//! Never changes a file that a newer Jackfield wrote, nor one that was sealed with another key.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::secret::{Sealed, Sealer, Secret};
use crate::store::StoreError;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");
/// What a write waits for another process (a backup, a command of the CLI).
const BUSY: Duration = Duration::from_secs(5);
const READERS: u32 = 4;
/// Names the word that is sealed beside the secrets, by which a wrong key is known.
pub(super) const KEY_CHECK: &str = "key-check";

/// How every connection to the file is made.
pub(super) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .pragma("wal_autocheckpoint", "1000")
        .pragma("journal_size_limit", "67108864")
        .disable_statement_logging()
}

/// The writing connection of a file that is there (or made now), up to date and of this key.
pub(super) async fn open(path: &Path, sealer: &Sealer) -> Result<SqliteConnection, StoreError> {
    private(path)?;
    let mut connection = options(path).connect().await.map_err(|error| unusable(path, &error))?;
    match prepare(path, &mut connection, sealer).await {
        Ok(()) => Ok(connection),
        Err(error) => {
            // Whatever is refused is left as it was, without a log beside it.
            let _ = connection.close().await;
            Err(error)
        }
    }
}

async fn prepare(
    path: &Path,
    connection: &mut SqliteConnection,
    sealer: &Sealer,
) -> Result<(), StoreError> {
    MIGRATIONS.run(&mut *connection).await.map_err(|error| not_migrated(path, error))?;
    check_key(path, connection, sealer).await?;
    check_pages(path, connection).await
}

/// A failure of the running store, with what mends it.
pub(super) fn told(error: &sqlx::Error) -> String {
    match primary_code(error) {
        Some(8 | 10 | 13 | 14) => {
            format!("{error}; see to the free space and the rights of the data folder")
        }
        _ => error.to_string(),
    }
}

/// SQLite's primary result code: the low byte.
fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let sqlx::Error::Database(cause) = error else { return None };
    Some(cause.code()?.parse::<u32>().ok()? & 0xff)
}

/// What decides about defects must be whole before anybody relies on it; history is not worth the time.
async fn check_pages(path: &Path, connection: &mut SqliteConnection) -> Result<(), StoreError> {
    for table in ["connections", "tokens", "secrets", "defects", "decisions"] {
        let found: String = sqlx::query_scalar("SELECT quick_check FROM pragma_quick_check(?)")
            .bind(table)
            .fetch_one(&mut *connection)
            .await
            .map_err(|error| unusable(path, &error))?;
        if found != "ok" {
            return Err(StoreError::Unusable(format!(
                "{} is damaged in its table `{table}`: restore the data folder from a backup ({})",
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
        .max_connections(READERS)
        // A file does not hang up.
        .test_before_acquire(false)
        .connect_with(
            SqliteConnectOptions::new()
                .filename(path)
                .read_only(true)
                .busy_timeout(BUSY)
                // They look up single rows: half a MiB of pages is plenty.
                .pragma("cache_size", "-512")
                .disable_statement_logging(),
        )
        .await
        .map_err(|error| unusable(path, &error))
}

/// Only its owner may read the file; SQLite gives the files beside it the same rights.
fn private(path: &Path) -> Result<(), StoreError> {
    let made = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    made.and_then(|file| file.set_permissions(Permissions::from_mode(0o600))).map_err(|error| {
        StoreError::Unusable(format!(
            "the database {} cannot be written: {error}; make its folder exist and belong to the \
             user that runs Jackfield",
            path.display()
        ))
    })
}

fn unusable(path: &Path, error: &sqlx::Error) -> StoreError {
    let path = path.display();
    StoreError::Unusable(match primary_code(error) {
        Some(11 | 26) => format!(
            "{path} is damaged or no database: restore the data folder from a backup ({error})"
        ),
        Some(8 | 10 | 13 | 14) => format!(
            "the database {path} cannot be written: see to the rights and the free space of its \
             folder ({error})"
        ),
        Some(5) => format!("the database {path} is held by another process: end it ({error})"),
        _ => format!("the database {path} cannot be opened: {error}"),
    })
}

fn not_migrated(path: &Path, error: MigrateError) -> StoreError {
    let path = path.display();
    match error {
        MigrateError::VersionMissing(version) => StoreError::Unusable(format!(
            "the database {path} was written by a newer Jackfield (its schema is {version}); run \
             that version, or restore a backup from before"
        )),
        MigrateError::VersionMismatch(version) => StoreError::Unusable(format!(
            "the database {path} has another schema {version} than this Jackfield; restore a \
             backup of the data folder"
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            unusable(Path::new(&path.to_string()), &error)
        }
        other => StoreError::Unusable(format!("the database {path} cannot be migrated: {other}")),
    }
}

/// The first start seals a word; every later one must be able to open it.
async fn check_key(
    path: &Path,
    connection: &mut SqliteConnection,
    sealer: &Sealer,
) -> Result<(), StoreError> {
    let kept = sealed_word(connection).await.map_err(|error| unusable(path, &error))?;
    let Some(kept) = kept else {
        let sealed = sealer
            .seal(KEY_CHECK, &Secret::new(KEY_CHECK.to_owned()))
            .map_err(|error| StoreError::Unusable(error.to_string()))?;
        sqlx::query("INSERT INTO meta (name, value) VALUES (?, ?)")
            .bind(KEY_CHECK)
            .bind(sealed.0)
            .execute(connection)
            .await
            .map_err(|error| unusable(path, &error))?;
        return Ok(());
    };
    sealer.open_sealed(KEY_CHECK, &Sealed(kept)).map(drop).map_err(|_| {
        StoreError::Unusable(format!(
            "the secrets in {} were sealed with another key: give back the key of the last \
             `secrets rotate`, or else the one of the first start",
            path.display()
        ))
    })
}

async fn sealed_word(connection: &mut SqliteConnection) -> Result<Option<Vec<u8>>, sqlx::Error> {
    sqlx::query_scalar("SELECT value FROM meta WHERE name = ?")
        .bind(KEY_CHECK)
        .fetch_optional(connection)
        .await
}

/// Whether this is the key of an existing file.
pub(super) async fn opens_with(path: &Path, sealer: &Sealer) -> Result<bool, StoreError> {
    let failed = |error: sqlx::Error| unusable(path, &error);
    let mut connection = options(path).connect().await.map_err(failed)?;
    let kept = sealed_word(&mut connection).await;
    let _ = connection.close().await;
    Ok(kept
        .map_err(failed)?
        .is_some_and(|kept| sealer.open_sealed(KEY_CHECK, &Sealed(kept)).is_ok()))
}

/// The smallest write there is, to learn whether one succeeds.
pub(super) async fn touch(db: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO meta (name, value) VALUES ('ready', x'00')
         ON CONFLICT (name) DO UPDATE SET value = CASE value WHEN x'00' THEN x'01' ELSE x'00' END",
    )
    .execute(db)
    .await?;
    Ok(())
}
