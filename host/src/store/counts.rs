//! The operations on the counts of a project, and on the lease that decides which of several
//! servers requests them from the tracker.

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::{ConnectionId, Counts};

use super::StoreError;

/// The last counts of a project that the tracker returned.
#[derive(Debug, Clone, PartialEq)]
pub struct CachedCounts {
    /// The counts that the tracker returned.
    pub counts: Counts,
    /// The time when the tracker returned the counts.
    pub counted_at: Timestamp,
}

/// Assumed maximum difference between the clocks of two servers that share a store, milliseconds.
/// If a stored time is further in the future than this, the clock was set back after the time was
/// stored.
pub const CLOCK_DIFFERENCE_MS_MAX: u64 = 500;

/// A request for the lease on counting a project.
#[derive(Debug, Clone, Copy)]
pub struct CountsClaim {
    /// The number of the last edit of the connection that this server has read. If the connection
    /// was edited after this, no lease is granted, because the earlier settings may name another
    /// tracker.
    pub revision: u64,
    /// The time of the claim.
    pub now: Timestamp,
    /// Counts of this instant or later are fresh, unless their time is in the future. If fresh
    /// counts are stored, they are returned instead of a lease.
    pub fresh_since: Timestamp,
    /// The end of the lease, if it is granted.
    pub lease_until: Timestamp,
}

/// The lease on requesting the counts of a project from the tracker. Only one server has this lease
/// at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountsLease {
    /// The connection whose counts are requested.
    pub connection: ConnectionId,
    /// The project that is counted.
    pub project: String,
    /// A random id that identifies this lease.
    pub(super) holder: Uuid,
}

impl CountsLease {
    /// Makes a lease that is not claimed yet.
    #[must_use]
    pub fn new(connection: ConnectionId, project: &str) -> Self {
        Self { connection, project: project.to_owned(), holder: Uuid::new_v4() }
    }
}

/// The result of a [`CountsClaim`].
#[derive(Debug, Clone, PartialEq)]
pub enum CountsClaimed {
    /// The caller should request the counts from the tracker, renew the lease until the tracker
    /// answers, and then call [`CountsStore::end_counts`]. The lease is granted, unless the
    /// connection was edited or deleted after [`CountsClaim::revision`]. Without the lease,
    /// `end_counts` stores nothing.
    Count,
    /// No other server uses the store, so there is no lease. The caller should request the counts
    /// from the tracker, and then call [`CountsStore::record_counts`].
    Alone,
    /// Fresh counts are stored already.
    Fresh(CachedCounts),
    /// Another caller has the lease.
    Busy,
}

/// The operations on counts of projects, and on the lease on counting.
#[async_trait]
pub trait CountsStore {
    /// Queues the counts of a project to be stored, and returns at once. Counts that are older than
    /// the stored counts are dropped, unless the clock was set back.
    fn record_counts(&self, id: ConnectionId, project: &str, counts: CachedCounts);
    /// Requests the lease on counting a project. Lazy. If the caller stops waiting, the lease may
    /// still be granted later, so the caller must then call [`Self::end_counts`].
    async fn claim_counts(
        &self,
        lease: &CountsLease,
        claim: CountsClaim,
    ) -> Result<CountsClaimed, StoreError>;
    /// Extends the lease. Does nothing if the lease was lost. Lazy.
    async fn renew_counts(&self, lease: &CountsLease, until: Timestamp) -> Result<(), StoreError>;
    /// Gives the lease back, and stores the counts if there are any. Does nothing and returns false
    /// if the lease was lost or never granted. An edit of the connection also ends the lease. Lazy.
    async fn end_counts(
        &self,
        lease: &CountsLease,
        counts: Option<CachedCounts>,
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
