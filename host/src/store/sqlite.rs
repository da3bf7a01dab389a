//! The store in one SQLite file: a single writer that shares commits, and a few readers.
//!
//! Writes go through [`writer`] and nowhere else. The SQL of a defect's life is in [`defects`].

mod columns;
mod connections;
mod counts;
mod decisions;
mod defects;
mod events;
mod file;
mod known;
mod records;
mod reseal;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::sqlite::SqlitePool;

use self::known::Known;
use self::writer::{Durability, Writer};
use super::{
    Claim, DefectFilter, EventFilter, KnownCounts, Retention, Store, StoreError, StoredConnection,
    StoredToken,
};
use crate::domain::{
    Claimed, ConnectionId, Decision, Defect, DefectId, DefectRecord, Event, EventId, FailedTest,
    Lease, RunReport, RunnerId, Verdict,
};
use crate::secret::Sealer;

/// The store in one file.
pub struct SqliteStore {
    writer: Writer,
    readers: SqlitePool,
    known: Known,
}

impl SqliteStore {
    /// Opens the file, or makes it (mode 0600), and brings its schema up to date.
    ///
    /// # Errors
    /// `Unusable`, with what mends it: the folder cannot be written, the file is damaged, a newer
    /// Jackfield wrote it, or its secrets were sealed with another key.
    pub async fn open(path: &Path, sealer: &Sealer) -> Result<Self, StoreError> {
        let connection = file::open(path, sealer).await?;
        let readers = file::readers(path).await?;
        // Reopening must not make an empty file where somebody moved the database away.
        let writer = Writer::start(connection, file::options(path).create_if_missing(false));
        Ok(Self { writer, readers, known: Known::default() })
    }

    /// Seals every secret of a file that no server uses with another key, in one durable transaction;
    /// returns how many there are.
    ///
    /// # Errors
    /// As [`Self::open`], or a secret does not open; nothing is changed then.
    pub async fn reseal(path: &Path, old: &Sealer, new: &Sealer) -> Result<usize, StoreError> {
        let connection = file::open(path, old).await?;
        reseal::reseal(connection, old, new).await
    }

    /// Whether a file is sealed with this key.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn opens_with(path: &Path, sealer: &Sealer) -> Result<bool, StoreError> {
        file::opens_with(path, sealer).await
    }

    /// Commits made since it was opened.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }

    /// Events, runs and counts that were dropped because the queue was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.writer.dropped()
    }
}

/// Runs one operation through the writer; its arguments move in.
macro_rules! write {
    ($store:expr, $durability:ident, |$db:ident| $op:expr) => {
        $store
            .writer
            .run(Durability::$durability, move |$db| Box::pin(async move { $op.await }))
            .await
    };
}

#[async_trait]
impl Store for SqliteStore {
    async fn recover(&self, now: Timestamp, run_ms: u64) -> Result<(), StoreError> {
        write!(self, Durable, |db| defects::recover(db, now, run_ms))
    }

    async fn connections(&self) -> Result<Vec<StoredConnection>, StoreError> {
        connections::all(&self.readers).await
    }

    async fn create_connection(&self, new: &StoredConnection) -> Result<(), StoreError> {
        let new = new.clone();
        write!(self, Durable, |db| connections::create(db, &new))
    }

    async fn update_connection(
        &self,
        edited: &StoredConnection,
        force: bool,
    ) -> Result<(), StoreError> {
        let edited = edited.clone();
        write!(self, Durable, |db| connections::update(db, &edited, force))
    }

    async fn accept_version(&self, id: ConnectionId, sha256: &str) -> Result<(), StoreError> {
        let sha256 = sha256.to_owned();
        write!(self, Lazy, |db| connections::accept_version(db, id, &sha256))
    }

    async fn delete_connection(&self, id: ConnectionId, force: bool) -> Result<(), StoreError> {
        let deleted = write!(self, Durable, |db| connections::delete(db, id, force));
        self.known.forget();
        deleted
    }

    async fn rotate_token(
        &self,
        id: ConnectionId,
        token: &StoredToken,
        tail: &str,
        grace_until: Timestamp,
    ) -> Result<(), StoreError> {
        let (token, tail) = (token.clone(), tail.to_owned());
        write!(self, Durable, |db| connections::rotate_token(db, id, &token, &tail, grace_until))
    }

    async fn known_defect(
        &self,
        connection: ConnectionId,
        test: &FailedTest,
    ) -> Result<Option<(DefectId, Defect)>, StoreError> {
        let era = match self.known.get(connection, test) {
            Ok(known) => return Ok(Some(known)),
            Err(era) => era,
        };
        let found = defects::known(&self.readers, connection, test).await?;
        if let Some(found) = &found {
            self.known.remember(era, connection, test, found);
        }
        Ok(found)
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Claimed, StoreError> {
        let test = claim.test.clone();
        let Claim { connection, event, runner, now, lease_until, run_ms, .. } = claim;
        write!(self, Durable, |db| defects::claim(
            db,
            Claim { connection, test: &test, event, runner, now, lease_until, run_ms },
        ))
    }

    async fn claim_doubtful(
        &self,
        id: DefectId,
        runner: RunnerId,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Option<Claimed>, StoreError> {
        write!(self, Durable, |db| defects::claim_doubtful(db, id, runner, now, lease_until))
    }

    async fn due_doubts(
        &self,
        now: Timestamp,
        run_ms: u64,
        limit: u32,
    ) -> Result<Vec<DefectRecord>, StoreError> {
        write!(self, Durable, |db| defects::due_doubts(db, now, run_ms, limit))
    }

    async fn create_after_all(&self, lease: &Lease, now: Timestamp) -> Result<(), StoreError> {
        let lease = lease.clone();
        write!(self, Durable, |db| defects::create_after_all(db, &lease, now))
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<(), StoreError> {
        let lease = lease.clone();
        write!(self, Lazy, |db| defects::renew(db, &lease, until))
    }

    async fn sent(&self, lease: &Lease, now: Timestamp) -> Result<(), StoreError> {
        let lease = lease.clone();
        write!(self, Durable, |db| defects::sent(db, &lease, now))
    }

    async fn unsent(&self, lease: &Lease, now: Timestamp) -> Result<(), StoreError> {
        let lease = lease.clone();
        write!(self, Lazy, |db| defects::unsent(db, &lease, now))
    }

    async fn settle(
        &self,
        lease: &Lease,
        verdict: &Verdict,
        event: EventId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (lease, verdict) = (lease.clone(), verdict.clone());
        write!(self, Durable, |db| defects::settle(db, &lease, &verdict, event, now))
    }

    async fn decide(
        &self,
        id: DefectId,
        decision: &Decision,
        by: &str,
        now: Timestamp,
    ) -> Result<DefectRecord, StoreError> {
        let (decision, by) = (decision.clone(), by.to_owned());
        let decided = write!(self, Durable, |db| decisions::decide(db, id, &decision, &by, now));
        self.known.forget();
        decided
    }

    async fn defect(&self, id: DefectId) -> Result<Option<DefectRecord>, StoreError> {
        records::one(&self.readers, id).await
    }

    async fn defects(&self, filter: &DefectFilter) -> Result<Vec<DefectRecord>, StoreError> {
        records::list(&self.readers, filter).await
    }

    fn record_event(&self, event: Event) {
        self.writer.post(move |db| Box::pin(events::record(db, event)));
    }

    fn record_run(&self, event: EventId, run: RunReport) {
        self.writer.post(move |db| Box::pin(events::record_run(db, event, run)));
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.writer.run(Durability::Lazy, |_| Box::pin(async { Ok(()) })).await
    }

    async fn events(&self, filter: &EventFilter) -> Result<Vec<Event>, StoreError> {
        events::list(&self.readers, filter).await
    }

    async fn event(&self, id: EventId) -> Result<Option<(Event, Vec<RunReport>)>, StoreError> {
        events::one(&self.readers, id).await
    }

    async fn prune(&self, retention: Retention) -> Result<(), StoreError> {
        let too_many = Arc::new(events::too_many(&self.readers, retention).await?);
        let step = async || {
            let (since, too_many) = (retention.events_since, Arc::clone(&too_many));
            write!(self, Lazy, |db| events::prune_some(db, since, &too_many))
        };
        while step().await? {}
        Ok(())
    }

    fn record_counts(&self, id: ConnectionId, project: &str, known: KnownCounts) {
        let project = project.to_owned();
        self.writer
            .post(move |db| Box::pin(async move { counts::record(db, id, &project, known).await }));
    }

    async fn known_counts(
        &self,
        id: ConnectionId,
        project: &str,
    ) -> Result<Option<KnownCounts>, StoreError> {
        counts::known(&self.readers, id, project).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        write!(self, Durable, |db| file::touch(db))
    }

    async fn close(&self) {
        // The last connection folds the log into the file; a reader could not.
        self.readers.close().await;
        self.writer.close().await;
    }
}
