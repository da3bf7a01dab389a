//! Accepts client connections on a socket, and reads what precedes HTTP on them: a header of the
//! PROXY protocol, and a TLS handshake.
//!
//! This module never limits the number of connections.

use std::io;
use std::iter;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::transport::ServerTls;

use super::proxy_protocol::{self, ProxiedClient};

pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// A listening socket, and the options for its connections.
pub struct Listener {
    /// The socket.
    pub socket: Socket,
    /// Whether the service manager passed the socket to this process. If so, the service manager
    /// keeps the socket open for the next server.
    pub is_passed: bool,
    /// The certificate and its key for TLS; `None` for plain HTTP. A Unix socket never uses TLS.
    pub tls: Option<Arc<ServerTls>>,
    /// Whether connections of trusted proxies, and all connections through a Unix socket, begin
    /// with a header of the PROXY protocol.
    pub proxy_protocol: bool,
}

/// A listening socket.
pub enum Socket {
    /// A TCP socket.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

/// A connection that was accepted. Nothing was read from it yet.
pub(super) enum AcceptedConnection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The program at the other end of a connection: a client or a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    /// The IP address of the peer. For a Unix socket, it is 127.0.0.1.
    pub(super) address: IpAddr,
    /// Whether the connection came through a Unix socket. The permissions of the socket's file
    /// decide who can connect, so peers on a Unix socket are trusted like a proxy.
    pub(super) is_local: bool,
}

/// A connection after its header of the PROXY protocol and its TLS handshake, if it has them. The
/// next bytes are HTTP.
pub(super) struct OpenedConnection {
    pub(super) stream: Box<dyn ByteStream>,
    pub(super) preface: Preface,
    pub(super) is_tls: bool,
}

/// What a connection begins with, before TLS and HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preface {
    /// There is no header of the PROXY protocol.
    Absent,
    /// The client that the header of the PROXY protocol names; `None` if it names no client.
    ProxyHeader(Option<ProxiedClient>),
}

impl Socket {
    pub(super) async fn accept(&self) -> io::Result<(AcceptedConnection, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok(AcceptedConnection::from_tcp(stream, peer))
            }
            Self::Unix(listener) => Ok(AcceptedConnection::from_unix(listener.accept().await?.0)),
        }
    }

    /// Returns an iterator that accepts the connections in the kernel's queue. When the iterator is
    /// dropped, the socket is closed, and the kernel resets the connections that are still in the
    /// queue.
    pub(super) fn into_queued_connections(
        self,
    ) -> Box<dyn Iterator<Item = (AcceptedConnection, Peer)> + Send> {
        // Use a socket of `std`, because its `accept` asks the kernel. The `accept` of tokio only
        // returns connections that the driver of tokio has already noticed.
        match self {
            Self::Tcp(listener) => Box::new(accept_until_empty(listener.into_std(), |listener| {
                let (stream, peer) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(AcceptedConnection::from_tcp(TcpStream::from_std(stream)?, peer))
            })),
            Self::Unix(listener) => Box::new(accept_until_empty(listener.into_std(), |listener| {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(AcceptedConnection::from_unix(UnixStream::from_std(stream)?))
            })),
        }
    }
}

fn accept_until_empty<L>(
    listener: io::Result<L>,
    accept: fn(&L) -> io::Result<(AcceptedConnection, Peer)>,
) -> impl Iterator<Item = (AcceptedConnection, Peer)> {
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

/// Whether `accept` failed because a client has disconnected or a signal interrupted the call.
/// After such an error, the next connection can be accepted at once.
pub(super) fn is_client_disconnect(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

impl AcceptedConnection {
    fn from_tcp(stream: TcpStream, peer: SocketAddr) -> (Self, Peer) {
        // Turn off Nagle's algorithm, because it would delay small answers.
        let _ = stream.set_nodelay(true);
        (Self::Tcp(stream), Peer { address: peer.ip(), is_local: false })
    }

    fn from_unix(stream: UnixStream) -> (Self, Peer) {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        (Self::Unix(stream), Peer { address, is_local: true })
    }

    /// Waits until the first byte has arrived or the client has closed the connection. On a Unix
    /// socket, the wait may end earlier.
    pub(super) async fn wait_for_first_byte(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                // Unlike `readable`, `peek` never returns too early.
                stream.peek(&mut [0]).await.map(|_| ())
            }
            Self::Unix(stream) => stream.readable().await,
        }
    }

    /// Reads the header of the PROXY protocol, if `options` require one and the peer is a proxy.
    /// Then makes the TLS handshake, if `options` require TLS; never on a Unix socket.
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
            Preface::ProxyHeader(proxy_protocol::read_header(&mut stream).await?)
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
