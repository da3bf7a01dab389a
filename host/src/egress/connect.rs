//! Makes connections to trackers: resolved addresses or a proxy, TLS, then HTTP/2 or HTTP/1.1.
//!
//! Sends no byte of a request. Where a proxy is configured, the proxy resolves names, and the
//! address rules are applied to IP addresses only.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderValue;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Host;

use crate::domain::{Connection, ConnectionId, Origin, TryStep};

use super::HttpError;
use super::address::{AddressRules, ResolveError, resolve};
use super::resolver::{Resolver, SystemResolver};

mod proxy;
mod tolerant_end;

use proxy::ProxyError;
use tolerant_end::TolerantEnd;

/// Longest time to make a connection, name resolution and TLS included.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Most headers of a response.
pub(super) const RESPONSE_HEADERS_MAX: usize = 128;
/// Status line and headers of a response together, bytes.
pub(super) const RESPONSE_HEAD_BYTES_MAX: u32 = 64 * 1024;

/// What is read ahead of an HTTP/1.1 answer, or written ahead of a request, bytes. An exchange is
/// charged for it.
const BUFFER_BYTES_MAX: usize = 128 * 1024;
/// What an HTTP/2 server may send ahead, bytes.
const WINDOW_BYTES: u32 = 256 * 1024;

/// Makes connections with the trust anchors, resolver and proxies that all runs share.
pub(super) struct Dialer {
    pub(super) tls: Arc<ClientConfig>,
    pub(super) resolver: Box<dyn Resolver>,
    pub(super) proxies: Matcher,
}

/// A connection that is ready for a request.
pub(super) struct HttpConnection {
    pub(super) sender: Sender,
    /// Present: requests go to this proxy, with absolute URLs.
    pub(super) proxy: Option<ProxyAuth>,
}

/// The `Proxy-Authorization` for a proxy that forwards plain HTTP, if it needs one.
#[derive(Clone)]
pub(super) struct ProxyAuth(pub(super) Option<HeaderValue>);

/// The negotiated protocol.
pub(super) enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// Why there is no connection; no byte of the request was sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The name has no address that may be used.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// No TCP connection to the tracker.
    #[error("{address}: {source}")]
    Tcp {
        /// The last address that was tried.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// No connection through the proxy.
    #[error("the proxy {proxy}: {source}")]
    Proxy {
        /// Its URL, without credentials.
        proxy: String,
        /// What went wrong.
        source: ProxyError,
    },
    /// The TLS handshake failed.
    #[error("{0}")]
    Tls(#[source] io::Error),
    /// HTTP could not be started on the connection.
    #[error("{0}")]
    Http(#[source] hyper::Error),
    /// A step took longer than ten seconds or than the run.
    #[error("timed out")]
    TimedOut(TryStep),
}

impl ConnectError {
    /// The step that failed.
    pub(super) fn step(&self) -> TryStep {
        match self {
            Self::Resolve(_) => TryStep::Dns,
            Self::Tcp { .. } | Self::Proxy { .. } => TryStep::Connect,
            Self::Tls(_) | Self::Http(_) => TryStep::Tls,
            Self::TimedOut(step) => *step,
        }
    }
}

impl From<ConnectError> for HttpError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Resolve(ResolveError::Forbidden { .. }) => {
                Self::Denied(error.to_string())
            }
            _ => Self::Unreachable(format!("{} failed: {error}", error.step())),
        }
    }
}

/// A stream of bytes in both directions: TCP, TLS or a tunnel.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// What to connect to.
pub(super) enum Route {
    /// One of these checked addresses of the tracker.
    Direct(Vec<SocketAddr>),
    Proxy(Box<Intercept>),
}

impl Dialer {
    /// Reads `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, also in lower case. `ALL_PROXY` is ignored: many
    /// shells have it, and a proxy takes the choice of addresses away from the host.
    pub(super) fn from_env(tls: Arc<ClientConfig>) -> Self {
        let first = |names: [&str; 2]| names.iter().find_map(|name| std::env::var(name).ok());
        let proxy = |names| first(names).unwrap_or_default();
        let (http, https) =
            (proxy(["HTTP_PROXY", "http_proxy"]), proxy(["HTTPS_PROXY", "https_proxy"]));
        if first(["ALL_PROXY", "all_proxy"]).is_some() {
            tracing::warn!(
                "ALL_PROXY is ignored: set HTTP_PROXY and HTTPS_PROXY to reach trackers through a proxy"
            );
        }
        let no = proxy(["NO_PROXY", "no_proxy"]);
        let proxies = Matcher::builder().http(http).https(https).no(no).build();
        Self { tls, resolver: Box::new(SystemResolver::new()), proxies }
    }

    /// A new connection to an origin under the rules of a connection of the host, made by `until`
    /// and within ten seconds.
    pub(super) async fn connect(
        &self,
        origin: &Origin,
        connection: &Connection,
        http1_only: bool,
        until: Instant,
    ) -> Result<HttpConnection, ConnectError> {
        let rules = AddressRules {
            allow_private: connection.allow_private,
            public_only: connection.grants.fixed.contains(origin),
        };
        let until = until.min(Instant::now() + CONNECT_MAX);
        let route = self.route(connection.id, origin, rules, until).await?;
        let stream = self.open_stream(connection.id, origin, &route, until).await?;
        let proxy = match route {
            Route::Proxy(proxy) if !origin.is_https() => {
                Some(ProxyAuth(proxy.basic_auth().cloned()))
            }
            _ => None,
        };
        let sender = self.handshake(origin, stream, http1_only, until).await?;
        Ok(HttpConnection { sender, proxy })
    }

    /// Chooses the proxy, or resolves the name. A loopback address is never reached through a
    /// proxy: it would be the proxy's own machine.
    pub(super) async fn route(
        &self,
        connection: ConnectionId,
        origin: &Origin,
        rules: AddressRules,
        until: Instant,
    ) -> Result<Route, ConnectError> {
        let is_loopback = match origin.host() {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(ip) => ip.is_loopback(),
            Host::Ipv6(ip) => ip.is_loopback(),
        };
        let resolving =
            timeout_at(until, resolve(self.resolver.as_ref(), connection, origin, rules));
        let uri = origin.to_string().parse().ok();
        let proxy = uri.filter(|_| !is_loopback).and_then(|uri| self.proxies.intercept(&uri));
        if let Some(proxy) = proxy {
            if origin.ip().is_some() {
                resolving.await.map_err(|_| ConnectError::TimedOut(TryStep::Dns))??;
            }
            return Ok(Route::Proxy(Box::new(proxy)));
        }
        let addresses = resolving.await.map_err(|_| ConnectError::TimedOut(TryStep::Dns))??;
        Ok(Route::Direct(addresses))
    }

    /// An unencrypted stream to the origin, or to the proxy that forwards to it.
    pub(super) async fn open_stream(
        &self,
        connection: ConnectionId,
        origin: &Origin,
        route: &Route,
        until: Instant,
    ) -> Result<Box<dyn ByteStream>, ConnectError> {
        let opening = async {
            match route {
                Route::Direct(addresses) => connect_to_any(addresses, until).await,
                Route::Proxy(proxy) => {
                    let opened = self.via_proxy(connection, origin, proxy, until).await;
                    opened.map_err(|source| ConnectError::Proxy {
                        proxy: proxy.uri().to_string(),
                        source,
                    })
                }
            }
        };
        timeout_at(until, opening).await.unwrap_or(Err(ConnectError::TimedOut(TryStep::Connect)))
    }

    /// TLS for an https origin, then HTTP/2 or HTTP/1.1.
    pub(super) async fn handshake(
        &self,
        origin: &Origin,
        stream: Box<dyn ByteStream>,
        http1_only: bool,
        until: Instant,
    ) -> Result<Sender, ConnectError> {
        let handshake = async {
            if !origin.is_https() {
                return start_http1(stream).await.map_err(ConnectError::Http);
            }
            let config = if http1_only { http1_config(&self.tls) } else { Arc::clone(&self.tls) };
            let tls = tls_handshake(config, origin.host(), stream).await;
            let tls = tls.map_err(ConnectError::Tls)?;
            let is_http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
            let stream = TolerantEnd(tls);
            let started =
                if is_http2 { start_http2(stream).await } else { start_http1(stream).await };
            started.map_err(ConnectError::Http)
        };
        timeout_at(until, handshake).await.unwrap_or(Err(ConnectError::TimedOut(TryStep::Tls)))
    }
}

async fn tls_handshake(
    config: Arc<ClientConfig>,
    host: &Host,
    stream: Box<dyn ByteStream>,
) -> io::Result<TlsStream<Box<dyn ByteStream>>> {
    let name = match host {
        Host::Domain(name) => ServerName::try_from(name.clone())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?,
        Host::Ipv4(ip) => ServerName::from(std::net::IpAddr::V4(*ip)),
        Host::Ipv6(ip) => ServerName::from(std::net::IpAddr::V6(*ip)),
    };
    TlsConnector::from(config).connect(name, stream).await
}

/// The same trust, offering HTTP/1.1 only.
fn http1_config(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// A connection to the first address that accepts one; each address gets its share of the time
/// left.
async fn connect_to_any(
    addresses: &[SocketAddr],
    until: Instant,
) -> Result<Box<dyn ByteStream>, ConnectError> {
    let mut failed = ConnectError::TimedOut(TryStep::Connect);
    for (tried, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = until.saturating_duration_since(Instant::now()) / left;
        let connected = timeout(share, TcpStream::connect(address)).await;
        match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                // Requests are written as a whole, so waiting for more data only adds latency.
                let _ = stream.set_nodelay(true);
                return Ok(Box::new(stream));
            }
            Err(source) => failed = ConnectError::Tcp { address: *address, source },
        }
    }
    Err(failed)
}

async fn start_http1(stream: impl ByteStream + 'static) -> hyper::Result<Sender> {
    let (sender, connection) = http1::Builder::new()
        .max_headers(RESPONSE_HEADERS_MAX)
        .max_header_size(RESPONSE_HEAD_BYTES_MAX as usize)
        .max_buf_size(BUFFER_BYTES_MAX)
        // A write whose answer is odd has still been answered.
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
