//! Limits on how many requests of senders are answered, stored as events, and logged.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::config::Webhook;
use crate::domain::ConnectionId;

use super::client_address::limit_key;

/// Maximum number of keys. If there are more, the limit forgets the key whose burst is full first.
const KEYS_MAX: usize = 4_096;

/// The rate limits of all requests, events and logins.
#[derive(Debug)]
pub(super) struct RateLimits {
    /// Create Defect requests of each connection.
    clicks: Rate<ConnectionId>,
    /// Other requests of each connection. They have a separate rate, so that they never use up the
    /// rate of Create Defect.
    others: Rate<ConnectionId>,
    /// Probes of connections that ask senders for a credential, which a probe does not show.
    probes: Rate<ConnectionId>,
    /// Events of requests over the rate, and events that store the headers and body of a request.
    unexpected_events: Rate<ConnectionId>,
    /// Events of requests that match no connection, for each client address.
    no_connection_by_client: Rate<IpAddr>,
    /// Events of requests that match no connection, in total.
    no_connection: Rate<()>,
    /// Failed logins of each client address.
    pub(super) logins: Rate<IpAddr>,
    /// Lines in the log about failed logins.
    pub(super) login_lines: Rate<()>,
}

/// The rate that a request of a connection counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RateKind {
    /// A Create Defect request.
    Click,
    /// Another request of a sender.
    Other,
    /// A probe that shows no credential although the connection asks for one.
    Probe,
}

impl Default for RateLimits {
    fn default() -> Self {
        // The configuration sets the rate at each request.
        let requests = || Rate::new(1.0, 1);
        Self {
            clicks: requests(),
            others: requests(),
            probes: requests(),
            unexpected_events: Rate::new(1.0, 30),
            no_connection_by_client: Rate::new(0.5, 20),
            no_connection: Rate::new(5.0, 50),
            logins: Rate::new(0.5, 20),
            login_lines: Rate::new(2.0, 20),
        }
    }
}

impl RateLimits {
    /// Counts a request of a connection.
    ///
    /// # Errors
    /// How long the sender must wait, because it is over its rate.
    pub(super) fn take_request(
        &self,
        config: &Webhook,
        connection: ConnectionId,
        kind: RateKind,
        now: Instant,
    ) -> Result<(), Duration> {
        let rate = match kind {
            RateKind::Click => &self.clicks,
            RateKind::Other => &self.others,
            RateKind::Probe => &self.probes,
        };
        let limit = RateLimit::new(config.requests_per_s.into(), config.requests_burst);
        rate.take_within(limit, &connection, now)
    }

    /// Whether a request is stored as an event. Without a connection, and for a refused sender:
    /// only within the rates of its client address and of all clients. With a connection: always,
    /// unless `is_unexpected` (over its rate, or not recognised); then only within a rate of the
    /// connection.
    pub(super) fn stores_event(
        &self,
        connection: Option<ConnectionId>,
        client: IpAddr,
        is_unexpected: bool,
        now: Instant,
    ) -> bool {
        match connection {
            Some(connection) => {
                !is_unexpected || self.unexpected_events.take(&connection, now).is_ok()
            }
            None => {
                self.no_connection_by_client.take(&limit_key(client), now).is_ok()
                    && self.no_connection.take(&(), now).is_ok()
            }
        }
    }

    /// Whether the event of a refused create keeps the request's headers and body.
    pub(super) fn keeps_request(&self, connection: Option<ConnectionId>, now: Instant) -> bool {
        connection.is_some_and(|connection| self.unexpected_events.take(&connection, now).is_ok())
    }
}

/// The rate limit of each key.
#[derive(Debug)]
pub(super) struct Rate<K> {
    limit: RateLimit,
    /// For each key, when its whole burst is available again.
    full_at: Mutex<HashMap<K, Instant>>,
}

/// A number per second, and a burst.
#[derive(Debug, Clone, Copy)]
pub(super) struct RateLimit {
    interval: Duration,
    burst: u32,
}

impl RateLimit {
    pub(super) fn new(per_s: f64, burst: u32) -> Self {
        let interval = Duration::try_from_secs_f64(1.0 / per_s).unwrap_or(Duration::MAX);
        Self { interval, burst: burst.max(1) }
    }

    /// How long a key must wait whose burst is full again at `begin`.
    fn wait(self, begin: Instant, now: Instant) -> Duration {
        let room = self.interval.saturating_mul(self.burst - 1);
        begin.saturating_duration_since(now).saturating_sub(room)
    }
}

impl<K: Eq + Hash + Clone> Rate<K> {
    pub(super) fn new(per_s: f64, burst: u32) -> Self {
        Self { limit: RateLimit::new(per_s, burst), full_at: Mutex::default() }
    }

    /// Counts one use of a key, if the rate allows it.
    ///
    /// # Errors
    /// How long the key must wait until its next use; nothing is counted then.
    pub(super) fn take(&self, key: &K, now: Instant) -> Result<(), Duration> {
        self.take_within(self.limit, key, now)
    }

    /// Counts one use of a key, if this limit allows it: the limit may change from use to use.
    ///
    /// # Errors
    /// As for [`Self::take`].
    pub(super) fn take_within(
        &self,
        limit: RateLimit,
        key: &K,
        now: Instant,
    ) -> Result<(), Duration> {
        let mut full_at = self.full_at.lock();
        let begin = full_at.get(key).map_or(now, |at| (*at).max(now));
        let wait = limit.wait(begin, now);
        if !wait.is_zero() {
            return Err(wait);
        }
        if full_at.len() >= KEYS_MAX && !full_at.contains_key(key) {
            full_at.retain(|_, at| *at > now);
            let nearest = full_at.iter().min_by_key(|(_, at)| **at).map(|(key, _)| key.clone());
            if let Some(nearest) = nearest.filter(|_| full_at.len() >= KEYS_MAX) {
                full_at.remove(&nearest);
            }
        }
        full_at.insert(key.clone(), begin + limit.interval);
        Ok(())
    }

    /// Whether the rate allows a use of the key now, without counting it; if not, how long the key
    /// must wait.
    pub(super) fn check(&self, key: &K, now: Instant) -> Result<(), Duration> {
        let begin = self.full_at.lock().get(key).map_or(now, |at| (*at).max(now));
        let wait = self.limit.wait(begin, now);
        if wait.is_zero() { Ok(()) } else { Err(wait) }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn other_requests_do_not_use_up_the_rate_of_clicks() {
        let (rate_limits, now) = (RateLimits::default(), Instant::now());
        let config = Webhook::default();
        let id = ConnectionId(Uuid::nil());
        let answered = |kind| {
            let take = || rate_limits.take_request(&config, id, kind, now);
            (0..999).filter(|_| take().is_ok()).count()
        };
        for kind in [RateKind::Probe, RateKind::Other, RateKind::Click] {
            assert_eq!(answered(kind), 200, "{kind:?}");
        }
    }

    #[test]
    fn unexpected_requests_are_limited_for_each_sender_and_in_total() {
        let (rate_limits, now) = (RateLimits::default(), Instant::now());
        let id = Some(ConnectionId(Uuid::nil()));
        let stored = |connection, client, is_unexpected| {
            (0..999)
                .filter(|_| rate_limits.stores_event(connection, client, is_unexpected, now))
                .count()
        };
        assert_eq!(stored(id, HERE, false), 999, "their own rate limits them");
        assert_eq!(stored(id, HERE, true), 30);
        assert!(!rate_limits.keeps_request(id, now), "unrecognised requests have used it up");
        assert_eq!(stored(None, HERE, true), 20);
        let others: usize = (0..99).map(|n| stored(None, IpAddr::from([10, 0, 0, n]), true)).sum();
        assert_eq!(others, 30, "50 in all");
    }

    #[test]
    fn a_key_has_its_burst_then_its_rate_and_other_keys_are_not_affected() {
        let rate = Rate::new(20.0, 200);
        let start = Instant::now();
        let taken = (0..1_000).filter(|_| rate.take(&1, start).is_ok()).count();
        assert_eq!(taken, 200);
        let wait = rate.take(&1, start).unwrap_err();
        assert_eq!((wait, rate.check(&1, start)), (Duration::from_millis(50), Err(wait)));
        assert_eq!(rate.take(&2, start), Ok(()));
        let later = start + Duration::from_secs(1);
        assert_eq!((0..1_000).filter(|_| rate.take(&1, later).is_ok()).count(), 20);
        assert!(rate.take(&1, start).is_err(), "an older instant gains nothing");
    }

    #[test]
    fn above_the_maximum_keys_are_forgotten_but_not_the_most_used_one() {
        let rate = Rate::new(1.0, 2);
        let now = Instant::now();
        assert!(rate.take(&0, now).is_ok() && rate.take(&0, now).is_ok());
        for key in 1..20_000 {
            let _ = rate.take(&key, now);
        }
        assert!(rate.full_at.lock().len() <= KEYS_MAX);
        assert!(rate.take(&0, now).is_err());
    }
}
