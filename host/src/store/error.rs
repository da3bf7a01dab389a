//! Why the store refuses or fails an operation. Callers decide what it means for their request.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The reason why the store refused or failed an operation.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// No row has this id.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The change conflicts with stored data; the text names it, and says what to do.
    #[error("{0}")]
    Conflict(String),
    /// The lease was lost: another holder claimed the row, or the row was deleted.
    #[error("the lease on this defect was lost; repeat the request to see its current state")]
    Fenced,
    /// The database cannot be used in its current state; the text says why, and what to do.
    #[error("{0}")]
    Unusable(String),
    /// The database engine, its file or a stored value failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// A failure of the database engine, of its file or of a stored value. The text says what failed,
/// why, and what to do.
///
/// The text contains the cause. `source` therefore continues with the cause's own source, and a
/// printed chain of errors does not repeat the cause.
#[derive(Debug, Clone)]
pub struct DatabaseError {
    failure: String,
    cause: Arc<dyn Error + Send + Sync>,
    fix: Option<&'static str>,
}

impl DatabaseError {
    pub(super) fn new(
        failure: impl Into<String>,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
        fix: Option<&'static str>,
    ) -> Self {
        Self { failure: failure.into(), cause: Arc::from(cause.into()), fix }
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.failure, self.cause)?;
        self.fix.map_or(Ok(()), |fix| write!(f, "; {fix}"))
    }
}

impl Error for DatabaseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}
