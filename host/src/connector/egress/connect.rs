//! Makes connections: the route, the pinned addresses, TLS, the protocol.
//!
//! Sends no byte of a request. Where a proxy is set, the proxy resolves names and the rules for
//! addresses hold for address literals only.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use http::{Method, Request, Uri};
use http_body_util::{Empty, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use url::Host;

use crate::domain::Origin;

use super::address::{NoAddress, Rules, pin};
use super::{Egress, HttpError};

/// Longest time to make a connection, name and TLS included.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Most headers of an answer.
pub(super) const ANSWER_HEADERS_MAX: usize = 128;
/// Status line and headers of an answer together, bytes.
pub(super) const ANSWER_HEAD_BYTES_MAX: u32 = 64 * 1024;

/// A connection that is ready for a request.
pub(super) struct Wire {
    pub(super) sender: Sender,
    /// Set where requests go to a proxy in absolute form.
    pub(super) proxied: Option<ToProxy>,
}

/// How to speak to a proxy that forwards plain HTTP.
#[derive(Clone)]
pub(super) struct ToProxy(pub(super) Option<HeaderValue>);

/// The protocol that was agreed.
pub(super) enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// A step on the way to a connection; the words of the admin's `try`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Dns,
    Connect,
    Tls,
}

impl Step {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
        }
    }
}

/// Why there is no connection; nothing of the request left.
#[derive(Debug, Clone)]
pub(super) struct NoConnection {
    pub(super) step: Step,
    /// Forbidden rather than failed.
    pub(super) refused: bool,
    pub(super) why: String,
}

impl NoConnection {
    fn at(step: Step) -> impl Fn(&dyn fmt::Display) -> Self {
        move |why| Self { step, refused: false, why: why.to_string() }
    }
}

impl From<NoAddress> for NoConnection {
    fn from(none: NoAddress) -> Self {
        let (refused, why) = match none {
            NoAddress::Refused(why) => (true, why),
            NoAddress::Unresolved(why) => (false, why),
        };
        Self { step: Step::Dns, refused, why }
    }
}

impl From<NoConnection> for HttpError {
    fn from(none: NoConnection) -> Self {
        if none.refused {
            return Self::Denied(none.why);
        }
        Self::Unreachable(format!("{} failed: {}", none.step.as_str(), none.why))
    }
}

/// Bytes both ways, whatever carries them.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Where to connect.
pub(super) enum Route {
    Direct(Vec<SocketAddr>),
    Proxy(Box<Intercept>),
}

impl Egress {
    /// A fresh connection to an origin, made by `until` and within ten seconds.
    pub(super) async fn connect(
        &self,
        origin: &Origin,
        rules: Rules,
        until: Instant,
    ) -> Result<Wire, NoConnection> {
        let until = until.min(Instant::now() + CONNECT_MAX);
        let route = self.route(origin, rules, until).await?;
        let io = self.dial(origin, &route, until).await?;
        let proxied = match route {
            Route::Proxy(proxy) if !origin.is_https() => Some(ToProxy(proxy.basic_auth().cloned())),
            _ => None,
        };
        let sender = self.agree(origin, io, until).await?;
        Ok(Wire { sender, proxied })
    }

    /// The way to an origin. This machine is never reached by a proxy: the proxy's own is another one.
    pub(super) async fn route(
        &self,
        origin: &Origin,
        rules: Rules,
        until: Instant,
    ) -> Result<Route, NoConnection> {
        let here = match origin.host() {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(ip) => ip.is_loopback(),
            Host::Ipv6(ip) => ip.is_loopback(),
        };
        let uri: Option<Uri> = origin.to_string().parse().ok();
        let proxy = uri.filter(|_| !here).and_then(|uri| self.proxies.intercept(&uri));
        if let Some(proxy) = proxy {
            if origin.ip().is_some() {
                pin(self.resolver.as_ref(), origin, rules).await?;
            }
            return Ok(Route::Proxy(Box::new(proxy)));
        }
        let pinned = timeout_at(until, pin(self.resolver.as_ref(), origin, rules)).await;
        let addresses = pinned.map_err(|_| NoConnection::at(Step::Dns)(&"no answer in time"))??;
        Ok(Route::Direct(addresses))
    }

    /// A stream to the origin (or to the proxy that forwards to it), not yet encrypted.
    pub(super) async fn dial(
        &self,
        origin: &Origin,
        route: &Route,
        until: Instant,
    ) -> Result<Box<dyn Io>, NoConnection> {
        let dialled = match route {
            Route::Direct(addresses) => timeout_at(until, first(addresses, until)).await,
            Route::Proxy(proxy) => timeout_at(until, self.through(origin, proxy)).await,
        };
        let failed = NoConnection::at(Step::Connect);
        match dialled {
            Ok(Ok(io)) => Ok(io),
            Ok(Err(why)) => Err(failed(&why)),
            Err(_) => Err(failed(&"no connection in time")),
        }
    }

    /// TLS where the origin asks for it, then HTTP/2 or HTTP/1.1.
    pub(super) async fn agree(
        &self,
        origin: &Origin,
        io: Box<dyn Io>,
        until: Instant,
    ) -> Result<Sender, NoConnection> {
        let failed = NoConnection::at(Step::Tls);
        let agreed = timeout_at(until, async {
            if !origin.is_https() {
                return http1(io).await;
            }
            let tls = self.secure(origin.host(), io).await?;
            let http2_agreed = tls.get_ref().1.alpn_protocol() == Some(b"h2");
            if http2_agreed { http2(tls).await } else { http1(tls).await }
        });
        agreed.await.map_err(|_| failed(&"no handshake in time"))?.map_err(|why| failed(&why))
    }

    async fn secure(
        &self,
        host: &Host,
        io: Box<dyn Io>,
    ) -> Result<tokio_rustls::client::TlsStream<Box<dyn Io>>, String> {
        let name = match host {
            Host::Domain(name) => {
                ServerName::try_from(name.clone()).map_err(|error| error.to_string())?
            }
            Host::Ipv4(ip) => ServerName::from(std::net::IpAddr::V4(*ip)),
            Host::Ipv6(ip) => ServerName::from(std::net::IpAddr::V6(*ip)),
        };
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        connector.connect(name, io).await.map_err(|error| error.to_string())
    }

    /// A stream to a proxy; for https one that the proxy tunnels to the origin.
    async fn through(&self, origin: &Origin, proxy: &Intercept) -> Result<Box<dyn Io>, String> {
        let uri = proxy.uri();
        let address: Origin = uri.to_string().parse().map_err(|_| {
            format!("{uri} is no proxy that can be used; set HTTP_PROXY or HTTPS_PROXY to http://…")
        })?;
        let host = address.host().to_string();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let tcp = TcpStream::connect((host, address.port()))
            .await
            .map_err(|error| format!("the proxy {address}: {error}"))?;
        let io: Box<dyn Io> = if address.is_https() {
            Box::new(self.secure(address.host(), Box::new(tcp)).await?)
        } else {
            Box::new(tcp)
        };
        if origin.is_https() { tunnel(origin, proxy, io).await } else { Ok(io) }
    }
}

/// The first address that answers; each gets its share of the time that is left.
async fn first(addresses: &[SocketAddr], until: Instant) -> Result<Box<dyn Io>, String> {
    let mut why = String::new();
    for (tried, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = until.saturating_duration_since(Instant::now()) / left;
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Requests are written whole; waiting for more helps nobody.
                let _ = stream.set_nodelay(true);
                return Ok(Box::new(stream));
            }
            Ok(Err(error)) => why = format!("{address}: {error}"),
            Err(_) => why = format!("{address}: no answer in time"),
        }
    }
    Err(why)
}

async fn tunnel(
    origin: &Origin,
    proxy: &Intercept,
    io: Box<dyn Io>,
) -> Result<Box<dyn Io>, String> {
    let authority = format!("{}:{}", origin.host(), origin.port());
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(&authority)
        .header(HOST, &authority)
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    if let Some(value) = proxy.basic_auth() {
        request.headers_mut().insert(PROXY_AUTHORIZATION, value.clone());
    }
    let failed = |error: hyper::Error| format!("the proxy {}: {error}", proxy.uri());
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(failed)?;
    tokio::spawn(connection.with_upgrades());
    let answer = sender.send_request(request).await.map_err(failed)?;
    if !answer.status().is_success() {
        return Err(format!("the proxy {} answered {}", proxy.uri(), answer.status()));
    }
    let upgraded = hyper::upgrade::on(answer).await.map_err(failed)?;
    Ok(Box::new(TokioIo::new(upgraded)))
}

async fn http1(io: impl Io + 'static) -> Result<Sender, String> {
    let handshake = http1::Builder::new()
        .max_headers(ANSWER_HEADERS_MAX)
        .max_header_size(ANSWER_HEAD_BYTES_MAX as usize)
        .handshake(TokioIo::new(io));
    let (sender, connection) = handshake.await.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    Ok(Sender::Http1(sender))
}

async fn http2(io: impl Io + 'static) -> Result<Sender, String> {
    let handshake = http2::Builder::new(TokioExecutor::new())
        .max_header_list_size(ANSWER_HEAD_BYTES_MAX)
        .handshake(TokioIo::new(io));
    let (sender, connection) = handshake.await.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    Ok(Sender::Http2(sender))
}
