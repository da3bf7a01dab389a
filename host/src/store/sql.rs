//! The rules of the store: SQL that each database engine can run, and the code that reads the rows.
//! Only PostgreSQL runs the SQL of shared connectors.
//!
//! A running server changes the database only through [`writer`]. Most changes of a defect's row
//! are in [`claims`], [`moves`], [`doubts`] and [`decisions`].

mod account_tokens;
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
mod follow_up_rows;
mod grants_json;
pub(super) mod history_rows;
pub(super) mod meta;
mod moves;
mod operations;
pub(super) mod queue;
pub(super) mod readers;
mod recent_events;
mod recordings;
mod recurrences;
pub(super) mod reseal;
mod run_json;
mod sessions;
mod shared_versions;
pub(super) mod starts;
mod test_manager_json;
#[cfg(test)]
pub(super) mod tests;
mod unreadable;
pub(super) mod unwritten_history;
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
    /// The cache of created defects. `None` if other servers may also change the database.
    cache: Option<DefectCache>,
    start_counter: StartCounter,
    /// Set by `recover`: the instant since which a failed test without a row is treated as in
    /// doubt; `None` if there is no such instant.
    restored_at: OnceLock<Option<Timestamp>>,
    publisher: Publisher,
}

impl Drop for SqlStore {
    fn drop(&mut self) {
        self.publisher.closed.cancel();
    }
}

impl SqlStore {
    /// Starts one writing thread for `write_link`, and one reading thread for each link in
    /// `read_links`.
    pub(super) fn start(
        write_link: Box<dyn WriteLink>,
        read_links: Vec<Box<dyn ReadLink>>,
        start_counter: StartCounter,
        publisher: Publisher,
    ) -> Result<Self, StoreError> {
        let readers = Readers::start(read_links)?;
        let writer = Writer::start(write_link)?;
        let cache = (!publisher.is_shared()).then(DefectCache::default);
        Ok(Self { writer, readers, cache, start_counter, restored_at: OnceLock::new(), publisher })
    }

    fn clear_defect_cache(&self) {
        if let Some(cache) = &self.cache {
            cache.clear();
        }
    }

    /// Returns the number of batches since the start that ended without an error of the database.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }
}
