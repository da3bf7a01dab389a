//! Turns errors of SQLite, of its migrations and of stored values into errors of the store.
//!
//! Never shows an error of the engine outside this folder: the store's errors carry it as a cause.

use std::error::Error;
use std::fmt::Display;
use std::path::Path;

use sqlx::migrate::MigrateError;

use crate::store::{DatabaseError, StoreError};

/// What to do about a damaged database.
const RESTORE: &str = "restore the data folder from a backup";
/// What to do about a value that cannot be read.
const UPDATE_OR_RESTORE: &str =
    "run a newer Jackfield if that wrote it, otherwise restore the data folder from a backup";

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        describe_error(error).into()
    }
}

/// An error of the open database.
pub(super) fn describe_error(error: sqlx::Error) -> DatabaseError {
    let (failure, fix) = match primary_code(&error) {
        Some(8 | 10 | 13 | 14) => (
            "the database cannot be read or written",
            Some("check the free space and the permissions of the data folder"),
        ),
        Some(11 | 26) => ("the database is damaged", Some(RESTORE)),
        _ => ("the database failed", None),
    };
    DatabaseError::new(failure, cause(error), fix)
}

/// An error while the file is opened.
pub(super) fn cannot_open(path: &Path, error: sqlx::Error) -> StoreError {
    let (failure, fix) = match primary_code(&error) {
        Some(5) => ("is locked by another process", Some("stop that process")),
        Some(8 | 10 | 13 | 14) => (
            "cannot be read or written",
            Some("check the free space and the permissions of its folder"),
        ),
        Some(11 | 26) => ("is damaged or is not a SQLite database", Some(RESTORE)),
        _ => ("cannot be opened", None),
    };
    let failure = format!("the database {} {failure}", path.display());
    DatabaseError::new(failure, cause(error), fix).into()
}

/// The schema cannot be brought up to date.
pub(super) fn cannot_migrate(path: &Path, error: MigrateError) -> StoreError {
    let shown = path.display();
    match error {
        MigrateError::VersionMissing(version) => StoreError::Unusable(format!(
            "the database {shown} was written by a newer Jackfield (its schema is {version}); run \
             that version, or restore a backup that is older than the update"
        )),
        MigrateError::VersionMismatch(version) => StoreError::Unusable(format!(
            "the database {shown} has another schema {version} than this Jackfield; {RESTORE}"
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            cannot_open(path, error)
        }
        other => {
            DatabaseError::new(format!("the database {shown} cannot be migrated"), other, None)
                .into()
        }
    }
}

/// The engine's own error, without what sqlx adds to its text.
fn cause(error: sqlx::Error) -> Box<dyn Error + Send + Sync> {
    match error {
        sqlx::Error::Database(error) => error.into_error(),
        other => other.into(),
    }
}

/// SQLite's primary result code: the low byte.
fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let sqlx::Error::Database(error) = error else { return None };
    Some(error.code()?.parse::<u32>().ok()? & 0xff)
}

/// A stored value that cannot be read. Its text contains the cause, so it has no `source`.
#[derive(Debug, thiserror::Error)]
#[error("{what} is not valid: {cause}")]
pub(super) struct Unreadable {
    what: &'static str,
    cause: Box<dyn Error + Send + Sync>,
}

impl Unreadable {
    pub(super) fn new(what: &'static str, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { what, cause: cause.into() }
    }

    /// Adds the row that holds the value.
    pub(super) fn in_row(self, table: &str, id: impl Display) -> StoreError {
        DatabaseError::new(
            format!("the stored {table} {id} cannot be read"),
            self,
            Some(UPDATE_OR_RESTORE),
        )
        .into()
    }
}

impl From<Unreadable> for StoreError {
    fn from(unreadable: Unreadable) -> Self {
        DatabaseError::new("a stored value cannot be read", unreadable, Some(UPDATE_OR_RESTORE))
            .into()
    }
}
