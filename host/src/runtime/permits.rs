//! Shares permits fairly, so that no connector, connection or kind of call blocks the others. There
//! are two kinds of permits: to start a run, and to poll a guest.
//!
//! A permit for a run reserves the slots of the engine's pool (`pool.rs`) that the component needs.
//! A group is a connector, a connection, or one kind of call of a connection. Of the requests that
//! can get a free permit, the one whose groups use the fewest slots gets it (see [`WaiterRank`]).
//! Never takes a permit back: its owner drops it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::domain::{Call, ConnectionId, ConnectorName, Refusal};

/// A connection gets a further run of a kind of call only if the number of all its runs is lower
/// than this factor times the number of runs that its connector may still start.
const CONNECTION_SHARE: u32 = 3;
/// The factor for the runs of one kind of call of a connection. It is used like
/// [`CONNECTION_SHARE`].
const CALL_SHARE: u32 = 2;

/// One kind of call of one connection. The requests of a lane wait in one queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    pub(super) connector: ConnectorName,
    pub(super) connection: ConnectionId,
    pub(super) call: Call,
}

/// A run's request for a permit.
#[derive(Debug, Clone)]
pub(super) struct PermitRequest {
    pub(super) lane: Lane,
    /// The number of slots that the run needs, at most [`Capacity::slots`].
    pub(super) slots: u32,
    /// Maximum number of runs of the connector at the same time. The first run of a lane may exceed
    /// this maximum.
    pub(super) runs_max: u32,
}

/// The limits on all permits together, and on the requests that wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Capacity {
    /// Maximum number of slots of all permits together.
    pub(super) slots: u32,
    /// Maximum number of permits in use at the same time.
    pub(super) runs: u32,
    /// Maximum number of waiting requests of one lane. Further requests of this lane are refused.
    pub(super) waiting_max: usize,
    /// Whether some permits stay free for other groups and [`PermitRequest::runs_max`] applies.
    pub(super) keeps_reserve: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PermitUsage {
    pub(super) slots: u32,
    pub(super) runs: u32,
    pub(super) waiting: usize,
}

/// The answer to a request for a permit.
pub(super) enum PermitAnswer {
    Granted(Permit),
    /// The receiver gets the permit later. A caller that gives up drops the receiver.
    Waiting(oneshot::Receiver<Permit>),
    /// Too many requests of this lane wait.
    QueueFull,
}

/// A permit in use. Dropping it releases it.
pub(super) struct Permit {
    permits: Arc<Permits>,
    lane: Lane,
    slots: u32,
    /// The number of permits that other waiting requests got while this request waited.
    pub(super) permits_before: u64,
}

pub(super) struct Permits {
    capacity: Capacity,
    state: Mutex<PermitsState>,
}

#[derive(Default)]
struct PermitsState {
    /// The usage of all permits together.
    in_use: GroupUsage,
    groups: HashMap<Group, GroupUsage>,
    /// The waiting requests of each lane, the oldest first.
    waiting: HashMap<Lane, VecDeque<Waiter>>,
    /// The number of permits granted so far. [`GroupUsage::last_grant`] is a value of this counter.
    grant_count: u64,
    /// The number of permits granted to requests that had waited.
    grants_after_wait_count: u64,
    /// The number of requests that had to wait so far.
    wait_count: u64,
}

/// A group whose permits are counted together: a connector, a connection, or one kind of call of a
/// connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Group {
    Connector(ConnectorName),
    Connection(ConnectionId),
    Call(ConnectionId, Call),
}

#[derive(Debug, Clone, Copy, Default)]
struct GroupUsage {
    slots: u32,
    runs: u32,
    /// The value of [`PermitsState::grant_count`] when the group's last permit was granted.
    last_grant: u64,
}

/// A request that waits for a permit.
struct Waiter {
    request: PermitRequest,
    sender: oneshot::Sender<Permit>,
    arrival_number: u64,
    /// The value of [`PermitsState::grants_after_wait_count`] when the request began to wait.
    grants_after_wait_at_arrival: u64,
}

/// The order of waiting requests: by connector, then by connection, then by kind of call, and then
/// by arrival. Each group is compared by its slots in use and then by its last grant. The lowest
/// rank is first.
type WaiterRank = ([(u32, u64); 3], u64);

impl Permits {
    pub(super) fn new(capacity: Capacity) -> Arc<Self> {
        Arc::new(Self { capacity, state: Mutex::default() })
    }

    pub(super) fn request_permit(self: &Arc<Self>, request: PermitRequest) -> PermitAnswer {
        let mut state = self.state.lock();
        let waiting = state.waiting.get_mut(&request.lane).map_or(0, |waiters| {
            waiters.retain(|waiter| !waiter.sender.is_closed());
            waiters.len()
        });
        if waiting >= self.capacity.waiting_max {
            return PermitAnswer::QueueFull;
        }
        if waiting == 0 && state.can_grant(&request, self.capacity) {
            state.remove_idle_groups();
            state.record_grant(&request);
            return PermitAnswer::Granted(self.new_permit(request, 0));
        }
        let (sender, receiver) = oneshot::channel();
        state.wait_count += 1;
        let (arrival_number, grants_after_wait_at_arrival) =
            (state.wait_count, state.grants_after_wait_count);
        let waiter = Waiter { request, sender, arrival_number, grants_after_wait_at_arrival };
        state.waiting.entry(waiter.request.lane.clone()).or_default().push_back(waiter);
        PermitAnswer::Waiting(receiver)
    }

    /// Waits for a permit until the time `wait` has passed or `stopped` returns a refusal.
    ///
    /// # Errors
    /// The refusal of `stopped`; `Overloaded` after the time, or if the queue is full.
    pub(super) async fn wait_for_permit(
        self: &Arc<Self>,
        request: PermitRequest,
        wait: Duration,
        stopped: impl Future<Output = Refusal>,
    ) -> Result<Permit, Refusal> {
        let receiver = match self.request_permit(request) {
            PermitAnswer::Granted(permit) => return Ok(permit),
            PermitAnswer::Waiting(receiver) => receiver,
            PermitAnswer::QueueFull => return Err(Refusal::Overloaded),
        };
        let result = tokio::select! {
            biased;
            refusal = stopped => Err(refusal),
            permit = timeout(wait, receiver) => {
                permit.ok().and_then(Result::ok).ok_or(Refusal::Overloaded)
            }
        };
        // This request has given up. The next request in the queue may need fewer slots, so it may
        // get its permit now.
        result.inspect_err(|_| self.grant_to_waiting())
    }

    pub(super) fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// Does not count waiting requests whose callers gave up.
    pub(super) fn usage(&self) -> PermitUsage {
        let state = self.state.lock();
        let waiters = state.waiting.values().flatten();
        let waiting = waiters.filter(|waiter| !waiter.sender.is_closed()).count();
        PermitUsage { slots: state.in_use.slots, runs: state.in_use.runs, waiting }
    }

    fn new_permit(self: &Arc<Self>, request: PermitRequest, permits_before: u64) -> Permit {
        let PermitRequest { lane, slots, .. } = request;
        Permit { permits: Arc::clone(self), lane, slots, permits_before }
    }

    fn release(self: &Arc<Self>, lane: &Lane, slots: u32) {
        let mut state = self.state.lock();
        state.record_release(lane, slots);
        let has_waiters = !state.waiting.is_empty();
        drop(state);
        if has_waiters {
            self.grant_to_waiting();
        }
    }

    fn grant_to_waiting(self: &Arc<Self>) {
        let mut state = self.state.lock();
        let mut granted = Vec::new();
        while let Some(Waiter { request, sender, grants_after_wait_at_arrival, .. }) =
            state.take_next_waiter(self.capacity)
        {
            state.record_grant(&request);
            let permits_before = state.grants_after_wait_count - grants_after_wait_at_arrival;
            state.grants_after_wait_count += 1;
            granted.push((sender, self.new_permit(request, permits_before)));
        }
        drop(state);
        for (sender, permit) in granted {
            // If the receiver was dropped meanwhile, `send` returns the permit as an error.
            // Dropping the permit then releases it.
            let _ = sender.send(permit);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let permits = Arc::clone(&self.permits);
        permits.release(&self.lane, self.slots);
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

impl PermitsState {
    fn usage_of(&self, lane: &Lane) -> [GroupUsage; 3] {
        lane.groups().map(|group| self.groups.get(&group).copied().unwrap_or_default())
    }

    /// Returns whether a permit can be granted to this request now. If [`Capacity::keeps_reserve`]
    /// is set, each run of a connector after its first must leave at least as many slots free as
    /// the connector then uses, and at least as many runs as it had before.
    fn can_grant(&self, request: &PermitRequest, capacity: Capacity) -> bool {
        let free_slots = capacity.slots.saturating_sub(self.in_use.slots);
        let free_runs = capacity.runs.saturating_sub(self.in_use.runs);
        if request.slots > free_slots || free_runs == 0 {
            return false;
        }
        if !capacity.keeps_reserve {
            return true;
        }
        let [connector, connection, call] = self.usage_of(&request.lane);
        let leaves_enough_free = connector.slots.saturating_add(request.slots)
            <= free_slots.saturating_sub(request.slots)
            && connector.runs < free_runs;
        if connector.runs > 0 && !leaves_enough_free {
            return false;
        }
        let free_of_connector = request.runs_max.saturating_sub(connector.runs);
        call.runs == 0
            || (connection.runs < free_of_connector.saturating_mul(CONNECTION_SHARE)
                && call.runs < free_of_connector.saturating_mul(CALL_SHARE))
    }

    fn record_grant(&mut self, request: &PermitRequest) {
        self.grant_count += 1;
        let this_grant = self.grant_count;
        let add = |in_use: &mut GroupUsage| {
            in_use.slots = in_use.slots.saturating_add(request.slots);
            in_use.runs = in_use.runs.saturating_add(1);
            in_use.last_grant = this_grant;
        };
        add(&mut self.in_use);
        for group in request.lane.groups() {
            add(self.groups.entry(group).or_default());
        }
    }

    fn record_release(&mut self, lane: &Lane, slots: u32) {
        let subtract = |in_use: &mut GroupUsage| {
            in_use.slots = in_use.slots.saturating_sub(slots);
            in_use.runs = in_use.runs.saturating_sub(1);
        };
        subtract(&mut self.in_use);
        for group in lane.groups() {
            if let Some(in_use) = self.groups.get_mut(&group) {
                subtract(in_use);
            }
        }
        self.remove_idle_groups();
    }

    /// Removes and returns the waiter that gets the next permit. Also removes the waiters whose
    /// callers gave up.
    fn take_next_waiter(&mut self, capacity: Capacity) -> Option<Waiter> {
        for waiters in self.waiting.values_mut() {
            waiters.retain(|waiter| !waiter.sender.is_closed());
        }
        self.waiting.retain(|_, waiters| !waiters.is_empty());
        let first_of_each_lane = self.waiting.values().filter_map(VecDeque::front);
        let grantable =
            first_of_each_lane.filter(|waiter| self.can_grant(&waiter.request, capacity));
        let lane = grantable.min_by_key(|waiter| self.waiter_rank(waiter))?.request.lane.clone();
        self.waiting.get_mut(&lane)?.pop_front()
    }

    fn waiter_rank(&self, waiter: &Waiter) -> WaiterRank {
        let in_use = self.usage_of(&waiter.request.lane);
        (in_use.map(|group| (group.slots, group.last_grant)), waiter.arrival_number)
    }

    /// Removes groups without a permit, but not while a request waits, because their last grant may
    /// decide which request is next.
    fn remove_idle_groups(&mut self) {
        self.waiting.retain(|_, waiters| !waiters.is_empty());
        if self.waiting.is_empty() {
            self.groups.retain(|_, in_use| in_use.runs > 0);
        }
    }
}

#[cfg(test)]
mod tests;
