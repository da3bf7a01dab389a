//! Creates the parts of the program, connects them, runs them, and shuts them down in order.

mod background;
mod backup;
mod clock;
mod connector_loader;
mod data;
mod descriptors;
mod invoker;
mod keys;
mod lock;
mod move_to_postgres;
mod platform;
mod reload;
mod secrets;
mod services;
mod sockets;
mod store;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ListenAddress, LiveConfig};
use crate::console;
use crate::domain::Clock;
use crate::egress::{Egress, OwnServer, Tape};
use crate::http::{self, AppState, Routers, Services};
use crate::memory::default_bytes_max;
use crate::runtime::{Engine, Sandbox};
use crate::secret::Secret;

use background::Background;
use clock::ServerClock;
use reload::ListenerLimits;
use services::{create_services, own_server};
use sockets::Listeners;

pub use backup::{CopyResult, back_up, restore};
pub use connector_loader::{CheckedFile, ConnectorLoader};
pub use descriptors::Descriptors;
pub use invoker::{AnswerSource, Invocation, InvocationResult, Invoker, TapeResult};
pub use keys::{RotationResult, rotate_key};
pub use lock::DataLock;
pub use platform::{
    PlatformProblem, access_problems, address_space_problem, blocked_files_problem,
    check_code_execution, disk_problem, memory_problem, new_engine_address_space,
    replaced_program_problem, threads_problem,
};

pub use move_to_postgres::move_to_postgres;
pub use reload::Reloader;
pub use sockets::{PassedSockets, tls_files};
pub(crate) use store::postgres_settings;

/// Maximum time for which the server waits after it stopped every guest. During this wait, writes
/// in progress end, outcomes are stored and answers are sent.
const STOP_WAIT: Duration = Duration::from_secs(10);

/// The two signals that end the server.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// When this token is cancelled, the server accepts no more client connections, and lets
    /// running work finish.
    pub drain: CancellationToken,
    /// When this token is cancelled during the drain, the server stops the guests at once.
    pub stop_now: CancellationToken,
}

/// A server whose parts are open and whose sockets listen.
pub struct App {
    config: Arc<LiveConfig>,
    reloader: Reloader,
    /// The limits on the clients of both listeners.
    limits: ListenerLimits,
    /// The open listeners; `None` after [`Self::run_until`] has taken them.
    listeners: Option<Listeners>,
    url: String,
    /// The address at which everything except `/hooks` is served.
    admin_address: ListenAddress,
    admin_token: Secret,
    services: Arc<Services>,
    /// Cancelled to end the background work, such as the folder watch and the sweep.
    background_cancel: CancellationToken,
    sandbox: Arc<Sandbox>,
    /// Keeps the data folder locked until this value is dropped, so that only one server uses the
    /// folder.
    _lock: DataLock,
}

/// The parts that run guests.
struct GuestRuntime {
    engine: Arc<Engine>,
    egress: Arc<Egress>,
    sandbox: Arc<Sandbox>,
    clock: Arc<ServerClock>,
}

impl GuestRuntime {
    fn start(config: &Config, tape: Option<Tape>, own_server: OwnServer) -> anyhow::Result<Self> {
        let engine =
            Engine::start(config.compile_for).context("cannot start the WebAssembly engine")?;
        let (engine, clock) = (Arc::new(engine), Arc::new(ServerClock::default()));
        let (spool, spool_max) = (config.data_folder().spool_folder(), config.spool_bytes_max);
        let egress = Egress::new(config.extra_ca_file.as_deref(), spool, spool_max, own_server)?;
        let egress = Arc::new(match tape {
            Some(tape) => egress.with_tape(tape),
            None => egress,
        });
        let memory_bytes = config.memory_bytes_host.unwrap_or_else(default_bytes_max);
        let sandbox = Arc::new(Sandbox::new(
            Arc::clone(&engine),
            Arc::clone(&egress),
            Arc::clone(&clock) as Arc<dyn Clock>,
            config.concurrent_runs_host,
            memory_bytes,
        ));
        Ok(Self { engine, egress, sandbox, clock })
    }
}

impl App {
    /// Opens everything that the server needs. `lock` is the lock of the data folder. The sockets
    /// in `passed` replace the sockets of the configuration. No request is answered yet.
    ///
    /// # Errors
    /// One line that describes what cannot be opened and how to fix it.
    pub async fn start(
        config: Config,
        lock: DataLock,
        admin_token: Option<Secret>,
        passed: PassedSockets,
    ) -> anyhow::Result<Self> {
        let live = Arc::new(LiveConfig::new(config));
        let config = live.current();
        let folder = config.data_folder();
        data::clear_spool(&folder)?;
        let admin_token = match admin_token {
            Some(token) => data::check_token_length(token)?,
            None => data::read_or_create_admin_token(&folder)?,
        };
        let listeners = Listeners::open(&config, passed).await?;
        let (url, admin_address) = (listeners.url.clone(), listeners.admin_address.clone());
        let background_cancel = CancellationToken::new();
        let guest_runtime =
            GuestRuntime::start(&config, None, own_server(&config, listeners.addresses.clone()))?;
        platform::log_problems(&config, guest_runtime.engine.address_space());
        let sandbox = Arc::clone(&guest_runtime.sandbox);
        let services =
            create_services(&live, guest_runtime, &admin_token, &background_cancel).await?;
        let services = Arc::new(services);
        Background::new(&services).spawn(&services.tasks, &background_cancel);
        let limits = ListenerLimits::new(&config);
        let (tls, metrics) = (listeners.tls.clone(), Arc::clone(&services.metrics));
        let reloader = Reloader::new(Arc::clone(&live), tls, limits.clone(), metrics);
        if let Some(tls) = listeners.tls.clone() {
            services.tasks.spawn(sockets::follow_certificate(tls, background_cancel.clone()));
        }
        Ok(Self {
            config: live,
            reloader,
            limits,
            listeners: Some(listeners),
            url,
            admin_address,
            admin_token,
            services,
            background_cancel,
            sandbox,
            _lock: lock,
        })
    }

    /// The address of the main listener, with the actual port if port 0 was configured: a URL, or
    /// `unix:` and the path of a socket.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the reloader, which changes the configuration while the server runs.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Returns the admin token, which is in the environment or in the data folder.
    #[must_use]
    pub fn admin_token(&self) -> &Secret {
        &self.admin_token
    }

    /// The routes of the main listener, and those of the admin listener if there is one.
    pub fn routers(&self) -> Routers {
        http::routers(self.state(), console::routes)
    }

    fn state(&self) -> AppState {
        let base_url = match &self.config.current().public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None if self.url.starts_with("unix:") => "http://localhost".to_owned(),
            None => self.url.clone(),
        };
        AppState::new(Arc::clone(&self.services), base_url, &self.admin_address)
    }

    /// Answers requests until `shutdown` is signalled. Then accepts no more client connections,
    /// lets running work finish, and writes the queued data to the store. Runs that have not ended
    /// after `drain_ms` (at least a second), or when `stop_now` is cancelled, are stopped. The next
    /// start recovers work that does not end within 10 s after that.
    ///
    /// # Errors
    /// A listener failed.
    pub async fn run_until(mut self, shutdown: Shutdown) -> anyhow::Result<()> {
        let listeners = self.listeners.take().context("the server was started twice")?;
        let result = tokio::select! {
            result = self.serve(listeners, &shutdown) => result,
            () = self.stop_after_drain(&shutdown) => {
                tracing::warn!(
                    "some work did not end before the shutdown; the next start of the server recovers it"
                );
                Ok(())
            }
        };
        if let Some(traces) = self.services.traces.clone() {
            let stopped = tokio::task::spawn_blocking(move || traces.stop()).await;
            stopped.unwrap_or_else(|error| tracing::error!(%error, "the export of traces failed"));
        }
        self.services.store.close().await;
        result.context("a listener failed")
    }

    /// Answers requests until `shutdown` is signalled, or until a listener fails. Returns when all
    /// work has ended.
    async fn serve(&self, listeners: Listeners, shutdown: &Shutdown) -> std::io::Result<()> {
        let (hooks, admin) = self.routers();
        let drain = Duration::from_millis(self.config.current().drain_ms) + STOP_WAIT;
        let drain_signal = shutdown.drain.clone();
        let limits = self.limits.clone();
        let hooks = http::serve(listeners.main, hooks, limits.main, drain_signal.clone(), drain);
        let result = match listeners.admin.zip(admin) {
            Some((listener, admin)) => {
                let admin = http::serve(listener, admin, limits.admin, drain_signal, drain);
                tokio::try_join!(hooks, admin).map(|_| ())
            }
            None => hooks.await,
        };
        self.background_cancel.cancel();
        self.services.tasks.close();
        self.services.tasks.wait().await;
        self.services.plugins.delete_own_report().await;
        result
    }

    /// Waits for the shutdown signal, and then for `drain_ms`, at least
    /// [`http::LAST_REQUESTS_TIME`]. `stop_now` ends the second wait. Then stops every guest, and
    /// returns after [`STOP_WAIT`].
    async fn stop_after_drain(&self, shutdown: &Shutdown) {
        shutdown.drain.cancelled().await;
        self.background_cancel.cancel();
        let drain = Duration::from_millis(self.config.current().drain_ms);
        let drain = drain.max(http::LAST_REQUESTS_TIME);
        if shutdown.stop_now.run_until_cancelled(sleep(drain)).await.is_some() {
            tracing::warn!("some runs did not end within {drain:?} (`drain_ms`); stopping them");
        }
        self.sandbox.stop();
        sleep(STOP_WAIT).await;
    }
}
