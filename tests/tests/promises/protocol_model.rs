//! The protocol of "one failed test, one defect" as a model, which is checked in every order of
//! these events: clicks on two replicas, a crash, a lost lease, a step of the clock, an edit of the
//! settings, a person's decision, a search that sees nothing, comes late or fails, and a tracker
//! whose answers prove nothing and whose effects come late.
//!
//! The model restates the protocol and does not call the host's code; `crash_points.rs` and
//! `crash_random.rs` kill the real binary. If any single rule is removed, the checker finds a
//! second record, or a click that creates twice. This shows that each rule is needed and that the
//! model detects its absence.
//!
//! Assumptions of the model, which operators are told:
//!
//! - A write has its effect within `in_doubt_s` after its exchange ended, and nothing repeats a
//!   request.
//! - A search sees a record within the index delay. The exception is a record whose 201 the row
//!   has stored as acknowledged: it may disappear.
//! - If there is no other defect to test a search with, the search's user lacks the permission to
//!   read only if the tracker answered 403.
//! - A status of the class "refused" creates nothing.
//! - No marker is removed or copied.
//! - A person who decides has looked into the tracker, and no write is in flight.
//! - A guest creates no second record after a success, and declares the effects of its requests
//!   truthfully.
//! - No acknowledged commit is lost.
//!
//! Other defects of the connection, routing and recurrence are not part of the model.

mod protocol;
mod rules;
mod state;

use stateright::{Checker, Model, Property};

use self::protocol::{Answer, Effect, Found, Protocol};
use self::rules::Rule;
use self::state::{Class, Decided, Record, RowState, Runner, State, WAIT_MAX};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    Click(usize),
    /// The same click continues, or the sweep searches.
    SearchAgain(usize),
    MarkSent {
        runner: usize,
        marked: bool,
    },
    Leave(usize),
    Answer(usize, Answer),
    Finish {
        runner: usize,
        defect: bool,
    },
    Find(usize, Found),
    /// The tracker acts on a write that has no answer.
    Arrive,
    /// The tracker never acts on such a write.
    Vanish,
    /// A unit of time passes.
    Tick,
    /// The host ends and starts again. Meanwhile, the clock may be set.
    Crash,
    /// The lease ends because its holder was suspended for too long.
    Expire,
    /// The database's clock steps ahead, possibly past the end of the lease.
    ClockStep {
        lease_ends: bool,
    },
    Edit,
    Decide(Decided),
    /// The search's user loses the permission to read.
    Blind,
    /// The record whose 201 the row keeps disappears from the search.
    Hide,
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        [true, false].map(|control| State::first(control, self.clicks, self.troubles)).to_vec()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for i in 0..state.runners.len() {
            self.runner_actions(state, i, actions);
        }
        if !state.delayed.is_empty() {
            actions.extend([Action::Arrive, Action::Vanish]);
        }
        if state.may_tick() && !is_quiet(state) {
            actions.push(Action::Tick);
        }
        if state.troubles > 0 && state.row.state != RowState::Absent {
            self.trouble_actions(state, actions);
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
            Action::MarkSent { runner, marked } => self.mark(&mut state, runner, marked),
            Action::Leave(i) => self.leave(&mut state, i),
            Action::Answer(i, answer) => self.answer(&mut state, i, answer),
            Action::Finish { runner, defect } => self.finish(&mut state, runner, defect),
            Action::Find(i, found) => self.find(&mut state, i, found),
            Action::Arrive => {
                let mut record = state.delayed.pop()?;
                record.flag = true;
                state.records.push(record);
            }
            Action::Vanish => {
                state.delayed.pop()?;
            }
            Action::Tick => tick(&mut state),
            trouble => self.trouble(&mut state, trouble),
        }
        state.normalise_fences();
        (state != *last).then_some(state)
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.records.len() <= 2
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let promise = |_: &Self, state: &State| state.records.len() <= 1 && !state.wrote_twice;
        let mut all = vec![Property::<Self>::always("one record, one create per click", promise)];
        if self.without.is_none() {
            all.extend([
                Property::always(
                    "once nothing is in progress, a click ends with the defect",
                    ends_well,
                ),
                Property::always("a created defect has a record", |_, state: &State| {
                    state.row.state != RowState::Created || !state.records.is_empty()
                }),
                Property::sometimes("a defect is created", |_, state: &State| {
                    state.row.state == RowState::Created
                }),
                Property::sometimes("a click creates after a doubt", |_, state: &State| {
                    state.row.state == RowState::Created
                        && state.row.class == Some(Class::Open)
                        && state.row.doubt_ended
                }),
            ]);
        }
        all
    }
}

impl Protocol {
    /// What the runner `i` may do next.
    fn runner_actions(&self, state: &State, i: usize, actions: &mut Vec<Action>) {
        let free = !state.row.leased && state.row.state != RowState::Created;
        match state.runners[i] {
            Runner::Idle => {}
            Runner::Again if free => actions.push(Action::SearchAgain(i)),
            Runner::Again => {}
            Runner::Searching { .. } => {
                let (may_see, may_miss) = state.search(self.search_settings(state));
                let can = self.can_search(&state.row);
                actions.extend((may_see && can).then_some(Action::Find(i, Found::Record)));
                actions.extend((may_miss || !can).then_some(Action::Find(i, Found::Nothing)));
                actions.push(Action::Find(i, Found::Failed));
            }
            Runner::Running(run) => {
                let success = run.last == Some(Class::Acknowledged);
                let denied = self.has(Rule::NoWriteAfterFailure) && !success;
                if run.writes == 0 || run.writes == 1 && !denied {
                    let marks = [true, false].into_iter().take(if run.writes == 0 { 2 } else { 1 });
                    actions.extend(marks.map(|marked| Action::MarkSent { runner: i, marked }));
                }
                actions.push(Action::Finish { runner: i, defect: false });
                if run.class == Some(Class::Acknowledged) {
                    actions.push(Action::Finish { runner: i, defect: true });
                }
            }
            Runner::Marked { .. } => actions.push(Action::Leave(i)),
            Runner::Waiting { run, .. } => {
                let answers = [
                    Answer::Refused,
                    Answer::Unclear { created: false },
                    Answer::Forbidden { created: false },
                    Answer::Open(Effect::None),
                    Answer::Unclear { created: true },
                    Answer::Forbidden { created: true },
                    Answer::Open(Effect::Now),
                    Answer::Open(Effect::Delayed),
                    Answer::Created,
                ];
                // After a success, the second write of a guest creates nothing.
                let count = if run.class == Some(Class::Acknowledged) { 4 } else { answers.len() };
                actions.extend(answers.iter().take(count).map(|it| Action::Answer(i, *it)));
            }
        }
        if free && state.clicks > 0 && matches!(state.runners[i], Runner::Idle | Runner::Again) {
            actions.push(Action::Click(i));
        }
    }

    /// What may go wrong next, and what a person may do.
    fn trouble_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let row = &state.row;
        if row.state == RowState::Created {
            return;
        }
        actions.push(Action::Crash);
        actions.extend(row.leased.then_some(Action::Expire));
        actions.extend([true, false].map(|lease_ends| Action::ClockStep { lease_ends }));
        actions.extend((state.settings == 0).then_some(Action::Edit));
        // A person who decided has looked into the tracker.
        let may_blind = row.decided.is_none() && (state.control || row.forbidden);
        actions.extend((!state.blind && may_blind).then_some(Action::Blind));
        let acknowledged = row.class == Some(Class::Acknowledged)
            && row.state == RowState::InDoubt
            && row.decided.is_none();
        actions.extend((acknowledged && !state.records.is_empty()).then_some(Action::Hide));
        // A person looks into the tracker before the decision, at a time when no write is in
        // flight.
        let in_flight = state.runners.iter().any(|it| matches!(it, Runner::Waiting { .. }));
        let unseen = |it: &Record| it.hidden || !it.marked || !row.marked || state.blind;
        let hidden = state.records.iter().any(unseen);
        let open = state.is_open() && self.has(Rule::NoDecisionDuringRun);
        let fits = matches!(row.state, RowState::InDoubt | RowState::Sent);
        if !row.leased && fits && !open && !in_flight && !hidden && state.delayed.is_empty() {
            actions.extend([Decided::Retry, Decided::GiveUp].map(Action::Decide));
        }
    }

    /// Applies one trouble.
    fn trouble(&self, state: &mut State, trouble: Action) {
        state.troubles -= 1;
        match trouble {
            Action::Crash => self.crash(state),
            Action::Expire => {
                state.row.leased = false;
                end_checked_leases(state);
            }
            Action::ClockStep { lease_ends } => {
                state.row.leased &= !lease_ends;
                state.row.waited = WAIT_MAX;
                state.row.sent_age = WAIT_MAX + 1;
                state.stepped = true;
            }
            Action::Edit => state.settings = 1,
            Action::Blind => state.blind = true,
            Action::Hide => state.records.iter_mut().for_each(|record| record.hidden = true),
            Action::Decide(decided) => self.decide(state, decided),
            _ => {}
        }
    }

    /// All runs are lost. Writes in flight get no answer.
    fn crash(&self, state: &mut State) {
        for runner in &mut state.runners {
            if let Runner::Waiting { run, .. } = *runner
                && run.class != Some(Class::Acknowledged)
            {
                state.delayed.push(Record {
                    settings: run.settings,
                    marked: run.marked,
                    hidden: false,
                    flag: false,
                });
            }
            *runner = Runner::Idle;
        }
        state.stepped = false;
        let row = &mut state.row;
        row.leased = false;
        row.fence += 1;
        if row.state == RowState::Sent {
            self.doubt_lost_run(row);
        }
        row.waited = if self.has(Rule::WaitsBeginAtStart) { row.waited.min(0) } else { WAIT_MAX };
    }
}

/// The leases that runs checked when they committed `sent` have ended, by the clock that never
/// steps.
fn end_checked_leases(state: &mut State) {
    for runner in &mut state.runners {
        if let Runner::Marked { live, .. } = runner {
            *live = false;
        }
    }
}

/// A unit of time passes.
fn tick(state: &mut State) {
    end_checked_leases(state);
    state.row.waited = (state.row.waited + 1).min(WAIT_MAX);
    if state.row.state == RowState::Sent {
        state.row.sent_age = (state.row.sent_age + 1).min(WAIT_MAX + 1);
    }
    for runner in &mut state.runners {
        if let Runner::Waiting { age, .. } = runner {
            *age += 1;
        }
    }
    for record in &mut state.records {
        record.flag = false;
    }
    for effect in &mut state.delayed {
        effect.flag = true;
    }
}

/// Whether the state stays the same when time passes.
fn is_quiet(state: &State) -> bool {
    let mut later = state.clone();
    tick(&mut later);
    later == *state
}

/// One more click, with a tracker that works and a search that sees everything, returns the one
/// defect. Only a person can decide in these cases: after a 201 whose record no search finds, after
/// a first write without the marker, and after a 403 without another defect to test the search
/// with.
fn ends_well(protocol: &Protocol, state: &State) -> bool {
    if state.is_open() || !state.delayed.is_empty() || !is_quiet(state) || state.row.leased {
        return true;
    }
    let mut state = state.clone();
    state.blind = false;
    state.runners[0] = Runner::Idle;
    // The click before this one began the waits again.
    state.stepped = false;
    if state.row.state == RowState::Sent {
        protocol.doubt_lost_run(&mut state.row);
    }
    state.row.waited = WAIT_MAX;
    let (found, _) = state.search(state.row.seen);
    let row = &state.row;
    let decided = row.decided.is_some() || row.doubt_ended;
    let unsafe_class = row.class == Some(Class::Acknowledged)
        || row.forbidden && !state.control && row.class > Some(Class::Refused);
    let searchable = row.marked || row.class == Some(Class::Refused);
    let needs_person = !decided && unsafe_class || row.decided.is_none() && !searchable;
    if row.wrote && needs_person && !(found && row.marked) {
        return true;
    }
    protocol.claim(&mut state, 0, false);
    if matches!(state.runners[0], Runner::Searching { .. }) {
        let found = if found && state.row.marked { Found::Record } else { Found::Nothing };
        protocol.find(&mut state, 0, found);
    }
    protocol.mark(&mut state, 0, true);
    protocol.leave(&mut state, 0);
    protocol.answer(&mut state, 0, Answer::Created);
    protocol.finish(&mut state, 0, true);
    state.row.state == RowState::Created && state.records.len() == 1
}

#[test]
fn in_every_order_of_events_there_is_at_most_one_record() {
    let full = Protocol { without: None, clicks: 2, troubles: 2 };
    let checked = full.checker().threads(2).spawn_bfs().join();
    println!("{} states were checked", checked.unique_state_count());
    checked.assert_properties();
    assert!(checked.unique_state_count() > 100_000, "the model has too few states");
}

#[test]
fn the_protocol_breaks_its_promise_if_any_single_rule_is_removed() {
    let mut not_needed = Vec::new();
    for rule in Rule::ALL {
        let model = Protocol { without: Some(rule), clicks: 2, troubles: rule.troubles() };
        let checked = model.checker().threads(2).spawn_bfs().join();
        match checked.discovery("one record, one create per click") {
            Some(path) => println!("{rule:?}: {:?}", path.into_actions()),
            None => not_needed.push(rule),
        }
    }
    assert!(not_needed.is_empty(), "without these rules, the promise still holds: {not_needed:?}");
}
