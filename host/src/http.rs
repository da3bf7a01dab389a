//! The HTTP interface of the server: webhooks, the admin API, health, signing in. Only this room
//! chooses the status codes of problems.
//!
//! Decides nothing about defects: it reads requests, calls the room that handles them, and writes
//! the answers. `routes` lists every route but those of the console, the room above.

pub(crate) mod access;
pub(crate) mod admin;
pub(crate) mod assets;
pub(crate) mod audit;
pub(crate) mod auth;
mod client_address;
mod clients;
pub(crate) mod cookies;
mod health;
mod lingering;
mod listener;
mod metrics;
mod openapi;
mod prefix;
pub(crate) mod problem;
mod progress;
mod proxy_protocol;
mod proxy_user;
mod rate_limits;
mod request_body;
mod routes;
mod same_site;
mod security_headers;
mod serve;
pub(crate) mod session;
mod sign_in_oidc;
mod timing;
pub(crate) mod webhook;

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::accounts::{Accounts, Audit};
use crate::config::{ListenAddress, LiveConfig};
use crate::connections::Connections;
use crate::defects::Defects;
use crate::domain::Clock;
use crate::history::History;
use crate::kpis::Kpis;
use crate::oidc::Oidc;
use crate::plugins::Plugins;
use crate::replay::Replays;
use crate::runtime::Sandbox;
use crate::secret::Secret;
use crate::store::Store;
use crate::telemetry::{Metrics, Traces};

use health::Health;
use rate_limits::RateLimits;
use same_site::AllowedHosts;

pub use clients::{ClientLimits, SharedLimits};
pub use listener::{Listener, Socket};
pub use routes::{Routers, routers};
pub use serve::{LAST_REQUESTS, serve};

pub(crate) use webhook::failed_test;
#[cfg(fuzzing)]
pub(crate) use webhook::{WebhookKind, WebhookRequest, classify, read, token_and_path};

/// The parts that the handlers call.
pub struct Services {
    /// Finds who sent a request, and issues tokens.
    pub accounts: Arc<Accounts>,
    /// Records who changes what.
    pub audit: Arc<Audit>,
    /// The identity provider with which browsers sign in, if one is configured.
    pub oidc: Option<Oidc>,
    /// What the reverse proxy that signs people in sends as proof, if it must.
    pub proxy_secret: Option<Secret>,
    /// Creates defects, and carries out people's decisions about them.
    pub defects: Arc<Defects>,
    /// Answers Defect KPIs.
    pub kpis: Kpis,
    /// Replays recorded events.
    pub replays: Replays,
    /// Records events and their runs.
    pub history: Arc<History>,
    /// What happened since the start, for Prometheus.
    pub metrics: Arc<Metrics>,
    /// Exports traces, if that is configured; stopped at the end.
    pub traces: Option<Arc<Traces>>,
    /// Runs connectors; the metrics show what all runs use.
    pub sandbox: Arc<Sandbox>,
    /// The connections, found by token or by name.
    pub connections: Arc<Connections>,
    /// The connectors, for lists of them.
    pub plugins: Arc<Plugins>,
    /// The store, for lists, events and readiness.
    pub store: Arc<dyn Store>,
    /// The wall clock and the time since boot.
    pub clock: Arc<dyn Clock>,
    /// The configuration of the server.
    pub config: Arc<LiveConfig>,
    /// Tasks that shutdown waits for.
    pub tasks: TaskTracker,
}

/// The state that every handler may use.
pub struct AppState {
    pub(crate) services: Arc<Services>,
    base_url: String,
    allowed_hosts: AllowedHosts,
    health: Health,
    rate_limits: RateLimits,
}

impl AppState {
    /// `base_url` is what precedes `/hooks` in a webhook URL, without a slash at its end.
    /// `admin_address` is where everything except `/hooks` is served.
    #[must_use]
    pub fn new(services: Arc<Services>, base_url: String, admin_address: &ListenAddress) -> Self {
        let (health, rate_limits) = (Health::default(), RateLimits::default());
        let allowed_hosts = AllowedHosts::of(&services.config.now(), admin_address);
        Self { services, base_url, allowed_hosts, health, rate_limits }
    }

    /// The folder for connectors, as an absolute path.
    pub(crate) fn plugins_folder(&self) -> PathBuf {
        let folder = self.services.config.now().plugins.clone();
        std::path::absolute(&folder).unwrap_or(folder)
    }

    /// The address that Test Manager calls, with its token.
    fn webhook_url(&self, token: &Secret) -> String {
        format!("{}/hooks/{}", self.base_url, token.reveal())
    }
}
