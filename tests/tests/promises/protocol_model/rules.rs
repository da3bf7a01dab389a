//! The rules of the protocol. A model may lack any single rule, to show that the rule is needed.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// The state `sent` is committed before a write is sent to the tracker.
    SentBeforeWrite,
    /// A worker whose lease another worker took over cannot mark a write as sent. Its failed run
    /// and the end of its search do not change the row.
    Fence,
    /// A write is sent only while the lease that the commit of `sent` checked has not ended.
    LeaseBeforeBytes,
    /// After a write was sent, each later create begins with a search.
    SearchBeforeCreate,
    /// A search that failed does not show that there is no record.
    FailedSearchProvesNothing,
    /// After a write of the class "unclear", a search that finds nothing counts only if it began
    /// after the index delay.
    IndexDelay,
    /// After a write of the class "open", a search that finds nothing counts only if it began after
    /// `in_doubt_s` and the index delay.
    InDoubtWait,
    /// After a run that was lost, the wait begins at the latest moment at which the run could have
    /// ended, not when its write was sent.
    EndOfLostRun,
    /// After a 201, only a person may allow another create.
    AcknowledgedNeedsPerson,
    /// If there is another defect that was created with the same settings, a search that finds
    /// nothing counts only if a search finds this other defect.
    PositiveControl,
    /// After a 403, a search that finds nothing counts only if another defect exists to test the
    /// search with.
    ForbiddenNeedsControl,
    /// After a click has sent a write, it only searches and does not create again.
    OneCreatePerClick,
    /// After a write that was not answered with 2xx, the run may not send another write.
    NoWriteAfterFailure,
    /// The row keeps the worst class of its writes (the greatest in the order of `Class`), not the
    /// class of its last write.
    WorstClassKept,
    /// If the first write lacks the marker, a search that finds nothing does not count.
    MarkerInFirstWrite,
    /// A search uses the settings of the run that sent the write.
    PinnedSettings,
    /// The waits begin again when the host starts.
    WaitsBeginAtStart,
    /// The waits of rows in doubt begin again when the clock steps.
    WaitsBeginAfterStep,
    /// The waits of rows in `sent` begin again when the clock steps.
    StepRestartsWaitOfSent,
    /// The waits of rows that a person has given up begin again when the clock steps.
    StepRestartsWaitOfGivenUp,
    /// Before the host uses the result of a search that found nothing, it checks whether the clock
    /// has stepped during the search.
    StepCheckedAfterSearch,
    /// After a person's decision, too, a create begins with a search.
    DecisionSearches,
    /// After a person's decision, a search that finds nothing counts only if it began after the
    /// index delay.
    DecisionWaitsForIndex,
    /// After a person's decision, the index delay begins again, because the tracker may have
    /// created the record just before the decision.
    DelayFromDecision,
    /// A person cannot decide about a row while a click still works on this row.
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

    pub(super) fn faults_needed(self) -> u8 {
        match self {
            Self::StepRestartsWaitOfGivenUp | Self::NoDecisionDuringRun => 2,
            _ => 1,
        }
    }
}
