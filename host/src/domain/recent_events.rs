//! Counts of recent events. This file never reads the store.

/// Counts of recent events that are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecentEvents {
    /// The minutes of the last hour that have events with an answer, the oldest first.
    pub minutes: Vec<MinuteOfEvents>,
    /// Stored requests of the last day with a valid token, but with a method or path that the host
    /// does not know.
    pub unrecognised: u64,
    /// Stored requests of the last day that matched no connection.
    pub no_connection: u64,
}

/// The stored events of one minute that have an answer. Requests that matched no connection do not
/// count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinuteOfEvents {
    /// Minutes since 1970.
    pub minute: i64,
    /// Number of events whose answer has a status below 400.
    pub answered: u64,
    /// Number of events with any other answer.
    pub failed: u64,
}
