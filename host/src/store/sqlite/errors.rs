//! Turns errors of SQLite and of stored values into errors of the store.
//!
//! Never shows an error of the engine outside this folder: the store's errors carry it as a cause.

use std::error::Error;
use std::fmt::Display;
use std::path::Path;

use rusqlite::ErrorCode::{
    CannotOpen, DatabaseBusy, DatabaseCorrupt, DiskFull, NotADatabase, ReadOnly, SystemIoFailure,
};

use crate::store::{DatabaseError, StoreError};

/// The advice about a damaged database.
const RESTORE: &str = "restore the data folder from a backup";
/// The advice about a value that cannot be read.
const UPDATE_OR_RESTORE: &str =
    "run a newer Jackfield if that wrote it, otherwise restore the data folder from a backup";

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        describe_error(error).into()
    }
}

/// Describes an error of the open database.
pub(super) fn describe_error(error: rusqlite::Error) -> DatabaseError {
    let (failure, fix) = match error.sqlite_error_code() {
        Some(ReadOnly | SystemIoFailure | DiskFull | CannotOpen) => (
            "the database cannot be read or written",
            Some("check the free space and the permissions of the data folder"),
        ),
        Some(DatabaseCorrupt | NotADatabase) => ("the database is damaged", Some(RESTORE)),
        _ => ("the database failed", None),
    };
    DatabaseError::new(failure, cause(error), fix)
}

/// Describes an error that occurred while the file was opened.
pub(super) fn cannot_open(path: &Path, error: rusqlite::Error) -> StoreError {
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
    DatabaseError::new(failure, cause(error), fix).into()
}

/// Returns the text of SQLite, without the number that its source adds.
fn cause(error: rusqlite::Error) -> Box<dyn Error + Send + Sync> {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.into(),
        other => other.into(),
    }
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
