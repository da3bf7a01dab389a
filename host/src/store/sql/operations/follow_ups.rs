//! Decides for each operation on follow-up steps which thread runs it and whether it is durable.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::{ConnectionId, DefectId, DueFollowUps, FollowUp, FollowUpEnd, Lease};
use crate::store::sql::database::Database;
use crate::store::sql::writer::Durability::{Durable, Lazy};
use crate::store::sql::{SqlStore, follow_up_rows};
use crate::store::{ControlDefect, DueDefect, DueLimits, FollowUpStore, StoreError};

#[async_trait]
impl FollowUpStore for SqlStore {
    async fn due_follow_ups(
        &self,
        now: Timestamp,
        rows_in_work: Vec<DefectId>,
        limits: DueLimits,
    ) -> Result<Vec<DueDefect>, StoreError> {
        self.readers.run(move |db| follow_up_rows::list_due(db, now, rows_in_work, limits)).await
    }

    async fn claim_follow_ups(
        &self,
        id: DefectId,
        now: Timestamp,
        lease_until: Timestamp,
        longest_run_ms: u64,
    ) -> Result<Option<DueFollowUps>, StoreError> {
        let claim = move |db: &dyn Database| {
            follow_up_rows::claim(db, id, now, lease_until, longest_run_ms)
        };
        self.writer.run(Durable, claim).await
    }

    async fn mark_follow_up(
        &self,
        lease: &Lease,
        step: &FollowUp,
        has_marker: bool,
        lease_until: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (lease, step) = (lease.clone(), step.clone());
        self.writer.write_history_with_next_batch();
        let mark = move |db: &dyn Database| {
            follow_up_rows::mark_sending(db, &lease, &step, has_marker, lease_until, now)
        };
        self.writer.run(Durable, mark).await
    }

    async fn unmark_follow_up(&self, lease: &Lease, step: &FollowUp) -> Result<(), StoreError> {
        let (lease, step) = (lease.clone(), step.clone());
        self.writer.run(Lazy, move |db| follow_up_rows::unmark(db, &lease, &step)).await
    }

    async fn end_follow_up(
        &self,
        lease: &Lease,
        step: &FollowUp,
        end: FollowUpEnd,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (lease, step) = (lease.clone(), step.clone());
        self.writer
            .run(Durable, move |db| follow_up_rows::end_attempt(db, &lease, &step, end, now))
            .await
    }

    async fn control_comments(&self, id: ConnectionId) -> Result<Vec<ControlDefect>, StoreError> {
        self.readers.run(move |db| follow_up_rows::control_comments(db, id)).await
    }
}
