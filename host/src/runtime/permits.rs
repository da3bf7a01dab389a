//! Shares permits fairly, so that no connector, connection or kind of call blocks the others. The
//! host uses this module for two kinds of permits: permits to start a run, and permits to poll a
//! guest.
//!
//! A permit for a run reserves as many slots of the engine's pool (`pool.rs`) as the component
//! needs, so the pool never runs out of slots. A group is a connector, a connection, or one kind of
//! call of a connection. The permits for runs of each group are limited, so that some permits stay
//! free for other groups. For a connector's first run, only the limits on all permits together
//! apply. With each further run, the connector must leave free at least as many slots as it then
//! uses, and at least as many runs as it had before. For the first run of a kind of call of a
//! connection, no other limit applies; its further runs are also limited by [`CONNECTION_SHARE`]
//! and [`CALL_SHARE`]. The next free permit is for the group that uses the fewest slots. Among
//! groups with equally few slots, it is for the group whose last permit was granted longest ago. A
//! caller that waits too long drops its receiver.

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
/// The factor for one kind of call of a connection. This factor is used like [`CONNECTION_SHARE`].
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
    /// The number of slots that the run needs. The number is never higher than [`Capacity::slots`].
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
    /// Whether some permits stay free for groups that have no permit yet.
    pub(super) keeps_reserve: bool,
}

/// The slots and runs of all permits that are in use, and the number of requests that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PermitUsage {
    pub(super) slots: u32,
    pub(super) runs: u32,
    pub(super) waiting: usize,
}

/// The answer to a request for a permit.
pub(super) enum PermitAnswer {
    Granted(Permit),
    /// The request waits, and the receiver gets the permit later. A caller that gives up drops the
    /// receiver.
    Waiting(oneshot::Receiver<Permit>),
    /// The request is refused, because too many requests of this lane wait.
    QueueFull,
}

/// A permit in use. To release the permit, its owner drops it.
pub(super) struct Permit {
    permits: Arc<Permits>,
    lane: Lane,
    slots: u32,
    /// The number of permits that other waiting requests got while this request waited.
    pub(super) permits_before: u64,
}

/// All permits of one kind, and the requests that wait for them.
pub(super) struct Permits {
    capacity: Capacity,
    state: Mutex<PermitsState>,
}

#[derive(Default)]
struct PermitsState {
    /// The usage of all permits together.
    in_use: GroupUsage,
    /// The usage of each group.
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

/// The slots and runs of the permits that a group has.
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
    /// Sends the permit to the caller. The sender is closed if the caller gave up.
    sender: oneshot::Sender<Permit>,
    /// The value of [`PermitsState::wait_count`] when the request began to wait.
    arrival_number: u64,
    /// The value of [`PermitsState::grants_after_wait_count`] when the request began to wait.
    grants_after_wait_at_arrival: u64,
}

/// The rank of a waiting request. Among the requests that can get a permit now, the one with the
/// lowest rank gets it. The connectors are compared first, then the connections, then the kinds of
/// call. Each of them is compared by its slots in use and then by its last grant. If all of this is
/// equal, the earlier arrival has the lower rank.
type WaiterRank = ([(u32, u64); 3], u64);

impl Permits {
    pub(super) fn new(capacity: Capacity) -> Arc<Self> {
        Arc::new(Self { capacity, state: Mutex::default() })
    }

    /// Requests a permit. The request is granted at once, waits, or is refused.
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

    /// Returns the slots and runs that are in use now, and the number of waiting requests. Does not
    /// count requests whose callers gave up.
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

    /// Releases the run and the slots of a permit, so that a waiting request may get its permit.
    fn release(self: &Arc<Self>, lane: &Lane, slots: u32) {
        let mut state = self.state.lock();
        state.record_release(lane, slots);
        let has_waiters = !state.waiting.is_empty();
        drop(state);
        if has_waiters {
            self.grant_to_waiting();
        }
    }

    /// Grants free permits to waiting requests.
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
    /// Returns the three groups in which the permits of this lane are counted.
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
    /// Returns the usage of three groups: the lane's connector, its connection, and its kind of
    /// call.
    fn usage_of(&self, lane: &Lane) -> [GroupUsage; 3] {
        lane.groups().map(|group| self.groups.get(&group).copied().unwrap_or_default())
    }

    /// Returns whether a permit can be granted to this request now.
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

    /// Adds a new permit to the usage of its groups.
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

    /// Subtracts a released permit from the usage of its groups.
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

    /// Removes and returns the waiter with the lowest rank among those that can get their permit
    /// now. Also removes the waiters whose callers gave up.
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

    /// Removes groups without a permit. Does not remove them while a request waits, because their
    /// last grant decides which request is next.
    fn remove_idle_groups(&mut self) {
        self.waiting.retain(|_, waiters| !waiters.is_empty());
        if self.waiting.is_empty() {
            self.groups.retain(|_, in_use| in_use.runs > 0);
        }
    }
}

#[cfg(test)]
mod tests;
