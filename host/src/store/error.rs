//! The errors of the store. Callers decide what an error means for their request.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Why an operation of the store was refused or failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The store has nothing of this kind with the requested id. The text is the kind, such as
    /// `connection`.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The change conflicts with stored data. The text contains the reason and, if it is known, the
    /// next step for the user.
    #[error("{0}")]
    Conflict(String),
    /// The lease was lost or has ended. For example, another run has leased the row, or the row was
    /// deleted.
    #[error("the lease on this defect was lost; repeat the request to see its current state")]
    Fenced,
    /// The store or its data cannot be used now. The text contains the reason and, if it is known,
    /// the next step for the user.
    #[error("{0}")]
    Unusable(String),
    /// The database engine or its file failed, or a stored value cannot be read.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// A failure of the database engine or of its file, or a stored value that cannot be read. The text
/// contains the failure, its cause and, if it is known, the next step for the user.
///
/// The text already contains the cause. So `source` returns the source of the cause, and a printed
/// chain of errors does not repeat the cause.
#[derive(Debug, Clone)]
pub struct DatabaseError {
    failure: String,
    cause: Arc<dyn Error + Send + Sync>,
    /// The next step for the user; `None` if no step is known.
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
