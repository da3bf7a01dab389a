//! Opens the sockets on which the server listens, with their TLS: the sockets of the configuration,
//! or the sockets that systemd passes.
//!
//! This module never accepts a client connection.

use std::fs::Permissions;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use listenfd::ListenFd;
use rustix::net::listen;
use tokio::net::{TcpListener, UnixListener};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ListenAddress};
use crate::http::{Listener, Socket};
use crate::transport::{OwnAddresses, ServerTls, TlsFiles};

/// The period at which the certificate files are read, to find changes.
const CERTIFICATE_CHECK_PERIOD: Duration = Duration::from_secs(5);
/// The mode of a Unix socket: its owner and its group may connect, other users may not.
const SOCKET_MODE: u32 = 0o660;

/// Maximum number of client connections that the kernel queues until they are accepted. The kernel
/// uses the lower of this number and its own limit (`net.core.somaxconn`). Unknown clients could
/// fill a short queue, and then the kernel would drop the connections of known senders.
const LISTEN_BACKLOG: i32 = 4096;

/// The sockets that the service manager passes to this process.
#[derive(Default)]
pub struct PassedSockets(Option<ListenFd>);

impl PassedSockets {
    /// Takes the sockets that the environment names (`LISTEN_FDS`). Call this before other threads
    /// start, because it removes the environment variables.
    #[must_use]
    pub fn take() -> Self {
        Self(Some(ListenFd::from_env()).filter(|passed| passed.len() > 0))
    }
}

/// The listeners of the server.
pub(super) struct Listeners {
    /// The listener of the key `listen`, or of the first socket that systemd passes.
    pub(super) main: Listener,
    /// The listener at `admin_listen`, if this key is set.
    pub(super) admin: Option<Listener>,
    /// The address of the main listener: a URL, or `unix:` and a path.
    pub(super) url: String,
    /// The address at which everything except `/hooks` is served.
    pub(super) admin_address: ListenAddress,
    /// All addresses of the listeners that have a port.
    pub(super) addresses: OwnAddresses,
    /// The certificate that the listeners use; `None` if they do not use TLS.
    pub(super) tls: Option<Arc<ServerTls>>,
}

impl Listeners {
    /// Opens the sockets. The first socket that systemd passes replaces `listen`; the second socket
    /// replaces `admin_listen`.
    pub(super) async fn open(config: &Config, passed: PassedSockets) -> anyhow::Result<Self> {
        let tls = tls_files(config).map(ServerTls::load).transpose()?.map(Arc::new);
        let admin = config.admin_listen.as_ref();
        let mut passed = passed.0;
        let is_passed = passed.is_some();
        if let Some(passed) = &passed {
            let expected = 1 + usize::from(admin.is_some());
            if passed.len() != expected {
                bail!(
                    "systemd passes {} sockets, but the configuration needs {expected}: pass one for \
                     `listen`, and then one for `admin_listen` if it is set",
                    passed.len()
                );
            }
        }
        let main = match &mut passed {
            Some(passed) => take_socket(passed, 0)?,
            None => bind_socket(&config.listen, "listen").await?,
        };
        let admin = match (admin, &mut passed) {
            (Some(_), Some(passed)) => Some(take_socket(passed, 1)?),
            (Some(address), None) => Some(bind_socket(address, "admin_listen").await?),
            (None, _) => None,
        };
        let main_address = address_of(&main)?;
        let admin_address = admin.as_ref().map(address_of).transpose()?;
        let listener = |socket, proxy_protocol| Listener {
            socket,
            is_passed,
            tls: tls.clone(),
            proxy_protocol,
        };
        Ok(Self {
            url: url_of(&main_address, tls.is_some()),
            addresses: own_addresses([Some(&main_address), admin_address.as_ref()]),
            admin_address: admin_address.unwrap_or(main_address),
            main: listener(main, config.proxy_protocol),
            admin: admin.map(|socket| listener(socket, config.admin_proxy_protocol)),
            tls,
        })
    }
}

/// Returns the certificate files, if they are configured.
#[must_use]
pub fn tls_files(config: &Config) -> Option<TlsFiles> {
    let (certificate, key) = (config.tls_certificate.clone()?, config.tls_key.clone()?);
    Some(TlsFiles { certificate, key })
}

/// Reads the certificate again when its files change, until `end` is cancelled.
pub(super) async fn follow_certificate(tls: Arc<ServerTls>, end: CancellationToken) {
    while end.run_until_cancelled(sleep(CERTIFICATE_CHECK_PERIOD)).await.is_some() {
        reload_certificate(&tls);
    }
}

pub(super) fn reload_certificate(tls: &ServerTls) {
    match tls.reload() {
        Ok(true) => tracing::info!("the new certificate of the server is in use"),
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(%error, "the earlier certificate of the server remains in use")
        }
    }
}

fn url_of(address: &ListenAddress, has_tls: bool) -> String {
    match address {
        ListenAddress::Tcp(_) if has_tls => format!("https://{address}"),
        ListenAddress::Tcp(_) => format!("http://{address}"),
        ListenAddress::Unix(_) => address.to_string(),
    }
}

/// Returns the address of a socket, with the actual port.
fn address_of(socket: &Socket) -> io::Result<ListenAddress> {
    match socket {
        Socket::Tcp(listener) => Ok(ListenAddress::Tcp(listener.local_addr()?)),
        Socket::Unix(listener) => {
            let address = listener.local_addr()?;
            let path = address.as_pathname().unwrap_or(Path::new("(no path)"));
            Ok(ListenAddress::Unix(path.to_owned()))
        }
    }
}

fn own_addresses(listening: [Option<&ListenAddress>; 2]) -> OwnAddresses {
    let addresses = listening.into_iter().flatten().filter_map(|address| match address {
        ListenAddress::Tcp(address) => Some(*address),
        ListenAddress::Unix(_) => None,
    });
    OwnAddresses::new(addresses.collect())
}

fn take_socket(passed: &mut ListenFd, index: usize) -> anyhow::Result<Socket> {
    if let Ok(Some(listener)) = passed.take_unix_listener(index) {
        listener.set_nonblocking(true)?;
        return Ok(Socket::Unix(UnixListener::from_std(listener)?));
    }
    let tcp_listener = passed.take_tcp_listener(index);
    let tcp_listener =
        tcp_listener.context("systemd passes a socket that is neither TCP nor a Unix stream")?;
    let listener =
        tcp_listener.context("systemd passes fewer sockets than the configuration needs")?;
    listener.set_nonblocking(true)?;
    Ok(Socket::Tcp(TcpListener::from_std(listener)?))
}

/// `key` is the configuration key of the address, for the error message.
async fn bind_socket(address: &ListenAddress, key: &str) -> anyhow::Result<Socket> {
    let bound = match address {
        ListenAddress::Tcp(address) => bind_tcp(address).await.map(Socket::Tcp),
        ListenAddress::Unix(path) => bind_unix(path).map(Socket::Unix),
    };
    bound.with_context(|| {
        format!(
            "cannot listen on {address}: is another server running there? Choose another `{key}`"
        )
    })
}

async fn bind_tcp(address: &SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).await?;
    listen(&listener, LISTEN_BACKLOG)?;
    Ok(listener)
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    remove_unused_socket(path)?;
    let listener = StdUnixListener::bind(path)?;
    listen(&listener, LISTEN_BACKLOG)?;
    std::fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Removes a socket file that an earlier server left. Never removes another file, or a socket that
/// accepts a connection.
fn remove_unused_socket(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(file) if !file.file_type().is_socket() => {
            Err(io::Error::new(ErrorKind::AlreadyExists, "the file is not a socket"))
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => Err(ErrorKind::AddrInUse.into()),
            Err(_) => std::fs::remove_file(path),
        },
    }
}
