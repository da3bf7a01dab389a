//! The open client connections: limits their number, and chooses which one to close for a new one.
//!
//! A connection is busy from the last byte of a request to the last byte of its answer. Otherwise
//! it is idle, also while a request arrives. Only idle connections are closed: first the one that
//! has been idle longest.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::domain::Network;

use super::client_address::{forwarded_client, limit_key};
use super::timing::Timing;

/// Maximum number of idle connections of one client address. Also the maximum number of requests
/// that proxies forward for one client address and whose body is still incomplete.
const IDLE_PER_ADDRESS_MAX: usize = 128;
/// Maximum time from the start of a connection to its first byte.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum time from the first byte of a request until its head is complete.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Limits on what clients may occupy.
#[derive(Debug, Clone)]
pub struct ClientLimits {
    /// Maximum number of open connections.
    pub connections_max: usize,
    /// Maximum number of idle connections of one client address, and of its forwarded requests
    /// whose body is still incomplete.
    pub idle_per_address_max: usize,
    /// Maximum time until the first byte of a connection.
    pub first_byte: Duration,
    /// Maximum time from the first byte of a request until its head is complete.
    pub head: Duration,
    /// Maximum time from the end of an answer until the first byte of the next request.
    pub keep_alive: Duration,
    /// Proxies that are exempt from the limit on one address, and whose headers name their clients.
    pub trusted_proxies: Vec<Network>,
}

impl ClientLimits {
    /// The limits of a listener with this number of connections.
    #[must_use]
    pub fn new(
        connections_max: usize,
        keep_alive: Duration,
        trusted_proxies: Vec<Network>,
    ) -> Self {
        Self {
            connections_max,
            idle_per_address_max: IDLE_PER_ADDRESS_MAX,
            first_byte: FIRST_BYTE_TIMEOUT,
            head: HEAD_TIMEOUT,
            keep_alive,
            trusted_proxies,
        }
    }
}

/// The open connections of a listener, each counted until it ends.
pub(super) struct Clients {
    pub(super) limits: ClientLimits,
    state: Mutex<State>,
    /// Notified when a connection ends or becomes idle.
    changed: Notify,
}

#[derive(Default)]
struct State {
    open: usize,
    /// Idle connections that were asked to close and are still open.
    closing: usize,
    next: u64,
    /// Idle connections, in the order in which they became idle.
    idle: BTreeMap<u64, Idle>,
    /// Number of idle connections of each address; proxies are not counted.
    idle_counts: HashMap<IpAddr, usize>,
    /// Number of forwarded requests that arrive for each client address.
    arriving_counts: HashMap<IpAddr, usize>,
}

struct Idle {
    limit_key: Option<IpAddr>,
    close: CancellationToken,
}

/// An open client connection. It counts against the limits until it is dropped.
pub(super) struct Client {
    clients: Arc<Clients>,
    pub(super) peer: IpAddr,
    /// `None` if the peer is a trusted proxy.
    limit_key: Option<IpAddr>,
    /// The key of this connection in the list of idle ones; `None` while the connection is busy.
    idle: Mutex<Option<u64>>,
    close: CancellationToken,
    became_idle: Notify,
    pub(super) timing: Timing,
}

/// A forwarded request whose body still arrives. It is counted until it is dropped.
pub(super) struct Arriving {
    clients: Arc<Clients>,
    limit_key: IpAddr,
}

impl Clients {
    pub(super) fn new(limits: ClientLimits) -> Self {
        Self { limits, state: Mutex::default(), changed: Notify::new() }
    }

    /// Counts a new connection. If there are too many, first asks the connection that has been idle
    /// longest to close, and waits.
    pub(super) async fn admit(self: &Arc<Self>, peer: IpAddr) -> Client {
        let proxies = &self.limits.trusted_proxies;
        let is_proxy = proxies.iter().any(|network| network.contains(peer));
        let limit_key = (!is_proxy).then(|| limit_key(peer));
        let close = CancellationToken::new();
        loop {
            if let Some(place) = self.try_admit(limit_key, &close) {
                let (idle, became_idle) = (Mutex::new(Some(place)), Notify::new());
                let timing = Timing::new(self.limits.head, self.limits.keep_alive);
                let clients = Arc::clone(self);
                return Client { clients, peer, limit_key, idle, close, became_idle, timing };
            }
            self.changed.notified().await;
        }
    }

    fn try_admit(&self, limit_key: Option<IpAddr>, close: &CancellationToken) -> Option<u64> {
        let mut state = self.state.lock();
        if state.open >= self.limits.connections_max {
            if state.closing == 0 {
                let oldest = state.idle.keys().next().copied();
                state.close(oldest);
            }
            return None;
        }
        if limit_key.is_some_and(|it| state.idle_count(it) >= self.limits.idle_per_address_max) {
            let mut own = state.idle.iter().filter(|(_, idle)| idle.limit_key == limit_key);
            let oldest = own.next().map(|(place, _)| *place);
            state.close(oldest);
        }
        state.open += 1;
        Some(state.add_idle(Idle { limit_key, close: close.clone() }))
    }
}

impl State {
    fn idle_count(&self, limit_key: IpAddr) -> usize {
        self.idle_counts.get(&limit_key).copied().unwrap_or_default()
    }

    fn add_idle(&mut self, idle: Idle) -> u64 {
        let place = self.next;
        self.next += 1;
        if let Some(limit_key) = idle.limit_key {
            *self.idle_counts.entry(limit_key).or_default() += 1;
        }
        self.idle.insert(place, idle);
        place
    }

    fn remove_idle(&mut self, place: u64) -> Option<Idle> {
        let idle = self.idle.remove(&place)?;
        if let Some(limit_key) = idle.limit_key {
            decrement(&mut self.idle_counts, limit_key);
        }
        Some(idle)
    }

    fn close(&mut self, place: Option<u64>) {
        if let Some(idle) = place.and_then(|place| self.remove_idle(place)) {
            self.closing += 1;
            idle.close.cancel();
        }
    }
}

fn decrement(counts: &mut HashMap<IpAddr, usize>, key: IpAddr) {
    if let Some(count) = counts.get_mut(&key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

impl Client {
    pub(super) fn limits(&self) -> &ClientLimits {
        &self.clients.limits
    }

    /// The client for which a trusted proxy forwards a request; `None` if the peer itself sent the
    /// request.
    pub(super) fn forwarded_for(&self, headers: &HeaderMap) -> Option<IpAddr> {
        if self.limit_key.is_some() {
            return None;
        }
        forwarded_client(headers, self.peer, &self.limits().trusted_proxies)
    }

    /// Counts a forwarded request that begins to arrive; `None` if its client has too many of them.
    pub(super) fn count_arriving(&self, client: IpAddr) -> Option<Arriving> {
        let limit_key = limit_key(client);
        let mut state = self.clients.state.lock();
        let count = state.arriving_counts.entry(limit_key).or_default();
        if *count >= self.limits().idle_per_address_max {
            return None;
        }
        *count += 1;
        Some(Arriving { clients: Arc::clone(&self.clients), limit_key })
    }

    /// A request has arrived completely: the connection is busy now.
    pub(super) fn mark_busy(&self) {
        if let Some(place) = self.idle.lock().take() {
            let mut state = self.clients.state.lock();
            if state.remove_idle(place).is_none() {
                state.closing = state.closing.saturating_sub(1);
                drop(state);
                self.clients.changed.notify_one();
            }
        }
    }

    /// The answer was sent: the connection is idle now.
    pub(super) fn mark_idle(&self) {
        self.timing.await_request();
        let mut idle = self.idle.lock();
        if idle.is_some() {
            return;
        }
        let close = self.close.clone();
        // A connection that was asked to close gets a key that is never in the list of idle
        // connections.
        *idle = Some(if close.is_cancelled() {
            self.clients.state.lock().closing += 1;
            u64::MAX
        } else {
            self.clients.state.lock().add_idle(Idle { limit_key: self.limit_key, close })
        });
        drop(idle);
        self.became_idle.notify_one();
        self.clients.changed.notify_one();
    }

    /// Returns when the connection was asked to close and is idle.
    pub(super) async fn close_requested(&self) {
        self.close.cancelled().await;
        while self.idle.lock().is_none() {
            self.became_idle.notified().await;
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let place = self.idle.get_mut().take();
        let mut state = self.clients.state.lock();
        if let Some(place) = place {
            state.remove_idle(place);
        }
        if place.is_some() && self.close.is_cancelled() {
            state.closing = state.closing.saturating_sub(1);
        }
        state.open = state.open.saturating_sub(1);
        drop(state);
        self.clients.changed.notify_one();
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        decrement(&mut self.clients.state.lock().arriving_counts, self.limit_key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_busy_connection_that_is_asked_to_close_does_not_block_new_ones() {
        let local = IpAddr::from([127, 0, 0, 1]);
        let clients =
            Arc::new(Clients::new(ClientLimits::new(3, Duration::from_secs(9), Vec::new())));
        let working = clients.admit(local).await;
        for _ in 0..2 {
            let idle = clients.admit(local).await;
            tokio::spawn(async move { idle.close_requested().await });
        }
        let admitting = Arc::clone(&clients);
        let new = tokio::spawn(async move { admitting.admit(local).await });
        // The oldest connection is asked to close, and at that moment its request is complete.
        working.close_requested().await;
        working.mark_busy();
        let admitted = tokio::time::timeout(Duration::from_secs(10), new).await;
        assert!(admitted.is_ok(), "two others are idle");
    }
}
