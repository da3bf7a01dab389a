//! The store of connections, defects, events and cached counts. Only this room (module) contains
//! SQL.
//!
//! This room never runs connectors and never uses HTTP. Callers pass times as arguments; only ids
//! and waits use a clock. A method that is marked *durable* returns only after its change is on the
//! disk. A power cut may lose the change of a method that is marked *lazy*; a crash of the process
//! does not lose this change.

mod accounts;
mod changes;
mod connections;
mod connectors;
mod counts;
mod defects;
mod error;
mod events;
mod follow_ups;
mod postgres;
mod sql;
mod sqlite;
mod transfer;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;

pub use self::accounts::{
    ACCOUNT_SESSIONS_MAX, ACCOUNT_TOKENS_MAX, AccountStore, AuditFilter, AuditRetention,
    AuditStore, SESSIONS_MAX,
};
pub use self::changes::{Change, Changes};
pub use self::connections::{ConnectionStore, StoredConnection, StoredToken, TokenExpiry};
pub use self::connectors::{
    ConnectorStore, LoadedConnectors, REMOVED_CONNECTORS_MAX, SHARED_BYTES_MAX,
    SHARED_VERSIONS_MAX, SharedConnector, SharedFile, SharedVersion,
};
pub use self::counts::{
    CLOCK_DIFFERENCE_MS_MAX, CachedCounts, CountsClaim, CountsClaimed, CountsLease, CountsStore,
};
pub use self::defects::{
    Claim, ControlDefect, DefectFilter, DefectStore, DoubtCounts, DueDefect, DueLimits,
    JournaledWrite,
};
pub use self::error::{DatabaseError, StoreError};
pub use self::events::{EventFilter, EventStore, Retention, WholeEvent};
pub use self::follow_ups::FollowUpStore;
pub use self::postgres::{
    DatabaseClock, PostgresFindings, PostgresSettings, PostgresStore, Standbys,
};
pub use self::sql::SqlStore;
pub use self::sqlite::SqliteStore;

/// The number of rows of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableRows {
    /// The name of the table.
    pub table: String,
    /// The number of its rows.
    pub rows: u64,
}

/// How many changes and records are queued, because they are not stored yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLengths {
    /// Number of queued operations that change the store. A caller waits for each of them.
    pub operations: u64,
    /// Number of queued records of the history. No caller waits for them.
    pub history: u64,
}

/// The operations of the store, the same for every implementation.
#[async_trait]
pub trait Store:
    ConnectionStore + DefectStore + FollowUpStore + EventStore + CountsStore + Send + Sync
{
    /// Recovers the store after a crash. The server calls this when it starts. Ends the leases of
    /// processes that no longer run. In a shared database, these are the leases whose time has
    /// ended; otherwise, these are all leases. A row in `intent` may then be claimed at once. A row
    /// in `sent` becomes `in-doubt`, and its write counts as ended `run_ms` after it was marked.
    /// The waits of all rows in doubt begin again. Events that were in progress become interrupted.
    /// If the database fell behind, for example because an older copy was restored, marks the
    /// database: from then on, a failed test without a row counts as in doubt. Durable.
    async fn recover(&self, now: Timestamp, run_ms: u64) -> Result<(), StoreError>;
    /// Returns the instant since which failed tests without a row count as in doubt, because the
    /// database had fallen behind. `None` if the database has never fallen behind.
    fn restored_at(&self) -> Option<Timestamp>;
    /// Lets the waits of all rows without a known defect, and of all unfinished follow-up steps,
    /// begin again. Call this after the clock was changed. A write in progress is assumed to end
    /// `run_ms` from now. Durable.
    async fn restart_waits(&self, now: Timestamp, run_ms: u64) -> Result<(), StoreError>;
    /// Whether other servers may also change the database.
    fn is_shared(&self) -> bool;
    /// Subscribes to the changes that other servers make from now on. If only one server uses this
    /// store, only [`Change::Defect`] arrives.
    fn subscribe_to_changes(&self) -> Changes;
    /// Waits until everything that was recorded before this call can be read.
    async fn flush(&self) -> Result<(), StoreError>;
    /// Returns how many changes and how many records of the history wait to be stored.
    fn queue_lengths(&self) -> QueueLengths;
    /// Makes a small durable change, to check that the store can be written now. If this fails, the
    /// error contains the reason.
    async fn check_writable(&self) -> Result<(), StoreError>;
    /// Writes the queued changes, then closes the store. No method may be called afterwards.
    async fn close(&self);
}
