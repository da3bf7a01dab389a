//! Creates the parts, connects them, runs them, and shuts them down in order. Only this room does:
//! the server, `check`, `invoke`, `test` and the fuzz targets start their parts here.
//!
//! Contains no rules of its own: decisions belong in the rooms below.

mod background;
mod checker;
mod data;
mod descriptors;
mod invoker;
mod keys;
mod lock;
mod platform;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::connections::{self, Connections};
use crate::defects::{self, Defects, ProcessState};
use crate::domain::{Clock, SystemClock};
use crate::egress::{Egress, Tape};
use crate::http::{self, AppState, ClientLimits, Services};
use crate::kpis::{self, Kpis};
use crate::memory::default_bytes_max;
use crate::plugins::Plugins;
use crate::runtime::{Engine, Sandbox};
use crate::secret::Secret;
use crate::store::{SqliteStore, Store};
use crate::testmanager::{self, TestManager};

use background::Background;

pub use checker::{CheckedFile, Checker};
pub use descriptors::Descriptors;
pub use invoker::{Exchanges, Invocation, Invoked, Invoker, TapeEnd};
pub use keys::{Rotated, rotate_key};
pub use lock::DataLock;
pub use platform::{
    PlatformProblem, address_space, blocked_connectors, few_threads, little_memory,
    replaced_program, runs_code, shared_access, small_address_space, unsuitable_disk,
};

/// How long the server waits after it stopped every guest: writes in progress end, outcomes are
/// stored, answers are sent.
const STOP_MAX: Duration = Duration::from_secs(10);

/// The two signals that end the server.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Accept no more requests, and wait at most `drain_ms` for running work.
    pub drain: CancellationToken,
    /// Stop the guests without any further wait.
    pub stop_now: CancellationToken,
}

/// A server whose parts are open and whose sockets listen.
pub struct App {
    config: Arc<Config>,
    /// The main listener, and the admin listener if one is configured. [`Self::run_until`] takes
    /// them.
    listeners: Option<(TcpListener, Option<TcpListener>)>,
    address: SocketAddr,
    admin_token: Secret,
    services: Arc<Services>,
    /// Ends the background work, such as the folder watch and the sweep.
    background: CancellationToken,
    sandbox: Arc<Sandbox>,
    /// Held until the process ends, so that only one server uses the data folder.
    _lock: DataLock,
}

/// The parts that run guests; a process has one of each.
struct GuestRuntime {
    engine: Arc<Engine>,
    egress: Arc<Egress>,
    sandbox: Arc<Sandbox>,
    clock: Arc<dyn Clock>,
}

impl GuestRuntime {
    fn start(config: &Config, tape: Option<Tape>) -> anyhow::Result<Self> {
        let engine = Engine::start().context("cannot start the WebAssembly engine")?;
        let (engine, clock) = (Arc::new(engine), Arc::new(SystemClock) as Arc<dyn Clock>);
        let (spool, spool_max) = (config.data_folder().spool(), config.spool_bytes_max);
        let egress = Egress::new(config.extra_ca_file.as_deref(), spool, spool_max)?;
        let egress = Arc::new(match tape {
            Some(tape) => egress.with_tape(tape),
            None => egress,
        });
        let memory_bytes = config.memory_bytes_host.unwrap_or_else(default_bytes_max);
        let sandbox = Arc::new(Sandbox::new(
            Arc::clone(&engine),
            Arc::clone(&egress),
            Arc::clone(&clock),
            config.concurrent_runs_host,
            memory_bytes,
        ));
        Ok(Self { engine, egress, sandbox, clock })
    }
}

impl App {
    /// Opens everything that the server needs; `lock` is the lock of the data folder. No request is
    /// answered yet.
    ///
    /// # Errors
    /// One line that says what cannot be opened and how to fix it.
    pub async fn start(
        config: Config,
        lock: DataLock,
        admin_token: Option<Secret>,
    ) -> anyhow::Result<Self> {
        let config = Arc::new(config);
        let folder = config.data_folder();
        data::clear_spool(&folder)?;
        let admin_token = match admin_token {
            Some(token) => data::check_token_length(token)?,
            None => data::admin_token(&folder)?,
        };
        let listener = bind(config.listen, "listen").await?;
        let admin_listener = match config.admin_listen {
            Some(address) => Some(bind(address, "admin_listen").await?),
            None => None,
        };
        let address = listener.local_addr()?;
        let background = CancellationToken::new();
        let guest_runtime = GuestRuntime::start(&config, None)?;
        platform::log_problems(&config, guest_runtime.engine.address_space());
        let sandbox = Arc::clone(&guest_runtime.sandbox);
        let services = Arc::new(services(&config, guest_runtime, &background).await?);
        Background::of(&services).spawn(&services.tasks, &background);
        Ok(Self {
            config,
            listeners: Some((listener, admin_listener)),
            address,
            admin_token,
            services,
            background,
            sandbox,
            _lock: lock,
        })
    }

    /// The address of the main listener, with the actual port if port 0 was configured.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The token of the admin API.
    #[must_use]
    pub fn admin_token(&self) -> &Secret {
        &self.admin_token
    }

    /// The state that the routes need.
    #[must_use]
    pub fn state(&self) -> AppState {
        let base_url = match &self.config.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => format!("http://{}", self.address),
        };
        AppState::new(Arc::clone(&self.services), self.admin_token.clone(), base_url)
    }

    /// Answers requests until `shutdown`. Then accepts no more requests, lets running work finish,
    /// and writes
    /// the queued data to the store. Runs that have not ended after the drain are stopped, and
    /// their outcomes are stored like those of any run.
    ///
    /// # Errors
    /// A listener failed.
    pub async fn run_until(mut self, shutdown: Shutdown) -> anyhow::Result<()> {
        let listeners = self.listeners.take().context("the server was started twice")?;
        let served = tokio::select! {
            served = self.serve(listeners, &shutdown) => served,
            () = self.stop(&shutdown) => {
                tracing::warn!("some work did not end in time; the next start recovers it");
                Ok(())
            }
        };
        self.services.store.close().await;
        served.context("a listener failed")
    }

    /// Answers requests; returns when all work has ended.
    async fn serve(
        &self,
        listeners: (TcpListener, Option<TcpListener>),
        shutdown: &Shutdown,
    ) -> std::io::Result<()> {
        let (hooks, admin) = http::routers(self.state());
        let drain = Duration::from_millis(self.config.drain_ms) + STOP_MAX;
        let begin = shutdown.drain.clone();
        let descriptors = Descriptors::raise(&self.config);
        let keep_alive = Duration::from_secs(self.config.keep_alive_s.into());
        let limits = |connections_max| {
            ClientLimits::new(connections_max, keep_alive, self.config.trusted_proxies.clone())
        };
        let clients = limits(descriptors.client_connections_max);
        let hooks = http::serve(listeners.0, hooks, clients, begin.clone(), drain);
        let served = match listeners.1.zip(admin) {
            Some((listener, admin)) => {
                let clients = limits(descriptors.admin_connections_max);
                let admin = http::serve(listener, admin, clients, begin, drain);
                tokio::try_join!(hooks, admin).map(|_| ())
            }
            None => hooks.await,
        };
        self.background.cancel();
        self.services.tasks.close();
        self.services.tasks.wait().await;
        served
    }

    /// Waits for the shutdown and its drain, then stops every guest, and returns after another
    /// [`STOP_MAX`].
    async fn stop(&self, shutdown: &Shutdown) {
        shutdown.drain.cancelled().await;
        self.background.cancel();
        let drain = Duration::from_millis(self.config.drain_ms);
        if shutdown.stop_now.run_until_cancelled(sleep(drain)).await.is_some() {
            tracing::warn!(
                "some runs did not end within `drain_ms` = {}; stopping them",
                self.config.drain_ms
            );
        }
        self.sandbox.stop();
        sleep(STOP_MAX).await;
    }
}

/// Opens the store and creates the services that the handlers call.
async fn services(
    config: &Arc<Config>,
    guest_runtime: GuestRuntime,
    background: &CancellationToken,
) -> anyhow::Result<Services> {
    let config = Arc::clone(config);
    let GuestRuntime { engine, egress, sandbox, clock } = guest_runtime;
    let sealer = keys::sealer(&config.data_folder()).await?;
    let store = SqliteStore::open(&config.data_folder().database(), &sealer)?;
    store.recover(clock.now(), config.longest_run_ms()).await?;
    let store: Arc<dyn Store> = Arc::new(store);
    let plugins = Plugins::start(
        Arc::clone(&config),
        engine,
        Arc::clone(&sandbox),
        Arc::clone(&clock),
        background.clone(),
    );
    let plugins = Arc::new(plugins.await?);
    let test_manager = test_manager(&egress, &store, &sandbox, &clock);
    let connections = Arc::new(Connections::new(connections::Dependencies {
        store: Arc::clone(&store),
        plugins: Arc::clone(&plugins),
        sandbox: Arc::clone(&sandbox),
        egress,
        test_manager,
        sealer,
        clock: Arc::clone(&clock),
        config: Arc::clone(&config),
    }));
    connections.load().await?;
    let tasks = TaskTracker::new();
    let defects = Defects::new(defects::Dependencies {
        store: Arc::clone(&store),
        connections: Arc::clone(&connections),
        sandbox: Arc::clone(&sandbox),
        clock: Arc::clone(&clock),
        config: Arc::clone(&config),
        tasks: tasks.clone(),
        process: ProcessState::default(),
    });
    let kpis = Kpis::new(kpis::Dependencies {
        store: Arc::clone(&store),
        connections: Arc::clone(&connections),
        sandbox,
        clock: Arc::clone(&clock),
        config: Arc::clone(&config),
        tasks: tasks.clone(),
    });
    Ok(Services {
        defects: Arc::new(defects),
        kpis,
        connections,
        plugins,
        store,
        clock,
        config,
        tasks,
    })
}

/// Creates the client for Test Manager, with the egress, memory and clock of all runs.
fn test_manager(
    egress: &Arc<Egress>,
    store: &Arc<dyn Store>,
    sandbox: &Sandbox,
    clock: &Arc<dyn Clock>,
) -> Arc<TestManager> {
    Arc::new(TestManager::new(testmanager::Dependencies {
        egress: Arc::clone(egress),
        store: Arc::clone(store),
        memory: Arc::clone(sandbox.host_memory()),
        clock: Arc::clone(clock),
    }))
}

/// Listens on an address; `key` is the setting that the error names.
async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen on {address}: is another server running there? Choose another `{key}`"
        )
    })
}
