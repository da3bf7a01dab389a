//! The open client connections: limits their number, and chooses which one to close for a new one.
//!
//! A connection is busy from the last byte of a request to the last byte of its answer. Otherwise
//! it is idle, also while a request arrives. Only idle connections are closed: first those of
//! clients that are not known, and of them those of the address that has most open. A client is
//! known after it has shown a credential on the connection.

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
    ClientOrigin, ContradictoryHeaders, HeadersBy, UNKNOWN_CLIENT, forwarded_client,
    forwarded_https, limit_key,
};
use super::listener::{Opened, Peer, Preface};
use super::timing::Timing;
use state::{Idle, Room, State, decrement};

pub use limits::{ClientLimits, SharedLimits};

/// The open connections of a listener, each counted until it ends.
pub(super) struct Clients {
    limits: SharedLimits,
    state: Mutex<State>,
    /// Notified when a connection ends or becomes idle.
    changed: Notify,
}

/// An open client connection. It counts against the limits until it is dropped.
pub(super) struct Client {
    clients: Arc<Clients>,
    /// The limits when the connection began.
    limits: Arc<ClientLimits>,
    peer: Peer,
    /// `None` if the peer is a trusted proxy.
    limit_key: Option<IpAddr>,
    is_known: AtomicBool,
    requests: Mutex<Requests>,
    opened: OnceLock<Opening>,
    close: CancellationToken,
    became_idle: Notify,
    pub(super) timing: Timing,
}

/// The requests of a connection.
struct Requests {
    /// Requests that are not answered yet.
    unanswered: usize,
    /// Those of them that have arrived completely.
    arrived: usize,
    /// The key of the connection in the list of idle ones; `None` while the connection is busy.
    place: Option<u64>,
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

/// Marks the client of a request as known: it has shown a credential. Every handler that accepts
/// one calls this.
pub(super) fn mark_known(extensions: &Extensions) {
    let client = extensions.get().and_then(|ClientHandle(client)| client.upgrade());
    if let Some(client) = client {
        client.mark_known();
    }
}

/// A forwarded request whose body still arrives. It is counted until it is dropped.
pub(super) struct Arriving {
    clients: Arc<Clients>,
    limit_key: IpAddr,
}

/// The result of a new connection.
enum Admission {
    /// It is the idle connection at this place.
    Admitted(u64),
    /// It must wait until another one changes.
    Waits,
    Refused,
}

impl Clients {
    pub(super) fn new(limits: SharedLimits) -> Self {
        Self { limits, state: Mutex::default(), changed: Notify::new() }
    }

    /// Counts a new connection. If there are too many, first asks an idle one to close, and waits.
    /// `None` if its address has too many clients.
    pub(super) async fn admit(self: &Arc<Self>, peer: Peer) -> Option<Client> {
        let limits = self.limits.load_full();
        let is_proxy = peer.is_local || limits.trusts(peer.address);
        let limit_key = (!is_proxy).then(|| limit_key(peer.address));
        let close = CancellationToken::new();
        loop {
            match self.try_admit(&limits, limit_key, &close) {
                Admission::Admitted(place) => {
                    let requests = Requests { unanswered: 0, arrived: 0, place: Some(place) };
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
        if state.open >= limits.connections_max {
            match state.make_room(limit_key) {
                _ if state.closing > 0 => {}
                Room::Close(place) => state.close(place),
                Room::Later => {}
                Room::None => return Admission::Refused,
            }
            return Admission::Waits;
        }
        if limit_key.is_some_and(|it| state.idle_count(it) >= limits.idle_per_address_max) {
            let mut own = state.idle.iter().filter(|(_, idle)| idle.limit_key == limit_key);
            if let Some(oldest) = own.next().map(|(place, _)| *place) {
                state.close(oldest);
            }
        }
        state.open += 1;
        limit_key.into_iter().for_each(|it| state.add_open(it));
        Admission::Admitted(state.add_idle(Idle { limit_key, close: close.clone() }))
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

    /// The client has shown a credential: from now on its connection is closed only if there is no
    /// idle connection of clients that are not known.
    pub(super) fn mark_known(&self) {
        if self.is_known.swap(true, Ordering::Relaxed) {
            return;
        }
        let requests = self.requests.lock();
        let mut state = self.clients.state.lock();
        self.limit_key.into_iter().for_each(|it| state.remove_open(it));
        if let Some((place, idle)) =
            requests.place.and_then(|it| Some((it, state.remove_idle(it)?)))
        {
            state.insert_idle(place, Idle { limit_key: None, ..idle });
        }
    }

    /// Remembers what preceded HTTP.
    pub(super) fn set_opened(&self, opened: &Opened) {
        let _ = self.opened.set(Opening { preface: opened.preface, is_tls: opened.is_tls });
    }

    /// Where a request with these headers comes from: the peer, or the client that a trusted proxy
    /// names, by the PROXY protocol or in a header. The header of the PROXY protocol says who sends
    /// the HTTP requests, so the proxy that sent it is not trusted for their headers.
    ///
    /// # Errors
    /// The headers of a trusted proxy contradict each other.
    pub(super) fn origin(&self, headers: &HeaderMap) -> Result<ClientOrigin, ContradictoryHeaders> {
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
        let direct = ClientOrigin {
            address,
            is_https,
            is_forwarded: !is_direct,
            headers_by: HeadersBy::Client,
        };
        if !is_proxy {
            return Ok(direct);
        }
        let trusted = &limits.trusted_proxies;
        let Some(address) = forwarded_client(headers, trusted)? else { return Ok(direct) };
        let is_https = forwarded_https(headers, trusted).unwrap_or(is_https);
        let is_local = is_direct && self.peer.is_local;
        let headers_by = if is_local { HeadersBy::LocalProxy } else { HeadersBy::Proxy };
        Ok(ClientOrigin { address, is_https, is_forwarded: true, headers_by })
    }

    /// Counts a request that begins to arrive; `None` if its client has too many of them.
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

    /// The head of a request has arrived.
    pub(super) fn begin_request(&self) {
        self.requests.lock().unanswered += 1;
        self.timing.head_complete();
    }

    /// A request has arrived completely: the connection is busy now.
    pub(super) fn mark_busy(&self) {
        let mut requests = self.requests.lock();
        requests.arrived += 1;
        let place = requests.place.take();
        drop(requests);
        if let Some(place) = place {
            let mut state = self.clients.state.lock();
            if state.remove_idle(place).is_none() {
                state.closing = state.closing.saturating_sub(1);
                drop(state);
                self.clients.changed.notify_one();
            }
        }
    }

    /// The answer to a request was sent. The connection is idle if no other request has arrived.
    pub(super) fn end_request(&self, had_arrived: bool) {
        let mut requests = self.requests.lock();
        requests.unanswered -= 1;
        requests.arrived -= usize::from(had_arrived);
        if requests.unanswered == 0 {
            self.timing.await_request();
        }
        if requests.arrived > 0 || requests.place.is_some() {
            return;
        }
        let close = self.close.clone();
        // A connection that was asked to close gets a key that is never in the list of idle
        // connections.
        requests.place = Some(if close.is_cancelled() {
            self.clients.state.lock().closing += 1;
            u64::MAX
        } else {
            let is_known = self.is_known.load(Ordering::Relaxed);
            let limit_key = self.limit_key.filter(|_| !is_known);
            self.clients.state.lock().add_idle(Idle { limit_key, close })
        });
        drop(requests);
        self.became_idle.notify_one();
        self.clients.changed.notify_one();
    }

    /// Returns when the connection was asked to close and is idle.
    pub(super) async fn close_requested(&self) {
        self.close.cancelled().await;
        while self.requests.lock().place.is_none() {
            self.became_idle.notified().await;
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let place = self.requests.get_mut().place.take();
        let mut state = self.clients.state.lock();
        if let Some(place) = place {
            state.remove_idle(place);
        }
        if place.is_some() && self.close.is_cancelled() {
            state.closing = state.closing.saturating_sub(1);
        }
        state.open = state.open.saturating_sub(1);
        if !*self.is_known.get_mut() {
            self.limit_key.into_iter().for_each(|it| state.remove_open(it));
        }
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

    use arc_swap::ArcSwap;

    use super::*;
    use crate::domain::Network;
    use crate::http::proxy_protocol::Proxied;

    #[tokio::test]
    async fn only_the_writer_of_a_request_is_trusted_for_its_headers() {
        let proxies: [Network; 1] = ["10.0.0.0/8".parse().unwrap()];
        let headers = HeaderMap::from_iter([(
            "x-forwarded-for".parse::<axum::http::HeaderName>().unwrap(),
            "192.0.2.7".parse().unwrap(),
        )]);
        let by = |address: &str| {
            let address = address.parse().unwrap();
            Preface::ProxyHeader(Some(Proxied { address, is_https: false }))
        };
        for (peer, is_local, preface, client, headers_by) in [
            ("203.0.113.9", false, Preface::Absent, "203.0.113.9", HeadersBy::Client),
            ("10.0.0.1", false, Preface::Absent, "192.0.2.7", HeadersBy::Proxy),
            ("127.0.0.1", true, Preface::Absent, "192.0.2.7", HeadersBy::LocalProxy),
            ("10.0.0.1", false, by("203.0.113.9"), "203.0.113.9", HeadersBy::Client),
            ("10.0.0.1", false, Preface::ProxyHeader(None), "::", HeadersBy::Client),
            ("10.0.0.1", false, by("10.0.0.2"), "192.0.2.7", HeadersBy::Proxy),
            ("127.0.0.1", true, by("203.0.113.9"), "203.0.113.9", HeadersBy::Client),
            ("127.0.0.1", true, Preface::ProxyHeader(None), "::", HeadersBy::Client),
            ("127.0.0.1", true, by("10.0.0.2"), "192.0.2.7", HeadersBy::Proxy),
        ] {
            let limits = ClientLimits::new(3, Duration::from_secs(9), proxies.to_vec());
            let clients = Arc::new(Clients::new(Arc::new(ArcSwap::from_pointee(limits))));
            let peer = Peer { address: peer.parse().unwrap(), is_local };
            let admitted = clients.admit(peer).await.expect("room");
            let stream = Box::new(tokio::io::empty());
            admitted.set_opened(&Opened { stream, preface, is_tls: false });
            let origin = admitted.origin(&headers).expect("one header");
            let expected = (client.parse::<IpAddr>().unwrap(), headers_by);
            assert_eq!((origin.address, origin.headers_by), expected, "{peer:?} {preface:?}");
        }
    }

    #[tokio::test]
    async fn a_busy_connection_that_is_asked_to_close_does_not_block_new_ones() {
        let local = Peer { address: IpAddr::from([127, 0, 0, 1]), is_local: false };
        let limits = ClientLimits::new(3, Duration::from_secs(9), Vec::new());
        let clients = Arc::new(Clients::new(Arc::new(ArcSwap::from_pointee(limits))));
        let working = clients.admit(local).await.expect("room");
        for _ in 0..2 {
            let idle = clients.admit(local).await.expect("room");
            tokio::spawn(async move { idle.close_requested().await });
        }
        let admitting = Arc::clone(&clients);
        let new = tokio::spawn(async move { admitting.admit(local).await.is_some() });
        // The oldest connection is asked to close, and at that moment its request is complete.
        working.close_requested().await;
        working.begin_request();
        working.mark_busy();
        let admitted = tokio::time::timeout(Duration::from_secs(10), new).await;
        assert!(admitted.is_ok(), "two others are idle");
    }
}
