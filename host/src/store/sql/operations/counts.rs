//! Decides for each operation on counts which thread runs it and whether it is durable.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::ConnectionId;
use crate::store::sql::unwritten_history::HistoryRecord;
use crate::store::sql::writer::Durability::Lazy;
use crate::store::sql::{SqlStore, counts, counts_leases};
use crate::store::{
    CachedCounts, CountsClaim, CountsClaimed, CountsLease, CountsStore, Store as _, StoreError,
};

#[async_trait]
impl CountsStore for SqlStore {
    fn record_counts(&self, id: ConnectionId, project: &str, counts: CachedCounts) {
        let (connection, project) = (id, project.to_owned());
        self.writer.record(HistoryRecord::Counts { connection, project, counts });
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
}
