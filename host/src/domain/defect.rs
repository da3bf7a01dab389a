//! A failed test's defect: its row's states, the lease under which it moves, and what ends a run.

use std::fmt;

use jiff::Timestamp;
use uuid::Uuid;

use super::{ConnectionId, EventId, FailedTest, Marker, Refusal};

/// What the connector made in the tracker.
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

/// Names a defect's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DefectId(pub Uuid);

impl fmt::Display for DefectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One process of the host; a lease names the runner that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunnerId(pub Uuid);

/// Where a defect's row stands. `intent → sent → created`, or to `failed` or `in-doubt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DefectState {
    /// A run is about to start or has not written yet; running again is harmless.
    Intent,
    /// A write may have left.
    Sent,
    /// The defect is known.
    Created,
    /// Provably nothing was made; a repeat runs again.
    Failed,
    /// A write left and nobody knows what came of it; only `find` or a person moves it on.
    InDoubt,
}

impl DefectState {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Intent, Self::Sent, Self::Created, Self::Failed, Self::InDoubt];

    /// The word in SQL, JSON, CLI and console.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Sent => "sent",
            Self::Created => "created",
            Self::Failed => "failed",
            Self::InDoubt => "in-doubt",
        }
    }

    /// The state of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// The right to move one row until `until`. Every move carries the fence; an older one is refused.
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
        /// What the connector writes into the tracker.
        marker: Marker,
        /// Counts from 1.
        generation: u32,
    },
    /// The row is in doubt; the caller may run `find` under this lease.
    Find {
        /// The right to move the row.
        lease: Lease,
        /// What to look for.
        marker: Marker,
        /// When the last write ended (after a crash: `sent` plus the run maximum).
        write_ended_at: Timestamp,
        /// Whether a person asked to create it where `find`, once the settle time is over, finds nothing.
        retry: bool,
    },
    /// The defect is known.
    Created {
        /// Its row.
        id: DefectId,
        /// The defect.
        defect: Defect,
    },
    /// Somebody else holds the row until then.
    Busy {
        /// The end of the other's lease.
        until: Timestamp,
    },
}

/// What a finished run makes of its row.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The defect is known: made by this run, or found by its marker.
    Created(Defect),
    /// Provably nothing was made.
    Failed(Refusal),
    /// A write left and its outcome is unknown.
    InDoubt {
        /// Why, for a person.
        reason: String,
        /// The end of the last write.
        write_ended_at: Timestamp,
    },
    /// Leave the row as it is and give the lease back (a `find` that failed or found nothing).
    Unchanged,
}

/// What a person decides about a defect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// In doubt: this is the defect in the tracker.
    Adopt(Defect),
    /// In doubt: look once more and, where nothing is found once the settle time is over, create it (same
    /// generation).
    Retry,
    /// In doubt: nothing was made; the next click runs again.
    GiveUp,
    /// Created or failed: the next click makes another defect, once.
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
    /// Whose.
    pub connection: ConnectionId,
    /// What it is about.
    pub test: FailedTest,
    /// Counts from 1.
    pub generation: u32,
    /// Where it stands.
    pub state: DefectState,
    /// What the connector wrote into the tracker.
    pub marker: Marker,
    /// The defect, once known.
    pub defect: Option<Defect>,
    /// Why it failed or is in doubt.
    pub reason: Option<String>,
    /// In doubt: whether a person asked to create it where nothing is found.
    pub retry: bool,
    /// The event that moved it last.
    pub event: Option<EventId>,
    /// When the last write was let out.
    pub sent_at: Option<Timestamp>,
    /// When the last write ended.
    pub write_ended_at: Option<Timestamp>,
    /// When the claim was first made.
    pub created_at: Timestamp,
    /// When it moved last.
    pub updated_at: Timestamp,
    /// Who holds it until when, if anybody.
    pub leased_until: Option<Timestamp>,
    /// What people decided: when, who, what; oldest first.
    pub decisions: Vec<(Timestamp, String, String)>,
}
