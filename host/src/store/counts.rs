//! The operations on the counts of a project, and which one of the servers that share a store asks
//! a tracker for them.

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::{ConnectionId, Counts};

use super::StoreError;

/// The last counts of a project that the tracker returned.
#[derive(Debug, Clone, PartialEq)]
pub struct CachedCounts {
    /// The numbers that the tracker returned.
    pub counts: Counts,
    /// The time when the tracker returned the counts.
    pub counted_at: Timestamp,
}

/// By how much the clocks of two servers that share a store may differ, milliseconds. What is later
/// than that is from a clock that was set back since.
pub const CLOCKS_DIFFER_MS: u64 = 500;

/// A request for the lease to count a project.
#[derive(Debug, Clone, Copy)]
pub struct CountsClaim {
    /// The number of the last edit of the connection that this server knows. Under older settings,
    /// it gets no lease: the counts may be those of another tracker.
    pub revision: u64,
    /// The time of the claim.
    pub now: Timestamp,
    /// Counts that are at least this new are the answer.
    pub fresh_since: Timestamp,
    /// Until when the others wait, if the lease is granted.
    pub lease_until: Timestamp,
}

/// The lease to ask a tracker for the counts of a project, which one server has at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountsLease {
    /// The connection to the tracker.
    pub connection: ConnectionId,
    /// The project that is counted.
    pub project: String,
    pub(super) holder: Uuid,
}

impl CountsLease {
    /// A lease that is not claimed yet.
    #[must_use]
    pub fn new(connection: ConnectionId, project: &str) -> Self {
        Self { connection, project: project.to_owned(), holder: Uuid::new_v4() }
    }
}

/// The result of a [`CountsClaim`].
#[derive(Debug, Clone, PartialEq)]
pub enum CountsClaimed {
    /// Ask the tracker and renew the lease meanwhile, then call
    /// [`CountsStore::end_counts`].
    Count,
    /// No other server uses the store: ask the tracker, then call
    /// [`CountsStore::record_counts`].
    Alone,
    /// Another server has asked it lately.
    Fresh(CachedCounts),
    /// Another server is asking it.
    Busy,
}

/// The counts of projects, and the lease to count one.
#[async_trait]
pub trait CountsStore {
    /// Stores the counts of a project. Lazy, as `record_event`.
    fn record_counts(&self, id: ConnectionId, project: &str, counts: CachedCounts);
    /// Asks for the lease to count a project, so that of the servers that share the store one asks
    /// the tracker at a time. Lazy. A claim that the caller no longer waits for may still be
    /// granted: give it back.
    async fn claim_counts(
        &self,
        lease: &CountsLease,
        claim: CountsClaim,
    ) -> Result<CountsClaimed, StoreError>;
    /// Extends the lease, unless it was lost. Lazy.
    async fn renew_counts(&self, lease: &CountsLease, until: Timestamp) -> Result<(), StoreError>;
    /// Gives the lease back, and stores what was counted. Does nothing and returns false if it was
    /// lost or never granted: an edit of the connection ends it too. Lazy.
    async fn end_counts(
        &self,
        lease: &CountsLease,
        counted: Option<CachedCounts>,
    ) -> Result<bool, StoreError>;
    /// Returns the last stored counts of a project. At most 100 projects are stored for each
    /// connection.
    async fn cached_counts(
        &self,
        id: ConnectionId,
        project: &str,
    ) -> Result<Option<CachedCounts>, StoreError>;
    /// Returns the project of the newest stored counts.
    async fn last_counted_project(&self, id: ConnectionId) -> Result<Option<String>, StoreError>;
}
