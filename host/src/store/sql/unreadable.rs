//! Stored values that cannot be read: what they are, in which row, and what to do.

use std::error::Error;
use std::fmt::Display;

use crate::store::{DatabaseError, StoreError};

/// The advice about a value that cannot be read.
const UPDATE_OR_RESTORE: &str =
    "run a newer Jackfield if that wrote it, otherwise restore the data folder from a backup";

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
