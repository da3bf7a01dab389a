//! The moments of a create at which a test causes a fault.

/// A moment, relative to the write that creates the issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Before the write, while the guest reads from the tracker.
    BeforeWrite,
    /// After the server sent the write, before the tracker receives it.
    WriteInFlight,
    /// After the tracker created the issue, before the server receives the answer.
    AnswerInFlight,
    /// At any moment.
    Any,
}

impl Moment {
    /// All moments.
    pub const ALL: [Self; 4] =
        [Self::BeforeWrite, Self::WriteInFlight, Self::AnswerInFlight, Self::Any];
}
