//! A failed test's defect: the states of its row, the lease under which it moves, and what a run comes to.

use std::fmt;

use jiff::Timestamp;
use uuid::Uuid;

use super::{ConnectionId, EventId, FailedTest, Marker, Refusal, words};

/// What the connector created in the tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defect {
    /// The tracker's own key.
    pub key: String,
    /// Its title.
    pub title: String,
    /// Absolute http(s) address that a person can open.
    pub link: String,
    /// The tracker's word for its state.
    pub status: Option<String>,
    /// The tracker's word for its priority.
    pub priority: Option<String>,
    /// Its text.
    pub description: Option<String>,
}

/// The id of a defect's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DefectId(pub Uuid);

impl Defect {
    /// Longest key, bytes.
    pub const KEY_BYTES_MAX: usize = 255;
}

impl fmt::Display for DefectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of a process of the host; a lease names its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunnerId(pub Uuid);

words! {
    /// The state of a defect's row. `intent → sent → created`, or to `failed` or `in-doubt`.
    pub enum DefectState {
        /// A run is about to start or has not written yet; running again is harmless.
        Intent = "intent",
        /// A write may have left.
        Sent = "sent",
        /// The defect is known.
        Created = "created",
        /// Provably nothing was created; a repeat runs again.
        Failed = "failed",
        /// A write left and its outcome is unknown; only `find` or a person moves the row on.
        InDoubt = "in-doubt",
    }
}

/// The right to move one row until `until`. Every move carries the fence; one with an older fence is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The row.
    pub defect: DefectId,
    /// Grows with every lease of the row.
    pub fence: i64,
    /// When the right ends unless renewed.
    pub until: Timestamp,
}

/// What a claim of a failed test came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Claimed {
    /// The caller may run `create`; the row is in `intent` under this lease.
    Create {
        /// The right to move the row.
        lease: Lease,
        /// What the connector stores in the tracker.
        marker: Marker,
        /// Counts from 1.
        generation: u32,
    },
    /// The row is in doubt; the caller may run `find` under this lease.
    Find {
        /// The right to move the row.
        lease: Lease,
        /// What to search for.
        marker: Marker,
        /// When the last write ended (after a crash: `sent` plus the run maximum).
        write_ended_at: Timestamp,
        /// Whether a person asked to create it where a search after the index delay finds nothing.
        retry: bool,
    },
    /// The defect is known.
    Created {
        /// Its row.
        id: DefectId,
        /// The defect.
        defect: Defect,
    },
    /// Another runner holds the row.
    Busy,
}

/// How the row of a finished run moves.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The defect is known: created by this run, or found by its marker.
    Created(Defect),
    /// Provably nothing was created.
    Failed(Refusal),
    /// A write left and its outcome is unknown.
    InDoubt {
        /// Why, for a person.
        reason: String,
        /// The end of the last write.
        write_ended_at: Timestamp,
    },
}

/// What a person decides about a defect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// In doubt: this is the defect in the tracker.
    Adopt(Defect),
    /// In doubt: search again and, where a search after the index delay finds nothing, create it (same
    /// generation).
    Retry,
    /// In doubt: nothing was created; the next click runs again.
    GiveUp,
    /// Created or failed: the next click creates another defect, once.
    Release,
}

impl Decision {
    /// The word in SQL, JSON and CLI.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Adopt(_) => "adopt",
            Self::Retry => "retry",
            Self::GiveUp => "give-up",
            Self::Release => "release",
        }
    }
}

/// A defect's row as people see it.
#[derive(Debug, Clone, PartialEq)]
pub struct DefectRecord {
    /// The row.
    pub id: DefectId,
    /// Its connection.
    pub connection: ConnectionId,
    /// What it is about.
    pub test: FailedTest,
    /// Counts from 1.
    pub generation: u32,
    /// Its state.
    pub state: DefectState,
    /// What the connector stored in the tracker.
    pub marker: Marker,
    /// The defect, once known.
    pub defect: Option<Defect>,
    /// Why it failed or is in doubt.
    pub reason: Option<String>,
    /// In doubt: whether a person asked to create it where the search finds nothing.
    pub retry: bool,
    /// The event that moved it last.
    pub event: Option<EventId>,
    /// When the last write was sent.
    pub sent_at: Option<Timestamp>,
    /// When the last write ended.
    pub write_ended_at: Option<Timestamp>,
    /// When it was claimed first.
    pub created_at: Timestamp,
    /// When it moved last.
    pub updated_at: Timestamp,
    /// Until when a run leases it; absent where none does.
    pub leased_until: Option<Timestamp>,
    /// What people decided: when, who, what; oldest first.
    pub decisions: Vec<(Timestamp, String, String)>,
}
