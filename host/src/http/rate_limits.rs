//! Limits on how many requests of senders are answered, stored as events, and logged.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Webhook;
use crate::domain::ConnectionId;

use super::client_address::limit_key;
use super::rate::{Rate, RateLimit};

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
    odd_events: Rate<ConnectionId>,
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
            odd_events: Rate::new(1.0, 30),
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
    /// unless `is_odd` (over its rate, or not recognised); then only within a rate of the
    /// connection.
    pub(super) fn stores_event(
        &self,
        connection: Option<ConnectionId>,
        client: IpAddr,
        is_odd: bool,
        now: Instant,
    ) -> bool {
        match connection {
            Some(connection) => !is_odd || self.odd_events.take(&connection, now).is_ok(),
            None => {
                self.no_connection_by_client.take(&limit_key(client), now).is_ok()
                    && self.no_connection.take(&(), now).is_ok()
            }
        }
    }

    /// Whether the event of a refused create keeps the request's headers and body.
    pub(super) fn keeps_request(&self, connection: Option<ConnectionId>, now: Instant) -> bool {
        connection.is_some_and(|connection| self.odd_events.take(&connection, now).is_ok())
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
    fn odd_requests_are_limited_for_each_sender_and_in_total() {
        let (rate_limits, now) = (RateLimits::default(), Instant::now());
        let id = Some(ConnectionId(Uuid::nil()));
        let stored = |connection, client, is_odd| {
            (0..999).filter(|_| rate_limits.stores_event(connection, client, is_odd, now)).count()
        };
        assert_eq!(stored(id, HERE, false), 999, "their own rate limits them");
        assert_eq!(stored(id, HERE, true), 30);
        assert!(!rate_limits.keeps_request(id, now), "unrecognised requests have used it up");
        assert_eq!(stored(None, HERE, true), 20);
        let others: usize = (0..99).map(|n| stored(None, IpAddr::from([10, 0, 0, n]), true)).sum();
        assert_eq!(others, 30, "50 in all");
    }
}
