//! Accepts client connections on a socket, and reads what precedes HTTP on them: a header of the
//! PROXY protocol, and a TLS handshake.
//!
//! Never limits the connections: `clients` counts and limits them.

use std::io;
use std::iter;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::transport::ServerTls;

use super::proxy_protocol::{self, ProxiedClient};

/// A bidirectional stream of bytes.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// A listening socket and its options.
pub struct Listener {
    /// The socket.
    pub socket: Socket,
    /// Whether the service manager passed the socket to this process. It then keeps the socket open
    /// for the next server.
    pub is_passed: bool,
    /// The certificate and its key; `None`: plain HTTP. A Unix socket never uses TLS.
    pub tls: Option<Arc<ServerTls>>,
    /// Whether connections of trusted proxies begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
}

/// A listening socket.
pub enum Socket {
    /// A TCP socket.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

/// An accepted connection from which nothing was read yet.
pub(super) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The peer of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    /// The IP address of the peer. For a Unix socket, it is 127.0.0.1.
    pub(super) address: IpAddr,
    /// Whether the connection came through a Unix socket. The mode of the socket's file decides who
    /// can connect, so these clients are trusted like a proxy.
    pub(super) is_local: bool,
}

/// A connection after the PROXY header and the TLS handshake: the next bytes are HTTP.
pub(super) struct OpenedConnection {
    pub(super) stream: Box<dyn ByteStream>,
    pub(super) preface: Preface,
    pub(super) is_tls: bool,
}

/// What precedes TLS and HTTP on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preface {
    /// No header: the peer itself sends the HTTP requests.
    Absent,
    /// A header of the PROXY protocol. It contains the client that sends the HTTP requests; `None`
    /// if the header names no client.
    ProxyHeader(Option<ProxiedClient>),
}

impl Socket {
    pub(super) async fn accept(&self) -> io::Result<(Accepted, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok(Accepted::tcp(stream, peer))
            }
            Self::Unix(listener) => Ok(Accepted::unix(listener.accept().await?.0)),
        }
    }

    /// Returns an iterator that accepts the connections in the kernel's queue. Dropping the
    /// iterator closes the socket; the kernel then resets the connections that are still in the
    /// queue.
    pub(super) fn into_queued(self) -> Box<dyn Iterator<Item = (Accepted, Peer)> + Send> {
        // Use a socket of `std`, which asks the kernel. A socket of tokio only returns connections
        // that tokio's driver has already noticed.
        match self {
            Self::Tcp(listener) => Box::new(accept_until_empty(listener.into_std(), |listener| {
                let (stream, peer) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(Accepted::tcp(TcpStream::from_std(stream)?, peer))
            })),
            Self::Unix(listener) => Box::new(accept_until_empty(listener.into_std(), |listener| {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(Accepted::unix(UnixStream::from_std(stream)?))
            })),
        }
    }
}

/// Returns an iterator that accepts connections until the kernel's queue is empty.
fn accept_until_empty<L>(
    listener: io::Result<L>,
    accept: fn(&L) -> io::Result<(Accepted, Peer)>,
) -> impl Iterator<Item = (Accepted, Peer)> {
    iter::from_fn(move || {
        loop {
            let result = listener.as_ref().map_err(|error| error.kind().into()).and_then(accept);
            match result {
                Ok(accepted) => return Some(accepted),
                Err(error) if is_client_disconnect(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => {
                    tracing::warn!(
                        %error,
                        "cannot accept the connections in the queue; they are closed"
                    );
                    return None;
                }
            }
        }
    })
}

/// Whether an error of `accept` only means that one client has disconnected. The next connection
/// can then be accepted.
pub(super) fn is_client_disconnect(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

impl Accepted {
    fn tcp(stream: TcpStream, peer: SocketAddr) -> (Self, Peer) {
        // Turn off Nagle's algorithm: answers are small, and it would only delay them.
        let _ = stream.set_nodelay(true);
        (Self::Tcp(stream), Peer { address: peer.ip(), is_local: false })
    }

    fn unix(stream: UnixStream) -> (Self, Peer) {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        (Self::Unix(stream), Peer { address, is_local: true })
    }

    /// Waits until the first byte has arrived, or the client has closed the connection.
    pub(super) async fn first_byte(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                // Unlike `readable`, `peek` never returns before a byte has arrived.
                stream.peek(&mut [0]).await.map(|_| ())
            }
            Self::Unix(stream) => stream.readable().await,
        }
    }

    /// Reads the header of the PROXY protocol, if the peer is a proxy that sends one, and makes the
    /// TLS handshake.
    pub(super) async fn open(
        self,
        options: &ConnectionOptions,
        is_proxy: bool,
    ) -> io::Result<OpenedConnection> {
        let (mut stream, is_local): (Box<dyn ByteStream>, _) = match self {
            Self::Tcp(stream) => (Box::new(stream), false),
            Self::Unix(stream) => (Box::new(stream), true),
        };
        let preface = if options.proxy_protocol && is_proxy {
            Preface::ProxyHeader(proxy_protocol::read(&mut stream).await?)
        } else {
            Preface::Absent
        };
        match options.tls.as_ref().filter(|_| !is_local) {
            Some(tls) => {
                let stream = Box::new(tls.accept(stream).await?);
                Ok(OpenedConnection { stream, preface, is_tls: true })
            }
            None => Ok(OpenedConnection { stream, preface, is_tls: false }),
        }
    }
}

/// The options of a listener that apply to each of its connections.
#[derive(Clone)]
pub(super) struct ConnectionOptions {
    pub(super) tls: Option<Arc<ServerTls>>,
    pub(super) proxy_protocol: bool,
}
