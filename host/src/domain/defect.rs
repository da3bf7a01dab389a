//! The defect of a failed test: the states of its row, the lease on the row, the results of runs
//! and searches, and the decisions of people. This file never reads or changes a row.

use std::fmt;

use jiff::Timestamp;
use uuid::Uuid;

use super::{
    ConnectionId, Doubt, EventId, FailedTest, FollowUpRecord, Marker, Origin, OutcomeCode,
    Recurrence, Refusal, WriteClass, string_enum,
};

/// A defect in the tracker, as the connector returned it or a person adopted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defect {
    /// The key of the defect in the tracker, such as `QA-17`.
    pub key: String,
    /// The title of the record in the tracker.
    pub title: String,
    /// Absolute http(s) address that a person can open.
    pub link: String,
    /// The tracker's own word for the state of the defect.
    pub status: Option<String>,
    /// The tracker's own word for the priority of the defect.
    pub priority: Option<String>,
    /// The description in the tracker, if the connector returned one.
    pub description: Option<String>,
}

/// The current state of a defect in the tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentDefect {
    /// The defect with its current key and link, which may differ from the stored key and link.
    pub defect: Defect,
    /// Whether people still have to work on the defect: it is not closed, resolved or rejected.
    pub is_open: bool,
}

/// The id of a defect's row in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DefectId(pub Uuid);

impl Defect {
    /// Maximum length of a key, bytes.
    pub const KEY_BYTES_MAX: usize = 255;
}

impl fmt::Display for DefectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

string_enum! {
    /// The state of a defect's row.
    pub enum DefectState {
        /// An event has claimed the row to create the defect, and has sent no write since.
        Intent = "intent",
        /// The last run may have sent a write, and the outcome of that run is not stored yet.
        Sent = "sent",
        /// The row contains the defect.
        Created = "created",
        /// The last run ended without a known defect. The next Create Defect request may create
        /// one.
        Failed = "failed",
        /// A write was or may have been sent, and its outcome is unknown.
        InDoubt = "in-doubt",
    }
}

string_enum! {
    /// A person's decision that allows another create, although a write may have created a defect.
    pub enum DecidedDoubt {
        /// The next click does not wait for `create.in_doubt_s`: it creates the defect if a search
        /// after the index delay finds none. If no search is possible, it creates the defect at
        /// once.
        Retry = "retry",
        /// The person states that the tracker does not have the defect. The next click does the
        /// same as after [`Self::Retry`], and also creates the defect if its search fails for a
        /// reason that is not temporary.
        GiveUp = "give-up",
    }
}

/// The right to change one row. If the row has a newer fence, the store accepts nothing under this
/// lease except a known defect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The row that the lease protects.
    pub defect: DefectId,
    /// The fencing token, which grows with every lease of the row.
    pub fence: i64,
    /// The time at which the lease ends, unless it is renewed before.
    pub until: Timestamp,
}

/// The result of a claim: an event has asked for the lease on a failed test's row.
#[derive(Debug, Clone, PartialEq)]
pub enum Claimed {
    /// The caller may run `create`: the row is in `intent` under this lease.
    Create {
        /// The lease under which the run changes the row.
        lease: Lease,
        /// The search word that the connector stores in the tracker's record.
        marker: Marker,
        /// The generation of the row.
        generation: u32,
    },
    /// A write was or may have been sent. The caller must search first, and may create a defect
    /// only if the rules of [`Doubt`] allow it.
    Search(Box<DoubtfulDefect>),
    /// The row already contains the defect, so no run is needed.
    Created {
        /// The row that stores the defect.
        id: DefectId,
        /// The stored defect, which the caller returns in its answer.
        defect: Defect,
    },
    /// The test case failed before, and the store has the defect of that failure.
    Recurs(Box<Recurrence>),
    /// The caller must wait, because the defect of another failure of the same test case is being
    /// created or is in doubt. The id is that of the other failure's row.
    WaitsForFirst(DefectId),
    /// Another event has leased the row.
    Busy {
        /// The leased row.
        defect: DefectId,
        /// The fence of the other event's lease: `awaited_fence` of the caller's next claim.
        fence: i64,
    },
    /// The run that the caller waited for ended without a defect.
    Ended {
        /// The outcome of that run.
        code: OutcomeCode,
        /// The detail of that outcome, for people.
        detail: String,
    },
}

/// A row for which writes were or may have been sent, leased for a search.
#[derive(Debug, Clone, PartialEq)]
pub struct DoubtfulDefect {
    /// The lease under which the search changes the row.
    pub lease: Lease,
    /// The search word that the tracker's record should contain.
    pub marker: Marker,
    /// The facts about the row's writes.
    pub doubt: Doubt,
    /// The settings and connector of the last run that sent a write, if they are stored.
    pub snapshot: Option<ConnectionSnapshot>,
    /// Explains to a person why the defect is in doubt.
    pub reason: String,
    /// The key of the defect, if the row is in `created`. The search then only looks for a second
    /// record.
    pub created: Option<String>,
    /// How often a background search has claimed the row since its last run ended.
    pub searches: u32,
}

impl DoubtfulDefect {
    /// Returns the reason of the doubt, followed by `why`, a later finding.
    #[must_use]
    pub fn reason_with(&self, why: &impl fmt::Display) -> String {
        if self.reason.is_empty() { why.to_string() } else { format!("{}; {why}", self.reason) }
    }
}

/// The state of the connection during a run of `create`, or when a person adopted the defect.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionSnapshot {
    /// The settings of the connection, as JSON text.
    pub settings: String,
    /// The origins that were granted to the connection.
    pub origins: Vec<Origin>,
    /// SHA-256 of the connector's file, hex; empty if a person adopted the defect.
    pub connector_sha256: String,
}

/// The result of a run or a search.
#[derive(Debug, Clone, PartialEq)]
pub enum RowEnd {
    /// This run created this defect.
    Created(Defect),
    /// A search found this defect by its marker.
    Found(Defect),
    /// The failed test gets the defect of an earlier failure of the same test case.
    Recurs {
        /// The defect in its current state in the tracker.
        defect: Defect,
        /// The row of the first failure, which stores the original defect.
        original: DefectId,
    },
    /// The run created no defect, or it is not certain that the run created one.
    NotCreated(NotCreated),
}

/// The end of a run without a confirmed defect.
#[derive(Debug, Clone, PartialEq)]
pub struct NotCreated {
    /// Explains why the run has no confirmed defect.
    pub refusal: Refusal,
    /// The writes of the run; absent if none was sent.
    pub sent: Option<SentWrites>,
}

impl NotCreated {
    /// Makes the end of a run that sent no write, or that was not started.
    #[must_use]
    pub fn nothing_sent(refusal: Refusal) -> Self {
        Self { refusal, sent: None }
    }

    /// Whether the tracker may have the defect: at least one write was sent that the tracker did
    /// not refuse.
    #[must_use]
    pub fn may_exist(&self) -> bool {
        self.sent.as_ref().is_some_and(|sent| sent.class != WriteClass::Refused)
    }

    /// Returns the state of the row after this run, and the class that the row then stores: the
    /// worst class of all writes of its generation. `earlier` is the class that the row had before.
    #[must_use]
    pub fn state_after(&self, earlier: Option<WriteClass>) -> (DefectState, Option<WriteClass>) {
        let class = earlier.max(self.sent.as_ref().map(|sent| sent.class));
        let is_in_doubt = self.sent.is_some() && class > Some(WriteClass::Refused);
        let state = if is_in_doubt { DefectState::InDoubt } else { DefectState::Failed };
        (state, class)
    }

    /// Returns the refusal that the tester sees. If the defect may exist, the refusal also
    /// describes the write.
    #[must_use]
    pub fn into_refusal(self) -> Refusal {
        let may_exist = self.may_exist();
        match self.sent {
            Some(sent) if may_exist => {
                Refusal::AfterWrite { refusal: Box::new(self.refusal), write: sent.reason }
            }
            _ => self.refusal,
        }
    }
}

/// A summary of the writes that a run sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentWrites {
    /// The class of the worst write, in the order of [`WriteClass`].
    pub class: WriteClass,
    /// Whether the tracker answered one of the writes with 403.
    pub forbidden: bool,
    /// The time when the last write ended.
    pub ended_at: Timestamp,
    /// The result of the worst write, as a text for people.
    pub reason: String,
}

/// The result of a search that stores no defect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchEnd {
    /// The doubt has ended. The next Create Defect request may create the defect.
    DoubtEnded,
    /// A person must resolve the doubt, for this reason.
    NeedsPerson(String),
    /// The search failed for this reason, and a person should resolve the doubt. The time of the
    /// next background search does not change.
    Failed(String),
    /// The background search tries again at this instant; `None`: never.
    SearchAt(Option<Timestamp>),
    /// The background search tries again at this instant or earlier.
    SearchBy(Timestamp),
}

/// A person's decision about a defect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The tracker has this defect. Allowed if the row is in doubt or failed.
    Adopt(Defect),
    /// For a row in doubt, or a failed row that needs a person: see [`DecidedDoubt::Retry`].
    Retry,
    /// For the rows of [`Self::Retry`]: see [`DecidedDoubt::GiveUp`].
    GiveUp,
    /// For a row that is created or failed: the next click creates another defect.
    Release,
}

impl Decision {
    /// The name of the decision in SQL, JSON and CLI.
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

/// A defect's row, as the API and the CLI show it.
#[derive(Debug, Clone, PartialEq)]
pub struct DefectRecord {
    /// The id of the row.
    pub id: DefectId,
    /// The connection at which the defect was requested.
    pub connection: ConnectionId,
    /// The failed test that the row belongs to.
    pub test: FailedTest,
    /// The generation of the row.
    pub generation: u32,
    /// The last stored state; a run may be in progress.
    pub state: DefectState,
    /// Whether a person released the row: see [`Decision::Release`].
    pub is_released: bool,
    /// The search word in the tracker's record or comment.
    pub marker: Marker,
    /// The defect in the tracker; absent while it is not known.
    pub defect: Option<Defect>,
    /// The row of the first failure, if the failed test is a recurrence.
    pub recurrence_of: Option<DefectId>,
    /// Explains why the row failed or is in doubt.
    pub reason: Option<String>,
    /// Number of writes that may have been sent in this generation.
    pub writes: u32,
    /// The class of the worst write; absent if no write was classified.
    pub class: Option<WriteClass>,
    /// The reason why a person should resolve the defect; absent if no person is needed.
    pub needs_person: Option<String>,
    /// A person's decision that the next create will carry out; `None`: no decision.
    pub decided: Option<DecidedDoubt>,
    /// The last event that stored an outcome in the row, or claimed the row for a request.
    pub event: Option<EventId>,
    /// The time when the last write was sent; absent if the last run sent none.
    pub sent_at: Option<Timestamp>,
    /// When the last write ended, or the latest time at which it may have ended; absent if unknown.
    pub write_ended_at: Option<Timestamp>,
    /// The time when the row was created.
    pub created_at: Timestamp,
    /// The time of the last change, such as a write, outcome, decision or claim by a request.
    pub updated_at: Timestamp,
    /// The end of the last lease, which may be in the past; absent if there is no lease.
    pub leased_until: Option<Timestamp>,
    /// The decisions of people (when, who, what), oldest first.
    pub decisions: Vec<(Timestamp, String, String)>,
    /// The follow-up steps of the defect, such as comments and attachments.
    pub follow_ups: Vec<FollowUpRecord>,
}
