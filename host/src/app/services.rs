//! Creates the services that the HTTP handlers call, and connects them. Contains no rules.

use std::sync::Arc;

use anyhow::Context as _;
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
use crate::replay::{self, EventReplayer};
use crate::runtime::{Engine, Sandbox};
use crate::secret::{DerivationKey, Secret};
use crate::store::{AccountStore, AuditStore, ConnectorStore, SqlStore, Store};
use crate::telemetry::{Metrics, TraceSettings, Traces};
use crate::testmanager::{self, TestManager};
use crate::transport::OwnAddresses;

use super::GuestRuntime;
use super::secrets::{read_proxy_secret, read_secret};

pub(super) async fn create_services(
    live: &Arc<LiveConfig>,
    guest_runtime: GuestRuntime,
    admin_token: &Secret,
    background_cancel: &CancellationToken,
) -> anyhow::Result<Services> {
    let config = live.current();
    let metrics = Arc::<Metrics>::default();
    let GuestRuntime { engine, egress, sandbox, clock } = guest_runtime;
    let (opened, sealer, clock) = super::store::open(&config, clock).await?;
    let key = sealer.derivation_key();
    let opened = Arc::new(opened);
    let connectors = Arc::clone(&opened).connectors();
    let (store, accounts, audit) = share_store(opened, &clock, admin_token, key, &config);
    let plugins =
        start_plugins(live, engine, &sandbox, &clock, connectors, background_cancel).await?;
    let traces = start_traces(&config)?;
    let history = new_history(&store, &metrics, traces.as_ref());
    let tasks = TaskTracker::new();
    let oidc = new_oidc(&config, &egress, &sandbox, &clock, &tasks)?;
    let connections = Arc::new(Connections::new(connections::Dependencies {
        store: Arc::clone(&store),
        history: Arc::clone(&history),
        plugins: Arc::clone(&plugins),
        sandbox: Arc::clone(&sandbox),
        test_manager: new_test_manager(&egress, &store, &sandbox, &clock),
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
        process_state: ProcessState::default(),
    };
    Ok(Services {
        accounts,
        audit,
        oidc,
        proxy_secret: read_proxy_secret(&config)?,
        kpis: new_kpis(&deps),
        defects: Arc::new(Defects::new(deps)),
        replayer: new_replayer(&store, &plugins, &sandbox, &clock, live),
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

async fn start_plugins(
    live: &Arc<LiveConfig>,
    engine: Arc<Engine>,
    sandbox: &Arc<Sandbox>,
    clock: &Arc<dyn Clock>,
    store: Option<Arc<dyn ConnectorStore>>,
    background_cancel: &CancellationToken,
) -> anyhow::Result<Arc<Plugins>> {
    let (config, sandbox, clock) = (Arc::clone(live), Arc::clone(sandbox), Arc::clone(clock));
    let deps = plugins::Dependencies { config, engine, sandbox, clock, store };
    Ok(Arc::new(Plugins::start(deps, background_cancel.clone()).await?))
}

fn share_store(
    store: Arc<SqlStore>,
    clock: &Arc<dyn Clock>,
    admin_token: &Secret,
    key: &DerivationKey,
    config: &Config,
) -> (Arc<dyn Store>, Arc<Accounts>, Arc<Audit>) {
    let account_store = Arc::clone(&store) as Arc<dyn AccountStore>;
    let accounts = Accounts::new(account_store, Arc::clone(clock), admin_token.clone(), key);
    let audit_store = Arc::clone(&store) as Arc<dyn AuditStore>;
    let audit = Audit::new(audit_store, Arc::clone(clock), config.audit_days);
    (store, Arc::new(accounts), Arc::new(audit))
}

fn new_oidc(
    config: &Config,
    egress: &Arc<Egress>,
    sandbox: &Sandbox,
    clock: &Arc<dyn Clock>,
    tasks: &TaskTracker,
) -> anyhow::Result<Option<Oidc>> {
    let Some(settings) = config.oidc.clone() else { return Ok(None) };
    let secret = settings.client_secret.as_deref();
    let secret =
        secret.map(|reference| read_secret(config, reference, "oidc.client_secret")).transpose()?;
    let dependencies = oidc::Dependencies {
        egress: Arc::clone(egress),
        memory: Arc::clone(sandbox.host_memory()),
        clock: Arc::clone(clock),
        tasks: tasks.clone(),
    };
    Ok(Some(Oidc::new(settings, secret, dependencies)))
}

/// Returns the addresses of this server, and the headers of the proxy that signs people in.
/// Requests of connections must not go to these addresses or set these headers.
pub(super) fn own_server(config: &Config, addresses: OwnAddresses) -> OwnServer {
    let identity_headers = [&config.proxy_user_header, &config.proxy_role_header];
    let identity_headers = identity_headers.into_iter().flatten().cloned();
    OwnServer {
        addresses,
        headers: identity_headers.chain([PROXY_SECRET_HEADER.to_owned()]).collect(),
    }
}

fn new_history(
    store: &Arc<dyn Store>,
    metrics: &Arc<Metrics>,
    traces: Option<&Arc<Traces>>,
) -> Arc<History> {
    let (store, metrics) = (Arc::clone(store), Arc::clone(metrics));
    Arc::new(History::new(store, metrics, traces.cloned()))
}

fn start_traces(config: &Config) -> anyhow::Result<Option<Arc<Traces>>> {
    let Some(settings) = &config.traces else { return Ok(None) };
    let header = |(name, reference): &(String, String)| {
        Ok((name.clone(), read_secret(config, reference, "traces.headers")?.trimmed()))
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

fn new_kpis(deps: &defects::Dependencies) -> Kpis {
    let deps = deps.clone();
    Kpis::new(kpis::Dependencies {
        store: deps.store,
        history: deps.history,
        connections: deps.connections,
        sandbox: deps.sandbox,
        clock: deps.clock,
        config: deps.config,
        tasks: deps.tasks,
    })
}

fn new_replayer(
    store: &Arc<dyn Store>,
    plugins: &Arc<Plugins>,
    sandbox: &Arc<Sandbox>,
    clock: &Arc<dyn Clock>,
    config: &Arc<LiveConfig>,
) -> EventReplayer {
    EventReplayer::new(replay::Dependencies {
        store: Arc::clone(store),
        plugins: Arc::clone(plugins),
        sandbox: Arc::clone(sandbox),
        clock: Arc::clone(clock),
        config: Arc::clone(config),
    })
}

fn new_test_manager(
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
