//! The operations on events and recordings, with the types of their arguments and results.

use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::{
    ConnectionId, Event, EventId, EventKind, EventSearch, OutcomeCode, RecentEvents, RecentUsage,
    RecordedRun, RunReport, TimedSteps,
};

use super::StoreError;

/// An event with its steps and its runs.
#[derive(Debug, Clone, PartialEq)]
pub struct WholeEvent {
    /// The event itself.
    pub event: Event,
    /// When the event claimed a row or stored an outcome in it, and how long each of these steps
    /// took, in the order of time.
    pub steps: TimedSteps,
    /// The runs of the event, in the order in which they were recorded.
    pub runs: Vec<RunReport>,
}

/// The conditions that listed events must meet. An absent condition allows every event.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only events that were received at this instant or later.
    pub since: Option<Timestamp>,
    /// Only events that were received before this instant.
    pub until: Option<Timestamp>,
    /// Only events of this connection.
    pub connection: Option<ConnectionId>,
    /// Only events of these connections. Events without a connection are left out.
    pub connections: Option<BTreeSet<ConnectionId>>,
    /// Only events of this kind.
    pub kind: Option<EventKind>,
    /// Only events with this outcome.
    pub outcome: Option<OutcomeCode>,
    /// Only events that this search finds.
    pub search: Option<EventSearch>,
    /// Only events that are older than this event.
    pub before: Option<EventId>,
    /// Maximum number of events. The newest are listed first.
    pub limit: u32,
}

/// The limits of the age, number and size of stored events.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Events received before this instant are deleted, but only if another event was received
    /// between this instant and `confirmed_by`. Otherwise the clock may have been set forward, and
    /// all events would be deleted.
    pub events_since: Timestamp,
    /// The end of the period in which another event must have been received.
    pub confirmed_by: Timestamp,
    /// Maximum number of events.
    pub events_max: u64,
    /// Maximum number of stored events of requests that matched no connection.
    pub no_connection_events_max: u64,
    /// Maximum estimated size of all events together, with their runs, bytes.
    pub events_bytes_max: u64,
}

/// The operations on events, their runs and their recordings.
#[async_trait]
pub trait EventStore {
    /// Queues an event to be stored. Returns at once: a crash of the process may lose the event. If
    /// the queue is full or closed, the event is dropped.
    fn record_event(&self, event: Event);
    /// Queues steps of an event, like `record_event`. The event itself may be recorded later.
    fn record_timed_steps(&self, event: EventId, steps: TimedSteps);
    /// Queues a run of an event, like `record_event`. The event itself may be recorded later.
    fn record_run(&self, event: EventId, run: RunReport);
    /// Drops the queued runs and steps of an event that will not be recorded.
    fn discard_event(&self, event: EventId);
    /// Returns the events that meet the conditions, newest first. An event that cannot be read is
    /// logged and left out.
    async fn events(&self, filter: &EventFilter) -> Result<Vec<Event>, StoreError>;
    /// Counts the answered requests of the last hour by minute, but not those that matched no
    /// connection. For the last day, counts the unrecognised requests, and the requests that
    /// matched no connection.
    async fn recent_events(&self, now: Timestamp) -> Result<RecentEvents, StoreError>;
    /// Returns how much of their limits the newest runs of these connections used. Reads at most
    /// 2,000 events in total, and only events of the first 100 connections. `None` if these events
    /// have no runs.
    async fn recent_usage(
        &self,
        connections: Vec<ConnectionId>,
    ) -> Result<Option<RecentUsage>, StoreError>;
    /// Returns one event with its steps and its runs.
    async fn event(&self, id: EventId) -> Result<Option<WholeEvent>, StoreError>;
    /// Sets until when recordings of the runs of a connection are stored; a recording contains the
    /// bodies of the run's requests and their answers. `None`: none are stored. If `erase` is true,
    /// also deletes the recordings of the connection. Durable.
    async fn set_recording_until(
        &self,
        id: ConnectionId,
        until: Option<Timestamp>,
        erase: bool,
    ) -> Result<(), StoreError>;
    /// Returns the recordings of an event's runs, in the order in which they were stored.
    async fn recording(&self, event: EventId) -> Result<Vec<RecordedRun>, StoreError>;
    /// Deletes the events that exceed the retention, and the remaining rows of deleted connections.
    /// If events before `events_since` are deleted, also deletes the webhook tokens that expired
    /// before that instant. Lazy.
    async fn prune(&self, retention: Retention) -> Result<(), StoreError>;
}
