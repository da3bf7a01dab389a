//! The operations on follow-up steps.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::{ConnectionId, DefectId, DueFollowUps, FollowUp, FollowUpEnd, Lease};

use super::{ControlDefect, DueDefect, DueLimits, StoreError};

/// The operations on follow-up steps: comments, attachments and opening a closed defect again.
#[async_trait]
pub trait FollowUpStore {
    /// Returns defects without a valid lease that have due steps. The defect whose steps are
    /// overdue for the longest time comes first. Leaves out defects that this process works on.
    async fn due_follow_ups(
        &self,
        now: Timestamp,
        rows_in_work: Vec<DefectId>,
        limits: DueLimits,
    ) -> Result<Vec<DueDefect>, StoreError>;
    /// Leases a defect and returns its steps that are due, in the order in which to carry them out.
    /// `None` if no step is due or the defect is already leased. A write without a stored result
    /// counts as ended `longest_run_ms` after it was marked. Durable.
    async fn claim_follow_ups(
        &self,
        id: DefectId,
        now: Timestamp,
        lease_until: Timestamp,
        longest_run_ms: u64,
    ) -> Result<Option<DueFollowUps>, StoreError>;
    /// Stores that a write of a step is about to be sent, and renews the lease. Durable. `Fenced`
    /// if the lease was lost or has ended.
    async fn mark_follow_up(
        &self,
        lease: &Lease,
        step: &FollowUp,
        has_marker: bool,
        lease_until: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Undoes the last `mark_follow_up`. Call this only if it is certain that the tracker did not
    /// process that write. Lazy.
    async fn unmark_follow_up(&self, lease: &Lease, step: &FollowUp) -> Result<(), StoreError>;
    /// Stores the result of one attempt at a step. Does not give the lease back. Durable. `Fenced`
    /// if the lease was lost.
    async fn end_follow_up(
        &self,
        lease: &Lease,
        step: &FollowUp,
        end: FollowUpEnd,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Returns at most three comments that a search for comments must find if the search works.
    /// They are comments on the newest defects of the connection.
    async fn control_comments(&self, id: ConnectionId) -> Result<Vec<ControlDefect>, StoreError>;
}
