//! The store of connections, defects, events, counts, accounts, the audit log and shared
//! connectors. Only this room (module) contains SQL.
//!
//! This room never runs connectors and never uses HTTP. Callers pass the current time as an
//! argument. A method that is marked *durable* succeeds only after its change is on the disk. A
//! method that is marked *lazy* may succeed earlier: a power cut or a crash of PostgreSQL may then
//! lose its change, but a crash of this process does not.

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
    ConnectorStore, REMOVED_CONNECTORS_MAX, SHARED_BYTES_MAX, SHARED_VERSIONS_MAX, ServerReport,
    SharedConnector, SharedFile, SharedVersion,
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

/// How many operations, and how many records of the history, are not written yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLengths {
    /// Number of operations that wait for their commit.
    pub operations: u64,
    /// Number of records of the history (events with their runs, and counts), without runs and
    /// steps that wait for their event.
    pub history: u64,
}

/// The operations of the store, the same for every database engine, without the operations of
/// [`AccountStore`], [`AuditStore`] and [`ConnectorStore`].
#[async_trait]
pub trait Store:
    ConnectionStore + DefectStore + FollowUpStore + EventStore + CountsStore + Send + Sync
{
    /// Recovers the store after a crash, at the start of a server. Ends all leases, moves rows in
    /// `sent` without a lease to `in-doubt`, lets waits begin again, and marks unfinished events as
    /// interrupted. In a shared database, leaves the leases that have not ended, and the events
    /// that were received less than `longest_run_ms` ago. If the database fell behind (it lost
    /// changes that it had stored, for example because an older copy was restored), moves the rows
    /// in `intent` and `failed` that were not released to `in-doubt`; from then on, a failed test
    /// without a row counts as in doubt. Durable.
    async fn recover(&self, now: Timestamp, longest_run_ms: u64) -> Result<(), StoreError>;
    /// Returns the instant since which failed tests without a row count as in doubt, because the
    /// database had fallen behind. `None` if the database has never fallen behind, and before
    /// [`Self::recover`].
    fn restored_at(&self) -> Option<Timestamp>;
    /// Lets the waits (`domain::Waits`) of all rows that have writes but no known defect, and of
    /// all unfinished follow-up steps, begin again. Call this after the clock was changed. A write
    /// in progress is assumed to end within `longest_run_ms`. Durable.
    async fn restart_waits(&self, now: Timestamp, longest_run_ms: u64) -> Result<(), StoreError>;
    /// Whether other servers may also change the database.
    fn is_shared(&self) -> bool;
    /// Subscribes to the changes that are published from now on, mostly changes by other servers.
    /// In a database that is not shared, only [`Change::Defect`] and [`Change::Missed`] arrive.
    fn subscribe_to_changes(&self) -> Changes;
    /// Writes the queued history, and waits until it is written. Runs and steps whose event was not
    /// recorded yet stay in the queue.
    async fn flush(&self) -> Result<(), StoreError>;
    /// Returns how many operations, and how many records of the history, are not written yet.
    fn queue_lengths(&self) -> QueueLengths;
    /// Makes a small durable change, to check that the store can be written now.
    async fn check_writable(&self) -> Result<(), StoreError>;
    /// Writes the queued changes, then closes the store. Reads and changes that are requested
    /// afterwards fail.
    async fn close(&self);
}
