//! The sockets on which the server listens: those of the configuration, or those that systemd
//! passes; their TLS.
//!
//! Accepts nothing: `http` does.

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

/// How often the files of the certificate are read, to find changes.
const TLS_PERIOD: Duration = Duration::from_secs(5);
/// Owner and group may connect to a Unix socket, other users may not.
const SOCKET_MODE: u32 = 0o660;

/// Connections that the kernel may keep until they are accepted; it takes the lower of this and its
/// own limit (`net.core.somaxconn`). The standard library's 128 are so few that a crowd of
/// unknown clients fills the queue, and the kernel then drops the connections of known senders.
const BACKLOG: i32 = 4096;

/// The sockets that the service manager passes to this process.
#[derive(Default)]
pub struct PassedSockets(Option<ListenFd>);

impl PassedSockets {
    /// Takes the sockets from the environment (`LISTEN_FDS`). Call it before other threads start,
    /// because it removes the variables.
    #[must_use]
    pub fn take() -> Self {
        Self(Some(ListenFd::from_env()).filter(|passed| passed.len() > 0))
    }
}

/// The listeners of the server.
pub(super) struct Listeners {
    pub(super) main: Listener,
    pub(super) admin: Option<Listener>,
    /// The address of the main listener: a URL, or `unix:` and a path.
    pub(super) url: String,
    /// Where everything except `/hooks` is served.
    pub(super) admin_address: ListenAddress,
    /// All addresses with a port.
    pub(super) addresses: OwnAddresses,
    pub(super) tls: Option<Arc<ServerTls>>,
}

impl Listeners {
    /// Opens the sockets. One that systemd passes replaces `listen`; a second one replaces
    /// `admin_listen`.
    pub(super) async fn open(config: &Config, passed: PassedSockets) -> anyhow::Result<Self> {
        let tls = tls_files(config).map(ServerTls::load).transpose()?.map(Arc::new);
        let admin = config.admin_listen.as_ref();
        let mut passed = passed.0;
        let is_passed = passed.is_some();
        if let Some(passed) = &passed {
            let wanted = 1 + usize::from(admin.is_some());
            if passed.len() != wanted {
                bail!(
                    "systemd passes {} sockets, and the configuration has {wanted}: pass one for \
                     `listen`, then one for `admin_listen` if it is set",
                    passed.len()
                );
            }
        }
        let main = match &mut passed {
            Some(passed) => take(passed, 0)?,
            None => bind(&config.listen, "listen").await?,
        };
        let admin = match (admin, &mut passed) {
            (Some(_), Some(passed)) => Some(take(passed, 1)?),
            (Some(address), None) => Some(bind(address, "admin_listen").await?),
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
            url: url(&main_address, tls.is_some()),
            addresses: own_addresses([Some(&main_address), admin_address.as_ref()]),
            admin_address: admin_address.unwrap_or(main_address),
            main: listener(main, config.proxy_protocol),
            admin: admin.map(|socket| listener(socket, config.admin_proxy_protocol)),
            tls,
        })
    }
}

/// The files of the certificate, if the configuration names them.
#[must_use]
pub fn tls_files(config: &Config) -> Option<TlsFiles> {
    let (certificate, key) = (config.tls_certificate.clone()?, config.tls_key.clone()?);
    Some(TlsFiles { certificate, key })
}

/// Reads the certificate again when its files change, until `end`.
pub(super) async fn follow_certificate(tls: Arc<ServerTls>, end: CancellationToken) {
    while end.run_until_cancelled(sleep(TLS_PERIOD)).await.is_some() {
        reload_certificate(&tls);
    }
}

/// Reads the certificate again, and logs what came of it.
pub(super) fn reload_certificate(tls: &ServerTls) {
    match tls.reload() {
        Ok(true) => tracing::info!("the new certificate of the server is in use"),
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(%error, "the earlier certificate of the server remains in use")
        }
    }
}

fn url(address: &ListenAddress, has_tls: bool) -> String {
    match address {
        ListenAddress::Tcp(_) if has_tls => format!("https://{address}"),
        ListenAddress::Tcp(_) => format!("http://{address}"),
        ListenAddress::Unix(_) => address.to_string(),
    }
}

/// The address of a socket, with the actual port.
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

/// Takes a socket that systemd passes.
fn take(passed: &mut ListenFd, index: usize) -> anyhow::Result<Socket> {
    if let Ok(Some(listener)) = passed.take_unix_listener(index) {
        listener.set_nonblocking(true)?;
        return Ok(Socket::Unix(UnixListener::from_std(listener)?));
    }
    let taken = passed.take_tcp_listener(index);
    let taken = taken.context("systemd passes a socket that is neither TCP nor a Unix stream")?;
    let listener = taken.context("systemd passes no socket at this place")?;
    listener.set_nonblocking(true)?;
    Ok(Socket::Tcp(TcpListener::from_std(listener)?))
}

/// Listens on an address; `key` is the setting that the error names.
async fn bind(address: &ListenAddress, key: &str) -> anyhow::Result<Socket> {
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
    listen(&listener, BACKLOG)?;
    Ok(listener)
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    remove_unused(path)?;
    let listener = StdUnixListener::bind(path)?;
    listen(&listener, BACKLOG)?;
    std::fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Removes a socket that an earlier server left, and nothing else.
fn remove_unused(path: &Path) -> io::Result<()> {
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
