//! The protocol of "one failed test, one defect", checked in every order of events: two claimants, two
//! clicks each, one crash, lost messages, a lease that ends under a live runner, a person's retry.
//!
//! The model is the design's section, not the code; the real binary is killed in `kills.rs`. Taking out
//! the `sent` step, the fence or the settle time of a retry makes the checker find the second issue, which shows that it would.

use stateright::{Checker, Model, Property};

/// Which guard is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    SentStep,
    Fence,
    SettleTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Row {
    Absent,
    Intent,
    Sent,
    Created,
    InDoubt,
}

/// What one runner is about to do, and under which fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Runner {
    Idle,
    /// May commit `sent`.
    Ready(u8),
    /// `sent` is committed, nothing has left.
    Sending(u8),
    /// The write has left.
    Waiting(u8),
    /// The tracker said yes.
    Answered(u8),
    /// No whole answer will come.
    Broken(u8),
    /// May look for the marker; then, where a person asked for it, create.
    Finding(u8),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    row: Row,
    fence: u8,
    leased: bool,
    /// A person asked to look once more and to create where nothing is found.
    retry: bool,
    runners: [Runner; 2],
    clicks: [u8; 2],
    /// Writes that have left and not arrived, by sender.
    in_flight: [u8; 2],
    issues: u8,
    crashes: u8,
    expiries: u8,
    retries: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    Click(usize),
    CommitSent(usize),
    Leave(usize),
    Arrive {
        sender: usize,
        answered: bool,
    },
    Lose(usize),
    Settle(usize),
    Find(usize),
    Crash(usize),
    /// The lease ends: its holder crashed, or slept through it.
    Expire,
    /// A person's `--retry`.
    Retry,
}

struct Protocol(Without);

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            row: Row::Absent,
            fence: 0,
            leased: false,
            retry: false,
            runners: [Runner::Idle; 2],
            clicks: [2; 2],
            in_flight: [0; 2],
            issues: 0,
            crashes: 1,
            expiries: 2,
            retries: 1,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for i in 0..2 {
            match state.runners[i] {
                Runner::Idle if state.clicks[i] > 0 => actions.push(Action::Click(i)),
                Runner::Idle | Runner::Waiting(_) => {}
                Runner::Ready(_) => actions.push(Action::CommitSent(i)),
                Runner::Sending(_) => actions.push(Action::Leave(i)),
                Runner::Answered(_) | Runner::Broken(_) => actions.push(Action::Settle(i)),
                Runner::Finding(_) => actions.push(Action::Find(i)),
            }
            if state.runners[i] != Runner::Idle && state.crashes > 0 {
                actions.push(Action::Crash(i));
            }
            if state.in_flight[i] > 0 {
                let arrivals = [true, false].map(|answered| Action::Arrive { sender: i, answered });
                actions.extend(arrivals);
                actions.push(Action::Lose(i));
            }
        }
        if state.leased && state.expiries > 0 {
            actions.push(Action::Expire);
        }
        if state.row == Row::InDoubt && !state.leased && state.retries > 0 {
            actions.push(Action::Retry);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Click(i) => state.claim(i),
            Action::CommitSent(i) => self.commit_sent(&mut state, i),
            Action::Leave(i) => {
                let Runner::Sending(fence) = state.runners[i] else { return None };
                state.in_flight[i] += 1;
                state.runners[i] = Runner::Waiting(fence);
            }
            Action::Arrive { sender, answered } => {
                state.in_flight[sender] -= 1;
                state.issues += 1;
                state.hears(sender, answered);
            }
            Action::Lose(i) => {
                state.in_flight[i] -= 1;
                state.hears(i, false);
            }
            Action::Settle(i) => self.settle(&mut state, i),
            Action::Find(i) => self.find(&mut state, i),
            Action::Crash(i) => {
                state.crashes -= 1;
                state.runners[i] = Runner::Idle;
            }
            Action::Expire => {
                state.expiries -= 1;
                state.leased = false;
            }
            Action::Retry => {
                state.retries -= 1;
                state.retry = true;
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one issue at most", |_, state: &State| state.issues <= 1),
            Property::always("what is created exists", |_, state: &State| {
                state.row != Row::Created || state.issues > 0
            }),
            Property::sometimes("a defect is created", |_, state: &State| {
                state.row == Row::Created
            }),
            Property::sometimes("a retry creates after a lost write", |_, state: &State| {
                state.row == Row::Created && state.retries == 0
            }),
            Property::sometimes("a crash is got over", |_, state: &State| {
                state.row == Row::Created && state.crashes == 0
            }),
        ]
    }
}

impl State {
    /// One transaction: takes the row, or what is left of somebody else's.
    fn claim(&mut self, i: usize) {
        self.clicks[i] -= 1;
        if self.leased || self.row == Row::Created {
            return;
        }
        self.fence += 1;
        self.leased = true;
        self.runners[i] = match self.row {
            Row::Absent | Row::Intent => {
                self.row = Row::Intent;
                Runner::Ready(self.fence)
            }
            _ => {
                self.row = Row::InDoubt;
                Runner::Finding(self.fence)
            }
        };
    }

    /// What becomes of the sender's wait; a crashed sender hears nothing.
    fn hears(&mut self, sender: usize, answered: bool) {
        if let Runner::Waiting(fence) = self.runners[sender] {
            self.runners[sender] =
                if answered { Runner::Answered(fence) } else { Runner::Broken(fence) };
        }
    }

    /// Settle time runs from the end of the last write, after a crash from `sent` plus the run maximum:
    /// no write is under way any more, wherever it is.
    fn settle_time_is_over(&self) -> bool {
        let writing = |runner: &Runner| matches!(runner, Runner::Sending(_) | Runner::Waiting(_));
        self.in_flight == [0; 2] && !self.runners.iter().any(writing)
    }
}

impl Protocol {
    fn holds(&self, state: &State, fence: u8) -> bool {
        self.0 == Without::Fence || (state.fence == fence && state.leased)
    }

    fn commit_sent(&self, state: &mut State, i: usize) {
        let Runner::Ready(fence) = state.runners[i] else { return };
        if self.0 == Without::SentStep {
            state.runners[i] = Runner::Sending(fence);
        } else if self.holds(state, fence) {
            state.row = Row::Sent;
            state.runners[i] = Runner::Sending(fence);
        } else {
            state.runners[i] = Runner::Idle;
        }
    }

    fn settle(&self, state: &mut State, i: usize) {
        let (fence, row) = match state.runners[i] {
            Runner::Answered(fence) => (fence, Row::Created),
            Runner::Broken(fence) => (fence, Row::InDoubt),
            _ => return,
        };
        state.runners[i] = Runner::Idle;
        if self.holds(state, fence) {
            state.row = row;
            state.leased = false;
        }
    }

    fn find(&self, state: &mut State, i: usize) {
        let Runner::Finding(fence) = state.runners[i] else { return };
        state.runners[i] = Runner::Idle;
        if !self.holds(state, fence) {
            return;
        }
        if state.issues > 0 {
            state.row = Row::Created;
        } else if state.retry && (self.0 == Without::SettleTime || state.settle_time_is_over()) {
            state.retry = false;
            state.row = Row::Intent;
            state.runners[i] = Runner::Ready(fence);
            return;
        }
        state.leased = false;
    }
}

#[test]
fn in_every_order_of_events_there_is_one_issue_at_most() {
    let checked = Protocol(Without::Nothing).checker().threads(2).spawn_bfs().join();
    checked.assert_properties();
    println!("{} states, each reached and right", checked.unique_state_count());
    assert!(checked.unique_state_count() > 1_000, "the model is not that small");
}

#[test]
fn without_the_sent_step_the_fence_or_the_settle_time_the_checker_finds_the_second_issue() {
    for without in [Without::SentStep, Without::Fence, Without::SettleTime] {
        let checked = Protocol(without).checker().threads(2).spawn_bfs().join();
        let path = checked.discovery("one issue at most");
        let path = path.unwrap_or_else(|| panic!("{without:?} makes no second issue"));
        println!("{without:?}: {:?}", path.into_actions());
    }
}
