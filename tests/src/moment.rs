//! The moments of a create at which a test lets something fail.

/// A moment, relative to the write that creates the issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// While the guest still reads.
    BeforeWrite,
    /// After the write left, before the tracker receives it.
    WriteInFlight,
    /// After the tracker created the issue, before its answer arrives.
    AnswerInFlight,
    /// At any moment.
    Any,
}

impl Moment {
    /// All moments.
    pub const ALL: [Self; 4] =
        [Self::BeforeWrite, Self::WriteInFlight, Self::AnswerInFlight, Self::Any];
}
