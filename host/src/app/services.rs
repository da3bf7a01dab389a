//! Creates the services that the handlers call, and connects them.

use std::sync::Arc;

use anyhow::{Context, bail};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accounts::{Accounts, Audit};
use crate::config::{Config, LiveConfig, PROXY_SECRET_HEADER};
use crate::connections::{self, Connections};
use crate::defects::{self, Defects, ProcessState};
use crate::domain::Clock;
use crate::egress::{Egress, OwnServer};
use crate::history::History;
use crate::http::Services;
use crate::kpis::{self, Kpis};
use crate::oidc::{self, Oidc};
use crate::plugins::{self, Plugins};
use crate::replay::{self, Replays};
use crate::runtime::{Engine, Sandbox};
use crate::secret::{DerivationKey, Secret};
use crate::store::{AccountStore, AuditStore, ConnectorStore, SqlStore, Store};
use crate::telemetry::{Metrics, TraceSettings, Traces};
use crate::testmanager::{self, TestManager};
use crate::transport::OwnAddresses;

use super::GuestRuntime;

/// Minimum length of `proxy_secret`, so that it cannot be guessed.
const PROXY_SECRET_CHARS_MIN: usize = 16;

/// Opens the store and creates the services that the handlers call.
pub(super) async fn services(
    live: &Arc<LiveConfig>,
    guest_runtime: GuestRuntime,
    admin_token: &Secret,
    background: &CancellationToken,
) -> anyhow::Result<Services> {
    let config = live.now();
    let metrics = Arc::<Metrics>::default();
    let GuestRuntime { engine, egress, sandbox, clock } = guest_runtime;
    let (opened, sealer, clock) = super::store::open(&config, clock).await?;
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
pub(super) fn secret_of(config: &Config, reference: &str, key: &str) -> anyhow::Result<Secret> {
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
pub(super) fn own_server(config: &Config, addresses: OwnAddresses) -> OwnServer {
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
