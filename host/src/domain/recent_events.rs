//! Counts of recent events. This file never reads the store.

/// The number of answered events in each minute of the last hour. Two further numbers count the
/// requests of the last day that matched no connection, or whose method or path is unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecentEvents {
    /// The minutes that have events, the oldest first.
    pub minutes: Vec<MinuteOfEvents>,
    /// Requests in the last day with a valid token whose method or path the host does not know.
    pub unrecognised: u64,
    /// Requests in the last day that matched no connection.
    pub no_connection: u64,
}

/// The answered events of one minute. Requests that matched no connection do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinuteOfEvents {
    /// Minutes since 1970.
    pub minute: i64,
    /// Number of events with an answer below 400.
    pub answered: u64,
    /// Number of events with any other answer.
    pub failed: u64,
}
