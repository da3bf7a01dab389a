//! Makes network connections to trackers and other servers, directly or through a proxy, with TLS
//! and HTTP.
//!
//! This module never sends a byte of a request to a tracker. If a proxy resolves the name of an
//! origin, the address rules do not apply.

mod proxy;
mod race;
mod tls;
mod tolerant_end;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderValue;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use crate::domain::{Origin, TryStep};

use super::Caller;
use super::address::{ResolveError, refuse_own_server_via_proxy, resolve};
use super::identity::IdentityError;
use super::own::OwnAddresses;
use super::proxies::{InvalidProxy, Proxies, Proxy};
use super::resolver::{Resolver, SystemResolver};

use proxy::ProxyError;
use race::NoAddressReached;
use tls::TlsError;
use tolerant_end::TolerantTlsStream;

pub(crate) use race::LastAddresses;

/// Maximum time of connecting, including name resolution and TLS.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// Maximum number of headers of an HTTP/1.1 response.
pub(crate) const RESPONSE_HEADERS_MAX: usize = 128;
/// Maximum size of the status line and headers of a response together, bytes.
pub(crate) const RESPONSE_HEAD_BYTES_MAX: u32 = 64 * 1024;

/// Maximum size of each buffer of an HTTP connection, bytes.
const BUFFER_BYTES_MAX: usize = 128 * 1024;
/// The HTTP/2 flow-control window: how many bytes a server may send before the host reads them.
const WINDOW_BYTES: u32 = 256 * 1024;

/// Makes network connections.
pub(crate) struct Dialer {
    /// The TLS settings without a client certificate.
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) resolver: Box<dyn Resolver>,
    pub(crate) proxies: Proxies,
    pub(crate) own_addresses: OwnAddresses,
}

/// A network connection with HTTP; in a replay, a value without a network connection.
pub(crate) struct HttpConnection {
    pub(crate) sender: Sender,
    /// The proxy that forwards the requests of this connection, so that they need absolute URLs. A
    /// proxy that opens a tunnel does not count.
    pub(crate) forwarding_proxy: Option<ForwardingProxy>,
    pub(crate) idle_since: Instant,
}

/// A proxy that forwards plain HTTP.
#[derive(Clone)]
pub(crate) struct ForwardingProxy {
    /// The header `Proxy-Authorization`; `None` if the proxy's URL has no user.
    pub(crate) authorization: Option<HeaderValue>,
}

impl HttpConnection {
    /// Explains status 407 as a refusal by the forwarding proxy. Returns `None` for another status,
    /// or without such a proxy.
    pub(crate) fn explain_proxy_refusal(&self, status: u16) -> Option<String> {
        let proxy = self.forwarding_proxy.as_ref().filter(|_| status == 407)?;
        let why = ProxyError::authentication(proxy.authorization.as_ref());
        Some(format!("the proxy of HTTP_PROXY: {why}"))
    }
}

pub(crate) enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
    /// There is no network connection: a recording answers the requests.
    Recorded,
}

/// The reason why no network connection was made. No byte of the request was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The addresses of the origin cannot be used.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// No address of the origin accepted a TCP connection.
    #[error("{0}")]
    Tcp(#[from] NoAddressReached),
    /// The value of the proxy's environment variable cannot be used.
    #[error(transparent)]
    ProxyVariable(#[from] InvalidProxy),
    /// The host could not connect to the proxy, or the proxy did not open a tunnel.
    #[error("the proxy {proxy}: {source}")]
    Proxy {
        /// The URL of the proxy, without credentials, and the variable that names the proxy.
        proxy: String,
        /// The cause of the failure.
        source: ProxyError,
    },
    /// The client certificate of Jackfield's connection cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The TLS handshake failed.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// HTTP could not be started on the network connection.
    #[error("{0}")]
    Http(#[source] hyper::Error),
    #[error("timed out")]
    TimedOut(TryStep),
}

impl ConnectError {
    /// Returns whether the host's rules forbid the address.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Resolve(ResolveError::Forbidden { .. }))
    }

    pub(crate) fn step(&self) -> TryStep {
        match self {
            Self::Resolve(_) => TryStep::Dns,
            Self::Tcp(_) | Self::ProxyVariable(_) | Self::Proxy { .. } => TryStep::Connect,
            Self::Identity(_) | Self::Tls(_) | Self::Http(_) => TryStep::Tls,
            Self::TimedOut(step) => *step,
        }
    }
}

/// A stream of bytes in both directions: TCP, TLS or a tunnel.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

pub(crate) enum Route {
    /// The checked addresses of the origin.
    Direct(Vec<SocketAddr>),
    Proxy(Arc<Proxy>),
}

/// A network connection on which HTTP was negotiated.
pub(crate) struct NegotiatedConnection {
    pub(crate) sender: Sender,
    /// Whether the server requested a client certificate.
    pub(crate) is_certificate_requested: bool,
}

impl Dialer {
    pub(crate) fn from_env(tls: Arc<ClientConfig>, own_addresses: OwnAddresses) -> Self {
        let resolver = Box::new(SystemResolver::new());
        Self { tls, resolver, proxies: Proxies::from_env(), own_addresses }
    }

    /// Connects within [`CONNECT_TIME_MAX`], and before `until`.
    pub(crate) async fn connect(
        &self,
        origin: &Origin,
        caller: Caller<'_>,
        until: Instant,
    ) -> Result<HttpConnection, ConnectError> {
        let until = until.min(Instant::now() + CONNECT_TIME_MAX);
        let route = self.route(caller, origin, until).await?;
        let stream = self.open_stream(caller, origin, &route, until).await?;
        let forwarding_proxy = match route {
            Route::Proxy(proxy) if !origin.is_https() => {
                Some(ForwardingProxy { authorization: proxy.authorization.clone() })
            }
            _ => None,
        };
        let sender = self.negotiate(caller, origin, stream, until).await?.sender;
        Ok(HttpConnection { sender, forwarding_proxy, idle_since: Instant::now() })
    }

    /// Chooses the proxy for an origin, if there is one. Resolves and checks the addresses of the
    /// origin, unless the proxy resolves its name.
    pub(crate) async fn route(
        &self,
        caller: Caller<'_>,
        origin: &Origin,
        until: Instant,
    ) -> Result<Route, ConnectError> {
        let (resolver, own_addresses) = (self.resolver.as_ref(), &self.own_addresses);
        let resolving = resolve(resolver, caller.connection, origin, caller.rules, own_addresses);
        let resolving = timeout_at(until, resolving);
        let proxy = self.proxies.proxy_for(origin).transpose()?;
        if let Some(proxy) = proxy {
            refuse_own_server_via_proxy(origin, own_addresses)?;
            if origin.ip().is_some() {
                resolving.await.map_err(|_| ConnectError::TimedOut(TryStep::Dns))??;
            }
            return Ok(Route::Proxy(proxy));
        }
        let addresses = resolving.await.map_err(|_| ConnectError::TimedOut(TryStep::Dns))??;
        Ok(Route::Direct(addresses))
    }

    /// Opens a stream to the origin, or to the proxy that forwards requests to an http origin.
    pub(crate) async fn open_stream(
        &self,
        caller: Caller<'_>,
        origin: &Origin,
        route: &Route,
        until: Instant,
    ) -> Result<Box<dyn ByteStream>, ConnectError> {
        let opening = async {
            match route {
                Route::Direct(addresses) => {
                    let stream = caller.last_addresses.connect(origin, addresses, until).await?;
                    Ok(Box::new(stream) as Box<dyn ByteStream>)
                }
                Route::Proxy(proxy) => {
                    let opened = self.open_stream_via_proxy(caller, origin, proxy, until).await;
                    opened
                        .map_err(|source| ConnectError::Proxy { proxy: proxy.to_string(), source })
                }
            }
        };
        timeout_at(until, opening).await.unwrap_or(Err(ConnectError::TimedOut(TryStep::Connect)))
    }

    pub(crate) async fn negotiate(
        &self,
        caller: Caller<'_>,
        origin: &Origin,
        stream: Box<dyn ByteStream>,
        until: Instant,
    ) -> Result<NegotiatedConnection, ConnectError> {
        let negotiating = async {
            if !origin.is_https() {
                let sender = start_http1(stream).await.map_err(ConnectError::Http)?;
                return Ok(NegotiatedConnection { sender, is_certificate_requested: false });
            }
            let identity = caller.identity.map_err(Clone::clone)?;
            let mut config = (*self.tls).clone();
            if caller.http1_only {
                config.alpn_protocols = vec![b"http/1.1".to_vec()];
            }
            let tls::EncryptedStream { stream, is_certificate_requested } =
                tls::handshake(&config, origin.host(), identity, stream).await?;
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let stream = TolerantTlsStream(stream);
            let started =
                if is_http2 { start_http2(stream).await } else { start_http1(stream).await };
            let sender = started.map_err(ConnectError::Http)?;
            Ok(NegotiatedConnection { sender, is_certificate_requested })
        };
        timeout_at(until, negotiating).await.unwrap_or(Err(ConnectError::TimedOut(TryStep::Tls)))
    }
}

async fn start_http1(stream: impl ByteStream + 'static) -> hyper::Result<Sender> {
    let (sender, connection) = http1::Builder::new()
        .max_headers(RESPONSE_HEADERS_MAX)
        .max_header_size(RESPONSE_HEAD_BYTES_MAX as usize)
        .max_buf_size(BUFFER_BYTES_MAX)
        // The host tolerates invalid headers: the tracker may already have processed a write, so
        // its answer must not be lost.
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .ignore_invalid_headers_in_responses(true)
        .handshake(TokioIo::new(stream))
        .await?;
    tokio::spawn(connection);
    Ok(Sender::Http1(sender))
}

async fn start_http2(stream: impl ByteStream + 'static) -> hyper::Result<Sender> {
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .max_header_list_size(RESPONSE_HEAD_BYTES_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buf_size(BUFFER_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await?;
    tokio::spawn(connection);
    Ok(Sender::Http2(sender))
}
