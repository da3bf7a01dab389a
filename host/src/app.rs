//! Creates the parts, connects them, runs them, and shuts them down in order. The server, `check`,
//! `invoke` and `test` start their parts here.
//!
//! Contains no rules of its own: decisions belong in the rooms below.

mod background;
mod backup;
mod checker;
mod clock;
mod data;
mod descriptors;
mod invoker;
mod keys;
mod lock;
mod platform;
mod reload;
mod sockets;
mod store;
mod transfer;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accounts::{Accounts, Audit};
use crate::config::{Config, ListenAddress, LiveConfig, PROXY_SECRET_HEADER};
use crate::connections::{self, Connections};
use crate::console;
use crate::defects::{self, Defects, ProcessState};
use crate::domain::Clock;
use crate::egress::{Egress, OwnServer, Tape};
use crate::history::History;
use crate::http::{self, AppState, Routers, Services};
use crate::kpis::{self, Kpis};
use crate::memory::default_bytes_max;
use crate::oidc::{self, Oidc};
use crate::plugins::{self, Plugins};
use crate::replay::{self, Replays};
use crate::runtime::{Engine, Sandbox};
use crate::secret::{DerivationKey, Secret};
use crate::store::{AccountStore, AuditStore, ConnectorStore, SqlStore, Store};
use crate::telemetry::{Metrics, TraceSettings, Traces};
use crate::testmanager::{self, TestManager};
use crate::transport::OwnAddresses;

use background::Background;
use clock::ServerClock;
use reload::ListenerLimits;
use sockets::Listeners;

pub use backup::{Copied, back_up, restore};
pub use checker::{CheckedFile, Checker};
pub use descriptors::Descriptors;
pub use invoker::{Exchanges, Invocation, Invoked, Invoker, TapeEnd};
pub use keys::{Rotated, rotate_key};
pub use lock::DataLock;
pub use platform::{
    PlatformProblem, address_space, blocked_connectors, few_threads, little_memory,
    replaced_program, runs_code, shared_access, small_address_space, unsuitable_disk,
};

pub use reload::Reloader;
pub use sockets::{PassedSockets, tls_files};
pub(crate) use store::postgres_settings;
pub use transfer::transfer;

/// How long the server waits after it stopped every guest: writes in progress end, outcomes are
/// stored, answers are sent.
const STOP_MAX: Duration = Duration::from_secs(10);
/// Minimum length of `proxy_secret`, so that it cannot be guessed.
const PROXY_SECRET_CHARS_MIN: usize = 16;

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
    config: Arc<LiveConfig>,
    reloader: Reloader,
    limits: ListenerLimits,
    /// [`Self::run_until`] takes them.
    listeners: Option<Listeners>,
    url: String,
    admin_address: ListenAddress,
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
    clock: Arc<ServerClock>,
}

impl GuestRuntime {
    fn start(config: &Config, tape: Option<Tape>, own: OwnServer) -> anyhow::Result<Self> {
        let engine =
            Engine::start(config.compile_for).context("cannot start the WebAssembly engine")?;
        let (engine, clock) = (Arc::new(engine), Arc::new(ServerClock::default()));
        let (spool, spool_max) = (config.data_folder().spool(), config.spool_bytes_max);
        let egress = Egress::new(config.extra_ca_file.as_deref(), spool, spool_max, own)?;
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
    /// Opens everything that the server needs; `lock` is the lock of the data folder, and `passed`
    /// replaces the sockets of the configuration. No request is answered yet.
    ///
    /// # Errors
    /// One line that says what cannot be opened and how to fix it.
    pub async fn start(
        config: Config,
        lock: DataLock,
        admin_token: Option<Secret>,
        passed: PassedSockets,
    ) -> anyhow::Result<Self> {
        let live = Arc::new(LiveConfig::new(config));
        let config = live.now();
        let folder = config.data_folder();
        data::clear_spool(&folder)?;
        let admin_token = match admin_token {
            Some(token) => data::check_token_length(token)?,
            None => data::admin_token(&folder)?,
        };
        let listeners = Listeners::open(&config, passed).await?;
        let (url, admin_address) = (listeners.url.clone(), listeners.admin_address.clone());
        let background = CancellationToken::new();
        let guest_runtime =
            GuestRuntime::start(&config, None, own(&config, listeners.addresses.clone()))?;
        platform::log_problems(&config, guest_runtime.engine.address_space());
        let sandbox = Arc::clone(&guest_runtime.sandbox);
        let services = services(&live, guest_runtime, &admin_token, &background).await?;
        let services = Arc::new(services);
        Background::of(&services).spawn(&services.tasks, &background);
        let limits = ListenerLimits::new(&config);
        let (tls, metrics) = (listeners.tls.clone(), Arc::clone(&services.metrics));
        let reloader = Reloader::new(Arc::clone(&live), tls, limits.clone(), metrics);
        if let Some(tls) = listeners.tls.clone() {
            services.tasks.spawn(sockets::follow_certificate(tls, background.clone()));
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
            background,
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

    /// Changes the configuration while the server runs.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// The token of the admin API.
    #[must_use]
    pub fn admin_token(&self) -> &Secret {
        &self.admin_token
    }

    /// The routes of the main listener, and those of the admin listener if there is one.
    pub fn routers(&self) -> Routers {
        http::routers(self.state(), console::routes)
    }

    /// The state that the routes need.
    fn state(&self) -> AppState {
        let base_url = match &self.config.now().public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None if self.url.starts_with("unix:") => "http://localhost".to_owned(),
            None => self.url.clone(),
        };
        AppState::new(Arc::clone(&self.services), base_url, &self.admin_address)
    }

    /// Answers requests until `shutdown`. Then accepts no more requests, lets running work finish,
    /// and writes the queued data to the store. Runs that have not ended after the drain are
    /// stopped, and their outcomes are stored like those of any run.
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
        if let Some(traces) = self.services.traces.clone() {
            let stopped = tokio::task::spawn_blocking(move || traces.stop()).await;
            stopped.unwrap_or_else(|error| tracing::error!(%error, "the export of traces failed"));
        }
        self.services.store.close().await;
        served.context("a listener failed")
    }

    /// Answers requests; returns when all work has ended.
    async fn serve(&self, listeners: Listeners, shutdown: &Shutdown) -> std::io::Result<()> {
        let (hooks, admin) = self.routers();
        let drain = Duration::from_millis(self.config.now().drain_ms) + STOP_MAX;
        let begin = shutdown.drain.clone();
        let limits = self.limits.clone();
        let hooks = http::serve(listeners.main, hooks, limits.main, begin.clone(), drain);
        let served = match listeners.admin.zip(admin) {
            Some((listener, admin)) => {
                let admin = http::serve(listener, admin, limits.admin, begin, drain);
                tokio::try_join!(hooks, admin).map(|_| ())
            }
            None => hooks.await,
        };
        self.background.cancel();
        self.services.tasks.close();
        self.services.tasks.wait().await;
        self.services.plugins.leave().await;
        served
    }

    /// Waits for the shutdown and its drain, then stops every guest, and returns after another
    /// [`STOP_MAX`].
    async fn stop(&self, shutdown: &Shutdown) {
        shutdown.drain.cancelled().await;
        self.background.cancel();
        let drain_ms = self.config.now().drain_ms;
        let drain = Duration::from_millis(drain_ms);
        if shutdown.stop_now.run_until_cancelled(sleep(drain)).await.is_some() {
            tracing::warn!("some runs did not end within `drain_ms` = {drain_ms}; stopping them");
        }
        self.sandbox.stop();
        sleep(STOP_MAX).await;
    }
}

/// Opens the store and creates the services that the handlers call.
async fn services(
    live: &Arc<LiveConfig>,
    guest_runtime: GuestRuntime,
    admin_token: &Secret,
    background: &CancellationToken,
) -> anyhow::Result<Services> {
    let config = live.now();
    let metrics = Arc::<Metrics>::default();
    let GuestRuntime { engine, egress, sandbox, clock } = guest_runtime;
    let (opened, sealer, clock) = store::open(&config, clock).await?;
    let key = sealer.derivation_key();
    let opened = Arc::new(opened);
    let connectors = Arc::clone(&opened).connectors();
    let (store, accounts, audit) = shared_store(opened, &clock, admin_token, key, &config);
    let plugins = start_plugins(live, engine, &sandbox, &clock, connectors, background).await?;
    let traces = traces(&config)?;
    let history = history(&store, &metrics, traces.as_ref());
    let tasks = TaskTracker::new();
    let oidc = oidc(&config, &egress, &sandbox, &clock, &tasks)?;
    let connections = Arc::new(Connections::new(connections::Dependencies {
        store: Arc::clone(&store),
        history: Arc::clone(&history),
        plugins: Arc::clone(&plugins),
        sandbox: Arc::clone(&sandbox),
        test_manager: test_manager(&egress, &store, &sandbox, &clock),
        egress,
        sealer,
        clock: Arc::clone(&clock),
        config: Arc::clone(live),
    }));
    connections.load().await?;
    let deps = defects::Dependencies {
        store: Arc::clone(&store),
        history: Arc::clone(&history),
        connections: Arc::clone(&connections),
        sandbox: Arc::clone(&sandbox),
        clock: Arc::clone(&clock),
        config: Arc::clone(live),
        tasks: tasks.clone(),
        process: ProcessState::default(),
    };
    Ok(Services {
        accounts,
        audit,
        oidc,
        proxy_secret: proxy_secret(&config)?,
        kpis: kpis(&deps),
        defects: Arc::new(Defects::new(deps)),
        replays: replays(&store, &plugins, &sandbox, &clock, live),
        history,
        metrics,
        traces,
        sandbox,
        connections,
        plugins,
        store,
        clock,
        config: Arc::clone(live),
        tasks,
    })
}

/// Loads the connectors of the plugins folder, and begins to watch it.
async fn start_plugins(
    live: &Arc<LiveConfig>,
    engine: Arc<Engine>,
    sandbox: &Arc<Sandbox>,
    clock: &Arc<dyn Clock>,
    store: Option<Arc<dyn ConnectorStore>>,
    background: &CancellationToken,
) -> anyhow::Result<Arc<Plugins>> {
    let (config, sandbox, clock) = (Arc::clone(live), Arc::clone(sandbox), Arc::clone(clock));
    let deps = plugins::Dependencies { config, engine, sandbox, clock, store };
    Ok(Arc::new(Plugins::start(deps, background.clone()).await?))
}

/// Shares the store with the accounts, and with the audit log of what they change.
fn shared_store(
    store: Arc<SqlStore>,
    clock: &Arc<dyn Clock>,
    admin_token: &Secret,
    key: &DerivationKey,
    config: &Config,
) -> (Arc<dyn Store>, Arc<Accounts>, Arc<Audit>) {
    let of_accounts = Arc::clone(&store) as Arc<dyn AccountStore>;
    let accounts = Accounts::new(of_accounts, Arc::clone(clock), admin_token.clone(), key);
    let of_audit = Arc::clone(&store) as Arc<dyn AuditStore>;
    let audit = Audit::new(of_audit, Arc::clone(clock), config.audit_days);
    (store, Arc::new(accounts), Arc::new(audit))
}

/// Creates the client of the identity provider, if one is configured.
fn oidc(
    config: &Config,
    egress: &Arc<Egress>,
    sandbox: &Sandbox,
    clock: &Arc<dyn Clock>,
    tasks: &TaskTracker,
) -> anyhow::Result<Option<Oidc>> {
    let Some(settings) = config.oidc.clone() else { return Ok(None) };
    let secret = settings.client_secret.as_deref();
    let secret = secret.map(|it| secret_of(config, it, "oidc.client_secret")).transpose()?;
    let dependencies = oidc::Dependencies {
        egress: Arc::clone(egress),
        memory: Arc::clone(sandbox.host_memory()),
        clock: Arc::clone(clock),
        tasks: tasks.clone(),
    };
    Ok(Some(Oidc::new(settings, secret, dependencies)))
}

/// Reads the secret that a key of the configuration names.
fn secret_of(config: &Config, reference: &str, key: &str) -> anyhow::Result<Secret> {
    let (roots, prefixes) = (&config.secret_file_roots, &config.secret_env_prefixes);
    let secret = Secret::new(reference.to_owned()).resolve_unredacted(roots, prefixes);
    secret.with_context(|| format!("cannot read the secret that `{key}` names"))
}

/// Reads what the proxy that signs people in sends as proof.
fn proxy_secret(config: &Config) -> anyhow::Result<Option<Secret>> {
    let secret = config.proxy_secret.as_deref();
    let secret = secret.map(|it| secret_of(config, it, "proxy_secret")).transpose()?;
    let secret = secret.map(Secret::trimmed);
    if secret.as_ref().is_some_and(|it| it.reveal().chars().count() < PROXY_SECRET_CHARS_MIN) {
        bail!(
            "the secret that `proxy_secret` names has fewer than {PROXY_SECRET_CHARS_MIN} \
             characters: write a random one, such as that of `openssl rand -hex 32`"
        );
    }
    Ok(secret)
}

/// What no connection's request may have: the addresses of this server, and the headers of the
/// proxy that signs people in.
fn own(config: &Config, addresses: OwnAddresses) -> OwnServer {
    let identity = [&config.proxy_user_header, &config.proxy_role_header];
    let identity = identity.into_iter().flatten().cloned();
    OwnServer { addresses, headers: identity.chain([PROXY_SECRET_HEADER.to_owned()]).collect() }
}

/// Creates what records events.
fn history(
    store: &Arc<dyn Store>,
    metrics: &Arc<Metrics>,
    traces: Option<&Arc<Traces>>,
) -> Arc<History> {
    let (store, metrics) = (Arc::clone(store), Arc::clone(metrics));
    Arc::new(History::new(store, metrics, traces.cloned()))
}

/// Starts the export of traces, if it is configured.
fn traces(config: &Config) -> anyhow::Result<Option<Arc<Traces>>> {
    let Some(settings) = &config.traces else { return Ok(None) };
    let header = |(name, reference): &(String, String)| {
        Ok((name.clone(), secret_of(config, reference, "traces.headers")?.trimmed()))
    };
    let headers = settings.headers.iter().map(header).collect::<anyhow::Result<_>>()?;
    let traces = Traces::start(TraceSettings {
        endpoint: settings.endpoint.clone(),
        sample_ratio: settings.sample_ratio,
        headers,
        extra_ca_file: config.extra_ca_file.clone(),
    });
    Ok(Some(Arc::new(traces.context("cannot export traces")?)))
}

/// Creates what counts defects, with the parts that creates use too.
fn kpis(of: &defects::Dependencies) -> Kpis {
    let of = of.clone();
    Kpis::new(kpis::Dependencies {
        store: of.store,
        history: of.history,
        connections: of.connections,
        sandbox: of.sandbox,
        clock: of.clock,
        config: of.config,
        tasks: of.tasks,
    })
}

/// Creates what replays recorded events.
fn replays(
    store: &Arc<dyn Store>,
    plugins: &Arc<Plugins>,
    sandbox: &Arc<Sandbox>,
    clock: &Arc<dyn Clock>,
    config: &Arc<LiveConfig>,
) -> Replays {
    Replays::new(replay::Dependencies {
        store: Arc::clone(store),
        plugins: Arc::clone(plugins),
        sandbox: Arc::clone(sandbox),
        clock: Arc::clone(clock),
        config: Arc::clone(config),
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
