//! The transitions of the row. Each rule is checked in the transition to which it applies.

use super::rules::Rule;
use super::state::{Class, Decided, Record, Row, RowState, Run, Runner, State, WAIT_MAX};

/// The result of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Found {
    Record,
    Nothing,
    Failed,
}

/// The tracker's answer to a write, and whether the tracker created the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    Refused,
    Unclear { created: bool },
    Forbidden { created: bool },
    Open(Creation),
    Created,
}

/// When the tracker creates the record of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Creation {
    Never,
    Now,
    Delayed,
}

/// The protocol. If `without` names a rule, the protocol lacks this rule.
pub(super) struct Protocol {
    pub(super) without: Option<Rule>,
    pub(super) clicks: u8,
    pub(super) faults: u8,
}

impl Protocol {
    /// Whether the protocol has this rule.
    pub(super) fn has(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    /// Whether the row still has this fence. Without the rule, every fence is accepted.
    fn has_fence(&self, row: &Row, fence: u8) -> bool {
        !self.has(Rule::Fence) || row.fence == fence
    }

    /// Claims the row for the runner `i`, in one transaction. If the clock has stepped, the waits
    /// begin again first. If `has_written`, the click has already sent a write and only searches.
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
        if has_written || row.has_written && self.has(Rule::SearchBeforeCreate) {
            let is_refused = row.state == RowState::Failed || row.class == Some(Class::Refused);
            row.state = if is_refused { RowState::Failed } else { RowState::InDoubt };
            let skips_search =
                !has_written && row.decided.is_some() && !self.has(Rule::DecisionSearches);
            if !skips_search {
                state.runners[i] = Runner::Searching { fence, has_written };
                return;
            }
        }
        self.start_guest(state, i, has_written, fence);
    }

    /// Starts the waits again if the clock has stepped.
    fn restart_waits(&self, state: &mut State) {
        if !std::mem::take(&mut state.stepped) || !self.has(Rule::WaitsBeginAfterStep) {
            return;
        }
        let given_up = state.row.decided == Some(Decided::GiveUp);
        if !given_up || self.has(Rule::StepRestartsWaitOfGivenUp) {
            state.row.waited = state.row.waited.min(0);
        }
        if self.has(Rule::StepRestartsWaitOfSent) {
            state.row.sent_age = 0;
        }
    }

    /// Moves a row from `sent` to in doubt, because its run was lost and stored no outcome.
    pub(super) fn doubt_lost_run(&self, row: &mut Row) {
        let run_max = i8::from(self.has(Rule::EndOfLostRun));
        row.state = RowState::InDoubt;
        row.class = row.class.max(Some(Class::Open));
        row.waited = (row.sent_age - run_max).min(WAIT_MAX);
        row.doubt_ended = false;
        row.leased = false;
    }

    /// Moves the row to `intent` and starts the guest. Notes a second create of the same click.
    fn start_guest(&self, state: &mut State, i: usize, has_written: bool, fence: u8) {
        state.row.state = RowState::Intent;
        state.wrote_twice |= has_written;
        state.runners[i] = Runner::Running(Run {
            fence,
            class: None,
            last_class: None,
            forbidden: false,
            writes: 0,
            marked: true,
            settings: state.settings,
        });
    }

    /// Commits `sent`, because the guest asks the host to send a write.
    pub(super) fn mark_sent(&self, state: &mut State, i: usize, marked: bool) {
        let Runner::Running(mut run) = state.runners[i] else { return };
        let row = &mut state.row;
        let may_write = matches!(row.state, RowState::Intent | RowState::Sent);
        if self.has(Rule::SentBeforeWrite) {
            if !(self.has_fence(row, run.fence) && row.leased && may_write) {
                // The write is not sent. The outcome of earlier writes is stored if the fence is
                // the row's.
                self.finish(state, i, false);
                return;
            }
            row.state = RowState::Sent;
            row.has_written = true;
            row.sent_age = 0;
            row.last_write_settings = run.settings;
            if run.writes == 0 {
                row.marked &= marked;
            }
        }
        run.marked = marked;
        run.writes += 1;
        state.runners[i] = Runner::Marked { run, is_lease_live: true };
    }

    /// Sends the write, if the lease has not ended.
    pub(super) fn send_write(&self, state: &mut State, i: usize) {
        let Runner::Marked { run, is_lease_live } = state.runners[i] else { return };
        if is_lease_live || !self.has(Rule::LeaseBeforeBytes) {
            state.runners[i] = Runner::AwaitingAnswer { run, age: 0 };
            return;
        }
        // Nothing was sent. If the run has marked no other write, the row returns to `intent`.
        let row = &mut state.row;
        if run.writes == 1 && row.fence == run.fence && row.state == RowState::Sent {
            row.state = RowState::Intent;
        }
        state.runners[i] = Runner::Running(Run { writes: 2, ..run });
    }

    /// The tracker receives the write and answers.
    pub(super) fn answer(&self, state: &mut State, i: usize, answer: Answer) {
        let Runner::AwaitingAnswer { mut run, .. } = state.runners[i] else { return };
        let record =
            Record { settings: run.settings, marked: run.marked, hidden: false, flag: true };
        match answer {
            Answer::Unclear { created: true }
            | Answer::Forbidden { created: true }
            | Answer::Open(Creation::Now)
            | Answer::Created => state.records.push(record),
            Answer::Open(Creation::Delayed) => {
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
        (run.class, run.last_class) = (run.class.max(class), class);
        state.runners[i] = Runner::Running(run);
    }

    /// Ends the run. If not `has_defect`, the guest returned an error.
    pub(super) fn finish(&self, state: &mut State, i: usize, has_defect: bool) {
        let Runner::Running(run) = state.runners[i] else { return };
        let row = &mut state.row;
        state.runners[i] = Runner::Idle;
        let has_fence = self.has_fence(row, run.fence);
        let may_adopt = !row.leased && matches!(row.state, RowState::InDoubt | RowState::Failed);
        if has_defect {
            if has_fence && row.state != RowState::Created || may_adopt {
                row.state = RowState::Created;
                row.leased = false;
            }
            return;
        }
        let class = if self.has(Rule::WorstClassKept) { run.class } else { run.last_class };
        let may_have_created = run.class > Some(Class::Refused);
        if may_have_created {
            state.runners[i] = Runner::SearchAgain;
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
        let is_in_doubt = !row.doubt_ended && row.class > Some(Class::Refused);
        row.state = if is_in_doubt { RowState::InDoubt } else { RowState::Failed };
    }

    /// The settings of a search for the row.
    pub(super) fn search_settings(&self, state: &State) -> u8 {
        if self.has(Rule::PinnedSettings) { state.row.last_write_settings } else { state.settings }
    }

    /// Whether the result of a search counts. If the first write lacks the marker, only a refusal
    /// of the tracker or a person can decide about the row.
    pub(super) fn can_search(&self, row: &Row) -> bool {
        row.marked || !self.has(Rule::MarkerInFirstWrite)
    }

    /// Ends a search with this result.
    pub(super) fn end_search(&self, state: &mut State, i: usize, found: Found) {
        let Runner::Searching { fence, has_written } = state.runners[i] else { return };
        state.runners[i] = if has_written { Runner::SearchAgain } else { Runner::Idle };
        if !self.has_fence(&state.row, fence) {
            return;
        }
        if found == Found::Record {
            state.row.state = RowState::Created;
            state.row.leased = false;
            state.runners[i] = Runner::Idle;
            return;
        }
        let has_stepped = state.stepped;
        if has_stepped && self.has(Rule::StepCheckedAfterSearch) {
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
        self.start_guest(state, i, has_written, fence);
    }

    /// Whether a create may follow the result of the search.
    fn may_create(&self, state: &State, found: Found) -> bool {
        let row = &state.row;
        let class = row.class.unwrap_or(Class::Open);
        let is_decided = row.decided.is_some();
        if class == Class::Refused && !is_decided || !self.can_search(row) {
            return class == Class::Refused || is_decided;
        }
        if found == Found::Failed && self.has(Rule::FailedSearchProvesNothing) {
            // The person who gave up the defect has looked into the tracker, so a failed search is
            // enough.
            return row.decided == Some(Decided::GiveUp) && state.records.is_empty();
        }
        let index_delay = i8::from(self.has(Rule::IndexDelay));
        if is_decided {
            return row.waited >= i8::from(self.has(Rule::DecisionWaitsForIndex));
        }
        if row.doubt_ended {
            return row.waited >= index_delay;
        }
        let wait = match class {
            Class::Refused => return true,
            Class::Unclear => index_delay,
            Class::Acknowledged if self.has(Rule::AcknowledgedNeedsPerson) => return false,
            Class::Open | Class::Acknowledged => {
                index_delay + i8::from(self.has(Rule::InDoubtWait))
            }
        };
        row.waited >= wait && self.passes_control(state)
    }

    /// The positive control: whether the search finds another defect that was created with the
    /// settings of the write. Without another defect, only a 403 speaks against the search.
    fn passes_control(&self, state: &State) -> bool {
        if !state.control {
            return !state.row.forbidden || !self.has(Rule::ForbiddenNeedsControl);
        }
        !self.has(Rule::PositiveControl) || !state.read_denied
    }

    /// Applies the decision of a person, while no run has the row.
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
