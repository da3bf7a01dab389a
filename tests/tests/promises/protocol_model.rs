//! Checks a model of the protocol "one failed test, one defect". A model checker tries every order
//! of the steps of two workers, the tracker, and at most two faults, such as crashes, lost leases,
//! steps of the clock, and decisions of a person.
//!
//! The model repeats the protocol and does not call the host's code.
//!
//! The model makes these assumptions:
//!
//! - A write creates its record within `in_doubt_s` after its exchange ended, or never. Nothing
//!   between host and tracker repeats a request.
//! - A search finds each record, at the latest after the index delay. A record that the tracker
//!   confirmed with 201 may disappear from searches later.
//! - The user of a search may lack the permission to read. In this case, there is another defect to
//!   test the search with, or the tracker has answered a write with 403.
//! - If the tracker answers a write with a status of the class "refused", this write creates
//!   nothing.
//! - No record loses its marker, and no other record gets a copy of the marker.
//! - A person decides only after looking into the tracker, and only while no write is in flight.
//! - A guest creates no second record after a success, and declares the effects of its requests
//!   truthfully.
//! - No acknowledged commit is lost.
//!
//! Clicks for other failed tests, routing and recurrences are not part of the model.

mod protocol;
mod rules;
mod state;

use stateright::{Checker, Model, Property};

use self::protocol::{Answer, CreationTime, Protocol, SearchResult};
use self::rules::Rule;
use self::state::{Class, Decision, Record, RowState, State, WAIT_MAX, Worker};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    Click(usize),
    /// A click that has sent a write, or a background sweep, claims the row again, only to search.
    SearchAgain(usize),
    MarkSent {
        worker: usize,
        has_marker: bool,
    },
    SendWrite(usize),
    Answer(usize, Answer),
    Finish {
        worker: usize,
        has_defect: bool,
    },
    EndSearch(usize, SearchResult),
    /// The tracker now creates a record that it had delayed.
    CreateLate,
    /// The tracker will never create a record that it had delayed.
    DropWrite,
    PassTime,
    /// The host is killed and starts again. The clock may be set before the host starts.
    Crash,
    /// The lease ends, because its server was suspended for too long.
    EndLease,
    /// The database's clock steps ahead, possibly past the end of the lease.
    ClockStep {
        lease_ends: bool,
    },
    EditSettings,
    Decide(Decision),
    /// The search's user loses the permission to read.
    RevokeRead,
    /// The search stops finding a record that the tracker confirmed with 201.
    HideRecord,
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        [true, false]
            .map(|has_other_defect| State::initial(has_other_defect, self.clicks, self.faults))
            .to_vec()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for i in 0..state.workers.len() {
            self.worker_actions(state, i, actions);
        }
        if !state.delayed.is_empty() {
            actions.extend([Action::CreateLate, Action::DropWrite]);
        }
        if state.may_time_pass() && !is_unchanged_by_time(state) {
            actions.push(Action::PassTime);
        }
        if state.faults > 0 && state.row.state != RowState::Absent {
            self.fault_actions(state, actions);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Click(i) => {
                state.clicks -= 1;
                self.claim(&mut state, i, false);
            }
            Action::SearchAgain(i) => self.claim(&mut state, i, true),
            Action::MarkSent { worker, has_marker } => {
                self.mark_sent(&mut state, worker, has_marker)
            }
            Action::SendWrite(i) => self.send_write(&mut state, i),
            Action::Answer(i, answer) => self.receive_answer(&mut state, i, answer),
            Action::Finish { worker, has_defect } => {
                self.finish_run(&mut state, worker, has_defect)
            }
            Action::EndSearch(i, found) => self.end_search(&mut state, i, found),
            Action::CreateLate => {
                let mut record = state.delayed.pop()?;
                record.time_flag = true;
                state.records.push(record);
            }
            Action::DropWrite => {
                state.delayed.pop()?;
            }
            Action::PassTime => pass_time(&mut state),
            fault => self.apply_fault(&mut state, fault),
        }
        state.normalise();
        (state != *last).then_some(state)
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.records.len() <= 2
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let keeps_promise =
            |_: &Self, state: &State| state.records.len() <= 1 && !state.has_written_twice;
        let mut properties =
            vec![Property::<Self>::always("one record, one create per click", keeps_promise)];
        if self.removed_rule.is_none() {
            properties.extend([
                Property::always(
                    "once nothing is in progress, a click returns the defect",
                    next_click_returns_defect,
                ),
                Property::always("a created defect has a record", |_, state: &State| {
                    state.row.state != RowState::Created || !state.records.is_empty()
                }),
                Property::sometimes("a defect is created", |_, state: &State| {
                    state.row.state == RowState::Created
                }),
                Property::sometimes(
                    "a click creates the defect after the doubt has ended",
                    |_, state: &State| {
                        state.row.state == RowState::Created
                            && state.row.class == Some(Class::Open)
                            && state.row.has_doubt_ended
                    },
                ),
            ]);
        }
        properties
    }
}

impl Protocol {
    fn worker_actions(&self, state: &State, i: usize, actions: &mut Vec<Action>) {
        let is_free = !state.row.is_leased && state.row.state != RowState::Created;
        match state.workers[i] {
            Worker::Idle => {}
            Worker::SearchAgain if is_free => actions.push(Action::SearchAgain(i)),
            Worker::SearchAgain => {}
            Worker::Searching { .. } => {
                let (may_see, may_miss) =
                    state.possible_search_results(self.search_settings(state));
                let can_search = self.can_search(&state.row);
                actions.extend(
                    (may_see && can_search).then_some(Action::EndSearch(i, SearchResult::Record)),
                );
                actions.extend(
                    (may_miss || !can_search)
                        .then_some(Action::EndSearch(i, SearchResult::Nothing)),
                );
                actions.push(Action::EndSearch(i, SearchResult::Failed));
            }
            Worker::Running(run) => {
                let has_succeeded = run.last_class == Some(Class::Acknowledged);
                let may_not_write = self.has_rule(Rule::NoWriteAfterFailure) && !has_succeeded;
                if run.writes == 0 || run.writes == 1 && !may_not_write {
                    let marker_choices =
                        [true, false].into_iter().take(if run.writes == 0 { 2 } else { 1 });
                    actions.extend(
                        marker_choices.map(|has_marker| Action::MarkSent { worker: i, has_marker }),
                    );
                }
                actions.push(Action::Finish { worker: i, has_defect: false });
                if run.class == Some(Class::Acknowledged) {
                    actions.push(Action::Finish { worker: i, has_defect: true });
                }
            }
            Worker::Marked { .. } => actions.push(Action::SendWrite(i)),
            Worker::AwaitingAnswer { run, .. } => {
                let answers = [
                    Answer::Refused,
                    Answer::Unclear { created: false },
                    Answer::Forbidden { created: false },
                    Answer::Open(CreationTime::Never),
                    Answer::Unclear { created: true },
                    Answer::Forbidden { created: true },
                    Answer::Open(CreationTime::Now),
                    Answer::Open(CreationTime::Delayed),
                    Answer::Created,
                ];
                // After a successful write, further writes create nothing (the first four answers).
                let possible =
                    if run.class == Some(Class::Acknowledged) { 4 } else { answers.len() };
                actions.extend(answers.iter().take(possible).map(|it| Action::Answer(i, *it)));
            }
        }
        if is_free
            && state.clicks > 0
            && matches!(state.workers[i], Worker::Idle | Worker::SearchAgain)
        {
            actions.push(Action::Click(i));
        }
    }

    fn fault_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let row = &state.row;
        if row.state == RowState::Created {
            return;
        }
        actions.push(Action::Crash);
        actions.extend(row.is_leased.then_some(Action::EndLease));
        actions.extend([true, false].map(|lease_ends| Action::ClockStep { lease_ends }));
        actions.extend((state.settings == 0).then_some(Action::EditSettings));
        // After a decision of a person, the permission to read no longer matters, because the
        // person has looked into the tracker.
        let may_lose_permission =
            row.decision.is_none() && (state.has_other_defect || row.was_forbidden);
        actions
            .extend((!state.is_read_denied && may_lose_permission).then_some(Action::RevokeRead));
        let is_acknowledged = row.class == Some(Class::Acknowledged)
            && row.state == RowState::InDoubt
            && row.decision.is_none();
        actions
            .extend((is_acknowledged && !state.records.is_empty()).then_some(Action::HideRecord));
        // A person decides only while no write is in flight, and each record is visible to a
        // search.
        let in_flight = state.workers.iter().any(|it| matches!(it, Worker::AwaitingAnswer { .. }));
        let is_unseen =
            |it: &Record| it.is_hidden || !it.has_marker || !row.has_marker || state.is_read_denied;
        let any_unseen = state.records.iter().any(is_unseen);
        let run_forbids = state.is_in_progress() && self.has_rule(Rule::NoDecisionDuringRun);
        let has_state = matches!(row.state, RowState::InDoubt | RowState::Sent);
        if !row.is_leased
            && has_state
            && !run_forbids
            && !in_flight
            && !any_unseen
            && state.delayed.is_empty()
        {
            actions.extend([Decision::Retry, Decision::GiveUp].map(Action::Decide));
        }
    }

    fn apply_fault(&self, state: &mut State, fault: Action) {
        state.faults -= 1;
        match fault {
            Action::Crash => self.crash(state),
            Action::EndLease => {
                state.row.is_leased = false;
                end_checked_leases(state);
            }
            Action::ClockStep { lease_ends } => {
                state.row.is_leased &= !lease_ends;
                state.row.units_waited = WAIT_MAX;
                state.row.units_since_sent = WAIT_MAX + 1;
                state.has_clock_stepped = true;
            }
            Action::EditSettings => state.settings = 1,
            Action::RevokeRead => state.is_read_denied = true,
            Action::HideRecord => {
                state.records.iter_mut().for_each(|record| record.is_hidden = true)
            }
            Action::Decide(decision) => self.apply_decision(state, decision),
            _ => {}
        }
    }

    /// The host is killed: all runs are lost, and writes in flight get no answer.
    fn crash(&self, state: &mut State) {
        for worker in &mut state.workers {
            if let Worker::AwaitingAnswer { run, .. } = *worker
                && run.class != Some(Class::Acknowledged)
            {
                state.delayed.push(Record {
                    settings: run.settings,
                    has_marker: run.has_marker,
                    is_hidden: false,
                    time_flag: false,
                });
            }
            *worker = Worker::Idle;
        }
        state.has_clock_stepped = false;
        let row = &mut state.row;
        row.is_leased = false;
        row.fence += 1;
        if row.state == RowState::Sent {
            self.doubt_lost_run(row);
        }
        row.units_waited =
            if self.has_rule(Rule::WaitsBeginAtStart) { row.units_waited.min(0) } else { WAIT_MAX };
    }
}

/// Ends the leases that runs checked when they committed `sent`. The clock that measures these
/// leases never steps.
fn end_checked_leases(state: &mut State) {
    for worker in &mut state.workers {
        if let Worker::Marked { is_lease_live, .. } = worker {
            *is_lease_live = false;
        }
    }
}

fn pass_time(state: &mut State) {
    end_checked_leases(state);
    state.row.units_waited = (state.row.units_waited + 1).min(WAIT_MAX);
    if state.row.state == RowState::Sent {
        state.row.units_since_sent = (state.row.units_since_sent + 1).min(WAIT_MAX + 1);
    }
    for worker in &mut state.workers {
        if let Worker::AwaitingAnswer { age, .. } = worker {
            *age += 1;
        }
    }
    for record in &mut state.records {
        record.time_flag = false;
    }
    for record in &mut state.delayed {
        record.time_flag = true;
    }
}

fn is_unchanged_by_time(state: &State) -> bool {
    let mut later = state.clone();
    pass_time(&mut later);
    later == *state
}

/// Whether one more click returns the defect, if the tracker works. Also true while something is in
/// progress, and where only a person can decide.
fn next_click_returns_defect(protocol: &Protocol, state: &State) -> bool {
    if state.is_in_progress()
        || !state.delayed.is_empty()
        || !is_unchanged_by_time(state)
        || state.row.is_leased
    {
        return true;
    }
    let mut state = state.clone();
    state.is_read_denied = false;
    state.workers[0] = Worker::Idle;
    // Assumes that an earlier click noticed each step of the clock, and that the waits are over.
    state.has_clock_stepped = false;
    if state.row.state == RowState::Sent {
        protocol.doubt_lost_run(&mut state.row);
    }
    state.row.units_waited = WAIT_MAX;
    let (found, _) = state.possible_search_results(state.row.last_write_settings);
    let row = &state.row;
    let is_decided = row.decision.is_some() || row.has_doubt_ended;
    let class_needs_person = row.class == Some(Class::Acknowledged)
        || row.was_forbidden && !state.has_other_defect && row.class > Some(Class::Refused);
    let is_searchable = row.has_marker || row.class == Some(Class::Refused);
    let needs_person =
        !is_decided && class_needs_person || row.decision.is_none() && !is_searchable;
    if row.has_written && needs_person && !(found && row.has_marker) {
        return true;
    }
    protocol.claim(&mut state, 0, false);
    if matches!(state.workers[0], Worker::Searching { .. }) {
        let found = if found && state.row.has_marker {
            SearchResult::Record
        } else {
            SearchResult::Nothing
        };
        protocol.end_search(&mut state, 0, found);
    }
    protocol.mark_sent(&mut state, 0, true);
    protocol.send_write(&mut state, 0);
    protocol.receive_answer(&mut state, 0, Answer::Created);
    protocol.finish_run(&mut state, 0, true);
    state.row.state == RowState::Created && state.records.len() == 1
}

#[test]
fn in_every_order_of_actions_there_is_at_most_one_record() {
    let protocol = Protocol { removed_rule: None, clicks: 2, faults: 2 };
    let checked = protocol.checker().threads(2).spawn_bfs().join();
    println!("{} states were checked", checked.unique_state_count());
    checked.assert_properties();
    assert!(checked.unique_state_count() > 100_000, "the model has too few states");
}

#[test]
fn the_protocol_breaks_its_promise_if_any_single_rule_is_removed() {
    let mut not_needed = Vec::new();
    for rule in Rule::ALL {
        let model = Protocol { removed_rule: Some(rule), clicks: 2, faults: rule.faults_needed() };
        let checked = model.checker().threads(2).spawn_bfs().join();
        match checked.discovery("one record, one create per click") {
            Some(path) => println!("{rule:?}: {:?}", path.into_actions()),
            None => not_needed.push(rule),
        }
    }
    assert!(
        not_needed.is_empty(),
        "the promise still holds without each of these rules: {not_needed:?}"
    );
}
