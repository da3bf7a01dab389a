//! The errors for stored values that cannot be read. They name the value, its row if it is known,
//! and the next step for the user.

use std::error::Error;
use std::fmt::Display;

use crate::store::{DatabaseError, StoreError};

const UPDATE_OR_RESTORE: &str = "run the newer Jackfield that wrote it, if there is one; otherwise \
                                 restore the data folder from a backup";

/// A stored value that cannot be read. The text of this error contains the cause, so the error has
/// no `source`.
#[derive(Debug, thiserror::Error)]
#[error("{value_name} is not valid: {cause}")]
pub(super) struct Unreadable {
    /// The name of the value in the error, for example `its grants`.
    value_name: &'static str,
    cause: Box<dyn Error + Send + Sync>,
}

impl Unreadable {
    pub(super) fn new(
        value_name: &'static str,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { value_name, cause: cause.into() }
    }

    pub(super) fn in_row(self, kind: &str, id: impl Display) -> StoreError {
        DatabaseError::new(
            format!("the stored {kind} {id} cannot be read"),
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
