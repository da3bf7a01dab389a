//! The operations of the store: which of them the writing thread runs, durably or lazily, and which
//! a reading one.
//!
//! Decides nothing about a row: the files beside it do.

mod connections;
mod counts;
mod defects;
mod events;
mod follow_ups;

use async_trait::async_trait;
use jiff::Timestamp;

use super::writer::Durability::Durable;
use super::{SqlStore, doubts, meta, starts};
use crate::store::{Changes, QueueLengths, Store, StoreError};

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
        self.publisher.is_shared()
    }

    fn changes(&self) -> Changes {
        self.publisher.subscribe()
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.writer.flush().await
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
