//! The operations on the rows of failed tests, and what they take and return.

use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::{
    Claimed, ConnectionId, ConnectionSnapshot, Decision, Defect, DefectId, DefectRecord,
    DefectState, DoubtfulDefect, EventId, FailedTest, FollowUpStep, Lease, Marker, SearchEnd,
    Verdict,
};

use super::StoreError;

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
    pub snapshot: ConnectionSnapshot,
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

/// The rows of failed tests and their defects. Each change of a leased row names its lease.
#[async_trait]
pub trait DefectStore {
    /// Returns the created defect of a failed test if it is in memory. Most repeats are answered by
    /// it.
    fn known_defect(
        &self,
        connection: ConnectionId,
        test: &FailedTest,
    ) -> Option<(DefectId, Defect)>;
    /// Returns the created defect of a failed test, if it exists. Changes nothing.
    async fn created_defect(
        &self,
        connection: ConnectionId,
        test: &FailedTest,
    ) -> Result<Option<(DefectId, Defect)>, StoreError>;
    /// Claims a failed test in one transaction: inserts its row in `intent`, takes over a row
    /// whose lease ended, or returns the state of the row. Lazy: a power cut that loses it loses a
    /// run that had sent nothing, since the next durable change makes it durable, too.
    async fn claim(&self, claim: Claim<'_>) -> Result<Claimed, StoreError>;
    /// Takes a lease on a row that is due for a search, for the sweep. `None` if it is not due any
    /// more or another holder holds it. Durable.
    async fn claim_search(
        &self,
        id: DefectId,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Option<DoubtfulDefect>, StoreError>;
    /// Returns rows without a lease whose next search is due, the longest overdue first: rows in
    /// doubt, and created rows that are searched for a second record. First moves rows in `sent`
    /// whose lease ended to `in-doubt`. Leaves out rows that this process has open, whatever the
    /// clock says about their leases. Durable.
    async fn due_searches(
        &self,
        now: Timestamp,
        run_ms: u64,
        open: Vec<DefectId>,
        limits: DueLimits,
    ) -> Result<Vec<DueDefect>, StoreError>;
    /// Returns the newest defects, at most three, that the same connector created with the same
    /// settings and with the marker in its write, and that were stored by this instant.
    async fn controls(
        &self,
        connection: ConnectionId,
        snapshot: &ConnectionSnapshot,
        stored_by: Timestamp,
    ) -> Result<Vec<ControlDefect>, StoreError>;
    /// Moves a row whose doubt has ended back to `intent`, and returns the next step, as a claim
    /// with this `recurs` would: `Create`, `Recurs` or `WaitsForFirst`. With `WaitsForFirst`, the
    /// row is not moved. Durable. `Fenced` if the lease was lost.
    async fn back_to_intent(
        &self,
        lease: &Lease,
        recurs: Option<&[DefectId]>,
        now: Timestamp,
    ) -> Result<Claimed, StoreError>;
    /// Extends a lease. Lazy. `Fenced` if it was lost.
    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<(), StoreError>;
    /// Moves a row to `sent` and renews its lease, before a write is sent. Durable. `Fenced` if the
    /// lease was lost or has ended.
    async fn mark_sending(
        &self,
        lease: &Lease,
        write: JournaledWrite,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Undoes the last `mark_sending`. Call it only if no byte of that write was sent. Lazy.
    async fn unmark(&self, lease: &Lease, now: Timestamp) -> Result<(), StoreError>;
    /// Ends a run: moves the row as the verdict says, adds the steps that follow, and releases the
    /// lease. A known defect is stored even if the lease was lost, unless another run holds the
    /// row. Durable.
    async fn store_outcome(
        &self,
        lease: &Lease,
        verdict: &Verdict,
        steps: &[FollowUpStep],
        event: EventId,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Ends a search that did not find the defect, and releases the lease. Durable. `Fenced` if it
    /// was lost.
    async fn end_search(
        &self,
        lease: &Lease,
        end: SearchEnd,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Releases a lease without changing the row's state. Durable. `Fenced` if it was lost.
    async fn give_back(&self, lease: &Lease) -> Result<(), StoreError>;
    /// Lets a leased row create another defect, because the defect of the row `asked` is closed or
    /// gone. False: the test case has a later defect, or another of its failures is creating one;
    /// claim again. Durable. `Fenced` if the lease was lost.
    async fn create_anew(
        &self,
        lease: &Lease,
        asked: DefectId,
        open: &[DefectId],
        now: Timestamp,
    ) -> Result<bool, StoreError>;
    /// Carries out a person's decision, adds the steps that follow, and records who decided and
    /// when. Durable. `Conflict` if the row's state does not allow the decision.
    async fn decide(
        &self,
        id: DefectId,
        decision: &Decision,
        steps: &[FollowUpStep],
        by: &str,
        now: Timestamp,
        run_ms: u64,
    ) -> Result<DefectRecord, StoreError>;
    /// Returns one defect.
    async fn defect(&self, id: DefectId) -> Result<Option<DefectRecord>, StoreError>;
    /// Returns the defects that meet the conditions, newest first.
    async fn defects(&self, filter: &DefectFilter) -> Result<Vec<DefectRecord>, StoreError>;
    /// Counts the defects in doubt, and those that only a person can resolve. A connection without
    /// any may be missing.
    async fn count_doubts(&self) -> Result<Vec<DoubtCounts>, StoreError>;
}
