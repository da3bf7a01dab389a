//! Limits the number of open client connections, and of idle ones from one address. If there are
//! too many, asks an idle connection to close, never a busy one.
//!
//! A connection is busy from the time when no more of a request is read until its answer was sent.
//! At all other times it is idle, even while a request is arriving. A client is known after it has
//! sent a valid credential on the connection; a trusted proxy is always known. Connections of
//! unknown clients are closed first.

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
    ContradictoryHeaders, HeaderSender, RequestClient, UNKNOWN_CLIENT, forwarded_client,
    forwarded_https, limit_key,
};
use super::listener::{OpenedConnection, Peer, Preface};
use super::timing::ConnectionTimeouts;
use state::{ConnectionToClose, IdleConnection, OpenConnections, decrement};

pub use limits::{ClientLimits, SharedLimits};

/// The open client connections of a listener, and the limits that apply to them.
pub(super) struct Clients {
    limits: SharedLimits,
    open_connections: Mutex<OpenConnections>,
    /// Wakes a new connection that waits to be admitted.
    ended_or_idle: Notify,
}

/// An open client connection. It counts against the limits until this value is dropped.
pub(super) struct Client {
    clients: Arc<Clients>,
    /// The limits that applied when the connection began.
    limits: Arc<ClientLimits>,
    peer: Peer,
    /// The address by which limits count this connection; `None` for a proxy.
    limit_key: Option<IpAddr>,
    is_known: AtomicBool,
    requests: Mutex<RequestCounts>,
    /// Empty until HTTP begins on the connection.
    before_http: OnceLock<BeforeHttp>,
    /// Cancelled when the connection must close for a new connection.
    close_token: CancellationToken,
    became_idle: Notify,
    pub(super) timeouts: ConnectionTimeouts,
}

struct RequestCounts {
    /// Number of unanswered requests whose heads have arrived.
    unanswered_count: usize,
    /// Number of unanswered requests of which no more is read.
    arrived_count: usize,
    /// The key of the connection in the list of idle connections; `None` while the connection is
    /// busy. A connection that was asked to close is not in the list.
    idle_key: Option<u64>,
}

/// What preceded HTTP on a connection.
#[derive(Clone, Copy)]
struct BeforeHttp {
    preface: Preface,
    is_tls: bool,
}

/// A request extension: the client connection on which the request arrived.
#[derive(Clone)]
pub(super) struct ClientHandle(pub(super) Weak<Client>);

/// Marks the client that sent a request as known, because the request contains a valid credential.
pub(super) fn mark_known(extensions: &Extensions) {
    let client = extensions.get().and_then(|ClientHandle(client)| client.upgrade());
    if let Some(client) = client {
        client.mark_known();
    }
}

/// A forwarded or HTTP/2 request whose body is still arriving. It is counted until this value is
/// dropped.
pub(super) struct ArrivingRequest {
    clients: Arc<Clients>,
    limit_key: IpAddr,
}

/// The decision whether a new connection is accepted.
enum Admission {
    /// The connection is accepted, and has this key in the list of idle connections.
    Admitted(u64),
    /// The connection must wait until another one ends or becomes idle.
    Waits,
    /// The connection is closed without an answer.
    Refused,
}

impl Clients {
    pub(super) fn new(limits: SharedLimits) -> Self {
        Self { limits, open_connections: Mutex::default(), ended_or_idle: Notify::new() }
    }

    /// Counts a new connection. If too many are open, asks an idle connection to close, and waits.
    /// Returns `None` if the new connection is refused.
    pub(super) async fn admit(self: &Arc<Self>, peer: Peer) -> Option<Client> {
        let limits = self.limits.load_full();
        let is_proxy = peer.is_local || limits.trusts(peer.address);
        let limit_key = (!is_proxy).then(|| limit_key(peer.address));
        let close_token = CancellationToken::new();
        loop {
            match self.try_admit(&limits, limit_key, &close_token) {
                Admission::Admitted(key) => {
                    let requests = RequestCounts {
                        unanswered_count: 0,
                        arrived_count: 0,
                        idle_key: Some(key),
                    };
                    let timeouts = ConnectionTimeouts::new(limits.head, limits.keep_alive);
                    return Some(Client {
                        clients: Arc::clone(self),
                        limits,
                        peer,
                        limit_key,
                        is_known: AtomicBool::new(is_proxy),
                        requests: Mutex::new(requests),
                        before_http: OnceLock::new(),
                        close_token,
                        became_idle: Notify::new(),
                        timeouts,
                    });
                }
                Admission::Refused => return None,
                Admission::Waits => self.ended_or_idle.notified().await,
            }
        }
    }

    fn try_admit(
        &self,
        limits: &ClientLimits,
        limit_key: Option<IpAddr>,
        close_token: &CancellationToken,
    ) -> Admission {
        let mut connections = self.open_connections.lock();
        if connections.open_total >= limits.connections_max {
            match connections.choose_connection_to_close(limit_key) {
                _ if connections.closing_count > 0 => {}
                ConnectionToClose::Idle(key) => connections.request_close(key),
                ConnectionToClose::NoneYet => {}
                ConnectionToClose::NoneMayClose => return Admission::Refused,
            }
            return Admission::Waits;
        }
        if limit_key.is_some_and(|address| {
            connections.idle_count_of(address) >= limits.idle_per_address_max
        }) {
            let mut of_address =
                connections.unknown_idle.iter().filter(|(_, idle)| idle.limit_key == limit_key);
            if let Some(oldest) = of_address.next().map(|(key, _)| *key) {
                connections.request_close(oldest);
            }
        }
        connections.open_total += 1;
        limit_key.into_iter().for_each(|address| connections.add_open(address));
        let close_token = close_token.clone();
        Admission::Admitted(connections.add_idle(IdleConnection { limit_key, close_token }))
    }
}

impl Client {
    pub(super) fn limits(&self) -> &ClientLimits {
        &self.limits
    }

    /// Whether the peer is a trusted proxy, or is connected through a Unix socket.
    pub(super) fn is_proxy(&self) -> bool {
        self.limit_key.is_none()
    }

    /// Marks the client as known. After that, its connection is closed for a new connection only if
    /// no unknown client has an open connection.
    pub(super) fn mark_known(&self) {
        if self.is_known.swap(true, Ordering::Relaxed) {
            return;
        }
        let requests = self.requests.lock();
        let mut connections = self.clients.open_connections.lock();
        self.limit_key.into_iter().for_each(|address| connections.remove_open(address));
        if let Some((key, idle)) =
            requests.idle_key.and_then(|key| Some((key, connections.remove_idle(key)?)))
        {
            connections.insert_idle(key, IdleConnection { limit_key: None, ..idle });
        }
    }

    pub(super) fn set_before_http(&self, opened: &OpenedConnection) {
        let _ = self.before_http.set(BeforeHttp { preface: opened.preface, is_tls: opened.is_tls });
    }

    /// The client that sent a request with these headers: the peer, or the client that a trusted
    /// proxy names. After a header of the PROXY protocol, the HTTP headers are trusted only if the
    /// client that it names is itself a trusted proxy.
    ///
    /// # Errors
    /// The headers of a trusted proxy contradict each other.
    pub(super) fn request_client(
        &self,
        headers: &HeaderMap,
    ) -> Result<RequestClient, ContradictoryHeaders> {
        let absent = BeforeHttp { preface: Preface::Absent, is_tls: false };
        let BeforeHttp { preface, is_tls } = self.before_http.get().copied().unwrap_or(absent);
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
            header_sender: HeaderSender::Client,
        };
        if !is_proxy {
            return Ok(direct);
        }
        let trusted = &limits.trusted_proxies;
        let Some(address) = forwarded_client(headers, trusted)? else { return Ok(direct) };
        let is_https = forwarded_https(headers, trusted).unwrap_or(is_https);
        let is_local = is_direct && self.peer.is_local;
        let header_sender = if is_local { HeaderSender::LocalProxy } else { HeaderSender::Proxy };
        Ok(RequestClient { address, is_https, is_forwarded: true, header_sender })
    }

    /// Counts a request as arriving. Returns `None` if too many requests of this client address are
    /// already arriving.
    pub(super) fn count_arriving(&self, client: IpAddr) -> Option<ArrivingRequest> {
        let limit_key = limit_key(client);
        let mut connections = self.clients.open_connections.lock();
        let count = connections.arriving_counts.entry(limit_key).or_default();
        if *count >= self.limits().idle_per_address_max {
            return None;
        }
        *count += 1;
        Some(ArrivingRequest { clients: Arc::clone(&self.clients), limit_key })
    }

    /// Records that the head of a request has arrived completely.
    pub(super) fn begin_request(&self) {
        self.requests.lock().unanswered_count += 1;
        self.timeouts.stop_head_timeout();
    }

    /// Records that a request was read completely, or that its rest will not be read. From now on,
    /// the connection is busy.
    pub(super) fn mark_busy(&self) {
        let mut requests = self.requests.lock();
        requests.arrived_count += 1;
        let idle_key = requests.idle_key.take();
        drop(requests);
        if let Some(key) = idle_key {
            let mut connections = self.clients.open_connections.lock();
            if connections.remove_idle(key).is_none() {
                connections.closing_count = connections.closing_count.saturating_sub(1);
                drop(connections);
                self.clients.ended_or_idle.notify_one();
            }
        }
    }

    /// Records that the answer to a request was sent. `had_arrived`: whether [`Self::mark_busy`]
    /// was called for this request. If it was called for no other unanswered request, the
    /// connection becomes idle.
    pub(super) fn end_request(&self, had_arrived: bool) {
        let mut requests = self.requests.lock();
        requests.unanswered_count -= 1;
        requests.arrived_count -= usize::from(had_arrived);
        if requests.unanswered_count == 0 {
            self.timeouts.start_keep_alive_timeout();
        }
        if requests.arrived_count > 0 || requests.idle_key.is_some() {
            return;
        }
        let close_token = self.close_token.clone();
        // A connection that was asked to close is not listed again. Its key is one that the list
        // never contains.
        requests.idle_key = Some(if close_token.is_cancelled() {
            self.clients.open_connections.lock().closing_count += 1;
            u64::MAX
        } else {
            let is_known = self.is_known.load(Ordering::Relaxed);
            let limit_key = self.limit_key.filter(|_| !is_known);
            self.clients.open_connections.lock().add_idle(IdleConnection { limit_key, close_token })
        });
        drop(requests);
        self.became_idle.notify_one();
        self.clients.ended_or_idle.notify_one();
    }

    /// Waits until the connection was asked to close and is idle.
    pub(super) async fn close_requested(&self) {
        self.close_token.cancelled().await;
        while self.requests.lock().idle_key.is_none() {
            self.became_idle.notified().await;
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let idle_key = self.requests.get_mut().idle_key.take();
        let mut connections = self.clients.open_connections.lock();
        if let Some(key) = idle_key {
            connections.remove_idle(key);
        }
        if idle_key.is_some() && self.close_token.is_cancelled() {
            connections.closing_count = connections.closing_count.saturating_sub(1);
        }
        connections.open_total = connections.open_total.saturating_sub(1);
        if !*self.is_known.get_mut() {
            self.limit_key.into_iter().for_each(|address| connections.remove_open(address));
        }
        drop(connections);
        self.clients.ended_or_idle.notify_one();
    }
}

impl Drop for ArrivingRequest {
    fn drop(&mut self) {
        decrement(&mut self.clients.open_connections.lock().arriving_counts, self.limit_key);
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
    async fn headers_that_name_a_client_are_used_only_if_a_trusted_proxy_wrote_them() {
        let proxies: [Network; 1] = ["10.0.0.0/8".parse().unwrap()];
        let headers = HeaderMap::from_iter([(
            "x-forwarded-for".parse::<axum::http::HeaderName>().unwrap(),
            "192.0.2.7".parse().unwrap(),
        )]);
        let proxied = |address: &str| {
            let address = address.parse().unwrap();
            Preface::ProxyHeader(Some(ProxiedClient { address, is_https: false }))
        };
        for (peer, is_local, preface, client, header_sender) in [
            ("203.0.113.9", false, Preface::Absent, "203.0.113.9", HeaderSender::Client),
            ("10.0.0.1", false, Preface::Absent, "192.0.2.7", HeaderSender::Proxy),
            ("127.0.0.1", true, Preface::Absent, "192.0.2.7", HeaderSender::LocalProxy),
            ("10.0.0.1", false, proxied("203.0.113.9"), "203.0.113.9", HeaderSender::Client),
            ("10.0.0.1", false, Preface::ProxyHeader(None), "::", HeaderSender::Client),
            ("10.0.0.1", false, proxied("10.0.0.2"), "192.0.2.7", HeaderSender::Proxy),
            ("127.0.0.1", true, proxied("203.0.113.9"), "203.0.113.9", HeaderSender::Client),
            ("127.0.0.1", true, Preface::ProxyHeader(None), "::", HeaderSender::Client),
            ("127.0.0.1", true, proxied("10.0.0.2"), "192.0.2.7", HeaderSender::Proxy),
        ] {
            let limits = ClientLimits::new(3, Duration::from_secs(9), proxies.to_vec());
            let clients = Arc::new(Clients::new(Arc::new(ArcSwap::from_pointee(limits))));
            let peer = Peer { address: peer.parse().unwrap(), is_local };
            let admitted = clients.admit(peer).await.expect("room");
            let stream = Box::new(tokio::io::empty());
            admitted.set_before_http(&OpenedConnection { stream, preface, is_tls: false });
            let found = admitted.request_client(&headers).expect("one header");
            let expected = (client.parse::<IpAddr>().unwrap(), header_sender);
            assert_eq!((found.address, found.header_sender), expected, "{peer:?} {preface:?}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_becomes_busy_while_it_is_asked_to_close_does_not_block_new_ones() {
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
        // The oldest connection is asked to close. Before it closes, a request arrives on it.
        busy.close_requested().await;
        busy.begin_request();
        busy.mark_busy();
        let admitted = tokio::time::timeout(Duration::from_secs(10), new).await;
        assert!(admitted.is_ok(), "the new connection must replace one of the two idle ones");
    }
}
