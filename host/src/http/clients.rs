//! Limits the number of open client connections, and chooses an idle one to close when a new one
//! arrives.
//!
//! A connection is busy from the last byte of a request to the last byte of its answer. Otherwise
//! it is idle, even while a request is arriving. Only idle connections are closed: first
//! connections of unknown clients, and among them a connection of the address with the most open
//! connections. A client is known after it has sent a valid credential on the connection.

mod limits;
mod state;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use axum::http::{Extensions, HeaderMap};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::client_address::{
    ContradictoryHeaders, HeaderWriter, RequestClient, UNKNOWN_CLIENT, forwarded_client,
    forwarded_https, limit_key,
};
use super::listener::{OpenedConnection, Peer, Preface};
use super::timing::Timing;
use state::{Displaced, IdleConnection, State, decrement};

pub use limits::{ClientLimits, SharedLimits};

/// Counts the open connections of a listener.
pub(super) struct Clients {
    limits: SharedLimits,
    state: Mutex<State>,
    /// Notified when a connection ends or becomes idle.
    changed: Notify,
}

/// An open client connection. It counts against the limits until it is dropped.
pub(super) struct Client {
    clients: Arc<Clients>,
    /// The limits at the time when the connection began.
    limits: Arc<ClientLimits>,
    peer: Peer,
    /// The address by which limits count this connection; `None` if the peer is a trusted proxy.
    limit_key: Option<IpAddr>,
    is_known: AtomicBool,
    requests: Mutex<Requests>,
    opened: OnceLock<Opening>,
    close: CancellationToken,
    became_idle: Notify,
    pub(super) timing: Timing,
}

/// Counts the requests of a connection.
struct Requests {
    /// Number of requests that are not answered yet.
    unanswered: usize,
    /// Number of unanswered requests that have arrived completely.
    arrived: usize,
    /// The key of the connection in the list of idle ones; `None` while the connection is busy.
    idle_key: Option<u64>,
}

/// What preceded HTTP on a connection.
#[derive(Clone, Copy)]
struct Opening {
    preface: Preface,
    is_tls: bool,
}

/// A request extension: the connection on which a request came.
#[derive(Clone)]
pub(super) struct ClientHandle(pub(super) Weak<Client>);

/// Marks the client of a request as known, because it has sent a valid credential. Every handler
/// that accepts a credential calls this function.
pub(super) fn mark_known(extensions: &Extensions) {
    let client = extensions.get().and_then(|ClientHandle(client)| client.upgrade());
    if let Some(client) = client {
        client.mark_known();
    }
}

/// Counts a forwarded or HTTP/2 request whose body is still arriving, until this value is dropped.
pub(super) struct ArrivingRequest {
    clients: Arc<Clients>,
    limit_key: IpAddr,
}

/// The decision about a new connection.
enum Admission {
    /// The connection is accepted; this is its key in the list of idle connections.
    Admitted(u64),
    /// The connection must wait until another one ends or becomes idle.
    Waits,
    /// The connection is closed without an answer.
    Refused,
}

impl Clients {
    pub(super) fn new(limits: SharedLimits) -> Self {
        Self { limits, state: Mutex::default(), changed: Notify::new() }
    }

    /// Counts a new connection. If too many connections are open, first asks an idle one to close,
    /// and waits until it has ended. Returns `None` if the idle connection that would be
    /// closed belongs to another address, which has at most as many open connections as the peer's.
    pub(super) async fn admit(self: &Arc<Self>, peer: Peer) -> Option<Client> {
        let limits = self.limits.load_full();
        let is_proxy = peer.is_local || limits.trusts(peer.address);
        let limit_key = (!is_proxy).then(|| limit_key(peer.address));
        let close = CancellationToken::new();
        loop {
            match self.try_admit(&limits, limit_key, &close) {
                Admission::Admitted(key) => {
                    let requests = Requests { unanswered: 0, arrived: 0, idle_key: Some(key) };
                    let timing = Timing::new(limits.head, limits.keep_alive);
                    return Some(Client {
                        clients: Arc::clone(self),
                        limits,
                        peer,
                        limit_key,
                        is_known: AtomicBool::new(is_proxy),
                        requests: Mutex::new(requests),
                        opened: OnceLock::new(),
                        close,
                        became_idle: Notify::new(),
                        timing,
                    });
                }
                Admission::Refused => return None,
                Admission::Waits => self.changed.notified().await,
            }
        }
    }

    fn try_admit(
        &self,
        limits: &ClientLimits,
        limit_key: Option<IpAddr>,
        close: &CancellationToken,
    ) -> Admission {
        let mut state = self.state.lock();
        if state.open_total >= limits.connections_max {
            match state.choose_displaced(limit_key) {
                _ if state.closing > 0 => {}
                Displaced::Idle(key) => state.close(key),
                Displaced::NoneYet => {}
                Displaced::Never => return Admission::Refused,
            }
            return Admission::Waits;
        }
        if limit_key
            .is_some_and(|address| state.idle_count_of(address) >= limits.idle_per_address_max)
        {
            let mut of_address =
                state.unknown_idle.iter().filter(|(_, idle)| idle.limit_key == limit_key);
            if let Some(oldest) = of_address.next().map(|(key, _)| *key) {
                state.close(oldest);
            }
        }
        state.open_total += 1;
        limit_key.into_iter().for_each(|address| state.add_open(address));
        Admission::Admitted(state.add_idle(IdleConnection { limit_key, close: close.clone() }))
    }
}

impl Client {
    pub(super) fn limits(&self) -> &ClientLimits {
        &self.limits
    }

    /// Whether the peer is a trusted proxy.
    pub(super) fn is_proxy(&self) -> bool {
        self.limit_key.is_none()
    }

    /// Marks the client as known, because it has sent a valid credential. From now on, its
    /// connection is closed for a new one only if no unknown client has an open connection.
    pub(super) fn mark_known(&self) {
        if self.is_known.swap(true, Ordering::Relaxed) {
            return;
        }
        let requests = self.requests.lock();
        let mut state = self.clients.state.lock();
        self.limit_key.into_iter().for_each(|address| state.remove_open(address));
        if let Some((key, idle)) =
            requests.idle_key.and_then(|key| Some((key, state.remove_idle(key)?)))
        {
            state.insert_idle(key, IdleConnection { limit_key: None, ..idle });
        }
    }

    /// Stores what preceded HTTP on the connection.
    pub(super) fn set_opened(&self, opened: &OpenedConnection) {
        let _ = self.opened.set(Opening { preface: opened.preface, is_tls: opened.is_tls });
    }

    /// The client of a request with these headers: the peer, or the client that a trusted proxy
    /// names, by the PROXY protocol or in an HTTP header. After a header of the PROXY protocol, the
    /// named client writes the HTTP headers. They are trusted only if this client is a trusted
    /// proxy.
    ///
    /// # Errors
    /// The headers of a trusted proxy contradict each other.
    pub(super) fn request_client(
        &self,
        headers: &HeaderMap,
    ) -> Result<RequestClient, ContradictoryHeaders> {
        let absent = Opening { preface: Preface::Absent, is_tls: false };
        let Opening { preface, is_tls } = self.opened.get().copied().unwrap_or(absent);
        let limits = self.limits();
        let (address, is_https, is_proxy) = match preface {
            Preface::Absent => (self.peer.address, is_tls, self.is_proxy()),
            Preface::ProxyHeader(Some(client)) => {
                (client.address, is_tls || client.is_https, limits.trusts(client.address))
            }
            Preface::ProxyHeader(None) => (UNKNOWN_CLIENT, is_tls, false),
        };
        let is_direct = preface == Preface::Absent;
        let direct = RequestClient {
            address,
            is_https,
            is_forwarded: !is_direct,
            header_writer: HeaderWriter::Client,
        };
        if !is_proxy {
            return Ok(direct);
        }
        let trusted = &limits.trusted_proxies;
        let Some(address) = forwarded_client(headers, trusted)? else { return Ok(direct) };
        let is_https = forwarded_https(headers, trusted).unwrap_or(is_https);
        let is_local = is_direct && self.peer.is_local;
        let header_writer = if is_local { HeaderWriter::LocalProxy } else { HeaderWriter::Proxy };
        Ok(RequestClient { address, is_https, is_forwarded: true, header_writer })
    }

    /// Counts a request that begins to arrive. Returns `None` if its client already has too many of
    /// them.
    pub(super) fn count_arriving(&self, client: IpAddr) -> Option<ArrivingRequest> {
        let limit_key = limit_key(client);
        let mut state = self.clients.state.lock();
        let count = state.arriving_counts.entry(limit_key).or_default();
        if *count >= self.limits().idle_per_address_max {
            return None;
        }
        *count += 1;
        Some(ArrivingRequest { clients: Arc::clone(&self.clients), limit_key })
    }

    /// Records that the head of a request has arrived.
    pub(super) fn begin_request(&self) {
        self.requests.lock().unanswered += 1;
        self.timing.head_complete();
    }

    /// Records that a request has arrived completely: the connection is busy now.
    pub(super) fn mark_busy(&self) {
        let mut requests = self.requests.lock();
        requests.arrived += 1;
        let idle_key = requests.idle_key.take();
        drop(requests);
        if let Some(key) = idle_key {
            let mut state = self.clients.state.lock();
            if state.remove_idle(key).is_none() {
                state.closing = state.closing.saturating_sub(1);
                drop(state);
                self.clients.changed.notify_one();
            }
        }
    }

    /// Records that the answer to a request was sent. The connection becomes idle unless another
    /// request has arrived completely.
    pub(super) fn end_request(&self, had_arrived: bool) {
        let mut requests = self.requests.lock();
        requests.unanswered -= 1;
        requests.arrived -= usize::from(had_arrived);
        if requests.unanswered == 0 {
            self.timing.await_request();
        }
        if requests.arrived > 0 || requests.idle_key.is_some() {
            return;
        }
        let close = self.close.clone();
        // A connection that was asked to close gets a key that is never in the list of idle
        // connections.
        requests.idle_key = Some(if close.is_cancelled() {
            self.clients.state.lock().closing += 1;
            u64::MAX
        } else {
            let is_known = self.is_known.load(Ordering::Relaxed);
            let limit_key = self.limit_key.filter(|_| !is_known);
            self.clients.state.lock().add_idle(IdleConnection { limit_key, close })
        });
        drop(requests);
        self.became_idle.notify_one();
        self.clients.changed.notify_one();
    }

    /// Returns when the connection was asked to close and is idle.
    pub(super) async fn close_requested(&self) {
        self.close.cancelled().await;
        while self.requests.lock().idle_key.is_none() {
            self.became_idle.notified().await;
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let idle_key = self.requests.get_mut().idle_key.take();
        let mut state = self.clients.state.lock();
        if let Some(key) = idle_key {
            state.remove_idle(key);
        }
        if idle_key.is_some() && self.close.is_cancelled() {
            state.closing = state.closing.saturating_sub(1);
        }
        state.open_total = state.open_total.saturating_sub(1);
        if !*self.is_known.get_mut() {
            self.limit_key.into_iter().for_each(|address| state.remove_open(address));
        }
        drop(state);
        self.clients.changed.notify_one();
    }
}

impl Drop for ArrivingRequest {
    fn drop(&mut self) {
        decrement(&mut self.clients.state.lock().arriving_counts, self.limit_key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use arc_swap::ArcSwap;

    use super::*;
    use crate::domain::Network;
    use crate::http::proxy_protocol::ProxiedClient;

    #[tokio::test]
    async fn only_the_writer_of_a_request_is_trusted_for_its_headers() {
        let proxies: [Network; 1] = ["10.0.0.0/8".parse().unwrap()];
        let headers = HeaderMap::from_iter([(
            "x-forwarded-for".parse::<axum::http::HeaderName>().unwrap(),
            "192.0.2.7".parse().unwrap(),
        )]);
        let proxied = |address: &str| {
            let address = address.parse().unwrap();
            Preface::ProxyHeader(Some(ProxiedClient { address, is_https: false }))
        };
        for (peer, is_local, preface, client, header_writer) in [
            ("203.0.113.9", false, Preface::Absent, "203.0.113.9", HeaderWriter::Client),
            ("10.0.0.1", false, Preface::Absent, "192.0.2.7", HeaderWriter::Proxy),
            ("127.0.0.1", true, Preface::Absent, "192.0.2.7", HeaderWriter::LocalProxy),
            ("10.0.0.1", false, proxied("203.0.113.9"), "203.0.113.9", HeaderWriter::Client),
            ("10.0.0.1", false, Preface::ProxyHeader(None), "::", HeaderWriter::Client),
            ("10.0.0.1", false, proxied("10.0.0.2"), "192.0.2.7", HeaderWriter::Proxy),
            ("127.0.0.1", true, proxied("203.0.113.9"), "203.0.113.9", HeaderWriter::Client),
            ("127.0.0.1", true, Preface::ProxyHeader(None), "::", HeaderWriter::Client),
            ("127.0.0.1", true, proxied("10.0.0.2"), "192.0.2.7", HeaderWriter::Proxy),
        ] {
            let limits = ClientLimits::new(3, Duration::from_secs(9), proxies.to_vec());
            let clients = Arc::new(Clients::new(Arc::new(ArcSwap::from_pointee(limits))));
            let peer = Peer { address: peer.parse().unwrap(), is_local };
            let admitted = clients.admit(peer).await.expect("room");
            let stream = Box::new(tokio::io::empty());
            admitted.set_opened(&OpenedConnection { stream, preface, is_tls: false });
            let found = admitted.request_client(&headers).expect("one header");
            let expected = (client.parse::<IpAddr>().unwrap(), header_writer);
            assert_eq!((found.address, found.header_writer), expected, "{peer:?} {preface:?}");
        }
    }

    #[tokio::test]
    async fn a_busy_connection_that_is_asked_to_close_does_not_block_new_ones() {
        let local = Peer { address: IpAddr::from([127, 0, 0, 1]), is_local: false };
        let limits = ClientLimits::new(3, Duration::from_secs(9), Vec::new());
        let clients = Arc::new(Clients::new(Arc::new(ArcSwap::from_pointee(limits))));
        let busy = clients.admit(local).await.expect("room");
        for _ in 0..2 {
            let idle = clients.admit(local).await.expect("room");
            tokio::spawn(async move { idle.close_requested().await });
        }
        let admitting = Arc::clone(&clients);
        let new = tokio::spawn(async move { admitting.admit(local).await.is_some() });
        // The oldest connection is asked to close, and its request is complete just then.
        busy.close_requested().await;
        busy.begin_request();
        busy.mark_busy();
        let admitted = tokio::time::timeout(Duration::from_secs(10), new).await;
        assert!(admitted.is_ok(), "the new connection must replace one of the two idle ones");
    }
}
