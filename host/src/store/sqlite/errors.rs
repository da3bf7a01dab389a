//! Converts errors of SQLite to errors of the store.
//!
//! An error type of SQLite is never used outside this folder.

use std::error::Error;
use std::path::Path;

use rusqlite::ErrorCode::{
    CannotOpen, ConstraintViolation, DatabaseBusy, DatabaseCorrupt, DiskFull, NotADatabase,
    ReadOnly, SystemIoFailure,
};

use crate::store::sql::database::Failure;
use crate::store::{DatabaseError, StoreError};

const RESTORE: &str = "restore the data folder from a backup";

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        describe_error(error).into()
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        let violates_constraint = error.sqlite_error_code() == Some(ConstraintViolation);
        Self { violates_constraint, error: describe_error(error) }
    }
}

pub(super) fn describe_error(error: rusqlite::Error) -> DatabaseError {
    let (failure, fix) = match error.sqlite_error_code() {
        Some(ReadOnly | SystemIoFailure | DiskFull | CannotOpen) => (
            "the database cannot be read or written",
            Some("check the free space and the permissions of the data folder"),
        ),
        Some(DatabaseCorrupt | NotADatabase) => ("the database is damaged", Some(RESTORE)),
        _ => ("the database failed", None),
    };
    DatabaseError::new(failure, without_error_number(error), fix)
}

pub(super) fn describe_open_error(path: &Path, error: rusqlite::Error) -> StoreError {
    let (failure, fix) = match error.sqlite_error_code() {
        Some(DatabaseBusy) => ("is locked by another process", Some("stop that process")),
        Some(ReadOnly | SystemIoFailure | DiskFull | CannotOpen) => (
            "cannot be read or written",
            Some("check the free space and the permissions of its folder"),
        ),
        Some(DatabaseCorrupt | NotADatabase) => {
            ("is damaged or is not a SQLite database", Some(RESTORE))
        }
        _ => ("cannot be opened", None),
    };
    let failure = format!("the database {} {failure}", path.display());
    DatabaseError::new(failure, without_error_number(error), fix).into()
}

fn without_error_number(error: rusqlite::Error) -> Box<dyn Error + Send + Sync> {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.into(),
        other => other.into(),
    }
}
