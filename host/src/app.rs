//! Picks the concrete parts, wires them, runs them, and shuts them down in order.
//!
//! Holds no rule of its own: a decision found here belongs into a room below.

mod keys;

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::config::Config;
use crate::connector::{Egress, Engine, Registry, Sandbox};
use crate::dispatch::{Dispatch, Parts};
use crate::domain::{Clock, RunnerId, SystemClock};
use crate::http;
use crate::secret::{Secret, write_private};
use crate::store::{SqliteStore, Store};

pub use keys::{Rotated, rotate_key};

/// What the last answers may take beyond the longest answer deadline.
const DRAIN_MARGIN: Duration = Duration::from_secs(5);

/// A server that is ready to serve.
pub struct App {
    config: Arc<Config>,
    listener: TcpListener,
    admin_listener: Option<TcpListener>,
    address: SocketAddr,
    admin_token: Secret,
    dispatch: Dispatch,
    /// Ends the background work: folder watch and sweep.
    background: CancellationToken,
    /// Held until the process ends: one server for one data folder.
    _lock: File,
}

impl App {
    /// Opens everything that serving needs; nothing is served yet.
    ///
    /// # Errors
    /// One line that says what cannot be opened and how to mend it.
    pub async fn start(config: Config, admin_token: Option<Secret>) -> anyhow::Result<Self> {
        let config = Arc::new(config);
        let lock = open_data(&config.data)?;
        let admin_token = admin_token.map_or_else(|| kept_token(&config.data), Ok)?;
        let listener = bind(config.listen, "listen").await?;
        let admin_listener = match config.admin_listen {
            Some(address) => Some(bind(address, "admin_listen").await?),
            None => None,
        };
        let address = listener.local_addr()?;
        let background = CancellationToken::new();
        let dispatch = dispatch(&config, &background).await?;
        dispatch.spawn_sweep(background.clone());
        Ok(Self {
            config,
            listener,
            admin_listener,
            address,
            admin_token,
            dispatch,
            background,
            _lock: lock,
        })
    }

    /// Where it listens, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The token that opens the admin API.
    #[must_use]
    pub fn admin_token(&self) -> &Secret {
        &self.admin_token
    }

    /// What serves events, for callers in the same process.
    #[must_use]
    pub fn dispatch(&self) -> &Dispatch {
        &self.dispatch
    }

    /// Serves until `shutdown`: then nothing more is accepted, what runs is finished, what is
    /// queued is written.
    ///
    /// # Errors
    /// A listener failed.
    pub async fn run_until(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let base_url = match &self.config.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => format!("http://{}", self.address),
        };
        let (hooks, admin) = http::routers(http::AppState::new(
            self.dispatch.clone(),
            self.config.clone(),
            self.admin_token.clone(),
            base_url,
        ));
        let drain = self.config.longest_answer() + DRAIN_MARGIN;
        let hooks = http::serve(self.listener, hooks, shutdown.clone(), drain);
        let served = match self.admin_listener.zip(admin) {
            Some((listener, admin)) => {
                let admin = http::serve(listener, admin, shutdown, drain);
                tokio::try_join!(hooks, admin).map(|_| ())
            }
            None => hooks.await,
        };
        self.background.cancel();
        self.dispatch.drain().await;
        self.dispatch.store().close().await;
        served.context("a listener failed")
    }
}

async fn dispatch(
    config: &Arc<Config>,
    background: &CancellationToken,
) -> anyhow::Result<Dispatch> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let sealer = keys::sealer(&config.data).await?;
    let store = SqliteStore::open(&keys::database(&config.data), &sealer).await?;
    store.recover(clock.now(), config.longest_run_ms()).await?;
    let engine = Arc::new(Engine::start().map_err(|error| {
        anyhow::anyhow!("the engine cannot start: {error:#}; has the process an address space limit (ulimit -v)?")
    })?);
    let egress = Arc::new(Egress::new(config.extra_ca_file.as_deref())?);
    let sandbox = Arc::new(Sandbox::new(
        engine.clone(),
        egress.clone(),
        clock.clone(),
        config.concurrent_runs_host,
    ));
    let registry =
        Registry::start(config.clone(), engine, sandbox.clone(), clock.clone(), background.clone())
            .await?;
    let dispatch = Dispatch::new(Parts {
        store: Arc::new(store),
        registry,
        sandbox,
        egress,
        sealer,
        clock,
        config: config.clone(),
        runner: RunnerId(Uuid::new_v4()),
    });
    dispatch.load().await?;
    Ok(dispatch)
}

async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen on {address}: is another server running there? choose another `{key}`"
        )
    })
}

/// Makes the data folder (0700) where it is missing, and locks it for this process.
fn open_data(data: &Path) -> anyhow::Result<File> {
    let what = || {
        format!(
            "cannot use the data folder {}: it must be a folder that this user may write",
            data.display()
        )
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data).with_context(what)?;
    let mode = data.metadata().with_context(what)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        std::fs::set_permissions(data, std::fs::Permissions::from_mode(0o700))
            .with_context(what)?;
        tracing::warn!(data = %data.display(), "the data folder was open to others; it is not any more");
    }
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(data.join("lock"))
        .with_context(what)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => bail!(
            "another jackfield serves the data folder {}: stop it first, or give this one a --data of its own",
            data.display()
        ),
        Err(TryLockError::Error(error)) => Err(error).with_context(what),
    }
}

/// The admin token in the data folder, made there where it is missing.
fn kept_token(data: &Path) -> anyhow::Result<Secret> {
    let file = token_file(data);
    let what = || format!("cannot use the admin token in {}", file.display());
    if !file.exists() {
        write_private(&file, Secret::fresh_token().reveal().as_bytes()).with_context(what)?;
    }
    let text = std::fs::read_to_string(&file).with_context(what)?;
    if text.trim().len() < 16 {
        bail!("{} holds no token: remove it, and the next start makes a new one", file.display());
    }
    Ok(Secret::new(text.trim().to_owned()))
}

/// Where the admin token lies.
#[must_use]
pub fn token_file(data: &Path) -> PathBuf {
    data.join("admin-token")
}
