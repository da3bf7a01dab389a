//! What is kept: connections, defects, events, counts. The only room with SQL.
//!
//! Knows no connector, no HTTP and no clock: instants arrive as arguments. A move that guards a
//! write is durable when its call returns; everything marked *lazy* may be lost by a power cut.

mod sqlite;

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::{
    Claimed, Connection, ConnectionId, Counts, Decision, Defect, DefectId, DefectRecord,
    DefectState, Event, EventId, EventKind, FailedTest, Lease, RunReport, RunnerId, Verdict,
};
use crate::secret::{Sealed, TokenHash};

pub use self::sqlite::SqliteStore;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing by that name.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// It stands in the way of something that exists; says what and what to do.
    #[error("{0}")]
    Conflict(String),
    /// The lease was lost: another claimant holds the row, or the row is gone.
    #[error("the lease on this defect was lost")]
    Fenced,
    /// The file or the server cannot be used; says which and how to mend it.
    #[error("{0}")]
    Unusable(String),
    /// The database failed.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

/// A connection with what only the host may see.
#[derive(Debug, Clone)]
pub struct StoredConnection {
    /// What everybody may see.
    pub connection: Connection,
    /// Secrets by name, sealed.
    pub secrets: BTreeMap<String, Sealed>,
    /// Webhook tokens that are still good.
    pub tokens: Vec<StoredToken>,
}

/// A webhook token as the store knows it.
#[derive(Debug, Clone)]
pub struct StoredToken {
    /// Its hash; the token itself is nowhere.
    pub hash: TokenHash,
    /// When it stops working; absent: never.
    pub expires_at: Option<Timestamp>,
}

/// A claim of one failed test.
#[derive(Debug, Clone)]
pub struct Claim<'a> {
    /// Whose.
    pub connection: ConnectionId,
    /// What.
    pub test: &'a FailedTest,
    /// The event that asks.
    pub event: EventId,
    /// Who asks.
    pub runner: RunnerId,
    /// When.
    pub now: Timestamp,
    /// Until when a granted lease lasts.
    pub lease_until: Timestamp,
    /// The run maximum, milliseconds: after a crash, doubt is counted from `sent` plus this.
    pub run_ms: u64,
}

/// Which events to list.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// From this instant on.
    pub since: Option<Timestamp>,
    /// Before this instant.
    pub until: Option<Timestamp>,
    /// Of this connection.
    pub connection: Option<ConnectionId>,
    /// Of this kind.
    pub kind: Option<EventKind>,
    /// With this outcome word.
    pub outcome: Option<String>,
    /// Only those older than this one: the cursor.
    pub before: Option<EventId>,
    /// At most so many; newest first.
    pub limit: u32,
}

/// Which defects to list.
#[derive(Debug, Clone, Default)]
pub struct DefectFilter {
    /// In this state.
    pub state: Option<DefectState>,
    /// Of this connection.
    pub connection: Option<ConnectionId>,
    /// Only those older than this one: the cursor.
    pub before: Option<DefectId>,
    /// At most so many; newest first.
    pub limit: u32,
}

/// How long events are kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Events before this instant go.
    pub events_since: Timestamp,
    /// At most so many events stay.
    pub events_max: u64,
    /// At most so many requests that reached no connection stay.
    pub no_connection_max: u64,
}

/// The last counts that a project was known to have.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownCounts {
    /// The counts.
    pub counts: Counts,
    /// When the tracker gave them.
    pub counted_at: Timestamp,
}

/// Everything that is kept. Implementations differ in how, never in what: one suite runs on all.
#[async_trait]
pub trait Store: Send + Sync {
    /// Voids the leases of dead processes, at start, by the one process that holds the data folder:
    /// an `intent` may be claimed at once, a `sent` is in doubt, its write counted as ended `run_ms`
    /// after it was let out. Events that were running are interrupted. Durable.
    async fn recover(&self, now: Timestamp, run_ms: u64) -> Result<(), StoreError>;

    /// All connections.
    async fn connections(&self) -> Result<Vec<StoredConnection>, StoreError>;
    /// Adds one. `Conflict` where the name is taken.
    async fn create_connection(&self, new: &StoredConnection) -> Result<(), StoreError>;
    /// Replaces one's editable columns and secrets (not its tokens, successes and errors). `Conflict`
    /// where an origin goes while creates run or are in doubt, unless forced.
    async fn update_connection(
        &self,
        edited: &StoredConnection,
        force: bool,
    ) -> Result<(), StoreError>;
    /// Remembers the version that serves one from now on.
    async fn accept_version(&self, id: ConnectionId, sha256: &str) -> Result<(), StoreError>;
    /// Removes one with its events, defects and counts. `Conflict` where creates run or are in
    /// doubt, unless forced.
    async fn delete_connection(&self, id: ConnectionId, force: bool) -> Result<(), StoreError>;
    /// Adds a token (and its tail); older ones stop at `grace_until`.
    async fn rotate_token(
        &self,
        id: ConnectionId,
        token: &StoredToken,
        tail: &str,
        grace_until: Timestamp,
    ) -> Result<(), StoreError>;

    /// The defect of a failed test, where it is known: what answers a repeat. Only reads.
    async fn known_defect(
        &self,
        connection: ConnectionId,
        test: &FailedTest,
    ) -> Result<Option<(DefectId, Defect)>, StoreError>;
    /// Claims a failed test in one transaction: creates its row in `intent`, or takes over a row
    /// whose lease ended, or says what stands there. Durable.
    async fn claim(&self, claim: Claim<'_>) -> Result<Claimed, StoreError>;
    /// Takes a lease to look for a defect in doubt (the sweep); `None` where it is not in doubt any
    /// more or somebody holds it. Of the same meaning as `Claimed::Find` and never anything else.
    async fn claim_doubtful(
        &self,
        id: DefectId,
        runner: RunnerId,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Option<Claimed>, StoreError>;
    /// Rows in doubt that nobody holds and that are due for a look, oldest look first. Rows in
    /// `sent` whose lease ended are moved to `in-doubt` on the way. Durable.
    async fn due_doubts(
        &self,
        now: Timestamp,
        run_ms: u64,
        limit: u32,
    ) -> Result<Vec<DefectRecord>, StoreError>;
    /// Moves a row in doubt back to `intent`: a person asked for it, and nothing was found once the settle
    /// time was over. Durable. `Fenced` where the lease was lost or nobody asked.
    async fn create_after_all(&self, lease: &Lease, now: Timestamp) -> Result<(), StoreError>;
    /// Prolongs a lease. `Fenced` where it was lost.
    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<(), StoreError>;
    /// Moves a row to `sent`. Durable. `Fenced` where the lease was lost.
    async fn sent(&self, lease: &Lease, now: Timestamp) -> Result<(), StoreError>;
    /// Takes the last `sent` back: that write provably never left.
    async fn unsent(&self, lease: &Lease, now: Timestamp) -> Result<(), StoreError>;
    /// Ends a run: moves the row as the verdict says and gives the lease back. Durable.
    async fn settle(
        &self,
        lease: &Lease,
        verdict: &Verdict,
        event: EventId,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Does what a person decided. Durable; recorded with who and when. `Conflict` where the row's
    /// state does not allow it.
    async fn decide(
        &self,
        id: DefectId,
        decision: &Decision,
        by: &str,
        now: Timestamp,
    ) -> Result<DefectRecord, StoreError>;
    /// One defect.
    async fn defect(&self, id: DefectId) -> Result<Option<DefectRecord>, StoreError>;
    /// Defects, newest first.
    async fn defects(&self, filter: &DefectFilter) -> Result<Vec<DefectRecord>, StoreError>;

    /// Keeps an event, and its connection's last success or error. Lazy: returns at once, drops
    /// the event (and counts the drop) where the queue is full.
    fn record_event(&self, event: Event);
    /// Keeps a run beside its event. Lazy.
    fn record_run(&self, event: EventId, run: RunReport);
    /// Returns when everything recorded before this call can be read.
    async fn flush(&self) -> Result<(), StoreError>;
    /// Events, newest first.
    async fn events(&self, filter: &EventFilter) -> Result<Vec<Event>, StoreError>;
    /// One event with the runs it caused, in their order.
    async fn event(&self, id: EventId) -> Result<Option<(Event, Vec<RunReport>)>, StoreError>;
    /// Forgets what the retention lets go.
    async fn prune(&self, retention: Retention) -> Result<(), StoreError>;

    /// Remembers counts. Lazy.
    fn record_counts(&self, id: ConnectionId, project: &str, known: KnownCounts);
    /// The last known counts, at most 100 projects a connection.
    async fn known_counts(
        &self,
        id: ConnectionId,
        project: &str,
    ) -> Result<Option<KnownCounts>, StoreError>;

    /// Whether a durable write succeeds now; says what is wrong.
    async fn ready(&self) -> Result<(), StoreError>;
    /// Writes what is queued, then closes. Nothing may be called afterwards.
    async fn close(&self);
}
