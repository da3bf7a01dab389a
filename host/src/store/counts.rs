//! Which one of the servers that share a store asks a tracker for the counts of a project.

use jiff::Timestamp;
use uuid::Uuid;

use super::CachedCounts;
use crate::domain::ConnectionId;

/// A wish to ask a tracker for the counts of a project.
#[derive(Debug, Clone, Copy)]
pub struct CountsClaim {
    /// The time of the claim.
    pub now: Timestamp,
    /// Counts that are at least this new are the answer.
    pub fresh_since: Timestamp,
    /// Until when the others wait, if the right is granted.
    pub lease_until: Timestamp,
}

/// The right to ask a tracker for the counts of a project, which one server has at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountsLease {
    pub(super) connection: ConnectionId,
    pub(super) project: String,
    pub(super) holder: Uuid,
}

/// The result of a [`CountsClaim`].
#[derive(Debug, Clone, PartialEq)]
pub enum CountsClaimed {
    /// Ask the tracker, then call [`Store::end_counts`](super::Store::end_counts).
    Count(CountsLease),
    /// Another server has asked it lately.
    Fresh(CachedCounts),
    /// Another server is asking it.
    Busy,
}
