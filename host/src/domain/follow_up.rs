//! The follow-up steps of a created defect: opening it again, comments and attachments. This file
//! never decides when a step is due.

use jiff::Timestamp;

use super::{
    ConnectionSnapshot, Defect, DefectId, Doubt, FailedTest, Lease, Marker, SentWrites, WriteClass,
    string_enum,
};

string_enum! {
    /// The policy for a test case that fails again after its defect was created.
    pub enum OnRecurrence {
        /// Each failure of the test case gets its own defect.
        New = "new",
        /// An open defect gets a comment. If the defect is closed, a new defect is created.
        Comment = "comment",
        /// The defect gets a comment. A closed defect is opened again first.
        Reopen = "reopen",
    }
}

string_enum! {
    /// The kind of a follow-up step. The steps of a defect are run in this order.
    pub enum FollowUpKind {
        /// Opens a closed defect again.
        Reopen = "reopen",
        /// Adds a comment which states that the test failed again.
        Comment = "comment",
        /// Finds out which attachments of the report are missing at the defect.
        ListAttachments = "list-attachments",
        /// Adds one attachment.
        Attach = "attach",
    }
}

string_enum! {
    /// The progress of a follow-up step.
    pub enum FollowUpState {
        /// The host has not done the step yet.
        Due = "due",
        /// A write may have been sent, and its outcome is not stored.
        Sent = "sent",
        /// The step is complete.
        Done = "done",
        /// The host does not try the step again.
        GivenUp = "given-up",
    }
}

/// What the store contains about a test case that failed again and already has a defect.
#[derive(Debug, Clone, PartialEq)]
pub struct Recurrence {
    /// The lease on the row of the new failure.
    pub lease: Lease,
    /// The search word for the new comment, or for the new defect if one is created.
    pub marker: Marker,
    /// The row of the first failure, which stores the original defect.
    pub original: DefectId,
    /// The latest defect of the test case: the defect whose row changed last.
    pub defect: Defect,
    /// The row that stores `defect`.
    pub latest: DefectId,
    /// The settings and origins of the connection when the original defect was created or adopted;
    /// `None` if they are not stored.
    pub snapshot: Option<ConnectionSnapshot>,
}

/// A follow-up step that is due.
#[derive(Debug, Clone, PartialEq)]
pub struct FollowUp {
    /// The kind of work to do.
    pub kind: FollowUpKind,
    /// The name of the attachment; empty for the other steps.
    pub name: String,
    /// The known facts about the writes of earlier attempts; `None` if no write can have been sent.
    pub doubt: Option<Doubt>,
    /// Number of attempts, including the current attempt.
    pub tries: u32,
}

/// The due follow-up steps of one defect, and the lease under which they run.
#[derive(Debug, Clone, PartialEq)]
pub struct DueFollowUps {
    /// The lease on the defect's row.
    pub lease: Lease,
    /// The failed test that the row belongs to.
    pub test: FailedTest,
    /// The search word for a new comment.
    pub marker: Marker,
    /// The key of the defect in the tracker.
    pub key: String,
    /// The settings and origins of the connection when the original defect was created or adopted;
    /// `None` if they are not stored.
    pub snapshot: Option<ConnectionSnapshot>,
    /// The due steps, in the order in which they are done; never empty.
    pub steps: Vec<FollowUp>,
}

/// The result of one attempt to run a follow-up step.
#[derive(Debug, Clone, PartialEq)]
pub enum FollowUpEnd {
    /// The step is complete.
    Done,
    /// The attachments with these names are missing at the defect.
    Missing(Vec<String>),
    /// The host does not try the step again, for this reason.
    GivenUp(String),
    /// The host tries the step again.
    Again {
        /// The writes that this attempt sent; absent if no write was sent.
        sent: Option<SentWrites>,
        /// The instant of the next attempt; `None`: after a wait that grows with the number of
        /// attempts.
        at: Option<Timestamp>,
        /// Explains to a person why the step is not complete.
        reason: String,
    },
}

/// A follow-up step, as the API and the CLI show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowUpRecord {
    /// The kind of work, for example a comment.
    pub kind: FollowUpKind,
    /// The name of the attachment; empty for the other steps.
    pub name: String,
    /// The progress of the step.
    pub state: FollowUpState,
    /// Number of attempts so far.
    pub tries: u32,
    /// Number of writes that may have been sent.
    pub writes: u32,
    /// The class of the worst write; absent if no write was classified.
    pub class: Option<WriteClass>,
    /// Explains why the step is not done; absent if the step is done or was not tried yet.
    pub reason: Option<String>,
    /// The instant of the next attempt; absent if there will be no further attempt.
    pub next_at: Option<Timestamp>,
}
