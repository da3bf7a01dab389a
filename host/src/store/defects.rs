//! The operations on the rows of failed tests, with the types of their arguments and results.

use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::{
    Claimed, ConnectionId, ConnectionSnapshot, Decision, Defect, DefectId, DefectRecord,
    DefectState, DoubtfulDefect, EventId, FailedTest, FollowUpKind, Lease, Marker, RowEnd,
    SearchEnd,
};

use super::StoreError;

/// A request of an event for the lease on the row of a failed test.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The connection to which the event belongs.
    pub connection: ConnectionId,
    /// The failed test whose defect is requested.
    pub test: FailedTest,
    /// The event that requests the defect.
    pub event: EventId,
    /// The time of the claim.
    pub now: Timestamp,
    /// The end of the lease, if the claim grants a lease.
    pub lease_until: Timestamp,
    /// The maximum duration of a run, milliseconds. After a crash, a write counts as ended this
    /// long after it was marked as sent.
    pub run_ms: u64,
    /// The fence of the run for which the event has waited; the claim may return the result of that
    /// run. `None` if the event has not waited.
    pub awaited_fence: Option<i64>,
    /// The rows that this process works on: another failure with one of these rows counts as in
    /// progress. `None` if the failed test cannot be a recurrence.
    pub rows_in_work_if_recurrence: Option<Vec<DefectId>>,
}

/// A write that is about to be sent.
#[derive(Debug, Clone)]
pub struct JournaledWrite {
    /// Whether the request contains the marker.
    pub has_marker: bool,
    /// The state of the connection during the run that sends the write.
    pub snapshot: ConnectionSnapshot,
    /// The new end of the lease.
    pub lease_until: Timestamp,
}

/// A row whose next search or follow-up step is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueDefect {
    /// The id of the row.
    pub id: DefectId,
    /// The connection that the defect belongs to.
    pub connection: ConnectionId,
}

impl DueDefect {
    pub(super) fn from_ids((id, connection): (Uuid, Uuid)) -> Self {
        Self { id: DefectId(id), connection: ConnectionId(connection) }
    }
}

/// Maximum number of due rows that one query returns, in total and for each connection.
#[derive(Debug, Clone, Copy)]
pub struct DueLimits {
    /// Maximum number of due rows of all connections together.
    pub total: u32,
    /// Maximum number of due rows of one connection.
    pub per_connection: u32,
}

/// A known defect, or a known comment on a defect, that a search must find if the search works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlDefect {
    /// The marker that the defect or the comment in the tracker contains.
    pub marker: Marker,
    /// The defect's key in the tracker. A search for the comment needs this key.
    pub key: String,
}

/// The conditions that listed defects must meet. An absent condition allows every defect.
#[derive(Debug, Clone, Default)]
pub struct DefectFilter {
    /// Only defects in this state.
    pub state: Option<DefectState>,
    /// If true, only defects that a person should resolve.
    pub needs_person: bool,
    /// Only defects of this connection.
    pub connection: Option<ConnectionId>,
    /// Only defects of these connections.
    pub connections: Option<BTreeSet<ConnectionId>>,
    /// Only defects that are older than this defect.
    pub before: Option<DefectId>,
    /// Maximum number of defects. The newest are listed first.
    pub limit: u32,
}

/// How many defects of a connection are in doubt, and how many need a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoubtCounts {
    /// The connection whose defects are counted.
    pub connection: ConnectionId,
    /// Number of defects in doubt.
    pub in_doubt: u64,
    /// Number of defects that a person should resolve.
    pub need_person: u64,
}

/// The operations on the rows of failed tests. To change a leased row, the caller must pass the
/// lease.
#[async_trait]
pub trait DefectStore {
    /// Returns the created defect of a failed test if the defect is in memory. `None` in a shared
    /// database.
    fn cached_defect(
        &self,
        connection: ConnectionId,
        test: &FailedTest,
    ) -> Option<(DefectId, Defect)>;
    /// Returns the created defect of a failed test; `None` if there is none, or if it was released.
    async fn created_defect(
        &self,
        connection: ConnectionId,
        test: &FailedTest,
    ) -> Result<Option<(DefectId, Defect)>, StoreError>;
    /// Claims a failed test in one transaction: leases a new row or the existing one, or returns
    /// why it grants no lease. Lazy: a run sends no write before [`Self::mark_sending`], which is
    /// durable and makes the claim durable too.
    async fn claim(&self, claim: Claim) -> Result<Claimed, StoreError>;
    /// Leases a row that is due for a background search. `None` if the row is no longer due or is
    /// already leased. Durable.
    async fn claim_search(
        &self,
        id: DefectId,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Option<DoubtfulDefect>, StoreError>;
    /// Returns rows without a valid lease whose next search is due, the longest overdue first: rows
    /// in doubt, and created rows for which the tracker may have a second record. Leaves out
    /// `rows_in_work`. Before the query, moves other rows in `sent` whose lease has ended to
    /// `in-doubt`. In a shared database, also marks unfinished events that were received at least
    /// `longest_run_ms` ago as interrupted. Durable.
    async fn due_searches(
        &self,
        now: Timestamp,
        longest_run_ms: u64,
        rows_in_work: Vec<DefectId>,
        limits: DueLimits,
    ) -> Result<Vec<DueDefect>, StoreError>;
    /// Returns at most three defects that a search with the settings of `snapshot` must find if the
    /// search works, the newest first. Their rows changed last at `stored_by` or earlier.
    async fn control_defects(
        &self,
        connection: ConnectionId,
        snapshot: &ConnectionSnapshot,
        stored_by: Timestamp,
    ) -> Result<Vec<ControlDefect>, StoreError>;
    /// Moves a row whose doubt has ended back to `intent`. `rows_in_work_if_recurrence` is that of
    /// [`Claim`]. Returns `Create`, `Recurs` or `WaitsForFirst`; if it is `WaitsForFirst`, the row
    /// is not changed. Durable. `Fenced` if the lease was lost or has ended.
    async fn move_back_to_intent(
        &self,
        lease: &Lease,
        rows_in_work_if_recurrence: Option<&[DefectId]>,
        now: Timestamp,
    ) -> Result<Claimed, StoreError>;
    /// Extends a lease. Lazy. `Fenced` if the lease was lost.
    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<(), StoreError>;
    /// Moves a row to `sent` and renews its lease, before a write is sent. Durable. `Fenced` if the
    /// lease was lost or has ended.
    async fn mark_sending(
        &self,
        lease: &Lease,
        write: JournaledWrite,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Undoes the last `mark_sending`. Call this only if it is certain that the tracker did not
    /// process that write. Lazy.
    async fn unmark_sending(&self, lease: &Lease, now: Timestamp) -> Result<(), StoreError>;
    /// Ends a run or a search: changes the row according to `end`, adds the follow-up steps, and
    /// gives the lease back. If the lease was lost, stores only a known defect, and only if the row
    /// is in doubt or failed and has no lease; otherwise `Fenced`. Durable.
    async fn store_outcome(
        &self,
        lease: &Lease,
        end: &RowEnd,
        steps: &[FollowUpKind],
        event: EventId,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Ends a search without storing a defect, and gives the lease back. Durable. `Fenced` if the
    /// lease was lost.
    async fn end_search(
        &self,
        lease: &Lease,
        end: SearchEnd,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Gives a lease back without changing the row's state. Durable. `Fenced` if the lease was
    /// lost.
    async fn give_back(&self, lease: &Lease) -> Result<(), StoreError>;
    /// Allows the event that has this lease to create another defect, because the defect of the row
    /// `closed_row` cannot be used any more. Returns false if another row has the latest defect of
    /// the test case, or if another failure was allowed to create one and has not finished. The
    /// caller must then claim again. Durable. `Fenced` if the lease was lost.
    async fn allow_create_anew(
        &self,
        lease: &Lease,
        closed_row: DefectId,
        rows_in_work: &[DefectId],
        now: Timestamp,
    ) -> Result<bool, StoreError>;
    /// Carries out a person's decision, adds the follow-up steps, and records who decided and when.
    /// Durable. `Conflict` if a run has leased the row, or if the row's state does not allow the
    /// decision.
    async fn decide(
        &self,
        id: DefectId,
        decision: &Decision,
        steps: &[FollowUpKind],
        by: &str,
        now: Timestamp,
        longest_run_ms: u64,
    ) -> Result<DefectRecord, StoreError>;
    /// Returns one defect.
    async fn defect(&self, id: DefectId) -> Result<Option<DefectRecord>, StoreError>;
    /// Returns the defects that meet the conditions, newest first.
    async fn defects(&self, filter: &DefectFilter) -> Result<Vec<DefectRecord>, StoreError>;
    /// Counts the defects in doubt, and those that a person should resolve. A connection without
    /// such defects may be missing in the result.
    async fn count_doubts(&self) -> Result<Vec<DoubtCounts>, StoreError>;
}
