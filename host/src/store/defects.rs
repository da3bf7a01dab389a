//! What a caller passes to the operations on defects' rows, and what they return.

use std::collections::BTreeSet;

use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::{
    ConnectionId, ConnectionSnapshot, DefectId, DefectState, EventId, FailedTest, Marker,
};

/// A claim of one failed test.
#[derive(Debug, Clone)]
pub struct Claim<'a> {
    /// The connection that received the event.
    pub connection: ConnectionId,
    /// The failed test whose defect is wanted.
    pub test: &'a FailedTest,
    /// The event whose request asks for the defect.
    pub event: EventId,
    /// The time of the claim.
    pub now: Timestamp,
    /// The end of the lease, if one is granted.
    pub lease_until: Timestamp,
    /// The run maximum, milliseconds: after a crash, a write counts as ended at `sent` plus this.
    pub run_ms: u64,
    /// The fence of the run that the event waited for, if any: the result of that run is the
    /// answer.
    pub waited_for: Option<i64>,
    /// The rows that this process has open, if a failed test without a defect may be a recurrence:
    /// the claim then looks at the other failures of its test case.
    pub recurs: Option<&'a [DefectId]>,
}

/// A write that is about to be sent.
#[derive(Debug, Clone)]
pub struct JournaledWrite {
    /// Whether the request contains the marker.
    pub has_marker: bool,
    /// The state of the connection during the run that sends the write.
    pub seen: ConnectionSnapshot,
    /// The new end of the lease.
    pub lease_until: Timestamp,
}

/// A row whose next search or step is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueDefect {
    /// The defect's row.
    pub id: DefectId,
    /// The connection that the defect belongs to.
    pub connection: ConnectionId,
}

impl DueDefect {
    /// From the ids of the row and of its connection.
    pub(super) fn from_ids((id, connection): (Uuid, Uuid)) -> Self {
        Self { id: DefectId(id), connection: ConnectionId(connection) }
    }
}

/// Maximum number of rows that one look for due rows returns.
#[derive(Debug, Clone, Copy)]
pub struct DueLimits {
    /// Of all connections together.
    pub total: u32,
    /// Of one connection.
    pub per_connection: u32,
}

/// A known defect that a search must find if it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlDefect {
    /// The search word in the tracker's record of the defect.
    pub marker: Marker,
    /// The defect's key in the tracker, for people.
    pub key: String,
}

/// The conditions that listed defects must meet. An absent condition allows every defect.
#[derive(Debug, Clone, Default)]
pub struct DefectFilter {
    /// Only defects in this state.
    pub state: Option<DefectState>,
    /// Only defects that a person must resolve.
    pub needs_person: bool,
    /// Only defects of this connection.
    pub connection: Option<ConnectionId>,
    /// Only defects of these connections.
    pub connections: Option<BTreeSet<ConnectionId>>,
    /// Only defects that are older than this one: the cursor of a list in pages.
    pub before: Option<DefectId>,
    /// Maximum number of rows; newest first.
    pub limit: u32,
}

/// How many defects of a connection are not known for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoubtCounts {
    /// The connection.
    pub connection: ConnectionId,
    /// Defects in doubt.
    pub in_doubt: u64,
    /// Defects that only a person can resolve.
    pub need_person: u64,
}
