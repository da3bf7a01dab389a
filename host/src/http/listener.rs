//! A socket that accepts client connections, and what precedes HTTP on it: a header of the PROXY
//! protocol, a TLS handshake.
//!
//! Limits nothing: the connections are counted in `clients`.

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
    /// Whether the service manager has passed the socket, and keeps it for the next server.
    pub is_passed: bool,
    /// The certificate; `None`: plain HTTP. A Unix socket never uses TLS.
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

/// An accepted connection, of which nothing has been read.
pub(super) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The peer of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    /// The address; that of this machine for a Unix socket.
    pub(super) address: IpAddr,
    /// Whether the connection came through a Unix socket. Its file's mode says who may connect, so
    /// these clients are trusted like a proxy.
    pub(super) is_local: bool,
}

/// A connection on which HTTP begins.
pub(super) struct Opened {
    pub(super) stream: Box<dyn ByteStream>,
    pub(super) preface: Preface,
    pub(super) is_tls: bool,
}

/// What precedes TLS and HTTP on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preface {
    /// Nothing: the peer itself sends the HTTP requests.
    Absent,
    /// A header of the PROXY protocol: the client for which the proxy made the connection sends the
    /// HTTP requests. `None`: the proxy does not name it.
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

    /// Accepts the connections that wait in the kernel's queue, one at a time. Dropping the
    /// iterator closes the socket; the kernel then resets those that still wait.
    pub(super) fn into_queued(self) -> Box<dyn Iterator<Item = (Accepted, Peer)> + Send> {
        // The sockets of `std` ask the kernel; those of tokio know only what its driver has seen.
        match self {
            Self::Tcp(listener) => {
                Box::new(until_queue_is_empty(listener.into_std(), |listener| {
                    let (stream, peer) = listener.accept()?;
                    stream.set_nonblocking(true)?;
                    Ok(Accepted::tcp(TcpStream::from_std(stream)?, peer))
                }))
            }
            Self::Unix(listener) => {
                Box::new(until_queue_is_empty(listener.into_std(), |listener| {
                    let (stream, _) = listener.accept()?;
                    stream.set_nonblocking(true)?;
                    Ok(Accepted::unix(UnixStream::from_std(stream)?))
                }))
            }
        }
    }
}

/// What a listener accepts, until its queue is empty.
fn until_queue_is_empty<L>(
    listener: io::Result<L>,
    accept: fn(&L) -> io::Result<(Accepted, Peer)>,
) -> impl Iterator<Item = (Accepted, Peer)> {
    iter::from_fn(move || {
        loop {
            let accepted = listener.as_ref().map_err(|error| error.kind().into()).and_then(accept);
            match accepted {
                Ok(accepted) => return Some(accepted),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept the connections in the queue; they are closed");
                    return None;
                }
            }
        }
    })
}

/// Whether an error of `accept` says that one client has gone; the next connection may be good.
pub(super) fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

impl Accepted {
    fn tcp(stream: TcpStream, peer: SocketAddr) -> (Self, Peer) {
        // Answers are small; Nagle's algorithm would only delay them.
        let _ = stream.set_nodelay(true);
        (Self::Tcp(stream), Peer { address: peer.ip(), is_local: false })
    }

    fn unix(stream: UnixStream) -> (Self, Peer) {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        (Self::Unix(stream), Peer { address, is_local: true })
    }

    /// Returns when the first byte has arrived, or the client has closed the connection.
    pub(super) async fn first_byte(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                // Unlike `readable`, this does not return for a byte that is not there.
                stream.peek(&mut [0]).await.map(|_| ())
            }
            Self::Unix(stream) => stream.readable().await,
        }
    }

    /// Reads what precedes HTTP.
    pub(super) async fn open(self, listener: &Options, is_proxy: bool) -> io::Result<Opened> {
        let (mut stream, is_local): (Box<dyn ByteStream>, _) = match self {
            Self::Tcp(stream) => (Box::new(stream), false),
            Self::Unix(stream) => (Box::new(stream), true),
        };
        let preface = if listener.proxy_protocol && is_proxy {
            Preface::ProxyHeader(proxy_protocol::read(&mut stream).await?)
        } else {
            Preface::Absent
        };
        match listener.tls.as_ref().filter(|_| !is_local) {
            Some(tls) => {
                let stream = Box::new(tls.accept(stream).await?);
                Ok(Opened { stream, preface, is_tls: true })
            }
            None => Ok(Opened { stream, preface, is_tls: false }),
        }
    }
}

/// The options of a listener that each connection needs.
#[derive(Clone)]
pub(super) struct Options {
    pub(super) tls: Option<Arc<ServerTls>>,
    pub(super) proxy_protocol: bool,
}
