//! The rules of the protocol. Each can be taken out alone.

/// A rule of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// `sent` is committed before a write leaves.
    SentBeforeWrite,
    /// A run whose lease was taken over moves the row no more and marks no write.
    Fence,
    /// A write leaves only while the lease that its mark proved is live.
    LeaseBeforeBytes,
    /// Where a write left, each create begins with a search.
    SearchBeforeCreate,
    /// A search that failed is not a search that found nothing.
    FailedSearchIsNoNone,
    /// After an unclear write, only a "none" that began after the index delay counts.
    IndexDelay,
    /// After an open write, only a "none" that began after `in_doubt_s` and the index delay counts.
    InDoubtWait,
    /// The write of a lost run ended at the run's maximum, not when it was sent.
    EndOfLostRun,
    /// After a 201, only a person decides.
    AcknowledgedNeverByItself,
    /// A "none" counts only if the search finds another defect that was made the same way.
    PositiveControl,
    /// After a 403, a "none" counts only if there was a defect to test the search with.
    ForbiddenNeedsControl,
    /// After its write, a click only searches.
    OneCreatePerClick,
    /// After a write that was not answered 2xx, the run lets no other write out.
    NoWriteAfterFailure,
    /// The worst class of all writes decides, not the class of the last one.
    WorstClassKept,
    /// A first write without the marker cannot be searched for.
    MarkerInFirstWrite,
    /// A search uses the settings that the write saw.
    PinnedSettings,
    /// The waits begin again when the host starts.
    WaitsBeginAtStart,
    /// The waits of rows in doubt begin again when the clock steps.
    WaitsBeginAfterStep,
    /// So do those of rows in `sent`.
    StepRestartsSent,
    /// So do those of rows that a person gave up.
    StepRestartsGivenUp,
    /// Whether the clock stepped is asked again before a "none" counts.
    StepBeforeNone,
    /// Also after a person's decision, a create begins with a search.
    DecisionSearches,
    /// Also after a person's decision, a "none" must have begun after the index delay.
    DecisionWaitsForIndex,
    /// That delay begins with the decision: the record may have come just before it.
    DelayFromDecision,
    /// A person cannot decide about a row on which this process still works.
    OpenWorkIsLeftAlone,
}

impl Rule {
    pub(super) const ALL: [Self; 25] = [
        Self::SentBeforeWrite,
        Self::Fence,
        Self::LeaseBeforeBytes,
        Self::SearchBeforeCreate,
        Self::FailedSearchIsNoNone,
        Self::IndexDelay,
        Self::InDoubtWait,
        Self::EndOfLostRun,
        Self::AcknowledgedNeverByItself,
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
        Self::StepBeforeNone,
        Self::DecisionSearches,
        Self::DecisionWaitsForIndex,
        Self::DelayFromDecision,
        Self::OpenWorkIsLeftAlone,
    ];

    /// How many troubles it takes to break the promise without this rule.
    pub(super) fn troubles(self) -> u8 {
        match self {
            Self::StepRestartsGivenUp | Self::OpenWorkIsLeftAlone => 2,
            _ => 1,
        }
    }
}
