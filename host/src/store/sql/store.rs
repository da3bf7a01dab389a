//! The operations of the store: which of them the writing thread runs, durably or lazily, and which
//! a reading one.
//!
//! Decides nothing about a row: the files beside it do.

use async_trait::async_trait;
use jiff::Timestamp;

use super::database::Database;
use super::defect_cache::DefectCache;
use super::history::Record;
use super::writer::Durability::{Durable, Lazy};
use super::{
    SqlStore, claims, connection_records, connections, counts, counts_leases, decisions,
    defect_records, doubts, events, follow_ups, meta, moves, recent, recordings, recurrences,
    starts, usage,
};
use crate::domain::{
    Claimed, ConnectionId, ConnectionSnapshot, Decision, Defect, DefectId, DefectRecord,
    DoubtfulDefect, DueFollowUps, Event, EventId, FailedTest, FollowUp, FollowUpEnd, FollowUpStep,
    Lease, RecentEvents, RecentUsage, RecordedRun, RunReport, SearchEnd, TimedSteps, Verdict,
};
use crate::secret::TokenHash;
use crate::store::{
    CachedCounts, Changes, Claim, ControlDefect, CountsClaim, CountsClaimed, CountsLease,
    DefectFilter, DoubtCounts, DueDefect, DueLimits, EventFilter, JournaledWrite, QueueLengths,
    Retention, Store, StoreError, StoredConnection, StoredToken, TokenExpiry, WholeEvent,
};

#[async_trait]
impl Store for SqlStore {
    async fn recover(&self, now: Timestamp, run_ms: u64) -> Result<(), StoreError> {
        let (counted, shared) = (self.starts.read()?, self.is_shared());
        let (starts, restored_at) = self
            .writer
            .run(Durable, move |db| {
                match shared {
                    true => doubts::recover_ended(db, now, run_ms),
                    false => doubts::recover(db, now, run_ms),
                }?;
                starts::count(db, counted, now)
            })
            .await?;
        self.starts.write(starts)?;
        let _ = self.restored_at.set(restored_at);
        Ok(())
    }

    fn restored_at(&self) -> Option<Timestamp> {
        self.restored_at.get().copied().flatten()
    }

    async fn restart_waits(&self, now: Timestamp, run_ms: u64) -> Result<(), StoreError> {
        self.writer.run(Durable, move |db| doubts::restart_waits(db, now, run_ms)).await
    }

    fn is_shared(&self) -> bool {
        self.cache.is_none()
    }

    fn changes(&self) -> Changes {
        self.publisher.subscribe()
    }

    async fn connections(&self) -> Result<Vec<StoredConnection>, StoreError> {
        self.readers.run(|db| connection_records::read(db, None)).await
    }

    async fn connection(&self, id: ConnectionId) -> Result<Option<StoredConnection>, StoreError> {
        let found = self.readers.run(move |db| connection_records::read(db, Some(id))).await?;
        Ok(found.into_iter().next())
    }

    async fn create_connection(&self, new: &StoredConnection) -> Result<(), StoreError> {
        let new = new.clone();
        self.writer.run(Durable, move |db| connections::create(db, new)).await
    }

    async fn update_connection(
        &self,
        edited: &StoredConnection,
        force: bool,
    ) -> Result<(), StoreError> {
        let edited = edited.clone();
        // Queued counts belong to the old settings: write them before the update deletes them.
        self.writer.flush_history();
        self.writer.run(Durable, move |db| connections::update(db, edited, force)).await
    }

    async fn accept_version(&self, id: ConnectionId, sha256: &str) -> Result<(), StoreError> {
        let sha256 = sha256.to_owned();
        self.writer.run(Lazy, move |db| connections::accept_version(db, id, sha256)).await
    }

    async fn record_index_lag(&self, id: ConnectionId, lag_ms: u64) -> Result<(), StoreError> {
        self.writer.run(Durable, move |db| connections::record_index_lag(db, id, lag_ms)).await
    }

    async fn delete_connection(&self, id: ConnectionId, force: bool) -> Result<(), StoreError> {
        let deleted = self.writer.run(Durable, move |db| connections::delete(db, id, force)).await;
        self.forget_defects();
        deleted
    }

    async fn rotate_token(
        &self,
        id: ConnectionId,
        token: &StoredToken,
        tail: &str,
        expiry: TokenExpiry,
    ) -> Result<(), StoreError> {
        let (token, tail) = (token.clone(), tail.to_owned());
        self.writer
            .run(Durable, move |db| connections::rotate_token(db, id, token, tail, expiry))
            .await
    }

    async fn delete_tokens(&self, expired: Vec<TokenHash>) -> Result<(), StoreError> {
        self.writer.run(Durable, move |db| connections::delete_tokens(db, expired)).await
    }

    fn known_defect(
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

    async fn claim(&self, claim: Claim<'_>) -> Result<Claimed, StoreError> {
        // Most repeats of a shared store are answered by a read, which needs no lock.
        if self.is_shared()
            && let Some((id, defect)) = self.created_defect(claim.connection, claim.test).await?
        {
            return Ok(Claimed::Created { id, defect });
        }
        // The epoch is read before the file: a change during the read then prevents the insert.
        let epoch = self.cache.as_ref().map(DefectCache::epoch);
        let (claimed_test, id) = (claim.test, claim.connection);
        let (test, restored_at) = (claim.test.clone(), self.restored_at());
        let Claim { connection, event, now, lease_until, run_ms, waited_for, .. } = claim;
        let (recurs, shared) = (claim.recurs.map(<[DefectId]>::to_vec), self.is_shared());
        let claimed = self
            .writer
            .run(Lazy, move |db| {
                let (test, recurs) = (&test, recurs.as_deref());
                let claim =
                    Claim { connection, test, event, now, lease_until, run_ms, waited_for, recurs };
                let claimed = claims::claim(db, claim, restored_at)?;
                if shared {
                    claims::request_lease_end_notice(db, &claimed)?;
                }
                Ok(claimed)
            })
            .await?;
        if let Claimed::Created { id: defect_id, defect } = &claimed
            && let Some((cache, epoch)) = self.cache.as_ref().zip(epoch)
        {
            cache.insert(epoch, id, claimed_test, &(*defect_id, defect.clone()));
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
        run_ms: u64,
        open: Vec<DefectId>,
        limits: DueLimits,
    ) -> Result<Vec<DueDefect>, StoreError> {
        let shared = self.is_shared();
        self.writer
            .run(Durable, move |db| {
                if shared {
                    doubts::interrupt_dead_events(db, now, run_ms)?;
                }
                doubts::due_searches(db, now, run_ms, open, limits)
            })
            .await
    }

    async fn controls(
        &self,
        connection: ConnectionId,
        seen: &ConnectionSnapshot,
        stored_by: Timestamp,
    ) -> Result<Vec<ControlDefect>, StoreError> {
        let seen = seen.clone();
        self.readers.run(move |db| doubts::controls(db, connection, &seen, stored_by)).await
    }

    async fn back_to_intent(
        &self,
        lease: &Lease,
        recurs: Option<&[DefectId]>,
        now: Timestamp,
    ) -> Result<Claimed, StoreError> {
        let (lease, recurs) = (lease.clone(), recurs.map(<[DefectId]>::to_vec));
        let shared = self.is_shared();
        let back = move |db: &dyn Database| {
            let claimed = moves::back_to_intent(db, lease, recurs.as_deref(), now)?;
            if shared {
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
        // A crash must not lose the event of a write.
        self.writer.flush_history();
        self.writer.run(Durable, move |db| moves::mark_sending(db, lease, write, now)).await
    }

    async fn unmark(&self, lease: &Lease, now: Timestamp) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.writer.run(Lazy, move |db| moves::unmark(db, lease, now)).await
    }

    async fn store_outcome(
        &self,
        lease: &Lease,
        verdict: &Verdict,
        steps: &[FollowUpStep],
        event: EventId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (lease, verdict, steps) = (lease.clone(), verdict.clone(), steps.to_vec());
        let id = lease.defect;
        let stored = self
            .writer
            .run(Durable, move |db| moves::store_outcome(db, lease, verdict, &steps, event, now))
            .await;
        self.publisher.lease_ended(id);
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
        self.publisher.lease_ended(id);
        ended
    }

    async fn give_back(&self, lease: &Lease) -> Result<(), StoreError> {
        let lease = lease.clone();
        let id = lease.defect;
        let given_back = self.writer.run(Durable, move |db| moves::give_back(db, lease)).await;
        self.publisher.lease_ended(id);
        given_back
    }

    async fn create_anew(
        &self,
        lease: &Lease,
        asked: DefectId,
        open: &[DefectId],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (lease, open) = (lease.clone(), open.to_vec());
        let allow =
            move |db: &dyn Database| recurrences::create_anew(db, &lease, asked, &open, now);
        self.writer.run(Durable, allow).await
    }

    async fn due_follow_ups(
        &self,
        now: Timestamp,
        open: Vec<DefectId>,
        limits: DueLimits,
    ) -> Result<Vec<DueDefect>, StoreError> {
        self.readers.run(move |db| follow_ups::due(db, now, open, limits)).await
    }

    async fn claim_follow_ups(
        &self,
        id: DefectId,
        now: Timestamp,
        lease_until: Timestamp,
        run_ms: u64,
    ) -> Result<Option<DueFollowUps>, StoreError> {
        let claim = move |db: &dyn Database| follow_ups::claim(db, id, now, lease_until, run_ms);
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
        self.writer.flush_history();
        let mark = move |db: &dyn Database| {
            follow_ups::mark_sending(db, &lease, &step, has_marker, lease_until, now)
        };
        self.writer.run(Durable, mark).await
    }

    async fn unmark_follow_up(&self, lease: &Lease, step: &FollowUp) -> Result<(), StoreError> {
        let (lease, step) = (lease.clone(), step.clone());
        self.writer.run(Lazy, move |db| follow_ups::unmark(db, &lease, &step)).await
    }

    async fn end_follow_up(
        &self,
        lease: &Lease,
        step: &FollowUp,
        end: FollowUpEnd,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (lease, step) = (lease.clone(), step.clone());
        self.writer.run(Durable, move |db| follow_ups::end(db, &lease, &step, end, now)).await
    }

    async fn comment_controls(&self, id: ConnectionId) -> Result<Vec<ControlDefect>, StoreError> {
        self.readers.run(move |db| follow_ups::controls(db, id)).await
    }

    async fn decide(
        &self,
        id: DefectId,
        decision: &Decision,
        steps: &[FollowUpStep],
        by: &str,
        now: Timestamp,
        run_ms: u64,
    ) -> Result<DefectRecord, StoreError> {
        let (decision, steps, by) = (decision.clone(), steps.to_vec(), by.to_owned());
        let decided = self
            .writer
            .run(Durable, move |db| {
                decisions::decide(db, id, decision, by, now, run_ms)?;
                follow_ups::add(db, id, &steps, now)?;
                defect_records::get(db, id)?.ok_or(StoreError::NotFound("defect"))
            })
            .await;
        self.forget_defects();
        self.publisher.lease_ended(id);
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

    fn record_event(&self, event: Event) {
        self.writer.record(Record::Event(event.id, Some(event), TimedSteps::default(), Vec::new()));
    }

    fn record_timed_steps(&self, event: EventId, steps: TimedSteps) {
        self.writer.record(Record::Event(event, None, steps, Vec::new()));
    }

    fn record_run(&self, event: EventId, run: RunReport) {
        self.writer.record(Record::Event(event, None, TimedSteps::default(), vec![run]));
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.writer.flush().await
    }

    async fn events(&self, filter: &EventFilter) -> Result<Vec<Event>, StoreError> {
        let filter = filter.clone();
        self.readers.run(move |db| events::list(db, &filter)).await
    }

    async fn recent_events(&self, now: Timestamp) -> Result<RecentEvents, StoreError> {
        self.readers.run(move |db| recent::count(db, now)).await
    }

    async fn recent_usage(
        &self,
        connections: Vec<ConnectionId>,
    ) -> Result<Option<RecentUsage>, StoreError> {
        self.readers.run(move |db| usage::recent(db, &connections)).await
    }

    async fn event(&self, id: EventId) -> Result<Option<WholeEvent>, StoreError> {
        self.readers.run(move |db| events::get(db, id)).await
    }

    async fn record_until(
        &self,
        id: ConnectionId,
        until: Option<Timestamp>,
        erase: bool,
    ) -> Result<(), StoreError> {
        self.writer.run(Durable, move |db| recordings::record_until(db, id, until, erase)).await
    }

    async fn recording(&self, event: EventId) -> Result<Vec<RecordedRun>, StoreError> {
        self.readers.run(move |db| recordings::list(db, event)).await
    }

    async fn prune(&self, retention: Retention) -> Result<(), StoreError> {
        let excess = self.readers.run(move |db| events::find_excess(db, retention)).await?;
        loop {
            let excess = excess.clone();
            let delete = self.writer.run(Lazy, move |db| events::delete_some(db, excess));
            if !delete.await? {
                break;
            }
        }
        while self.writer.run(Lazy, connections::delete_some).await? {}
        Ok(())
    }

    fn record_counts(&self, id: ConnectionId, project: &str, counts: CachedCounts) {
        let (connection, project) = (id, project.to_owned());
        self.writer.record(Record::Counts { connection, project, counts });
    }

    async fn claim_counts(
        &self,
        lease: &CountsLease,
        claim: CountsClaim,
    ) -> Result<CountsClaimed, StoreError> {
        if !self.is_shared() {
            return Ok(CountsClaimed::Alone);
        }
        let lease = lease.clone();
        self.writer.run(Lazy, move |db| counts_leases::claim(db, &lease, &claim)).await
    }

    async fn renew_counts(&self, lease: &CountsLease, until: Timestamp) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.writer.run(Lazy, move |db| counts_leases::renew(db, &lease, until)).await
    }

    async fn end_counts(
        &self,
        lease: &CountsLease,
        counted: Option<CachedCounts>,
    ) -> Result<bool, StoreError> {
        let lease = lease.clone();
        self.writer.run(Lazy, move |db| counts_leases::end(db, &lease, counted)).await
    }

    async fn cached_counts(
        &self,
        id: ConnectionId,
        project: &str,
    ) -> Result<Option<CachedCounts>, StoreError> {
        let project = project.to_owned();
        self.readers.run(move |db| counts::get(db, id, &project)).await
    }

    async fn last_counted_project(&self, id: ConnectionId) -> Result<Option<String>, StoreError> {
        self.readers.run(move |db| counts::last_project(db, id)).await
    }

    fn queue_lengths(&self) -> QueueLengths {
        self.writer.lengths()
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.writer.run(Durable, meta::check_writable).await
    }

    async fn close(&self) {
        // The last connection to close merges the write-ahead log into the file; a reader cannot.
        self.publisher.closed.cancel();
        self.readers.close().await;
        self.writer.close().await;
    }
}
