//! The client connections that are open: how many there may be, and which one is closed for a new one.
//!
//! A connection works from the last byte of a request to the last byte of its answer; otherwise it is idle,
//! also while a request arrives. Only idle connections are closed, the one that has been idle longest first.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::domain::Network;

use super::client_address::{forwarded_client, holder};
use super::timing::Timing;

/// Idle connections, and forwarded requests that arrive, of one client address.
const IDLE_PER_ADDRESS_MAX: usize = 128;
/// From the start of a connection to its first byte.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);
/// From the first byte of a request until its head is complete.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// What clients may occupy.
#[derive(Debug, Clone)]
pub struct ClientLimits {
    /// Open connections.
    pub connections_max: usize,
    /// Idle connections of one client address.
    pub idle_per_address_max: usize,
    /// Until the first byte of a connection.
    pub first_byte: Duration,
    /// From the first byte of a request until its head is complete.
    pub head: Duration,
    /// From the end of an answer until the first byte of the next request.
    pub keep_alive: Duration,
    /// Proxies: exempt, and believed about their clients.
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

/// The open connections of a listener.
pub(super) struct Clients {
    pub(super) limits: ClientLimits,
    state: Mutex<State>,
    /// A connection ended or became idle.
    changed: Notify,
}

#[derive(Default)]
struct State {
    open: usize,
    /// Open connections that were told to close.
    closing: usize,
    next: u64,
    /// By the order in which they became idle.
    idle: BTreeMap<u64, Idle>,
    /// Idle connections by address; proxies are not counted.
    idle_of: HashMap<IpAddr, usize>,
    /// Forwarded requests that arrive, by the client's address.
    arriving_of: HashMap<IpAddr, usize>,
}

struct Idle {
    holder: Option<IpAddr>,
    close: CancellationToken,
}

/// An open connection. It counts until it is dropped.
pub(super) struct Client {
    clients: Arc<Clients>,
    pub(super) peer: IpAddr,
    /// `None`: a proxy.
    holder: Option<IpAddr>,
    /// Its place among the idle ones; `None` while it works.
    idle: Mutex<Option<u64>>,
    close: CancellationToken,
    rested: Notify,
    pub(super) timing: Timing,
}

/// A forwarded request that arrives. It counts until it is dropped.
pub(super) struct Arriving {
    clients: Arc<Clients>,
    holder: IpAddr,
}

impl Clients {
    pub(super) fn new(limits: ClientLimits) -> Self {
        Self { limits, state: Mutex::default(), changed: Notify::new() }
    }

    /// Counts a new connection. If there is no room, it first closes the one that has been idle longest.
    pub(super) async fn admit(self: &Arc<Self>, peer: IpAddr) -> Client {
        let proxies = &self.limits.trusted_proxies;
        let is_proxy = proxies.iter().any(|network| network.contains(peer));
        let holder = (!is_proxy).then(|| holder(peer));
        let close = CancellationToken::new();
        loop {
            if let Some(place) = self.try_admit(holder, &close) {
                let (idle, rested) = (Mutex::new(Some(place)), Notify::new());
                let timing = Timing::new(self.limits.head, self.limits.keep_alive);
                let clients = Arc::clone(self);
                return Client { clients, peer, holder, idle, close, rested, timing };
            }
            self.changed.notified().await;
        }
    }

    fn try_admit(&self, holder: Option<IpAddr>, close: &CancellationToken) -> Option<u64> {
        let mut state = self.state.lock();
        if state.open >= self.limits.connections_max {
            if state.closing == 0 {
                let oldest = state.idle.keys().next().copied();
                state.close(oldest);
            }
            return None;
        }
        if holder.is_some_and(|it| state.idle_count(it) >= self.limits.idle_per_address_max) {
            let mut own = state.idle.iter().filter(|(_, idle)| idle.holder == holder);
            let oldest = own.next().map(|(place, _)| *place);
            state.close(oldest);
        }
        state.open += 1;
        Some(state.add_idle(Idle { holder, close: close.clone() }))
    }
}

impl State {
    fn idle_count(&self, holder: IpAddr) -> usize {
        self.idle_of.get(&holder).copied().unwrap_or_default()
    }

    fn add_idle(&mut self, idle: Idle) -> u64 {
        let place = self.next;
        self.next += 1;
        if let Some(holder) = idle.holder {
            *self.idle_of.entry(holder).or_default() += 1;
        }
        self.idle.insert(place, idle);
        place
    }

    fn remove_idle(&mut self, place: u64) -> Option<Idle> {
        let idle = self.idle.remove(&place)?;
        if let Some(holder) = idle.holder {
            decrement(&mut self.idle_of, holder);
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

    /// Whom a proxy forwards a request for; `None`: it is a request of the peer itself.
    pub(super) fn forwards(&self, headers: &HeaderMap) -> Option<IpAddr> {
        if self.holder.is_some() {
            return None;
        }
        forwarded_client(headers, self.peer, &self.limits().trusted_proxies)
    }

    /// Counts a forwarded request that arrives; `None`: its client has too many.
    pub(super) fn arriving(&self, client: IpAddr) -> Option<Arriving> {
        let holder = holder(client);
        let mut state = self.clients.state.lock();
        let count = state.arriving_of.entry(holder).or_default();
        if *count >= self.limits().idle_per_address_max {
            return None;
        }
        *count += 1;
        Some(Arriving { clients: Arc::clone(&self.clients), holder })
    }

    /// A request has arrived.
    pub(super) fn work(&self) {
        if let Some(place) = self.idle.lock().take() {
            let mut state = self.clients.state.lock();
            if state.remove_idle(place).is_none() {
                state.closing = state.closing.saturating_sub(1);
                drop(state);
                self.clients.changed.notify_one();
            }
        }
    }

    /// Its answer was sent.
    pub(super) fn rest(&self) {
        self.timing.await_request();
        let mut idle = self.idle.lock();
        if idle.is_some() {
            return;
        }
        let close = self.close.clone();
        // A connection that is closing gets a place that is never searched.
        *idle = Some(if close.is_cancelled() {
            self.clients.state.lock().closing += 1;
            u64::MAX
        } else {
            self.clients.state.lock().add_idle(Idle { holder: self.holder, close })
        });
        drop(idle);
        self.rested.notify_one();
        self.clients.changed.notify_one();
    }

    /// Returns when the connection was told to close and does not work.
    pub(super) async fn told_to_close(&self) {
        self.close.cancelled().await;
        while self.idle.lock().is_none() {
            self.rested.notified().await;
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
        decrement(&mut self.clients.state.lock().arriving_of, self.holder);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_client_that_works_although_it_is_told_to_close_does_not_block_new_ones() {
        let local = IpAddr::from([127, 0, 0, 1]);
        let clients =
            Arc::new(Clients::new(ClientLimits::new(3, Duration::from_secs(9), Vec::new())));
        let working = clients.admit(local).await;
        for _ in 0..2 {
            let idle = clients.admit(local).await;
            tokio::spawn(async move { idle.told_to_close().await });
        }
        let admitting = Arc::clone(&clients);
        let new = tokio::spawn(async move { admitting.admit(local).await });
        // The oldest is told to close, and at that moment its request is complete.
        working.told_to_close().await;
        working.work();
        let admitted = tokio::time::timeout(Duration::from_secs(10), new).await;
        assert!(admitted.is_ok(), "two others are idle");
    }
}
