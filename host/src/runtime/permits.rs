//! Permits to run, shared fairly, so that no connector, connection or kind of call keeps the others
//! waiting. Used twice: for the runs of the host, and for the guests that compute.
//!
//! A permit takes as many slots of the engine's pool as its component needs, so the pool never runs
//! out. A group (a connector, a connection, or one kind of its calls) may hold only so much that a
//! part stays free for others. But each kind of call of each connection may always have one run.
//! When a permit becomes free, the group that holds least gets it; of several, the one that was
//! served longest ago. Reads no clock: a caller that gives up drops its receiver.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::domain::{Call, ConnectionId, ConnectorName};

/// A connection may hold this many times what is still free for the other connections of its
/// connector. A connector may hold as much as is still free for other connectors.
const CONNECTION_SHARE: u32 = 3;
/// As [`CONNECTION_SHARE`], for one kind of call of a connection.
const CALL_SHARE: u32 = 2;

/// One kind of call of one connection: its runs wait in one queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    pub(super) connector: ConnectorName,
    pub(super) connection: ConnectionId,
    pub(super) call: Call,
}

/// The request of a run for a permit.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) lane: Lane,
    /// Slots of the pool that the run needs; never more than the pool has.
    pub(super) slots: u32,
    /// Maximum number of runs of the connector at a time. A lane without a run may exceed it.
    pub(super) runs_max: u32,
}

/// The maximum that all permits together may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Capacity {
    pub(super) slots: u32,
    pub(super) runs: u32,
    /// Maximum number of requests of one lane that wait; further ones are refused.
    pub(super) waiting: usize,
    /// Whether a part is kept free for groups that hold nothing yet.
    pub(super) keep_free: bool,
}

/// The permits that are in use, and the requests that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InUseNow {
    pub(super) slots: u32,
    pub(super) runs: u32,
    pub(super) waiting: usize,
}

/// The answer to a request for a permit.
pub(super) enum Admission {
    Granted(Permit),
    /// The request waits: the receiver gets the permit. Drop the receiver to give up.
    Waiting(oneshot::Receiver<Permit>),
    /// Too many requests of this lane wait.
    Full,
}

/// The right to run. Dropping it gives it back.
pub(super) struct Permit {
    permits: Arc<Permits>,
    lane: Lane,
    slots: u32,
    /// Permits that were given to other requests while this one waited.
    pub(super) permits_before: u64,
}

/// All permits of one kind, and the requests that wait for them.
pub(super) struct Permits {
    capacity: Capacity,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    in_use: InUse,
    groups: HashMap<Group, InUse>,
    waiting: HashMap<Lane, VecDeque<Waiter>>,
    /// Number of permits given so far; the clock of [`InUse::served_at`].
    given: u64,
    /// Number of permits given to requests that had waited.
    handed_over: u64,
    /// Number of requests so far.
    asked: u64,
}

/// A group whose permits are counted together: a connector, a connection, or one kind of call of a
/// connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Group {
    Connector(ConnectorName),
    Connection(ConnectionId),
    Call(ConnectionId, Call),
}

/// The permits that a group holds.
#[derive(Debug, Clone, Copy, Default)]
struct InUse {
    slots: u32,
    runs: u32,
    served_at: u64,
}

struct Waiter {
    request: Request,
    sender: oneshot::Sender<Permit>,
    asked_at: u64,
    /// The value of [`State::handed_over`] when the request began to wait.
    handed_over_at_start: u64,
}

/// The order in which waiting lanes are served: connector, connection, call, each by what it holds
/// and when it was served; then by arrival.
type Rank = ([(u32, u64); 3], u64);

impl Permits {
    pub(super) fn new(capacity: Capacity) -> Arc<Self> {
        Arc::new(Self { capacity, state: Mutex::default() })
    }

    /// Requests a permit. It is granted at once, or the request waits, or is refused.
    pub(super) fn ask(self: &Arc<Self>, request: Request) -> Admission {
        let mut state = self.state.lock();
        let waiting = state.waiting.get_mut(&request.lane).map_or(0, |waiters| {
            waiters.retain(|waiter| !waiter.sender.is_closed());
            waiters.len()
        });
        if waiting >= self.capacity.waiting {
            return Admission::Full;
        }
        if waiting == 0 && state.fits(&request, self.capacity) {
            state.forget_idle_groups();
            state.record_permit(&request);
            return Admission::Granted(self.permit(request, 0));
        }
        let (sender, receiver) = oneshot::channel();
        state.asked += 1;
        let (asked_at, handed_over_at_start) = (state.asked, state.handed_over);
        let waiter = Waiter { request, sender, asked_at, handed_over_at_start };
        state.waiting.entry(waiter.request.lane.clone()).or_default().push_back(waiter);
        Admission::Waiting(receiver)
    }

    pub(super) fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// What is in use now. Requests that gave up are not counted.
    pub(super) fn in_use(&self) -> InUseNow {
        let state = self.state.lock();
        let waiters = state.waiting.values().flatten();
        let waiting = waiters.filter(|waiter| !waiter.sender.is_closed()).count();
        InUseNow { slots: state.in_use.slots, runs: state.in_use.runs, waiting }
    }

    fn permit(self: &Arc<Self>, request: Request, permits_before: u64) -> Permit {
        let Request { lane, slots, .. } = request;
        Permit { permits: Arc::clone(self), lane, slots, permits_before }
    }

    /// Gives a permit back, so that a waiting request may get it.
    fn give_back(self: &Arc<Self>, lane: &Lane, slots: u32) {
        let mut state = self.state.lock();
        state.record_returned(lane, slots);
        let somebody_waits = !state.waiting.is_empty();
        drop(state);
        if somebody_waits {
            self.hand_over();
        }
    }

    /// Gives free permits to waiting requests. Also called when a request gives up: the requests
    /// behind it may need fewer slots.
    pub(super) fn hand_over(self: &Arc<Self>) {
        let mut state = self.state.lock();
        let mut granted = Vec::new();
        while let Some(Waiter { request, sender, handed_over_at_start, .. }) =
            state.next(self.capacity)
        {
            state.record_permit(&request);
            let permits_before = state.handed_over - handed_over_at_start;
            state.handed_over += 1;
            granted.push((sender, self.permit(request, permits_before)));
        }
        drop(state);
        for (sender, permit) in granted {
            // If the receiver was dropped meanwhile, `send` returns the permit, and its drop gives
            // it back.
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
    fn in_use_by(&self, lane: &Lane) -> [InUse; 3] {
        lane.groups().map(|group| self.groups.get(&group).copied().unwrap_or_default())
    }

    /// Whether the request can get its permit now.
    fn fits(&self, request: &Request, capacity: Capacity) -> bool {
        let free_slots = capacity.slots.saturating_sub(self.in_use.slots);
        let free_runs = capacity.runs.saturating_sub(self.in_use.runs);
        if request.slots > free_slots || free_runs == 0 {
            return false;
        }
        if !capacity.keep_free {
            return true;
        }
        let [connector, connection, call] = self.in_use_by(&request.lane);
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

    fn record_permit(&mut self, request: &Request) {
        self.given += 1;
        let now = self.given;
        let add = |in_use: &mut InUse| {
            in_use.slots = in_use.slots.saturating_add(request.slots);
            in_use.runs = in_use.runs.saturating_add(1);
            in_use.served_at = now;
        };
        add(&mut self.in_use);
        for group in request.lane.groups() {
            add(self.groups.entry(group).or_default());
        }
    }

    fn record_returned(&mut self, lane: &Lane, slots: u32) {
        let subtract = |in_use: &mut InUse| {
            in_use.slots = in_use.slots.saturating_sub(slots);
            in_use.runs = in_use.runs.saturating_sub(1);
        };
        subtract(&mut self.in_use);
        for group in lane.groups() {
            if let Some(in_use) = self.groups.get_mut(&group) {
                subtract(in_use);
            }
        }
        self.forget_idle_groups();
    }

    /// Removes and returns the next waiter whose request fits. Also removes the waiters that gave
    /// up.
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
        let in_use = self.in_use_by(&waiter.request.lane);
        (in_use.map(|it| (it.slots, it.served_at)), waiter.asked_at)
    }

    /// Forgets groups that hold no permit, unless a request waits: then their last service still
    /// counts for the order.
    fn forget_idle_groups(&mut self) {
        self.waiting.retain(|_, waiters| !waiters.is_empty());
        if self.waiting.is_empty() {
            self.groups.retain(|_, in_use| in_use.runs > 0);
        }
    }
}

#[cfg(test)]
mod tests;
