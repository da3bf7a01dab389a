//! Permits: what may run at once, shared out so that no connector, connection or kind of call keeps
//! the others waiting. Used twice: for the runs of the host, and for the guests that compute.
//!
//! A permit weighs the slots of the engine's pool that its component needs, so the pool never runs
//! out. A group may hold only so much as it leaves a part free, and each kind of call of each
//! connection may always have one run. What gets free goes to the group that holds least, then to
//! the one served longest ago. Knows no time: a caller that gives up drops its receiver.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::domain::{Call, ConnectionId, ConnectorName};

/// A connection may hold this many times what stays free for the other connections of its
/// connector. A connector may hold as much as stays free for other connectors.
const CONNECTION_SHARE: u32 = 3;
/// The same for one kind of call of a connection.
const CALL_SHARE: u32 = 2;

/// One kind of call of one connection: its runs wait in one queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    pub(super) connector: ConnectorName,
    pub(super) connection: ConnectionId,
    pub(super) call: Call,
}

/// What a run asks for.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) lane: Lane,
    /// Slots of the pool; not more than there are.
    pub(super) slots: u32,
    /// The most runs of its connector, beside one of each lane.
    pub(super) runs_max: u32,
}

/// The most that may be held at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Capacity {
    pub(super) slots: u32,
    pub(super) runs: u32,
    /// Requests of one lane that wait; further ones are refused.
    pub(super) waiting: usize,
    /// Whether a part is kept free for groups that hold nothing yet.
    pub(super) keep_free: bool,
}

/// The answer to a request.
pub(super) enum Asked {
    Granted(Permit),
    /// Sends the permit. Drop it to give up.
    Waiting(oneshot::Receiver<Permit>),
    /// Too many requests of this lane wait.
    Full,
}

/// The right to run; given back when it is dropped.
pub(super) struct Permit {
    permits: Arc<Permits>,
    lane: Lane,
    slots: u32,
    /// Permits that went to others while this request waited.
    pub(super) passed_over: u64,
}

/// All permits of one kind.
pub(super) struct Permits {
    capacity: Capacity,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Held,
    groups: HashMap<Group, Held>,
    waiting: HashMap<Lane, VecDeque<Waiter>>,
    /// Permits given so far: the clock of [`Held::served_at`].
    given: u64,
    /// Those that were given to requests that had waited.
    handed_over: u64,
    /// Requests so far.
    asked: u64,
}

/// Those who share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Group {
    Connector(ConnectorName),
    Connection(ConnectionId),
    Call(ConnectionId, Call),
}

/// What a group holds.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    slots: u32,
    runs: u32,
    served_at: u64,
}

struct Waiter {
    request: Request,
    sender: oneshot::Sender<Permit>,
    asked_at: u64,
    /// [`State::handed_over`] when it began to wait.
    handed_over_at_start: u64,
}

/// The order in which waiting lanes are served: connector, connection, call, each by what it holds
/// and when it was served; then by arrival.
type Rank = ([(u32, u64); 3], u64);

impl Permits {
    pub(super) fn new(capacity: Capacity) -> Arc<Self> {
        Arc::new(Self { capacity, state: Mutex::default() })
    }

    /// Asks for a permit.
    pub(super) fn ask(self: &Arc<Self>, request: Request) -> Asked {
        let mut state = self.state.lock();
        let waiting = state.waiting.get_mut(&request.lane).map_or(0, |waiters| {
            waiters.retain(|waiter| !waiter.sender.is_closed());
            waiters.len()
        });
        if waiting >= self.capacity.waiting {
            return Asked::Full;
        }
        if waiting == 0 && state.fits(&request, self.capacity) {
            state.forget_idle();
            state.take(&request);
            return Asked::Granted(self.permit(request, 0));
        }
        let (sender, receiver) = oneshot::channel();
        state.asked += 1;
        let (asked_at, handed_over_at_start) = (state.asked, state.handed_over);
        let waiter = Waiter { request, sender, asked_at, handed_over_at_start };
        state.waiting.entry(waiter.request.lane.clone()).or_default().push_back(waiter);
        Asked::Waiting(receiver)
    }

    fn permit(self: &Arc<Self>, request: Request, passed_over: u64) -> Permit {
        let Request { lane, slots, .. } = request;
        Permit { permits: Arc::clone(self), lane, slots, passed_over }
    }

    /// Gives a permit back.
    fn give_back(self: &Arc<Self>, lane: &Lane, slots: u32) {
        self.state.lock().return_slots(lane, slots);
        self.hand_over();
    }

    /// Hands over what is free. Also called when a request gave up: those behind it may fit.
    pub(super) fn hand_over(self: &Arc<Self>) {
        let mut state = self.state.lock();
        let mut granted = Vec::new();
        while let Some(Waiter { request, sender, handed_over_at_start, .. }) =
            state.next(self.capacity)
        {
            state.take(&request);
            let before = state.handed_over - handed_over_at_start;
            state.handed_over += 1;
            granted.push((sender, self.permit(request, before)));
        }
        drop(state);
        for (sender, permit) in granted {
            // If the receiver gave up meanwhile, the permit comes back here and is given back.
            let _ = sender.send(permit);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let permits = Arc::clone(&self.permits);
        permits.give_back(&self.lane, self.slots);
    }
}

impl Lane {
    fn groups(&self) -> [Group; 3] {
        let Self { connector, connection, call } = self;
        [
            Group::Connector(connector.clone()),
            Group::Connection(*connection),
            Group::Call(*connection, *call),
        ]
    }
}

impl State {
    fn held_by(&self, lane: &Lane) -> [Held; 3] {
        lane.groups().map(|group| self.groups.get(&group).copied().unwrap_or_default())
    }

    /// Whether the request can have its permit now.
    fn fits(&self, request: &Request, capacity: Capacity) -> bool {
        let free_slots = capacity.slots.saturating_sub(self.held.slots);
        let free_runs = capacity.runs.saturating_sub(self.held.runs);
        if request.slots > free_slots || free_runs == 0 {
            return false;
        }
        if !capacity.keep_free {
            return true;
        }
        let [connector, connection, call] = self.held_by(&request.lane);
        let leaves_room = connector.slots.saturating_add(request.slots)
            <= free_slots.saturating_sub(request.slots)
            && connector.runs < free_runs;
        if connector.runs > 0 && !leaves_room {
            return false;
        }
        let free = request.runs_max.saturating_sub(connector.runs);
        call.runs == 0
            || (connection.runs < free.saturating_mul(CONNECTION_SHARE)
                && call.runs < free.saturating_mul(CALL_SHARE))
    }

    fn take(&mut self, request: &Request) {
        self.given += 1;
        let now = self.given;
        let add = |held: &mut Held| {
            held.slots = held.slots.saturating_add(request.slots);
            held.runs = held.runs.saturating_add(1);
            held.served_at = now;
        };
        add(&mut self.held);
        for group in request.lane.groups() {
            add(self.groups.entry(group).or_default());
        }
    }

    fn return_slots(&mut self, lane: &Lane, slots: u32) {
        let subtract = |held: &mut Held| {
            held.slots = held.slots.saturating_sub(slots);
            held.runs = held.runs.saturating_sub(1);
        };
        subtract(&mut self.held);
        for group in lane.groups() {
            if let Some(held) = self.groups.get_mut(&group) {
                subtract(held);
            }
        }
        self.forget_idle();
    }

    /// Removes the next waiter that fits; those that gave up are removed on the way.
    fn next(&mut self, capacity: Capacity) -> Option<Waiter> {
        for waiters in self.waiting.values_mut() {
            waiters.retain(|waiter| !waiter.sender.is_closed());
        }
        self.waiting.retain(|_, waiters| !waiters.is_empty());
        let fronts = self.waiting.values().filter_map(VecDeque::front);
        let fitting = fronts.filter(|waiter| self.fits(&waiter.request, capacity));
        let lane = fitting.min_by_key(|waiter| self.rank(waiter))?.request.lane.clone();
        self.waiting.get_mut(&lane)?.pop_front()
    }

    fn rank(&self, waiter: &Waiter) -> Rank {
        let held = self.held_by(&waiter.request.lane);
        (held.map(|held| (held.slots, held.served_at)), waiter.asked_at)
    }

    /// Without waiters the order of service does not matter: only groups that hold something are
    /// kept.
    fn forget_idle(&mut self) {
        self.waiting.retain(|_, waiters| !waiters.is_empty());
        if self.waiting.is_empty() {
            self.groups.retain(|_, held| held.runs > 0);
        }
    }
}

#[cfg(test)]
mod tests;
