//! Which events are listed and kept, and one event with everything that belongs to it.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::domain::{
    ConnectionId, Event, EventId, EventKind, EventSearch, OutcomeCode, RunReport, TimedSteps,
};

/// One event with everything that it caused.
#[derive(Debug, Clone, PartialEq)]
pub struct WholeEvent {
    /// The event itself.
    pub event: Event,
    /// Its claims and stores, in the order of time.
    pub steps: TimedSteps,
    /// Its runs, in the order in which they ran.
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
    /// Only events of these connections, and none that has no connection.
    pub connections: Option<BTreeSet<ConnectionId>>,
    /// Only events of this kind.
    pub kind: Option<EventKind>,
    /// Only events with this outcome.
    pub outcome: Option<OutcomeCode>,
    /// Only events that this search finds.
    pub search: Option<EventSearch>,
    /// Only events that are older than this one: the cursor of a list in pages.
    pub before: Option<EventId>,
    /// Maximum number of rows; newest first.
    pub limit: u32,
}

/// The limits of the age, number and size of stored events.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Events received before this instant are deleted, but only if another event was received
    /// between this instant and `confirmed_by`. Otherwise the clock may have been set forward, and
    /// all events would be deleted.
    pub events_since: Timestamp,
    /// The end of the period in which another event must have been received, see `events_since`.
    pub confirmed_by: Timestamp,
    /// Maximum number of events.
    pub events_max: u64,
    /// Maximum number of requests that reached no connection.
    pub no_connection_max: u64,
    /// Maximum size of events with their runs, bytes.
    pub events_bytes_max: u64,
}
