//! The HTTP interface of the server: webhooks, the admin API, health checks, metrics, and the
//! sign-in of browsers.
//!
//! This module decides nothing about defects.

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
use crate::replay::EventReplayer;
use crate::runtime::Sandbox;
use crate::secret::Secret;
use crate::store::Store;
use crate::telemetry::{Metrics, Traces};

use health::ReadinessCache;
use rate_limits::RateLimits;
use same_site::AllowedHosts;

pub use clients::{ClientLimits, SharedLimits};
pub use listener::{Listener, Socket};
pub use routes::{Routers, routers};
pub use serve::{LAST_REQUESTS_TIME, serve};

pub(crate) use webhook::failed_test;
#[cfg(fuzzing)]
pub(crate) use webhook::{WebhookKind, WebhookRequest, classify, read, token_and_path};

/// The parts of the server that the handlers of requests call.
pub struct Services {
    /// Identifies the account that sent a request, and issues tokens.
    pub accounts: Arc<Accounts>,
    /// Writes and reads the audit log.
    pub audit: Arc<Audit>,
    /// The identity provider with which browsers sign in, if one is configured.
    pub oidc: Option<Oidc>,
    /// The secret by which a reverse proxy proves that it wrote the headers of a request, if one is
    /// configured.
    pub proxy_secret: Option<Secret>,
    /// Creates defects, and carries out people's decisions about them.
    pub defects: Arc<Defects>,
    /// Counts the defects in the tracker for Defect KPIs requests.
    pub kpis: Kpis,
    /// Replays recorded events.
    pub replayer: EventReplayer,
    /// Records events and their runs.
    pub history: Arc<History>,
    /// The counts for `/metrics`.
    pub metrics: Arc<Metrics>,
    /// Exports traces, if an export is configured.
    pub traces: Option<Arc<Traces>>,
    /// Runs connectors.
    pub sandbox: Arc<Sandbox>,
    /// Finds, changes and tries connections.
    pub connections: Arc<Connections>,
    /// Lists, uploads, removes and rolls back connectors.
    pub plugins: Arc<Plugins>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The wall clock and the time since boot.
    pub clock: Arc<dyn Clock>,
    /// The configuration of the server.
    pub config: Arc<LiveConfig>,
    /// Tasks that shutdown waits for.
    pub tasks: TaskTracker,
}

/// The state that axum passes to the handlers.
pub struct AppState {
    pub(crate) services: Arc<Services>,
    base_url: String,
    /// The host names for which requests that are not webhooks are answered.
    allowed_hosts: AllowedHosts,
    readiness_cache: ReadinessCache,
    rate_limits: RateLimits,
}

impl AppState {
    /// Creates the state. `base_url` is the part of a webhook URL before `/hooks`, without a slash
    /// at its end. `admin_address` is the address of the listener for everything except `/hooks`.
    /// Without an admin listener, it is the address of the main listener.
    #[must_use]
    pub fn new(services: Arc<Services>, base_url: String, admin_address: &ListenAddress) -> Self {
        let (readiness_cache, rate_limits) = (ReadinessCache::default(), RateLimits::default());
        let allowed_hosts = AllowedHosts::new(&services.config.current(), admin_address);
        Self { services, base_url, allowed_hosts, readiness_cache, rate_limits }
    }

    /// The folder of the connectors: absolute, unless the current folder of the process cannot be
    /// read.
    pub(crate) fn plugins_folder(&self) -> PathBuf {
        let folder = self.services.config.current().plugins.clone();
        std::path::absolute(&folder).unwrap_or(folder)
    }

    fn webhook_url(&self, token: &Secret) -> String {
        format!("{}/hooks/{}", self.base_url, token.reveal())
    }
}
