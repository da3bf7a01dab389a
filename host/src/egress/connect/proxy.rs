//! Connections through an HTTP proxy; for https, through a tunnel that the proxy opens (CONNECT).

use std::io;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{Method, Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use url::Host;

use crate::domain::{ConnectionId, InvalidOrigin, Origin};

use super::{ByteStream, Dialer, connect_to_any, http1_config, tls_handshake};

/// Why there is no connection through the proxy.
#[derive(Debug, thiserror::Error)]
pub(in crate::egress) enum ProxyError {
    /// Its URL cannot be used.
    #[error("{}; set HTTP_PROXY or HTTPS_PROXY to a URL like http://proxy.example:3128", .0.why)]
    Url(#[from] InvalidOrigin),
    /// No TCP connection to it, or its TLS handshake failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It does not speak HTTP as expected.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// The CONNECT request cannot be built.
    #[error("{0}")]
    Request(#[from] http::Error),
    /// It opened no tunnel.
    #[error("CONNECT was answered with {0}")]
    Refused(StatusCode),
}

impl Dialer {
    /// A stream to a proxy; for https a tunnel through it to the origin.
    pub(super) async fn via_proxy(
        &self,
        connection: ConnectionId,
        origin: &Origin,
        proxy: &Intercept,
        until: Instant,
    ) -> Result<Box<dyn ByteStream>, ProxyError> {
        let address: Origin = proxy.uri().to_string().parse()?;
        let ips = match address.host() {
            Host::Ipv4(ip) => vec![IpAddr::V4(*ip)],
            Host::Ipv6(ip) => vec![IpAddr::V6(*ip)],
            Host::Domain(name) => self.resolver.resolve(connection, name).await?,
        };
        let ips = ips.into_iter().map(|ip| SocketAddr::new(ip, address.port()));
        let tcp =
            connect_to_any(&ips.collect::<Vec<_>>(), until).await.map_err(io::Error::other)?;
        let stream: Box<dyn ByteStream> = if address.is_https() {
            Box::new(tls_handshake(http1_config(&self.tls), address.host(), tcp).await?)
        } else {
            tcp
        };
        if origin.is_https() { open_tunnel(origin, proxy, stream).await } else { Ok(stream) }
    }
}

async fn open_tunnel(
    origin: &Origin,
    proxy: &Intercept,
    stream: Box<dyn ByteStream>,
) -> Result<Box<dyn ByteStream>, ProxyError> {
    let authority = format!("{}:{}", origin.host(), origin.port());
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(&authority)
        .header(HOST, &authority)
        .body(Empty::<Bytes>::new())?;
    if let Some(value) = proxy.basic_auth() {
        request.headers_mut().insert(PROXY_AUTHORIZATION, value.clone());
    }
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    let response = sender.send_request(request).await?;
    if !response.status().is_success() {
        return Err(ProxyError::Refused(response.status()));
    }
    let upgraded = hyper::upgrade::on(response).await?;
    Ok(Box::new(TokioIo::new(upgraded)))
}
