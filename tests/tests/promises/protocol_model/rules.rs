//! The rules of the protocol. The checker can remove each rule alone. A "none" is a search that
//! found nothing.

/// A rule of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// `sent` is committed before a write leaves.
    SentBeforeWrite,
    /// A run whose lease was taken over can neither change the row nor mark a write as sent.
    Fence,
    /// A write leaves only while the lease is live that was checked when `sent` was committed.
    LeaseBeforeBytes,
    /// Once a write has left, each create begins with a search.
    SearchBeforeCreate,
    /// A search that failed does not count as a "none".
    FailedSearchProvesNothing,
    /// After an unclear write, only a "none" that began after the index delay counts.
    IndexDelay,
    /// After an open write, only a "none" that began after `in_doubt_s` and the index delay counts.
    InDoubtWait,
    /// The wait for the write of a lost run begins at the latest end of the run, not when the
    /// write was sent.
    EndOfLostRun,
    /// After a 201, only a person may allow another create.
    AcknowledgedNeedsPerson,
    /// A "none" counts only if the search finds another defect that was made the same way.
    PositiveControl,
    /// After a 403, a "none" counts only if there was a defect to test the search with.
    ForbiddenNeedsControl,
    /// After its write, a click only searches and does not write again.
    OneCreatePerClick,
    /// After a write that was not answered with 2xx, the run may not send another write.
    NoWriteAfterFailure,
    /// The worst class of all writes decides, not the class of the last one.
    WorstClassKept,
    /// If the first write lacks the marker, a "none" does not count.
    MarkerInFirstWrite,
    /// A search uses the settings that the write saw.
    PinnedSettings,
    /// The waits begin again when the host starts.
    WaitsBeginAtStart,
    /// The waits of rows in doubt begin again when the clock steps.
    WaitsBeginAfterStep,
    /// The waits of rows in `sent` begin again when the clock steps.
    StepRestartsSent,
    /// The waits of rows that a person gave up begin again when the clock steps.
    StepRestartsGivenUp,
    /// After the search, the host checks again whether the clock stepped, before a "none" counts.
    StepCheckedAfterSearch,
    /// A create also begins with a search after a person's decision.
    DecisionSearches,
    /// After a person's decision, too, only a "none" that began after the index delay counts.
    DecisionWaitsForIndex,
    /// This delay begins with the decision, because the record may have been created just
    /// before the decision.
    DelayFromDecision,
    /// A person cannot decide about a row while this process still works on it.
    NoDecisionDuringRun,
}

impl Rule {
    pub(super) const ALL: [Self; 25] = [
        Self::SentBeforeWrite,
        Self::Fence,
        Self::LeaseBeforeBytes,
        Self::SearchBeforeCreate,
        Self::FailedSearchProvesNothing,
        Self::IndexDelay,
        Self::InDoubtWait,
        Self::EndOfLostRun,
        Self::AcknowledgedNeedsPerson,
        Self::PositiveControl,
        Self::ForbiddenNeedsControl,
        Self::OneCreatePerClick,
        Self::NoWriteAfterFailure,
        Self::WorstClassKept,
        Self::MarkerInFirstWrite,
        Self::PinnedSettings,
        Self::WaitsBeginAtStart,
        Self::WaitsBeginAfterStep,
        Self::StepRestartsSent,
        Self::StepRestartsGivenUp,
        Self::StepCheckedAfterSearch,
        Self::DecisionSearches,
        Self::DecisionWaitsForIndex,
        Self::DelayFromDecision,
        Self::NoDecisionDuringRun,
    ];

    /// How many troubles are needed to break the promise without this rule.
    pub(super) fn troubles(self) -> u8 {
        match self {
            Self::StepRestartsGivenUp | Self::NoDecisionDuringRun => 2,
            _ => 1,
        }
    }
}
