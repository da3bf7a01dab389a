//! The transitions of the row, with each rule at the place where it applies.

use super::rules::Rule;
use super::state::{Class, Decided, Record, Row, RowState, Run, Runner, State, WAIT_MAX};

/// The result of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Found {
    Record,
    Nothing,
    Failed,
}

/// What the tracker answers, and what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    Refused,
    Unclear { created: bool },
    Forbidden { created: bool },
    Open(Effect),
    Created,
}

/// When the tracker creates the record, if at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Effect {
    None,
    Now,
    Delayed,
}

/// The protocol, without one of its rules if `without` names it.
pub(super) struct Protocol {
    pub(super) without: Option<Rule>,
    pub(super) clicks: u8,
    pub(super) troubles: u8,
}

impl Protocol {
    /// Whether the protocol has this rule.
    pub(super) fn has(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    /// Whether the row still has this fence.
    fn has_fence(&self, row: &Row, fence: u8) -> bool {
        !self.has(Rule::Fence) || row.fence == fence
    }

    /// One transaction: takes over the row. After a step of the clock, the waits begin again first.
    /// If `has_written`, the click has already written and only searches.
    pub(super) fn claim(&self, state: &mut State, i: usize, has_written: bool) {
        self.restart_waits(state);
        let row = &mut state.row;
        if row.state == RowState::Created {
            state.runners[i] = Runner::Idle;
            return;
        }
        if row.state == RowState::Sent {
            self.doubt_lost_run(row);
        }
        row.fence += 1;
        row.leased = true;
        let fence = row.fence;
        if has_written || row.wrote && self.has(Rule::SearchBeforeCreate) {
            let refused = row.state == RowState::Failed || row.class == Some(Class::Refused);
            row.state = if refused { RowState::Failed } else { RowState::InDoubt };
            let unsearched =
                !has_written && row.decided.is_some() && !self.has(Rule::DecisionSearches);
            if !unsearched {
                state.runners[i] = Runner::Searching { fence, has_written };
                return;
            }
        }
        self.start(state, i, has_written, fence);
    }

    /// After a step of the clock, the waits begin again.
    fn restart_waits(&self, state: &mut State) {
        if !std::mem::take(&mut state.stepped) || !self.has(Rule::WaitsBeginAfterStep) {
            return;
        }
        let given_up = state.row.decided == Some(Decided::GiveUp);
        if !given_up || self.has(Rule::StepRestartsGivenUp) {
            state.row.waited = state.row.waited.min(0);
        }
        if self.has(Rule::StepRestartsSent) {
            state.row.sent_age = 0;
        }
    }

    /// Puts a row in `sent` in doubt, because its run stored no outcome.
    pub(super) fn doubt_lost_run(&self, row: &mut Row) {
        let run_max = i8::from(self.has(Rule::EndOfLostRun));
        row.state = RowState::InDoubt;
        row.class = row.class.max(Some(Class::Open));
        row.waited = (row.sent_age - run_max).min(WAIT_MAX);
        row.doubt_ended = false;
        row.leased = false;
    }

    /// The guest starts.
    fn start(&self, state: &mut State, i: usize, has_written: bool, fence: u8) {
        state.row.state = RowState::Intent;
        state.wrote_twice |= has_written;
        state.runners[i] = Runner::Running(Run {
            fence,
            class: None,
            last: None,
            forbidden: false,
            writes: 0,
            marked: true,
            settings: state.settings,
        });
    }

    /// The guest wants to write: commits `sent`.
    pub(super) fn mark(&self, state: &mut State, i: usize, marked: bool) {
        let Runner::Running(mut run) = state.runners[i] else { return };
        let row = &mut state.row;
        let writes = matches!(row.state, RowState::Intent | RowState::Sent);
        if self.has(Rule::SentBeforeWrite) {
            if !(self.has_fence(row, run.fence) && row.leased && writes) {
                // Nothing leaves. The outcome of earlier writes is stored if the fence allows it.
                self.finish(state, i, false);
                return;
            }
            row.state = RowState::Sent;
            row.wrote = true;
            row.sent_age = 0;
            row.seen = run.settings;
            if run.writes == 0 {
                row.marked &= marked;
            }
        }
        run.marked = marked;
        run.writes += 1;
        state.runners[i] = Runner::Marked { run, live: true };
    }

    /// The write leaves, if the lease is still live.
    pub(super) fn leave(&self, state: &mut State, i: usize) {
        let Runner::Marked { run, live } = state.runners[i] else { return };
        if live || !self.has(Rule::LeaseBeforeBytes) {
            state.runners[i] = Runner::Waiting { run, age: 0 };
            return;
        }
        // Nothing left. If this mark is the only one of the run, the row returns to `intent`.
        let row = &mut state.row;
        if run.writes == 1 && row.fence == run.fence && row.state == RowState::Sent {
            row.state = RowState::Intent;
        }
        state.runners[i] = Runner::Running(Run { writes: 2, ..run });
    }

    /// The tracker acts on the write and answers.
    pub(super) fn answer(&self, state: &mut State, i: usize, answer: Answer) {
        let Runner::Waiting { mut run, .. } = state.runners[i] else { return };
        let record =
            Record { settings: run.settings, marked: run.marked, hidden: false, flag: true };
        match answer {
            Answer::Unclear { created: true }
            | Answer::Forbidden { created: true }
            | Answer::Open(Effect::Now)
            | Answer::Created => state.records.push(record),
            Answer::Open(Effect::Delayed) => {
                state.delayed.push(Record { flag: false, ..record });
            }
            _ => {}
        }
        run.forbidden |= matches!(answer, Answer::Forbidden { .. });
        let class = Some(match answer {
            Answer::Refused => Class::Refused,
            Answer::Unclear { .. } | Answer::Forbidden { .. } => Class::Unclear,
            Answer::Open(_) => Class::Open,
            Answer::Created => Class::Acknowledged,
        });
        (run.class, run.last) = (run.class.max(class), class);
        state.runners[i] = Runner::Running(run);
    }

    /// The run ends; the guest returned a defect or an error.
    pub(super) fn finish(&self, state: &mut State, i: usize, defect: bool) {
        let Runner::Running(run) = state.runners[i] else { return };
        let row = &mut state.row;
        state.runners[i] = Runner::Idle;
        let has_fence = self.has_fence(row, run.fence);
        let free = !row.leased && matches!(row.state, RowState::InDoubt | RowState::Failed);
        if defect {
            if has_fence && row.state != RowState::Created || free {
                row.state = RowState::Created;
                row.leased = false;
            }
            return;
        }
        let class = if self.has(Rule::WorstClassKept) { run.class } else { run.last };
        let doubtful = run.class > Some(Class::Refused);
        if doubtful {
            state.runners[i] = Runner::Again;
        }
        if !has_fence || !matches!(row.state, RowState::Intent | RowState::Sent) {
            return;
        }
        row.class =
            if self.has(Rule::WorstClassKept) { row.class.max(class) } else { class.or(row.class) };
        row.forbidden |= run.forbidden;
        row.leased = false;
        row.doubt_ended = run.class.is_none();
        if !row.doubt_ended {
            row.waited = 0;
        }
        let in_doubt = !row.doubt_ended && row.class > Some(Class::Refused);
        row.state = if in_doubt { RowState::InDoubt } else { RowState::Failed };
    }

    /// The settings of a search for the row.
    pub(super) fn search_settings(&self, state: &State) -> u8 {
        if self.has(Rule::PinnedSettings) { state.row.seen } else { state.settings }
    }

    /// Whether a search may decide about the row. Without the marker in the first write, only a
    /// refusal or a person can decide.
    pub(super) fn can_search(&self, row: &Row) -> bool {
        row.marked || !self.has(Rule::MarkerInFirstWrite)
    }

    /// A search ends.
    pub(super) fn find(&self, state: &mut State, i: usize, found: Found) {
        let Runner::Searching { fence, has_written } = state.runners[i] else { return };
        state.runners[i] = if has_written { Runner::Again } else { Runner::Idle };
        if !self.has_fence(&state.row, fence) {
            return;
        }
        if found == Found::Record {
            state.row.state = RowState::Created;
            state.row.leased = false;
            state.runners[i] = Runner::Idle;
            return;
        }
        let stepped = state.stepped;
        if stepped && self.has(Rule::StepCheckedAfterSearch) {
            self.restart_waits(state);
        }
        if !self.may_create(state, found) || !state.row.leased {
            if state.row.fence == fence {
                state.row.leased = false;
            }
            return;
        }
        if has_written && self.has(Rule::OneCreatePerClick) {
            state.row.state = RowState::Failed;
            state.row.doubt_ended = true;
            state.row.leased = false;
            return;
        }
        let row = &mut state.row;
        row.doubt_ended = true;
        if row.decided.take() == Some(Decided::GiveUp) {
            row.class = Some(Class::Refused);
        }
        self.start(state, i, has_written, fence);
    }

    /// Whether the result of the search ends the doubt, so that a create may follow.
    fn may_create(&self, state: &State, found: Found) -> bool {
        let row = &state.row;
        let class = row.class.unwrap_or(Class::Open);
        let decided = row.decided.is_some();
        if class == Class::Refused && !decided || !self.can_search(row) {
            return class == Class::Refused || decided;
        }
        if found == Found::Failed && self.has(Rule::FailedSearchProvesNothing) {
            // The person who gave up the defect has looked into the tracker.
            return row.decided == Some(Decided::GiveUp) && state.records.is_empty();
        }
        let index = i8::from(self.has(Rule::IndexDelay));
        if decided {
            return row.waited >= i8::from(self.has(Rule::DecisionWaitsForIndex));
        }
        if row.doubt_ended {
            return row.waited >= index;
        }
        let wait = match class {
            Class::Refused => return true,
            Class::Unclear => index,
            Class::Acknowledged if self.has(Rule::AcknowledgedNeedsPerson) => return false,
            Class::Open | Class::Acknowledged => index + i8::from(self.has(Rule::InDoubtWait)),
        };
        row.waited >= wait && self.search_sees(state)
    }

    /// The positive control: whether the search finds another defect, which was made with the
    /// settings of the write.
    fn search_sees(&self, state: &State) -> bool {
        if !state.control {
            return !state.row.forbidden || !self.has(Rule::ForbiddenNeedsControl);
        }
        !self.has(Rule::PositiveControl) || !state.blind
    }

    /// A person decides, while no run has the row.
    pub(super) fn decide(&self, state: &mut State, decided: Decided) {
        let row = &mut state.row;
        row.fence += 1;
        row.decided = Some(decided);
        if decided == Decided::GiveUp {
            if row.state == RowState::Sent {
                self.doubt_lost_run(row);
            }
            row.state = RowState::Failed;
        }
        if self.has(Rule::DelayFromDecision) {
            row.waited = row.waited.min(0);
        }
    }
}
