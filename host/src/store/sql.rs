//! The rules of the store, once for all engines: SQL that each of them understands, and what is
//! done with its rows.
//!
//! Every write goes through [`writer`]; [`claims`], [`moves`] and [`doubts`] move a defect's row.
//! Never knows which engine runs the SQL.

mod account_tokens;
mod accounts;
pub(super) mod audit;
mod claims;
mod columns;
mod connection_records;
mod connections;
mod connectors;
mod counts;
mod counts_leases;
pub(super) mod database;
mod decisions;
mod defect_cache;
mod defect_records;
mod doubts;
mod event_search;
mod events;
mod follow_ups;
mod grants_json;
pub(super) mod history;
pub(super) mod history_rows;
pub(super) mod meta;
mod moves;
pub(super) mod queue;
pub(super) mod readers;
mod recent;
mod recordings;
mod recurrences;
pub(super) mod reseal;
mod run_json;
mod sessions;
mod shared_versions;
pub(super) mod starts;
mod store;
mod test_manager_json;
#[cfg(test)]
pub(super) mod tests;
mod unreadable;
mod usage;
pub(super) mod values;
mod webhook_auth_json;
pub(super) mod writer;

use std::sync::OnceLock;

use jiff::Timestamp;

use self::defect_cache::DefectCache;
use self::readers::{ReadLink, Readers};
use self::starts::StartCounter;
use self::writer::{WriteLink, Writer};
use super::StoreError;
use super::changes::Publisher;

/// The store in a database of any engine.
pub struct SqlStore {
    writer: Writer,
    readers: Readers,
    /// Absent if other servers change the database too.
    cache: Option<DefectCache>,
    starts: StartCounter,
    /// Since when failed tests without a row count as in doubt. Set by `recover`.
    restored_at: OnceLock<Option<Timestamp>>,
    publisher: Publisher,
}

impl Drop for SqlStore {
    fn drop(&mut self) {
        self.publisher.closed.cancel();
    }
}

impl SqlStore {
    /// Starts the threads: one writes, and one reads for each of these connections. `publisher`
    /// gets the changes of other servers, if there are any.
    pub(super) fn start(
        write: Box<dyn WriteLink>,
        read: Vec<Box<dyn ReadLink>>,
        starts: StartCounter,
        publisher: Publisher,
    ) -> Result<Self, StoreError> {
        let readers = Readers::start(read)?;
        let writer = Writer::start(write)?;
        let cache = (!publisher.is_shared()).then(DefectCache::default);
        Ok(Self { writer, readers, cache, starts, restored_at: OnceLock::new(), publisher })
    }

    fn forget_defects(&self) {
        if let Some(cache) = &self.cache {
            cache.clear();
        }
    }

    /// Returns the number of commits since the start.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }
}
