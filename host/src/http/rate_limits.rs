//! Limits the rates of webhook requests, of the events that they cause, of failed logins, and of
//! lines in the log about failed logins.
//!
//! This module never waits. The caller refuses a request that exceeds its limit.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::config::Webhook;
use crate::domain::ConnectionId;

use super::client_address::limit_key;

/// Maximum number of keys of one limiter. Before a limiter exceeds this maximum, it removes the
/// keys whose whole burst is available; if there are none, it removes the key whose whole burst
/// will be available first.
const KEYS_MAX: usize = 4_096;

#[derive(Debug)]
pub(super) struct RateLimits {
    create_requests: RateLimiter<ConnectionId>,
    other_requests: RateLimiter<ConnectionId>,
    probes: RateLimiter<ConnectionId>,
    /// Events of each connection for requests that exceed their rate or are not recognised, and
    /// events that store the headers and the body of a refused Create Defect request.
    unexpected_events: RateLimiter<ConnectionId>,
    /// Events of requests that match no connection or whose sender is not authenticated, for each
    /// client address.
    unmatched_by_client: RateLimiter<IpAddr>,
    /// The events that `unmatched_by_client` also limits, for all client addresses together.
    unmatched_total: RateLimiter<()>,
    pub(super) failed_logins: RateLimiter<IpAddr>,
    pub(super) login_log_lines: RateLimiter<()>,
}

/// The rate that a request of a connection counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RateKind {
    /// A request that is or may be a Create Defect request.
    Create,
    /// Any other request, such as Defect KPIs. It has a separate rate, so that it never uses up the
    /// rate of Create Defect requests.
    Other,
    /// A liveness probe of a connection that requires a credential, if the credential was not
    /// checked or is not valid.
    Probe,
}

impl Default for RateLimits {
    fn default() -> Self {
        // These three limiters never use their own limit: each request is counted with the limit of
        // the configuration.
        let configured = || RateLimiter::new(1.0, 1);
        Self {
            create_requests: configured(),
            other_requests: configured(),
            probes: configured(),
            unexpected_events: RateLimiter::new(1.0, 30),
            unmatched_by_client: RateLimiter::new(0.5, 20),
            unmatched_total: RateLimiter::new(5.0, 50),
            failed_logins: RateLimiter::new(0.5, 20),
            login_log_lines: RateLimiter::new(2.0, 20),
        }
    }
}

impl RateLimits {
    /// Counts a request of a connection against the rate of its kind.
    ///
    /// # Errors
    /// The request exceeds its rate. The error value is the time for which the sender must wait.
    pub(super) fn count_request(
        &self,
        config: &Webhook,
        connection: ConnectionId,
        kind: RateKind,
        now: Instant,
    ) -> Result<(), Duration> {
        let rate = match kind {
            RateKind::Create => &self.create_requests,
            RateKind::Other => &self.other_requests,
            RateKind::Probe => &self.probes,
        };
        let limit = RateLimit::new(config.requests_per_s.into(), config.requests_burst);
        rate.count_with_limit(limit, &connection, now)
    }

    /// Whether a request may be stored as an event. The caller passes no connection if the request
    /// matches none, its sender is refused, or it is a probe of a connection that requires a
    /// credential: then the rates of its client address and of all clients apply. `is_unexpected`:
    /// the request exceeds its rate or is not recognised.
    pub(super) fn may_store_event(
        &self,
        connection: Option<ConnectionId>,
        client: IpAddr,
        is_unexpected: bool,
        now: Instant,
    ) -> bool {
        match connection {
            Some(connection) => {
                !is_unexpected || self.unexpected_events.count(&connection, now).is_ok()
            }
            None => {
                self.unmatched_by_client.count(&limit_key(client), now).is_ok()
                    && self.unmatched_total.count(&(), now).is_ok()
            }
        }
    }

    /// Whether the event of a refused Create Defect request may store the headers and the body.
    pub(super) fn may_store_request(&self, connection: Option<ConnectionId>, now: Instant) -> bool {
        connection.is_some_and(|connection| self.unexpected_events.count(&connection, now).is_ok())
    }
}

/// Limits the rate at which each key may be used.
#[derive(Debug)]
pub(super) struct RateLimiter<K> {
    /// The limit of [`Self::count`] and [`Self::check`].
    limit: RateLimit,
    /// For each key, the time at which the whole burst of the key is available again.
    full_at: Mutex<HashMap<K, Instant>>,
}

/// How often a key may be used.
#[derive(Debug, Clone, Copy)]
pub(super) struct RateLimit {
    /// The time after which one more use is possible.
    interval: Duration,
    /// The maximum number of uses that are possible at once.
    burst: u32,
}

impl RateLimit {
    pub(super) fn new(per_s: f64, burst: u32) -> Self {
        let interval = Duration::try_from_secs_f64(1.0 / per_s).unwrap_or(Duration::MAX);
        Self { interval, burst: burst.max(1) }
    }

    /// The time until the next use of a key is possible, if the whole burst of the key is available
    /// at `full_at`.
    fn wait(self, full_at: Instant, now: Instant) -> Duration {
        let burst_time = self.interval.saturating_mul(self.burst - 1);
        full_at.saturating_duration_since(now).saturating_sub(burst_time)
    }
}

impl<K: Eq + Hash + Clone> RateLimiter<K> {
    pub(super) fn new(per_s: f64, burst: u32) -> Self {
        Self { limit: RateLimit::new(per_s, burst), full_at: Mutex::default() }
    }

    /// Counts one use of a key, if the rate allows it.
    ///
    /// # Errors
    /// The use exceeds the rate and is not counted. The error value is the time until the next use
    /// is possible.
    pub(super) fn count(&self, key: &K, now: Instant) -> Result<(), Duration> {
        self.count_with_limit(self.limit, key, now)
    }

    /// Counts one use of a key, if `limit` allows it. Each call may pass a different limit.
    ///
    /// # Errors
    /// As for [`Self::count`].
    pub(super) fn count_with_limit(
        &self,
        limit: RateLimit,
        key: &K,
        now: Instant,
    ) -> Result<(), Duration> {
        let mut full_at = self.full_at.lock();
        let key_full_at = full_at.get(key).map_or(now, |at| (*at).max(now));
        let wait = limit.wait(key_full_at, now);
        if !wait.is_zero() {
            return Err(wait);
        }
        if full_at.len() >= KEYS_MAX && !full_at.contains_key(key) {
            full_at.retain(|_, at| *at > now);
            let first_full = full_at.iter().min_by_key(|(_, at)| **at).map(|(key, _)| key.clone());
            if let Some(first_full) = first_full.filter(|_| full_at.len() >= KEYS_MAX) {
                full_at.remove(&first_full);
            }
        }
        full_at.insert(key.clone(), key_full_at + limit.interval);
        Ok(())
    }

    /// Checks whether the rate allows a use of the key now, without counting a use.
    ///
    /// # Errors
    /// The rate does not allow it. The error value is the time until the next use is possible.
    pub(super) fn check(&self, key: &K, now: Instant) -> Result<(), Duration> {
        let key_full_at = self.full_at.lock().get(key).map_or(now, |at| (*at).max(now));
        let wait = self.limit.wait(key_full_at, now);
        if wait.is_zero() { Ok(()) } else { Err(wait) }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn probes_and_other_requests_do_not_use_up_the_rate_of_create_defect_requests() {
        let (rate_limits, now) = (RateLimits::default(), Instant::now());
        let config = Webhook::default();
        let id = ConnectionId(Uuid::nil());
        let answered = |kind| {
            let count = || rate_limits.count_request(&config, id, kind, now);
            (0..999).filter(|_| count().is_ok()).count()
        };
        for kind in [RateKind::Probe, RateKind::Other, RateKind::Create] {
            assert_eq!(answered(kind), 200, "{kind:?}");
        }
    }

    #[test]
    fn events_of_unexpected_requests_are_limited_for_each_sender_and_in_total() {
        let (rate_limits, now) = (RateLimits::default(), Instant::now());
        let id = Some(ConnectionId(Uuid::nil()));
        let stored = |connection, client, is_unexpected| {
            (0..999)
                .filter(|_| rate_limits.may_store_event(connection, client, is_unexpected, now))
                .count()
        };
        assert_eq!(stored(id, CLIENT, false), 999, "only the rate of requests limits them");
        assert_eq!(stored(id, CLIENT, true), 30);
        assert!(!rate_limits.may_store_request(id, now), "unexpected events have used up the rate");
        assert_eq!(stored(None, CLIENT, true), 20);
        let others: usize = (0..99).map(|n| stored(None, IpAddr::from([10, 0, 0, n]), true)).sum();
        assert_eq!(others, 30, "50 events in total");
    }

    #[test]
    fn each_key_has_a_burst_and_then_a_rate_that_other_keys_do_not_affect() {
        let rate = RateLimiter::new(20.0, 200);
        let start = Instant::now();
        let counted = (0..1_000).filter(|_| rate.count(&1, start).is_ok()).count();
        assert_eq!(counted, 200);
        let wait = rate.count(&1, start).unwrap_err();
        assert_eq!((wait, rate.check(&1, start)), (Duration::from_millis(50), Err(wait)));
        assert_eq!(rate.count(&2, start), Ok(()));
        let later = start + Duration::from_secs(1);
        assert_eq!((0..1_000).filter(|_| rate.count(&1, later).is_ok()).count(), 20);
        assert!(rate.count(&1, start).is_err(), "an earlier instant makes no use available");
    }

    #[test]
    fn above_the_maximum_number_of_keys_the_least_used_keys_are_removed() {
        let rate = RateLimiter::new(1.0, 2);
        let now = Instant::now();
        assert!(rate.count(&0, now).is_ok() && rate.count(&0, now).is_ok());
        for key in 1..20_000 {
            let _ = rate.count(&key, now);
        }
        assert!(rate.full_at.lock().len() <= KEYS_MAX);
        assert!(rate.count(&0, now).is_err());
    }
}
