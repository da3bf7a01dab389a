//! A failed test's defect: the states of its row, the lease under which it moves, and what a run comes to.

use std::fmt;

use jiff::Timestamp;
use uuid::Uuid;

use super::{
    ConnectionId, Doubt, EventId, FailedTest, Marker, Origin, OutcomeCode, Refusal, WriteClass,
    string_enum,
};

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
pub struct HolderId(pub Uuid);

string_enum! {
    /// The state of a defect's row. `intent → sent → created`, or to `failed` or `in-doubt`.
    pub enum DefectState {
        /// A run is about to start or has not written yet; running again is harmless.
        Intent = "intent",
        /// A write may have left.
        Sent = "sent",
        /// The defect is known.
        Created = "created",
        /// No defect is known: a click may create one. If a write left, it searches first.
        Failed = "failed",
        /// A write left and its outcome is unknown: a click may not create one yet.
        InDoubt = "in-doubt",
    }
}

string_enum! {
    /// What a person decided about a defect in doubt, until the next create.
    pub enum DecidedDoubt {
        /// The wait is over: create it if a search finds nothing.
        Retry = "retry",
        /// Its writes created nothing.
        GiveUp = "give-up",
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
    /// No write ever left: the caller may run `create`. The row is in `intent` under this lease.
    Create {
        /// The right to move the row.
        lease: Lease,
        /// What the connector stores in the tracker.
        marker: Marker,
        /// Counts from 1.
        generation: u32,
    },
    /// A write left: the caller runs `find` under this lease, and may create only as its result allows.
    Search(Box<DoubtfulDefect>),
    /// The defect is known.
    Created {
        /// Its row.
        id: DefectId,
        /// The defect.
        defect: Defect,
    },
    /// Another holder holds the row, with this fence.
    Busy {
        /// Give it to the next claim, which then returns the result of this holder.
        fence: i64,
    },
    /// The create that the caller waited for ended without a defect.
    Ended {
        /// Its outcome.
        code: OutcomeCode,
        /// Its detail.
        detail: String,
    },
}

/// A row of which writes left, leased for a search.
#[derive(Debug, Clone, PartialEq)]
pub struct DoubtfulDefect {
    /// The right to move the row.
    pub lease: Lease,
    /// What to search for.
    pub marker: Marker,
    /// What is known of its writes.
    pub doubt: Doubt,
    /// What the last run saw; absent in rows of earlier versions and after a restored database.
    pub seen: Option<SeenByRun>,
    /// Why the defect is in doubt, for a person.
    pub reason: String,
    /// In `created`: the key of the defect. The search only looks for a second record.
    pub created: Option<String>,
    /// Searches in the background so far.
    pub searches: u32,
}

impl DoubtfulDefect {
    /// Why the defect is in doubt, with what was found out since.
    #[must_use]
    pub fn because(&self, why: &impl fmt::Display) -> String {
        if self.reason.is_empty() { why.to_string() } else { format!("{}; {why}", self.reason) }
    }
}

/// What a run of `create` saw of its connection.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenByRun {
    /// The settings, as JSON.
    pub settings: String,
    /// The granted origins.
    pub origins: Vec<Origin>,
    /// The connector's hash.
    pub connector_sha256: String,
}

/// How the row of a finished run moves.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The defect is known: this run created it.
    Created(Defect),
    /// The defect is known: a search found it by its marker.
    Found(Defect),
    /// The run created no defect that is known.
    NotCreated {
        /// Why, in the connector's words.
        refusal: Refusal,
        /// What is known of its writes; absent if none left.
        left: Option<WritesLeft>,
    },
}

/// What the writes of one run leave behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WritesLeft {
    /// Of the worst.
    pub class: WriteClass,
    /// Whether one was answered 403.
    pub forbidden: bool,
    /// When the last ended.
    pub ended_at: Timestamp,
    /// What the worst was answered, for a person.
    pub reason: String,
}

/// What a search that found nothing, or failed, leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchEnd {
    /// It counts: a click may create the defect, after another search.
    Settled,
    /// No rule ends this doubt: a person has to resolve it, for this reason.
    NeedsPerson(String),
    /// The background search tries again then, or never.
    SearchAt(Option<Timestamp>),
    /// The background search tries again then at the latest.
    SearchBy(Timestamp),
}

/// What a person decides about a defect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// In doubt or failed: this is the defect in the tracker.
    Adopt(Defect),
    /// In doubt: the wait is over. The next click searches, and creates it if it finds nothing.
    Retry,
    /// In doubt: nothing was created. The next click searches once more, then creates it.
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
    /// How many writes its generation let out.
    pub writes: u32,
    /// The class of the worst of them.
    pub class: Option<WriteClass>,
    /// Why only a person can resolve it; absent where a rule will.
    pub needs_person: Option<String>,
    /// What a person decided for the next click.
    pub decided: Option<DecidedDoubt>,
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
    /// The decisions of people: when, who, what; oldest first.
    pub decisions: Vec<(Timestamp, String, String)>,
}
