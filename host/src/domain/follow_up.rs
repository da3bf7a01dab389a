//! What the host does with a defect after it was created: it comments when the same test fails
//! again, and adds attachments that are still missing.

use jiff::Timestamp;

use super::{
    ConnectionSnapshot, Defect, DefectId, Doubt, FailedTest, Lease, Marker, SentWrites, WriteClass,
    string_enum,
};

string_enum! {
    /// What happens if a test case fails again while its defect is open.
    pub enum OnRecurrence {
        /// A new defect is created.
        New = "new",
        /// The open defect gets a comment. If it is closed, a new defect is created.
        Comment = "comment",
        /// The defect gets a comment. If it is closed, it is opened again first.
        Reopen = "reopen",
    }
}

string_enum! {
    /// One step of the work on a created defect. The steps of a defect are taken in this order.
    pub enum FollowUpStep {
        /// Opens a closed defect again.
        Reopen = "reopen",
        /// Adds a comment that says that the test failed again.
        Comment = "comment",
        /// Finds out which attachments of the report the defect does not have.
        ListAttachments = "list-attachments",
        /// Adds one attachment.
        Attach = "attach",
    }
}

string_enum! {
    /// The state of a step.
    pub enum FollowUpState {
        /// It is still to be done.
        Due = "due",
        /// A write may have been sent, and its outcome is not stored.
        Sent = "sent",
        /// It is done.
        Done = "done",
        /// It will not be tried again.
        GivenUp = "given-up",
    }
}

/// The defect of a test case that failed again, as the store knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Recurrence {
    /// The right to move the row of the test that failed again.
    pub lease: Lease,
    /// The marker of its comment, or of its defect if one is created.
    pub marker: Marker,
    /// The row of the first failure.
    pub original: DefectId,
    /// The defect that is known last.
    pub defect: Defect,
    /// The row of that defect.
    pub latest: DefectId,
    /// The connection as the run that created the defect saw it.
    pub seen: Option<ConnectionSnapshot>,
}

/// One step that is to be done.
#[derive(Debug, Clone, PartialEq)]
pub struct FollowUp {
    /// The step.
    pub step: FollowUpStep,
    /// The name of the attachment; empty for the other steps.
    pub name: String,
    /// What is known of the writes that were sent; `None` if none was.
    pub doubt: Option<Doubt>,
    /// How often the step was tried, with this time.
    pub tries: u32,
}

/// The steps of one defect that are due, leased.
#[derive(Debug, Clone, PartialEq)]
pub struct DueFollowUps {
    /// The right to change the steps.
    pub lease: Lease,
    /// The failed test of the row.
    pub test: FailedTest,
    /// The marker of a comment.
    pub marker: Marker,
    /// The key of the defect.
    pub key: String,
    /// The connection as the run that created the defect saw it.
    pub seen: Option<ConnectionSnapshot>,
    /// In their order; never empty.
    pub steps: Vec<FollowUp>,
}

/// The result of one try of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum FollowUpEnd {
    /// It is done.
    Done,
    /// The attachments with these names are missing; each becomes a step of its own.
    Missing(Vec<String>),
    /// It will not be tried again, for this reason.
    GivenUp(String),
    /// It is tried again.
    Again {
        /// What is known of the writes that this try sent.
        sent: Option<SentWrites>,
        /// When; absent: after a pause that grows with each try.
        at: Option<Timestamp>,
        /// Why, for a person.
        reason: String,
    },
}

/// One step, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowUpRecord {
    /// The step.
    pub step: FollowUpStep,
    /// The name of the attachment; empty for the other steps.
    pub name: String,
    /// The state.
    pub state: FollowUpState,
    /// How often it was tried.
    pub tries: u32,
    /// How many writes were sent.
    pub writes: u32,
    /// The class of the worst write.
    pub class: Option<WriteClass>,
    /// Why it is not done.
    pub reason: Option<String>,
    /// When it is tried next.
    pub next_at: Option<Timestamp>,
}
