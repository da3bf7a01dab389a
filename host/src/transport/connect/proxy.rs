//! Connects through an HTTP proxy, for https with a tunnel (CONNECT). This module never chooses the
//! proxy.

use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use crate::domain::Origin;
use crate::transport::Caller;
use crate::transport::address::{ResolveError, resolve_without_check};
use crate::transport::proxies::{InvalidProxy, Proxy};

use super::race::NoAddressReached;
use super::tls::{TlsError, handshake};
use super::{ByteStream, Dialer};

#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error(transparent)]
    Url(#[from] InvalidProxy),
    #[error("{0}")]
    Resolve(#[from] ResolveError),
    #[error("{0}")]
    Tcp(#[from] NoAddressReached),
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// The HTTP exchange with the proxy failed.
    #[error("{0}; is it an HTTP proxy?")]
    Http(#[from] hyper::Error),
    #[error("{0}")]
    Request(#[from] http::Error),
    /// The proxy requires a user (status 407), and its URL has none.
    #[error(
        "it requires a user and password (407); write its variable like \
         http://USER:PASSWORD@proxy.example:3128; only Basic authentication is supported"
    )]
    UserRequired,
    /// The proxy refused the user in its URL (status 407).
    #[error(
        "it refused the user and password of its variable (407); correct them, with special \
         characters percent-encoded (# as %23)"
    )]
    UserRefused,
    /// The proxy refused CONNECT with a status other than 407.
    #[error("CONNECT was answered with {0}; does the proxy allow this host and port?")]
    Refused(StatusCode),
}

impl ProxyError {
    /// Returns the error for status 407. `authorization` is the value that was sent to the proxy.
    pub(super) fn authentication(authorization: Option<&HeaderValue>) -> Self {
        if authorization.is_some() { Self::UserRefused } else { Self::UserRequired }
    }
}

impl Dialer {
    /// Opens a stream to a proxy or, if the origin is https, a tunnel through the proxy to the
    /// origin. The proxy never receives a client certificate.
    pub(crate) async fn open_stream_via_proxy(
        &self,
        caller: Caller<'_>,
        origin: &Origin,
        proxy: &Proxy,
        until: Instant,
    ) -> Result<Box<dyn ByteStream>, ProxyError> {
        let addresses =
            resolve_without_check(self.resolver.as_ref(), caller.connection, &proxy.origin).await?;
        let tcp = caller.last_addresses.connect(&proxy.origin, &addresses, until).await?;
        let stream: Box<dyn ByteStream> = if proxy.origin.is_https() {
            let mut config = (*self.tls).clone();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            let host = proxy.origin.host();
            Box::new(handshake(&config, host, None, Box::new(tcp)).await?.stream)
        } else {
            Box::new(tcp)
        };
        if origin.is_https() { open_tunnel(origin, proxy, stream).await } else { Ok(stream) }
    }
}

async fn open_tunnel(
    origin: &Origin,
    proxy: &Proxy,
    stream: Box<dyn ByteStream>,
) -> Result<Box<dyn ByteStream>, ProxyError> {
    let authority = format!("{}:{}", origin.host(), origin.port());
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(&authority)
        .header(HOST, &authority)
        .body(Empty::<Bytes>::new())?;
    if let Some(value) = &proxy.authorization {
        request.headers_mut().insert(PROXY_AUTHORIZATION, value.clone());
    }
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    let response = sender.send_request(request).await?;
    match response.status() {
        status if status.is_success() => {}
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            return Err(ProxyError::authentication(proxy.authorization.as_ref()));
        }
        status => return Err(ProxyError::Refused(status)),
    }
    let upgraded = hyper::upgrade::on(response).await?;
    Ok(Box::new(TokioIo::new(upgraded)))
}
