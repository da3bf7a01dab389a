//! The moments at which a test causes a fault while a connector creates an issue.

/// A moment before, during or after the write that creates the issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Before the write, while the guest reads from the tracker.
    BeforeWrite,
    /// After the server sent the write, and before the tracker receives the write.
    WriteInFlight,
    /// After the tracker created the issue, and before the server receives the answer.
    AnswerInFlight,
    /// At any moment.
    Any,
}

impl Moment {
    /// All moments.
    pub const ALL: [Self; 4] =
        [Self::BeforeWrite, Self::WriteInFlight, Self::AnswerInFlight, Self::Any];
}
