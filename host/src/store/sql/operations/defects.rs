//! Decides for each operation on the rows of failed tests which thread runs it and whether it is
//! durable.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::{
    Claimed, ConnectionId, ConnectionSnapshot, Decision, Defect, DefectId, DefectRecord,
    DoubtfulDefect, EventId, FailedTest, FollowUpKind, Lease, RowEnd, SearchEnd,
};
use crate::store::sql::database::Database;
use crate::store::sql::defect_cache::DefectCache;
use crate::store::sql::writer::Durability::{Durable, Lazy};
use crate::store::sql::{
    SqlStore, claims, decisions, defect_records, doubts, follow_up_rows, moves, recurrences,
};
use crate::store::{
    Claim, ControlDefect, DefectFilter, DefectStore, DoubtCounts, DueDefect, DueLimits,
    JournaledWrite, Store as _, StoreError,
};

#[async_trait]
impl DefectStore for SqlStore {
    fn cached_defect(
        &self,
        connection: ConnectionId,
        test: &FailedTest,
    ) -> Option<(DefectId, Defect)> {
        self.cache.as_ref()?.get(connection, test)
    }

    async fn created_defect(
        &self,
        connection: ConnectionId,
        test: &FailedTest,
    ) -> Result<Option<(DefectId, Defect)>, StoreError> {
        let test = test.clone();
        self.readers.run(move |db| claims::created_defect(db, connection, &test)).await
    }

    async fn claim(&self, mut claim: Claim) -> Result<Claimed, StoreError> {
        let is_shared = self.is_shared();
        // In a shared database, most repeated clicks are answered by a read, which needs no lock.
        // The read returns the claim, so that the failed test is not copied.
        if is_shared {
            let read = move |db: &dyn Database| {
                let created = claims::created_defect(db, claim.connection, &claim.test)?;
                Ok((created, claim))
            };
            match self.readers.run(read).await? {
                (Some((id, defect)), _) => return Ok(Claimed::Created { id, defect }),
                (None, unanswered) => claim = unanswered,
            }
        }
        // Read the epoch before the database. If the row changes during the claim, the cache
        // ignores the insert.
        let epoch = self.cache.as_ref().map(DefectCache::epoch);
        let (connection, restored_at) = (claim.connection, self.restored_at());
        let claim_row = move |db: &dyn Database| {
            let claimed = claims::claim(db, &claim, restored_at)?;
            if is_shared {
                claims::request_lease_end_notice(db, &claimed)?;
            }
            Ok((claimed, claim.test))
        };
        let (claimed, test) = self.writer.run(Lazy, claim_row).await?;
        if let Claimed::Created { id, defect } = &claimed
            && let Some((cache, epoch)) = self.cache.as_ref().zip(epoch)
        {
            cache.insert(epoch, connection, &test, &(*id, defect.clone()));
        }
        Ok(claimed)
    }

    async fn claim_search(
        &self,
        id: DefectId,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Option<DoubtfulDefect>, StoreError> {
        self.writer.run(Durable, move |db| doubts::claim_search(db, id, now, lease_until)).await
    }

    async fn due_searches(
        &self,
        now: Timestamp,
        longest_run_ms: u64,
        rows_in_work: Vec<DefectId>,
        limits: DueLimits,
    ) -> Result<Vec<DueDefect>, StoreError> {
        let is_shared = self.is_shared();
        self.writer
            .run(Durable, move |db| {
                if is_shared {
                    doubts::interrupt_overdue_events(db, now, longest_run_ms)?;
                }
                doubts::due_searches(db, now, longest_run_ms, rows_in_work, limits)
            })
            .await
    }

    async fn control_defects(
        &self,
        connection: ConnectionId,
        snapshot: &ConnectionSnapshot,
        stored_by: Timestamp,
    ) -> Result<Vec<ControlDefect>, StoreError> {
        let snapshot = snapshot.clone();
        self.readers
            .run(move |db| doubts::control_defects(db, connection, &snapshot, stored_by))
            .await
    }

    async fn move_back_to_intent(
        &self,
        lease: &Lease,
        rows_in_work_if_recurrence: Option<&[DefectId]>,
        now: Timestamp,
    ) -> Result<Claimed, StoreError> {
        let (lease, rows_in_work_if_recurrence) =
            (lease.clone(), rows_in_work_if_recurrence.map(<[DefectId]>::to_vec));
        let is_shared = self.is_shared();
        let back = move |db: &dyn Database| {
            let claimed =
                moves::move_back_to_intent(db, lease, rows_in_work_if_recurrence.as_deref(), now)?;
            if is_shared {
                claims::request_lease_end_notice(db, &claimed)?;
            }
            Ok(claimed)
        };
        self.writer.run(Durable, back).await
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.writer.run(Lazy, move |db| moves::renew(db, lease, until)).await
    }

    async fn mark_sending(
        &self,
        lease: &Lease,
        write: JournaledWrite,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let lease = lease.clone();
        // Also store the queued event, so that a crash after the write cannot lose the event.
        self.writer.write_history_with_next_batch();
        self.writer.run(Durable, move |db| moves::mark_sending(db, lease, write, now)).await
    }

    async fn unmark_sending(&self, lease: &Lease, now: Timestamp) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.writer.run(Lazy, move |db| moves::unmark_sending(db, lease, now)).await
    }

    async fn store_outcome(
        &self,
        lease: &Lease,
        end: &RowEnd,
        steps: &[FollowUpKind],
        event: EventId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (lease, end, steps) = (lease.clone(), end.clone(), steps.to_vec());
        let id = lease.defect;
        let stored = self
            .writer
            .run(Durable, move |db| moves::store_outcome(db, lease, end, &steps, event, now))
            .await;
        self.publisher.notify_of_lease_end(id);
        stored
    }

    async fn end_search(
        &self,
        lease: &Lease,
        end: SearchEnd,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let lease = lease.clone();
        let id = lease.defect;
        let ended =
            self.writer.run(Durable, move |db| moves::end_search(db, lease, end, now)).await;
        self.publisher.notify_of_lease_end(id);
        ended
    }

    async fn give_back(&self, lease: &Lease) -> Result<(), StoreError> {
        let lease = lease.clone();
        let id = lease.defect;
        let given_back = self.writer.run(Durable, move |db| moves::give_back(db, lease)).await;
        self.publisher.notify_of_lease_end(id);
        given_back
    }

    async fn allow_create_anew(
        &self,
        lease: &Lease,
        closed_row: DefectId,
        rows_in_work: &[DefectId],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (lease, rows_in_work) = (lease.clone(), rows_in_work.to_vec());
        let allow = move |db: &dyn Database| {
            recurrences::allow_create_anew(db, &lease, closed_row, &rows_in_work, now)
        };
        self.writer.run(Durable, allow).await
    }

    async fn decide(
        &self,
        id: DefectId,
        decision: &Decision,
        steps: &[FollowUpKind],
        by: &str,
        now: Timestamp,
        longest_run_ms: u64,
    ) -> Result<DefectRecord, StoreError> {
        let (decision, steps, by) = (decision.clone(), steps.to_vec(), by.to_owned());
        let decided = self
            .writer
            .run(Durable, move |db| {
                decisions::decide(db, id, decision, by, now, longest_run_ms)?;
                follow_up_rows::add(db, id, &steps, now)?;
                defect_records::get(db, id)?.ok_or(StoreError::NotFound("defect"))
            })
            .await;
        self.clear_defect_cache();
        self.publisher.notify_of_lease_end(id);
        decided
    }

    async fn defect(&self, id: DefectId) -> Result<Option<DefectRecord>, StoreError> {
        self.readers.run(move |db| defect_records::get(db, id)).await
    }

    async fn defects(&self, filter: &DefectFilter) -> Result<Vec<DefectRecord>, StoreError> {
        let filter = filter.clone();
        self.readers.run(move |db| defect_records::list(db, &filter)).await
    }

    async fn count_doubts(&self) -> Result<Vec<DoubtCounts>, StoreError> {
        self.readers.run(doubts::count).await
    }
}
