//! Makes a TLS handshake on a stream, with or without the client certificate of the connection.
//! This module never consumes or writes data of HTTP.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ProtocolVersion};
use tokio::io::AsyncBufRead as _;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Host;

use super::ByteStream;
use crate::transport::identity::{ClientIdentity, PresentedIdentity};
use crate::transport::trust::explain;

/// How long the host waits for a server to refuse the client certificate under TLS 1.3. A server
/// that requests a certificate and then sends nothing delays each new connection by this time.
const CERTIFICATE_REFUSAL_WAIT_MAX: Duration = Duration::from_secs(1);

pub(crate) struct EncryptedStream {
    pub(crate) stream: TlsStream<Box<dyn ByteStream>>,
    pub(crate) is_certificate_requested: bool,
}

/// The reason why the handshake failed, as a text for people.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TlsError(String);

/// Makes a TLS handshake with a host. Under TLS 1.3, a server decides about a client certificate
/// only after the client's last message, so the handshake waits for a refusal if the server
/// requested a certificate. Without this wait, the host could send a write on a connection that the
/// server then refuses, and the write would be in doubt.
pub(crate) async fn handshake(
    config: &ClientConfig,
    host: &Host,
    identity: Option<&ClientIdentity>,
    stream: Box<dyn ByteStream>,
) -> Result<EncryptedStream, TlsError> {
    let name = match host {
        Host::Domain(name) => {
            ServerName::try_from(name.clone()).map_err(|error| TlsError(error.to_string()))?
        }
        Host::Ipv4(ip) => ServerName::from(IpAddr::V4(*ip)),
        Host::Ipv6(ip) => ServerName::from(IpAddr::V6(*ip)),
    };
    let presented = Arc::new(PresentedIdentity::new(identity));
    let mut config = config.clone();
    config.client_auth_cert_resolver = Arc::clone(&presented) as _;
    let failed = |error: io::Error| TlsError(explain(&error, presented.certificate_use()));
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let mut stream = connecting.await.map_err(failed)?;
    let is_certificate_requested = presented.is_requested();
    if is_certificate_requested
        && stream.get_ref().1.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    {
        wait_for_refusal(&mut stream).await.map_err(failed)?;
    }
    Ok(EncryptedStream { stream, is_certificate_requested })
}

/// Waits until the server has sent something after the handshake, or until the time for a refusal
/// has passed. Consumes no data of the stream.
async fn wait_for_refusal(stream: &mut TlsStream<Box<dyn ByteStream>>) -> io::Result<()> {
    let server_data = poll_fn(|context| {
        let read = match Pin::new(&mut *stream).poll_fill_buf(context) {
            Poll::Ready(Ok([])) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        let has_ticket = stream.get_ref().1.tls13_tickets_received() > 0;
        if read.is_pending() && has_ticket { Poll::Ready(Ok(())) } else { read }
    });
    timeout(CERTIFICATE_REFUSAL_WAIT_MAX, server_data).await.unwrap_or(Ok(()))
}
