//! The store of connections, defects, events and cached counts. Only this room (module) contains
//! SQL.
//!
//! Knows nothing of connectors or HTTP and reads no clock: instants arrive as arguments. A method
//! marked *durable* returns when the change is on the disk. A power cut may lose a change that is
//! marked *lazy*; a crash of the process does not.

mod accounts;
mod changes;
mod connections;
mod connectors;
mod counts;
mod defects;
mod error;
mod events;
mod postgres;
mod sql;
mod sqlite;
mod transfer;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;

use crate::domain::{
    Claimed, ConnectionId, ConnectionSnapshot, Decision, Defect, DefectId, DefectRecord,
    DoubtfulDefect, DueFollowUps, Event, EventId, FailedTest, FollowUp, FollowUpEnd, FollowUpStep,
    Lease, RecentEvents, RecentUsage, RecordedRun, RunReport, SearchEnd, TimedSteps, Verdict,
};
use crate::secret::TokenHash;

pub use self::accounts::{
    ACCOUNT_SESSIONS_MAX, ACCOUNT_TOKENS_MAX, AccountStore, AuditFilter, AuditRetention,
    AuditStore, SESSIONS_MAX,
};
pub use self::changes::{Change, Changes};
pub use self::connections::{StoredConnection, StoredToken, TokenExpiry};
pub use self::connectors::{
    ConnectorStore, LoadedConnectors, REMOVED_MAX, SHARED_BYTES_MAX, SHARED_VERSIONS_MAX,
    SharedConnector, SharedFile, SharedVersion,
};
pub use self::counts::{CLOCKS_DIFFER_MS, CachedCounts, CountsClaim, CountsClaimed, CountsLease};
pub use self::defects::{
    Claim, ControlDefect, DefectFilter, DoubtCounts, DueDefect, DueLimits, JournaledWrite,
};
pub use self::error::{DatabaseError, StoreError};
pub use self::events::{EventFilter, Retention, WholeEvent};
pub use self::postgres::{DatabaseClock, PostgresFindings, PostgresSettings, PostgresStore};
pub use self::sql::SqlStore;
pub use self::sqlite::SqliteStore;

/// How many rows a table has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableRows {
    /// The name of the table.
    pub table: String,
    /// The number of its rows.
    pub rows: u64,
}

/// What waits to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLengths {
    /// Operations that change the store, and callers with them.
    pub operations: u64,
    /// Parts of the history.
    pub history: u64,
}

/// The operations of the store, the same for every implementation.
#[async_trait]
pub trait Store: Send + Sync {
    /// Voids the leases of dead processes. Called at start, by the only process that holds the
    /// data folder. A row in `intent` may be claimed at once. A row in `sent` becomes `in-doubt`,
    /// and its write counts as ended `run_ms` after it was marked. The waits of all rows in doubt
    /// begin again. Running events become interrupted. Marks a database that fell behind: from
    /// then on, a failed test without a row counts as in doubt. Durable.
    async fn recover(&self, now: Timestamp, run_ms: u64) -> Result<(), StoreError>;
    /// Since when failed tests without a row count as in doubt, because the database had fallen
    /// behind; `None` if it had not.
    fn restored_at(&self) -> Option<Timestamp>;
    /// Begins the waits of all rows without a known defect again, because the clock has stepped. A
    /// write in progress is assumed to end `run_ms` from now. Durable.
    async fn restart_waits(&self, now: Timestamp, run_ms: u64) -> Result<(), StoreError>;

    /// Whether other servers may change the database too.
    fn is_shared(&self) -> bool;
    /// Subscribes to what other servers change from now on. If this store belongs to one server,
    /// only [`Change::Defect`] arrives.
    fn changes(&self) -> Changes;

    /// Returns all connections.
    async fn connections(&self) -> Result<Vec<StoredConnection>, StoreError>;
    /// Returns one connection; `None` if there is none with this id.
    async fn connection(&self, id: ConnectionId) -> Result<Option<StoredConnection>, StoreError>;
    /// Adds a connection. Durable. `Conflict` if the name is taken.
    async fn create_connection(&self, new: &StoredConnection) -> Result<(), StoreError>;
    /// Replaces the columns that people edit and the secrets, and counts the revision; but not the
    /// tokens, the last success and the last error. Durable. `Conflict` if an origin is removed
    /// while creates run or are in doubt, unless forced.
    async fn update_connection(
        &self,
        edited: &StoredConnection,
        force: bool,
    ) -> Result<(), StoreError>;
    /// Records the connector version that a connection uses from now on. Lazy.
    async fn accept_version(&self, id: ConnectionId, sha256: &str) -> Result<(), StoreError>;
    /// Records how late a search found a new record; the longest is kept. Durable.
    async fn record_index_lag(&self, id: ConnectionId, lag_ms: u64) -> Result<(), StoreError>;
    /// Deletes a connection with its events, defects and counts. Durable. `Conflict` if creates
    /// run or are in doubt, unless forced.
    async fn delete_connection(&self, id: ConnectionId, force: bool) -> Result<(), StoreError>;
    /// Adds a token and stores its tail; older tokens expire as given, or are deleted if their
    /// grace is zero. Durable.
    async fn rotate_token(
        &self,
        id: ConnectionId,
        token: &StoredToken,
        tail: &str,
        expiry: TokenExpiry,
    ) -> Result<(), StoreError>;
    /// Deletes tokens that have expired. Durable.
    async fn delete_tokens(&self, expired: Vec<TokenHash>) -> Result<(), StoreError>;

    /// Returns the created defect of a failed test if it is in memory. Most repeats are answered by
    /// it.
    fn known_defect(
        &self,
        connection: ConnectionId,
        test: &FailedTest,
    ) -> Option<(DefectId, Defect)>;
    /// Returns the created defect of a failed test, if it exists. Changes nothing.
    async fn created_defect(
        &self,
        connection: ConnectionId,
        test: &FailedTest,
    ) -> Result<Option<(DefectId, Defect)>, StoreError>;
    /// Claims a failed test in one transaction: inserts its row in `intent`, takes over a row
    /// whose lease ended, or returns the state of the row. Lazy: a power cut that loses it loses a
    /// run that had sent nothing, since the next durable change makes it durable, too.
    async fn claim(&self, claim: Claim<'_>) -> Result<Claimed, StoreError>;
    /// Takes a lease on a row that is due for a search, for the sweep. `None` if it is not due any
    /// more or another holder holds it. Durable.
    async fn claim_search(
        &self,
        id: DefectId,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Option<DoubtfulDefect>, StoreError>;
    /// Returns rows without a lease whose next search is due, the longest overdue first: rows in
    /// doubt, and created rows that are searched for a second record. First moves rows in `sent`
    /// whose lease ended to `in-doubt`. Leaves out rows that this process has open, whatever the
    /// clock says about their leases. Durable.
    async fn due_searches(
        &self,
        now: Timestamp,
        run_ms: u64,
        open: Vec<DefectId>,
        limits: DueLimits,
    ) -> Result<Vec<DueDefect>, StoreError>;
    /// Returns the newest defects, at most three, that the same connector created with the same
    /// settings and with the marker in its write, and that were stored by this instant.
    async fn controls(
        &self,
        connection: ConnectionId,
        seen: &ConnectionSnapshot,
        stored_by: Timestamp,
    ) -> Result<Vec<ControlDefect>, StoreError>;
    /// Moves a row whose doubt has ended back to `intent`, and returns the next step, as a claim
    /// with this `recurs` would: `Create`, `Recurs` or `WaitsForFirst`. With `WaitsForFirst`, the
    /// row is not moved. Durable. `Fenced` if the lease was lost.
    async fn back_to_intent(
        &self,
        lease: &Lease,
        recurs: Option<&[DefectId]>,
        now: Timestamp,
    ) -> Result<Claimed, StoreError>;
    /// Extends a lease. Lazy. `Fenced` if it was lost.
    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<(), StoreError>;
    /// Moves a row to `sent` and renews its lease, before a write is sent. Durable. `Fenced` if the
    /// lease was lost or has ended.
    async fn mark_sending(
        &self,
        lease: &Lease,
        write: JournaledWrite,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Undoes the last `mark_sending`. Call it only if no byte of that write was sent. Lazy.
    async fn unmark(&self, lease: &Lease, now: Timestamp) -> Result<(), StoreError>;
    /// Ends a run: moves the row as the verdict says, adds the steps that follow, and releases the
    /// lease. A known defect is stored even if the lease was lost, unless another run holds the
    /// row. Durable.
    async fn store_outcome(
        &self,
        lease: &Lease,
        verdict: &Verdict,
        steps: &[FollowUpStep],
        event: EventId,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Ends a search that did not find the defect, and releases the lease. Durable. `Fenced` if it
    /// was lost.
    async fn end_search(
        &self,
        lease: &Lease,
        end: SearchEnd,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Releases a lease without changing the row's state. Durable. `Fenced` if it was lost.
    async fn give_back(&self, lease: &Lease) -> Result<(), StoreError>;
    /// Lets a leased row create another defect, because the defect of the row `asked` is closed or
    /// gone. False: the test case has a later defect, or another of its failures is creating one;
    /// claim again. Durable. `Fenced` if the lease was lost.
    async fn create_anew(
        &self,
        lease: &Lease,
        asked: DefectId,
        open: &[DefectId],
        now: Timestamp,
    ) -> Result<bool, StoreError>;
    /// Returns defects with steps that are due, the longest overdue first. Leaves out defects that
    /// this process has open.
    async fn due_follow_ups(
        &self,
        now: Timestamp,
        open: Vec<DefectId>,
        limits: DueLimits,
    ) -> Result<Vec<DueDefect>, StoreError>;
    /// Takes a lease on a defect and returns its steps that are due, in their order. `None` if none
    /// is due or another holder has the lease. Durable.
    async fn claim_follow_ups(
        &self,
        id: DefectId,
        now: Timestamp,
        lease_until: Timestamp,
        run_ms: u64,
    ) -> Result<Option<DueFollowUps>, StoreError>;
    /// Stores that a write of a step is about to be sent, and renews the lease. Durable. `Fenced`
    /// if the lease was lost or has ended.
    async fn mark_follow_up(
        &self,
        lease: &Lease,
        step: &FollowUp,
        has_marker: bool,
        lease_until: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Undoes the last `mark_follow_up`. Call it only if no byte of that write was sent. Lazy.
    async fn unmark_follow_up(&self, lease: &Lease, step: &FollowUp) -> Result<(), StoreError>;
    /// Stores the result of one attempt at a step; the lease stays. Durable. `Fenced` if it was
    /// lost.
    async fn end_follow_up(
        &self,
        lease: &Lease,
        step: &FollowUp,
        end: FollowUpEnd,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Returns the newest comments of a connection, at most three. A search for a comment must find
    /// them to prove that it works.
    async fn comment_controls(&self, id: ConnectionId) -> Result<Vec<ControlDefect>, StoreError>;
    /// Carries out a person's decision, adds the steps that follow, and records who decided and
    /// when. Durable. `Conflict` if the row's state does not allow the decision.
    async fn decide(
        &self,
        id: DefectId,
        decision: &Decision,
        steps: &[FollowUpStep],
        by: &str,
        now: Timestamp,
        run_ms: u64,
    ) -> Result<DefectRecord, StoreError>;
    /// Returns one defect.
    async fn defect(&self, id: DefectId) -> Result<Option<DefectRecord>, StoreError>;
    /// Returns the defects that meet the conditions, newest first.
    async fn defects(&self, filter: &DefectFilter) -> Result<Vec<DefectRecord>, StoreError>;

    /// Counts the defects in doubt, and those that only a person can resolve. A connection without
    /// any may be missing.
    async fn count_doubts(&self) -> Result<Vec<DoubtCounts>, StoreError>;

    /// Stores an event, and its connection's last success or error. Lazy: returns at once. If the
    /// queue is full, the event is dropped.
    fn record_event(&self, event: Event);
    /// Stores steps of an event. Lazy, as `record_event`.
    fn record_timed_steps(&self, event: EventId, steps: TimedSteps);
    /// Stores a run of an event. Lazy, as `record_event`.
    fn record_run(&self, event: EventId, run: RunReport);
    /// Returns when everything that was recorded before this call can be read.
    async fn flush(&self) -> Result<(), StoreError>;
    /// Returns the events that meet the conditions, newest first. An event that cannot be read is
    /// logged and left out.
    async fn events(&self, filter: &EventFilter) -> Result<Vec<Event>, StoreError>;
    /// Counts the events of the last hour and day.
    async fn recent_events(&self, now: Timestamp) -> Result<RecentEvents, StoreError>;
    /// Returns what the newest runs of these connections used of their limits: of at most 2,000
    /// events, or 20 of each connection. `None` if none of them has a run.
    async fn recent_usage(
        &self,
        connections: Vec<ConnectionId>,
    ) -> Result<Option<RecentUsage>, StoreError>;
    /// Returns one event with everything that it caused.
    async fn event(&self, id: EventId) -> Result<Option<WholeEvent>, StoreError>;
    /// Sets until when the bodies of a connection are recorded; `None`: they are not recorded. With
    /// `erase`, deletes the recordings of the connection. Durable.
    async fn record_until(
        &self,
        id: ConnectionId,
        until: Option<Timestamp>,
        erase: bool,
    ) -> Result<(), StoreError>;
    /// Returns the recorded runs of an event, in the order in which they ran.
    async fn recording(&self, event: EventId) -> Result<Vec<RecordedRun>, StoreError>;
    /// Deletes the events that exceed the retention, and the remaining rows of deleted connections,
    /// in small steps. Lazy.
    async fn prune(&self, retention: Retention) -> Result<(), StoreError>;

    /// Stores the counts of a project. Lazy, as `record_event`.
    fn record_counts(&self, id: ConnectionId, project: &str, counts: CachedCounts);
    /// Asks for the right to count a project, so that of the servers that share the store one asks
    /// the tracker at a time. Lazy. A claim that the caller no longer waits for may still be
    /// granted: give it back.
    async fn claim_counts(
        &self,
        lease: &CountsLease,
        claim: CountsClaim,
    ) -> Result<CountsClaimed, StoreError>;
    /// Extends the right, unless it was lost. Lazy.
    async fn renew_counts(&self, lease: &CountsLease, until: Timestamp) -> Result<(), StoreError>;
    /// Gives the right back, and stores what was counted. Does nothing and returns false if it was
    /// lost or never granted: an edit of the connection ends it too. Lazy.
    async fn end_counts(
        &self,
        lease: &CountsLease,
        counted: Option<CachedCounts>,
    ) -> Result<bool, StoreError>;
    /// Returns the last stored counts of a project. At most 100 projects are stored for each
    /// connection.
    async fn cached_counts(
        &self,
        id: ConnectionId,
        project: &str,
    ) -> Result<Option<CachedCounts>, StoreError>;
    /// Returns the project of the newest stored counts.
    async fn last_counted_project(&self, id: ConnectionId) -> Result<Option<String>, StoreError>;

    /// Returns how many changes, and how many parts of the history, wait to be stored now.
    fn queue_lengths(&self) -> QueueLengths;
    /// Checks whether a durable write succeeds now; the error says what is wrong.
    async fn ready(&self) -> Result<(), StoreError>;
    /// Writes the queued changes, then closes. No method may be called afterwards.
    async fn close(&self);
}
