//! The operations of the store. This file and its folder decide which operations the writing thread
//! runs, durably or lazily, and which a reading thread runs.
//!
//! This folder never decides how a row changes.

mod accounts;
mod connections;
mod connectors;
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
    async fn recover(&self, now: Timestamp, longest_run_ms: u64) -> Result<(), StoreError> {
        let (file_starts, is_shared) = (self.start_counter.read()?, self.is_shared());
        let (starts, restored_at) = self
            .writer
            .run(Durable, move |db| {
                match is_shared {
                    true => doubts::recover_shared(db, now, longest_run_ms),
                    false => doubts::recover(db, now, longest_run_ms),
                }?;
                starts::count_start(db, file_starts, now)
            })
            .await?;
        self.start_counter.write(starts)?;
        let _ = self.restored_at.set(restored_at);
        Ok(())
    }

    fn restored_at(&self) -> Option<Timestamp> {
        self.restored_at.get().copied().flatten()
    }

    async fn restart_waits(&self, now: Timestamp, longest_run_ms: u64) -> Result<(), StoreError> {
        self.writer.run(Durable, move |db| doubts::restart_waits(db, now, longest_run_ms)).await
    }

    fn is_shared(&self) -> bool {
        self.publisher.is_shared()
    }

    fn subscribe_to_changes(&self) -> Changes {
        self.publisher.subscribe()
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.writer.flush().await
    }

    fn queue_lengths(&self) -> QueueLengths {
        self.writer.lengths()
    }

    async fn check_writable(&self) -> Result<(), StoreError> {
        self.writer.run(Durable, meta::check_writable).await
    }

    async fn close(&self) {
        // Close the writer last: the last connection merges the write-ahead log into the file, and
        // a reader cannot do this.
        self.publisher.closed.cancel();
        self.readers.close().await;
        self.writer.close().await;
    }
}
