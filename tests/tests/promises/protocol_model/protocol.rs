//! The moves of the row, with each rule where it holds.

use super::rules::Rule;
use super::state::{Class, Decided, Record, Row, RowState, Run, Runner, State, WAIT_MAX};

/// How a search ends, beside what it finds.
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Effect {
    None,
    Now,
    Delayed,
}

/// The protocol, without at most one of its rules.
pub(super) struct Protocol {
    pub(super) without: Option<Rule>,
    pub(super) clicks: u8,
    pub(super) troubles: u8,
}

impl Protocol {
    pub(super) fn has(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    fn holds(&self, row: &Row, fence: u8) -> bool {
        !self.has(Rule::Fence) || row.fence == fence
    }

    /// One transaction: takes over the row. After a step of the clock, the waits begin again first.
    pub(super) fn claim(&self, state: &mut State, i: usize, own: bool) {
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
        if own || row.wrote && self.has(Rule::SearchBeforeCreate) {
            let refused = row.state == RowState::Failed || row.class == Some(Class::Refused);
            row.state = if refused { RowState::Failed } else { RowState::InDoubt };
            let unsearched = !own && row.decided.is_some() && !self.has(Rule::DecisionSearches);
            if !unsearched {
                state.runners[i] = Runner::Searching { fence, own };
                return;
            }
        }
        self.start(state, i, own, fence);
    }

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

    /// The run of a row in `sent` stored no outcome.
    pub(super) fn doubt_lost_run(&self, row: &mut Row) {
        let run_max = i8::from(self.has(Rule::EndOfLostRun));
        row.state = RowState::InDoubt;
        row.class = row.class.max(Some(Class::Open));
        row.waited = (row.sent_age - run_max).min(WAIT_MAX);
        row.settled = false;
        row.leased = false;
    }

    /// The guest starts.
    fn start(&self, state: &mut State, i: usize, own: bool, fence: u8) {
        state.row.state = RowState::Intent;
        state.wrote_twice |= own;
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

    pub(super) fn mark(&self, state: &mut State, i: usize, marked: bool) {
        let Runner::Running(mut run) = state.runners[i] else { return };
        let row = &mut state.row;
        let writes = matches!(row.state, RowState::Intent | RowState::Sent);
        if self.has(Rule::SentBeforeWrite) {
            if !(self.holds(row, run.fence) && row.leased && writes) {
                // Nothing leaves; what left before is stored as far as the fence allows.
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

    pub(super) fn leave(&self, state: &mut State, i: usize) {
        let Runner::Marked { run, live } = state.runners[i] else { return };
        if live || !self.has(Rule::LeaseBeforeBytes) {
            state.runners[i] = Runner::Waiting { run, age: 0 };
            return;
        }
        // Nothing left. The mark is taken back if it is the run's only one.
        let row = &mut state.row;
        if run.writes == 1 && row.fence == run.fence && row.state == RowState::Sent {
            row.state = RowState::Intent;
        }
        state.runners[i] = Runner::Running(Run { writes: 2, ..run });
    }

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
        let holds = self.holds(row, run.fence);
        let free = !row.leased && matches!(row.state, RowState::InDoubt | RowState::Failed);
        if defect {
            if holds && row.state != RowState::Created || free {
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
        if !holds || !matches!(row.state, RowState::Intent | RowState::Sent) {
            return;
        }
        row.class =
            if self.has(Rule::WorstClassKept) { row.class.max(class) } else { class.or(row.class) };
        row.forbidden |= run.forbidden;
        row.leased = false;
        row.settled = run.class.is_none();
        if !row.settled {
            row.waited = 0;
        }
        let in_doubt = !row.settled && row.class > Some(Class::Refused);
        row.state = if in_doubt { RowState::InDoubt } else { RowState::Failed };
    }

    /// The settings of a search for the row.
    pub(super) fn search_settings(&self, state: &State) -> u8 {
        if self.has(Rule::PinnedSettings) { state.row.seen } else { state.settings }
    }

    /// Whether the row may be searched for; without the marker only a refusal or a person ends it.
    pub(super) fn can_search(&self, row: &Row) -> bool {
        row.marked || !self.has(Rule::MarkerInFirstWrite)
    }

    pub(super) fn find(&self, state: &mut State, i: usize, found: Found) {
        let Runner::Searching { fence, own } = state.runners[i] else { return };
        state.runners[i] = if own { Runner::Again } else { Runner::Idle };
        if !self.holds(&state.row, fence) {
            return;
        }
        if found == Found::Record {
            state.row.state = RowState::Created;
            state.row.leased = false;
            state.runners[i] = Runner::Idle;
            return;
        }
        let stepped = state.stepped;
        if stepped && self.has(Rule::StepBeforeNone) {
            self.restart_waits(state);
        }
        if !self.may_create(state, found) || !state.row.leased {
            if state.row.fence == fence {
                state.row.leased = false;
            }
            return;
        }
        if own && self.has(Rule::OneCreatePerClick) {
            state.row.state = RowState::Failed;
            state.row.settled = true;
            state.row.leased = false;
            return;
        }
        let row = &mut state.row;
        row.settled = true;
        if row.decided.take() == Some(Decided::GiveUp) {
            row.class = Some(Class::Refused);
        }
        self.start(state, i, own, fence);
    }

    /// Whether the search ends the doubt.
    fn may_create(&self, state: &State, found: Found) -> bool {
        let row = &state.row;
        let class = row.class.unwrap_or(Class::Open);
        let decided = row.decided.is_some();
        if class == Class::Refused && !decided || !self.can_search(row) {
            return class == Class::Refused || decided;
        }
        if found == Found::Failed && self.has(Rule::FailedSearchIsNoNone) {
            // The person who gave it up has looked.
            return row.decided == Some(Decided::GiveUp) && state.records.is_empty();
        }
        let index = i8::from(self.has(Rule::IndexDelay));
        if decided {
            return row.waited >= i8::from(self.has(Rule::DecisionWaitsForIndex));
        }
        if row.settled {
            return row.waited >= index;
        }
        let wait = match class {
            Class::Refused => return true,
            Class::Unclear => index,
            Class::Acknowledged if self.has(Rule::AcknowledgedNeverByItself) => return false,
            Class::Open | Class::Acknowledged => index + i8::from(self.has(Rule::InDoubtWait)),
        };
        row.waited >= wait && self.search_sees(state)
    }

    /// The positive control. The other defect was made with the settings of the write.
    fn search_sees(&self, state: &State) -> bool {
        if !state.control {
            return !state.row.forbidden || !self.has(Rule::ForbiddenNeedsControl);
        }
        !self.has(Rule::PositiveControl) || !state.blind
    }

    /// A person decides, outside of every run.
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
