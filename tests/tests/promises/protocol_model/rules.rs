//! The rules of the protocol. A model can be built without any single one of them. In this file, a
//! "none" is a search that found nothing.

/// A rule of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// The state `sent` is committed before a write is sent to the tracker.
    SentBeforeWrite,
    /// A run whose lease another runner took over can neither change the row nor mark a write as
    /// sent.
    Fence,
    /// A write is sent only while the lease that the commit of `sent` checked has not ended.
    LeaseBeforeBytes,
    /// Once a write was sent, each create begins with a search.
    SearchBeforeCreate,
    /// A search that failed does not count as a "none".
    FailedSearchProvesNothing,
    /// After a write of the class "unclear", only a "none" of a search that began after the index
    /// delay counts.
    IndexDelay,
    /// After a write of the class "open", only a "none" of a search that began after `in_doubt_s`
    /// and the index delay counts.
    InDoubtWait,
    /// After a run that was lost, the wait begins at the latest moment at which the run could have
    /// ended, not when its write was sent.
    EndOfLostRun,
    /// After a 201, only a person may allow another create.
    AcknowledgedNeedsPerson,
    /// A "none" counts only if the search finds another defect that was made the same way.
    PositiveControl,
    /// After a 403, a "none" counts only if there was a defect to test the search with.
    ForbiddenNeedsControl,
    /// After a click has sent a write, it only searches and does not create again.
    OneCreatePerClick,
    /// After a write that was not answered with 2xx, the run may not send another write.
    NoWriteAfterFailure,
    /// The worst class of all writes decides what may follow, not the class of the last write.
    WorstClassKept,
    /// If the first write lacks the marker, a "none" does not count.
    MarkerInFirstWrite,
    /// A search uses the settings that the run with the write had.
    PinnedSettings,
    /// The waits begin again when the host starts.
    WaitsBeginAtStart,
    /// The waits of rows in doubt begin again when the clock steps.
    WaitsBeginAfterStep,
    /// The waits of rows in `sent` begin again when the clock steps.
    StepRestartsWaitOfSent,
    /// The waits of rows that a person has given up begin again when the clock steps.
    StepRestartsWaitOfGivenUp,
    /// Before a "none" counts, the host checks again whether the clock has stepped during the
    /// search.
    StepCheckedAfterSearch,
    /// After a person's decision, too, a create begins with a search.
    DecisionSearches,
    /// After a person's decision, only a "none" of a search that began after the index delay
    /// counts.
    DecisionWaitsForIndex,
    /// The index delay after a decision begins with the decision, because the record may have been
    /// created just before it.
    DelayFromDecision,
    /// A person cannot decide about a row while the process that serves the request still works on
    /// it.
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
        Self::StepRestartsWaitOfSent,
        Self::StepRestartsWaitOfGivenUp,
        Self::StepCheckedAfterSearch,
        Self::DecisionSearches,
        Self::DecisionWaitsForIndex,
        Self::DelayFromDecision,
        Self::NoDecisionDuringRun,
    ];

    /// How many faults are needed to break the promise without this rule.
    pub(super) fn faults(self) -> u8 {
        match self {
            Self::StepRestartsWaitOfGivenUp | Self::NoDecisionDuringRun => 2,
            _ => 1,
        }
    }
}
