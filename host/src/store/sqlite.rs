//! The store in one SQLite file: one task writes, a few connections read.
//!
//! Every write goes through [`writer`]; [`claims`], [`moves`] and [`doubts`] move a defect's row.

mod claims;
mod columns;
mod connection_records;
mod connections;
mod counts;
mod decisions;
mod defect_cache;
mod defect_records;
mod doubts;
mod errors;
mod events;
mod file;
mod grants_json;
mod moves;
mod reseal;
mod run_json;
mod starts;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::OnceLock;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use sqlx::sqlite::SqlitePool;

use self::defect_cache::DefectCache;
use self::starts::StartCounter;
use self::writer::Durability::{Durable, Lazy};
use self::writer::Writer;
use super::{
    CachedCounts, Claim, ControlDefect, DefectFilter, DueSearch, EventFilter, JournaledWrite,
    Retention, Store, StoreError, StoredConnection, StoredToken, TokenExpiry,
};
use crate::domain::{
    Claimed, ConnectionId, Decision, Defect, DefectId, DefectRecord, DoubtfulDefect, Event,
    EventId, FailedTest, HolderId, Lease, RunReport, SearchEnd, SeenByRun, Verdict,
};
use crate::secret::{Sealer, TokenHash};

/// The store in one SQLite file.
pub struct SqliteStore {
    writer: Writer,
    readers: SqlitePool,
    cache: DefectCache,
    starts: StartCounter,
    /// Set by `recover`.
    restored_at: OnceLock<Option<Timestamp>>,
}

impl SqliteStore {
    /// Opens the file, or creates it (mode 0600), and brings its schema up to date.
    ///
    /// # Errors
    /// The file cannot be used; the error says why, and what to do.
    pub async fn open(path: &Path, sealer: &Sealer) -> Result<Self, StoreError> {
        let connection = file::open(path, sealer).await?;
        let readers = file::readers(path).await?;
        // A reconnect must not create an empty file if somebody moved the database away.
        let writer = Writer::start(connection, file::options(path).create_if_missing(false));
        let (cache, starts) = (DefectCache::default(), StartCounter::beside(path));
        Ok(Self { writer, readers, cache, starts, restored_at: OnceLock::new() })
    }

    /// Seals every secret of a file that no server uses with another key; returns their number.
    ///
    /// # Errors
    /// As [`Self::open`], or a secret cannot be opened. Nothing is changed then.
    pub async fn reseal(path: &Path, old: &Sealer, new: &Sealer) -> Result<usize, StoreError> {
        let connection = file::open(path, old).await?;
        reseal::reseal(connection, old, new).await
    }

    /// Whether the secrets of a file were sealed with this key.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn opens_with(path: &Path, sealer: &Sealer) -> Result<bool, StoreError> {
        file::opens_with(path, sealer).await
    }

    /// The number of commits since it was opened.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn recover(&self, now: Timestamp, run_ms: u64) -> Result<(), StoreError> {
        let counted = self.starts.read()?;
        let (starts, restored_at) = self
            .writer
            .run(Durable, move |db| {
                async move {
                    doubts::recover(db, now, run_ms).await?;
                    starts::count(db, counted, now).await
                }
                .boxed()
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
        self.writer.run(Durable, move |db| doubts::restart_waits(db, now, run_ms).boxed()).await
    }

    async fn connections(&self) -> Result<Vec<StoredConnection>, StoreError> {
        connection_records::list(&self.readers).await
    }

    async fn create_connection(&self, new: &StoredConnection) -> Result<(), StoreError> {
        let new = new.clone();
        self.writer.run(Durable, move |db| connections::create(db, new).boxed()).await
    }

    async fn update_connection(
        &self,
        edited: &StoredConnection,
        force: bool,
    ) -> Result<(), StoreError> {
        let edited = edited.clone();
        self.writer.run(Durable, move |db| connections::update(db, edited, force).boxed()).await
    }

    async fn accept_version(&self, id: ConnectionId, sha256: &str) -> Result<(), StoreError> {
        let sha256 = sha256.to_owned();
        self.writer.run(Lazy, move |db| connections::accept_version(db, id, sha256).boxed()).await
    }

    async fn record_index_lag(&self, id: ConnectionId, lag_ms: u64) -> Result<(), StoreError> {
        self.writer
            .run(Durable, move |db| connections::record_index_lag(db, id, lag_ms).boxed())
            .await
    }

    async fn delete_connection(&self, id: ConnectionId, force: bool) -> Result<(), StoreError> {
        let deleted =
            self.writer.run(Durable, move |db| connections::delete(db, id, force).boxed()).await;
        self.cache.clear();
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
            .run(Durable, move |db| connections::rotate_token(db, id, token, tail, expiry).boxed())
            .await
    }

    async fn delete_tokens(&self, expired: Vec<TokenHash>) -> Result<(), StoreError> {
        self.writer.run(Durable, move |db| connections::delete_tokens(db, expired).boxed()).await
    }

    async fn created_defect(
        &self,
        connection: ConnectionId,
        test: &FailedTest,
    ) -> Result<Option<(DefectId, Defect)>, StoreError> {
        if let Some(cached) = self.cache.get(connection, test) {
            return Ok(Some(cached));
        }
        // Taken before the read: a change during the read then prevents the insert.
        let epoch = self.cache.epoch();
        let created = claims::created_defect(&self.readers, connection, test).await?;
        if let Some(created) = &created {
            self.cache.insert(epoch, connection, test, created);
        }
        Ok(created)
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Claimed, StoreError> {
        let (test, restored_at) = (claim.test.clone(), self.restored_at());
        let Claim { connection, event, holder, now, lease_until, run_ms, waited_for, .. } = claim;
        self.writer
            .run(Durable, move |db| {
                async move {
                    let test = &test;
                    let claim = Claim {
                        connection,
                        test,
                        event,
                        holder,
                        now,
                        lease_until,
                        run_ms,
                        waited_for,
                    };
                    claims::claim(db, claim, restored_at).await
                }
                .boxed()
            })
            .await
    }

    async fn claim_search(
        &self,
        id: DefectId,
        holder: HolderId,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Option<DoubtfulDefect>, StoreError> {
        self.writer
            .run(Durable, move |db| doubts::claim_search(db, id, holder, now, lease_until).boxed())
            .await
    }

    async fn due_searches(
        &self,
        now: Timestamp,
        run_ms: u64,
        open: Vec<DefectId>,
        limits: (u32, u32),
    ) -> Result<Vec<DueSearch>, StoreError> {
        self.writer
            .run(Durable, move |db| doubts::due_searches(db, now, run_ms, open, limits).boxed())
            .await
    }

    async fn controls(
        &self,
        connection: ConnectionId,
        seen: &SeenByRun,
        stored_by: Timestamp,
    ) -> Result<Vec<ControlDefect>, StoreError> {
        doubts::controls(&self.readers, connection, seen, stored_by).await
    }

    async fn back_to_intent(&self, lease: &Lease, now: Timestamp) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.writer.run(Durable, move |db| moves::back_to_intent(db, lease, now).boxed()).await
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.writer.run(Lazy, move |db| moves::renew(db, lease, until).boxed()).await
    }

    async fn mark_sending(
        &self,
        lease: &Lease,
        write: JournaledWrite,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.writer.run(Durable, move |db| moves::mark_sending(db, lease, write, now).boxed()).await
    }

    async fn unmark(&self, lease: &Lease, now: Timestamp) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.writer.run(Lazy, move |db| moves::unmark(db, lease, now).boxed()).await
    }

    async fn store_outcome(
        &self,
        lease: &Lease,
        verdict: &Verdict,
        event: EventId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (lease, verdict) = (lease.clone(), verdict.clone());
        self.writer
            .run(Durable, move |db| moves::store_outcome(db, lease, verdict, event, now).boxed())
            .await
    }

    async fn end_search(
        &self,
        lease: &Lease,
        end: SearchEnd,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.writer.run(Durable, move |db| moves::end_search(db, lease, end, now).boxed()).await
    }

    async fn give_back(&self, lease: &Lease) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.writer.run(Durable, move |db| moves::give_back(db, lease).boxed()).await
    }

    async fn decide(
        &self,
        id: DefectId,
        decision: &Decision,
        by: &str,
        now: Timestamp,
        run_ms: u64,
    ) -> Result<DefectRecord, StoreError> {
        let (decision, by) = (decision.clone(), by.to_owned());
        let decided = self
            .writer
            .run(Durable, move |db| decisions::decide(db, id, decision, by, now, run_ms).boxed())
            .await;
        self.cache.clear();
        decided
    }

    async fn defect(&self, id: DefectId) -> Result<Option<DefectRecord>, StoreError> {
        defect_records::get(&self.readers, id).await
    }

    async fn defects(&self, filter: &DefectFilter) -> Result<Vec<DefectRecord>, StoreError> {
        defect_records::list(&self.readers, filter).await
    }

    fn record_event(&self, event: Event) {
        self.writer.post(move |db| events::record(db, event).boxed());
    }

    fn record_run(&self, event: EventId, run: RunReport) {
        self.writer.post(move |db| events::record_run(db, event, run).boxed());
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.writer.run(Lazy, |_| async { Ok(()) }.boxed()).await
    }

    async fn events(&self, filter: &EventFilter) -> Result<Vec<Event>, StoreError> {
        events::list(&self.readers, filter).await
    }

    async fn event(&self, id: EventId) -> Result<Option<(Event, Vec<RunReport>)>, StoreError> {
        events::get(&self.readers, id).await
    }

    async fn prune(&self, retention: Retention) -> Result<(), StoreError> {
        let excess = events::find_excess(&self.readers, retention).await?;
        loop {
            let excess = excess.clone();
            let delete = self.writer.run(Lazy, move |db| events::delete_some(db, excess).boxed());
            if !delete.await? {
                break;
            }
        }
        while self.writer.run(Lazy, |db| connections::delete_some(db).boxed()).await? {}
        Ok(())
    }

    fn record_counts(&self, id: ConnectionId, project: &str, counts: CachedCounts) {
        let project = project.to_owned();
        self.writer.post(move |db| counts::record(db, id, project, counts).boxed());
    }

    async fn cached_counts(
        &self,
        id: ConnectionId,
        project: &str,
    ) -> Result<Option<CachedCounts>, StoreError> {
        counts::get(&self.readers, id, project).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.writer.run(Durable, |db| file::check_writable(db).boxed()).await
    }

    async fn close(&self) {
        // The last connection to close merges the write-ahead log into the file; a reader cannot.
        self.readers.close().await;
        self.writer.close().await;
    }
}
