//! The protocol of "one failed test, one defect" as a model, checked in every order of events: two
//! runners with two clicks each, a crash, lost messages, a lease that ends while its holder runs,
//! a person's retry.
//!
//! The model restates the protocol and does not call the host's code; `crash_points.rs` and
//! `crash_random.rs` kill the real binary. Without the commit of `sent`, without the fence, or
//! without the wait before a retry, the checker finds a second issue: this shows that the model
//! can find one.

use stateright::{Checker, Model, Property};

/// The guard that is left out of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    SentCommit,
    Fence,
    Wait,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Row {
    Absent,
    Intent,
    Sent,
    Created,
    InDoubt,
}

/// The next step of a runner, and its fencing number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Runner {
    Idle,
    /// Commits `sent` next.
    Ready(u8),
    /// `sent` is committed; the write has not left.
    Sending(u8),
    /// The write has left; there is no answer yet.
    Waiting(u8),
    /// The tracker created the issue and answered.
    Answered(u8),
    /// There is no complete answer.
    Broken(u8),
    /// Searches for the marker next; after a retry, it may then create.
    Finding(u8),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    row: Row,
    fence: u8,
    leased: bool,
    /// A person requested a retry: search again, and create if nothing is found.
    retry: bool,
    runners: [Runner; 2],
    clicks: [u8; 2],
    /// Writes that have left and not arrived, by runner.
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
    StoreOutcome(usize),
    Find(usize),
    Crash(usize),
    /// The lease ends: its holder crashed, or was suspended for too long.
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
                Runner::Answered(_) | Runner::Broken(_) => actions.push(Action::StoreOutcome(i)),
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
                state.receive(sender, answered);
            }
            Action::Lose(i) => {
                state.in_flight[i] -= 1;
                state.receive(i, false);
            }
            Action::StoreOutcome(i) => self.store_outcome(&mut state, i),
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
            Property::always("at most one issue", |_, state: &State| state.issues <= 1),
            Property::always("a created defect has an issue", |_, state: &State| {
                state.row != Row::Created || state.issues > 0
            }),
            Property::sometimes("a defect is created", |_, state: &State| {
                state.row == Row::Created
            }),
            Property::sometimes("a retry creates after a lost write", |_, state: &State| {
                state.row == Row::Created && state.retries == 0
            }),
            Property::sometimes("a defect is created after a crash", |_, state: &State| {
                state.row == Row::Created && state.crashes == 0
            }),
        ]
    }
}

impl State {
    /// One transaction: claims the row, also from a runner that crashed or lost its lease.
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

    /// The end of the exchange, for a sender that still waits.
    fn receive(&mut self, sender: usize, answered: bool) {
        if let Runner::Waiting(fence) = self.runners[sender] {
            self.runners[sender] =
                if answered { Runner::Answered(fence) } else { Runner::Broken(fence) };
        }
    }

    /// Whether the wait before a retry is over. It is so long that no write is in flight any more
    /// and that a search finds every issue.
    fn wait_is_over(&self) -> bool {
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
        if self.0 == Without::SentCommit {
            state.runners[i] = Runner::Sending(fence);
        } else if self.holds(state, fence) {
            state.row = Row::Sent;
            state.runners[i] = Runner::Sending(fence);
        } else {
            state.runners[i] = Runner::Idle;
        }
    }

    fn store_outcome(&self, state: &mut State, i: usize) {
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
        } else if state.retry && (self.0 == Without::Wait || state.wait_is_over()) {
            state.retry = false;
            state.row = Row::Intent;
            state.runners[i] = Runner::Ready(fence);
            return;
        }
        state.leased = false;
    }
}

#[test]
fn in_every_order_of_events_there_is_at_most_one_issue() {
    let checked = Protocol(Without::Nothing).checker().threads(2).spawn_bfs().join();
    checked.assert_properties();
    println!("{} states were checked", checked.unique_state_count());
    assert!(checked.unique_state_count() > 1_000, "the model has more states");
}

#[test]
fn without_one_of_its_guards_the_protocol_makes_a_second_issue() {
    for without in [Without::SentCommit, Without::Fence, Without::Wait] {
        let checked = Protocol(without).checker().threads(2).spawn_bfs().join();
        let path = checked.discovery("at most one issue");
        let path = path.unwrap_or_else(|| panic!("{without:?} makes no second issue"));
        println!("{without:?}: {:?}", path.into_actions());
    }
}
