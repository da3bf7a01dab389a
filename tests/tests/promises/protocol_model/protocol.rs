//! The transitions of the model.

use super::rules::Rule;
use super::state::{Class, Decision, Record, Row, RowState, Run, State, WAIT_MAX, Worker};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum SearchResult {
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
    Open(CreationTime),
    Created,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum CreationTime {
    Never,
    Now,
    Delayed,
}

pub(super) struct Protocol {
    /// The rule that the protocol lacks; `None` if it has all rules.
    pub(super) removed_rule: Option<Rule>,
    /// The maximum number of clicks.
    pub(super) clicks: u8,
    /// The maximum number of faults.
    pub(super) faults: u8,
}

impl Protocol {
    pub(super) fn has_rule(&self, rule: Rule) -> bool {
        self.removed_rule != Some(rule)
    }

    fn has_fence(&self, row: &Row, fence: u8) -> bool {
        !self.has_rule(Rule::Fence) || row.fence == fence
    }

    /// Claims the row for the worker `i`, in one transaction. If `has_written`, the click has
    /// already sent a write, so the worker searches.
    pub(super) fn claim(&self, state: &mut State, i: usize, has_written: bool) {
        self.restart_waits(state);
        let row = &mut state.row;
        if row.state == RowState::Created {
            state.workers[i] = Worker::Idle;
            return;
        }
        if row.state == RowState::Sent {
            self.doubt_lost_run(row);
        }
        row.fence += 1;
        row.is_leased = true;
        let fence = row.fence;
        if has_written || row.has_written && self.has_rule(Rule::SearchBeforeCreate) {
            let is_refused = row.state == RowState::Failed || row.class == Some(Class::Refused);
            row.state = if is_refused { RowState::Failed } else { RowState::InDoubt };
            let skips_search =
                !has_written && row.decision.is_some() && !self.has_rule(Rule::DecisionSearches);
            if !skips_search {
                state.workers[i] = Worker::Searching { fence, has_written };
                return;
            }
        }
        self.start_guest(state, i, has_written, fence);
    }

    fn restart_waits(&self, state: &mut State) {
        if !std::mem::take(&mut state.has_clock_stepped)
            || !self.has_rule(Rule::WaitsBeginAfterStep)
        {
            return;
        }
        let given_up = state.row.decision == Some(Decision::GiveUp);
        if !given_up || self.has_rule(Rule::StepRestartsWaitOfGivenUp) {
            state.row.units_waited = state.row.units_waited.min(0);
        }
        if self.has_rule(Rule::StepRestartsWaitOfSent) {
            state.row.units_since_sent = 0;
        }
    }

    /// Moves a row from `sent` to in doubt, because its run was lost and stored no outcome.
    pub(super) fn doubt_lost_run(&self, row: &mut Row) {
        let run_max = i8::from(self.has_rule(Rule::EndOfLostRun));
        row.state = RowState::InDoubt;
        row.class = row.class.max(Some(Class::Open));
        row.units_waited = (row.units_since_sent - run_max).min(WAIT_MAX);
        row.has_doubt_ended = false;
        row.is_leased = false;
    }

    fn start_guest(&self, state: &mut State, i: usize, has_written: bool, fence: u8) {
        state.row.state = RowState::Intent;
        state.has_written_twice |= has_written;
        state.workers[i] = Worker::Running(Run {
            fence,
            class: None,
            last_class: None,
            was_forbidden: false,
            writes: 0,
            has_marker: true,
            settings: state.settings,
        });
    }

    /// Commits `sent`, because the guest asks the host to send a write.
    pub(super) fn mark_sent(&self, state: &mut State, i: usize, has_marker: bool) {
        let Worker::Running(mut run) = state.workers[i] else { return };
        let row = &mut state.row;
        let may_write = matches!(row.state, RowState::Intent | RowState::Sent);
        if self.has_rule(Rule::SentBeforeWrite) {
            if !(self.has_fence(row, run.fence) && row.is_leased && may_write) {
                // The write is not sent, and the run ends.
                self.finish_run(state, i, false);
                return;
            }
            row.state = RowState::Sent;
            row.has_written = true;
            row.units_since_sent = 0;
            row.last_write_settings = run.settings;
            if run.writes == 0 {
                row.has_marker &= has_marker;
            }
        }
        run.has_marker = has_marker;
        run.writes += 1;
        state.workers[i] = Worker::Marked { run, is_lease_live: true };
    }

    /// Sends the write, if the lease has not ended.
    pub(super) fn send_write(&self, state: &mut State, i: usize) {
        let Worker::Marked { run, is_lease_live } = state.workers[i] else { return };
        if is_lease_live || !self.has_rule(Rule::LeaseBeforeBytes) {
            state.workers[i] = Worker::AwaitingAnswer { run, age: 0 };
            return;
        }
        // The write was not sent.
        let row = &mut state.row;
        if run.writes == 1 && row.fence == run.fence && row.state == RowState::Sent {
            row.state = RowState::Intent;
        }
        state.workers[i] = Worker::Running(Run { writes: 2, ..run });
    }

    /// The tracker receives the write, and the run gets the answer.
    pub(super) fn receive_answer(&self, state: &mut State, i: usize, answer: Answer) {
        let Worker::AwaitingAnswer { mut run, .. } = state.workers[i] else { return };
        let record = Record {
            settings: run.settings,
            has_marker: run.has_marker,
            is_hidden: false,
            time_flag: true,
        };
        match answer {
            Answer::Unclear { created: true }
            | Answer::Forbidden { created: true }
            | Answer::Open(CreationTime::Now)
            | Answer::Created => state.records.push(record),
            Answer::Open(CreationTime::Delayed) => {
                state.delayed.push(Record { time_flag: false, ..record });
            }
            _ => {}
        }
        run.was_forbidden |= matches!(answer, Answer::Forbidden { .. });
        let class = Some(match answer {
            Answer::Refused => Class::Refused,
            Answer::Unclear { .. } | Answer::Forbidden { .. } => Class::Unclear,
            Answer::Open(_) => Class::Open,
            Answer::Created => Class::Acknowledged,
        });
        (run.class, run.last_class) = (run.class.max(class), class);
        state.workers[i] = Worker::Running(run);
    }

    /// Ends the run. The guest returned a defect if `has_defect`, and otherwise an error.
    pub(super) fn finish_run(&self, state: &mut State, i: usize, has_defect: bool) {
        let Worker::Running(run) = state.workers[i] else { return };
        let row = &mut state.row;
        state.workers[i] = Worker::Idle;
        let has_fence = self.has_fence(row, run.fence);
        let may_adopt = !row.is_leased && matches!(row.state, RowState::InDoubt | RowState::Failed);
        if has_defect {
            if has_fence && row.state != RowState::Created || may_adopt {
                row.state = RowState::Created;
                row.is_leased = false;
            }
            return;
        }
        let class = if self.has_rule(Rule::WorstClassKept) { run.class } else { run.last_class };
        let may_have_created = run.class > Some(Class::Refused);
        if may_have_created {
            state.workers[i] = Worker::SearchAgain;
        }
        if !has_fence || !matches!(row.state, RowState::Intent | RowState::Sent) {
            return;
        }
        row.class = if self.has_rule(Rule::WorstClassKept) {
            row.class.max(class)
        } else {
            class.or(row.class)
        };
        row.was_forbidden |= run.was_forbidden;
        row.is_leased = false;
        row.has_doubt_ended = run.class.is_none();
        if !row.has_doubt_ended {
            row.units_waited = 0;
        }
        let is_in_doubt = !row.has_doubt_ended && row.class > Some(Class::Refused);
        row.state = if is_in_doubt { RowState::InDoubt } else { RowState::Failed };
    }

    pub(super) fn search_settings(&self, state: &State) -> u8 {
        if self.has_rule(Rule::PinnedSettings) {
            state.row.last_write_settings
        } else {
            state.settings
        }
    }

    /// A search counts only if the first write of each run contained the marker.
    pub(super) fn can_search(&self, row: &Row) -> bool {
        row.has_marker || !self.has_rule(Rule::MarkerInFirstWrite)
    }

    pub(super) fn end_search(&self, state: &mut State, i: usize, found: SearchResult) {
        let Worker::Searching { fence, has_written } = state.workers[i] else { return };
        state.workers[i] = if has_written { Worker::SearchAgain } else { Worker::Idle };
        if !self.has_fence(&state.row, fence) {
            return;
        }
        if found == SearchResult::Record {
            state.row.state = RowState::Created;
            state.row.is_leased = false;
            state.workers[i] = Worker::Idle;
            return;
        }
        let has_stepped = state.has_clock_stepped;
        if has_stepped && self.has_rule(Rule::StepCheckedAfterSearch) {
            self.restart_waits(state);
        }
        if !self.may_create(state, found) || !state.row.is_leased {
            if state.row.fence == fence {
                state.row.is_leased = false;
            }
            return;
        }
        if has_written && self.has_rule(Rule::OneCreatePerClick) {
            state.row.state = RowState::Failed;
            state.row.has_doubt_ended = true;
            state.row.is_leased = false;
            return;
        }
        let row = &mut state.row;
        row.has_doubt_ended = true;
        if row.decision.take() == Some(Decision::GiveUp) {
            row.class = Some(Class::Refused);
        }
        self.start_guest(state, i, has_written, fence);
    }

    fn may_create(&self, state: &State, found: SearchResult) -> bool {
        let row = &state.row;
        let class = row.class.unwrap_or(Class::Open);
        let is_decided = row.decision.is_some();
        if class == Class::Refused && !is_decided || !self.can_search(row) {
            return class == Class::Refused || is_decided;
        }
        if found == SearchResult::Failed && self.has_rule(Rule::FailedSearchProvesNothing) {
            // A person who gave up the defect has looked into the tracker.
            return row.decision == Some(Decision::GiveUp) && state.records.is_empty();
        }
        let index_delay = i8::from(self.has_rule(Rule::IndexDelay));
        if is_decided {
            return row.units_waited >= i8::from(self.has_rule(Rule::DecisionWaitsForIndex));
        }
        if row.has_doubt_ended {
            return row.units_waited >= index_delay;
        }
        let wait = match class {
            Class::Refused => return true,
            Class::Unclear => index_delay,
            Class::Acknowledged if self.has_rule(Rule::AcknowledgedNeedsPerson) => return false,
            Class::Open | Class::Acknowledged => {
                index_delay + i8::from(self.has_rule(Rule::InDoubtWait))
            }
        };
        row.units_waited >= wait && self.passes_control(state)
    }

    /// Returns whether the search is known to work: it finds another defect. If there is no other
    /// defect, the search counts unless the tracker answered a write with 403.
    fn passes_control(&self, state: &State) -> bool {
        if !state.has_other_defect {
            return !state.row.was_forbidden || !self.has_rule(Rule::ForbiddenNeedsControl);
        }
        !self.has_rule(Rule::PositiveControl) || !state.is_read_denied
    }

    pub(super) fn apply_decision(&self, state: &mut State, decision: Decision) {
        let row = &mut state.row;
        row.fence += 1;
        row.decision = Some(decision);
        if decision == Decision::GiveUp {
            if row.state == RowState::Sent {
                self.doubt_lost_run(row);
            }
            row.state = RowState::Failed;
        }
        if self.has_rule(Rule::DelayFromDecision) {
            row.units_waited = row.units_waited.min(0);
        }
    }
}
