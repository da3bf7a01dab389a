//! Applies a changed configuration to the running server, and logs what has changed. Never stops
//! the server because of an invalid configuration.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, LiveConfig, ReloadResult};
use crate::http::{ClientLimits, SharedLimits};
use crate::telemetry::Metrics;
use crate::transport::ServerTls;

use super::descriptors::Descriptors;
use super::sockets::reload_certificate;

/// Changes the configuration of a running server.
#[derive(Clone)]
pub struct Reloader {
    config: Arc<LiveConfig>,
    tls: Option<Arc<ServerTls>>,
    limits: ListenerLimits,
    metrics: Arc<Metrics>,
}

/// The limits on the clients of the main listener and of the admin listener.
#[derive(Clone)]
pub(super) struct ListenerLimits {
    descriptors: Descriptors,
    pub(super) main: SharedLimits,
    pub(super) admin: SharedLimits,
}

impl ListenerLimits {
    pub(super) fn new(config: &Config) -> Self {
        let descriptors = Descriptors::raise_limit_and_divide(config);
        let shared_limits =
            |connections_max| SharedLimits::new(new_client_limits(config, connections_max).into());
        Self {
            descriptors,
            main: shared_limits(descriptors.client_connections_max),
            admin: shared_limits(descriptors.admin_connections_max),
        }
    }

    fn update(&self, config: &Config) {
        self.main.store(new_client_limits(config, self.descriptors.client_connections_max));
        self.admin.store(new_client_limits(config, self.descriptors.admin_connections_max));
    }
}

fn new_client_limits(config: &Config, connections_max: usize) -> Arc<ClientLimits> {
    let keep_alive = Duration::from_secs(config.keep_alive_s.into());
    ClientLimits::new(connections_max, keep_alive, config.trusted_proxies.clone()).into()
}

impl Reloader {
    pub(super) fn new(
        config: Arc<LiveConfig>,
        tls: Option<Arc<ServerTls>>,
        limits: ListenerLimits,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { config, tls, limits, metrics }
    }

    /// Logs that the configuration could not be read again. The earlier configuration remains in
    /// use.
    pub fn record_refusal(&self, error: &anyhow::Error) {
        self.metrics.count_refused_reload();
        tracing::error!(
            error = format!("{error:#}"),
            "cannot read the configuration again; the earlier configuration remains in use"
        );
    }

    /// Applies a configuration that was read again, except for values that need a restart, and
    /// reads the certificate again. Logs which keys have changed, and which need a restart.
    pub fn apply(&self, new: Config) {
        self.metrics.count_reload();
        let ReloadResult { changed_keys, keys_that_need_restart } = self.config.reload(new);
        self.limits.update(&self.config.current());
        match changed_keys.is_empty() {
            true => {
                tracing::info!("the configuration was read again; no value has changed")
            }
            false => {
                tracing::info!(
                    changed = changed_keys.join(", "),
                    "the configuration was read again"
                )
            }
        }
        if !keys_that_need_restart.is_empty() {
            let keys = keys_that_need_restart.join(", ");
            tracing::warn!(keys, "the new values of these keys need a restart of the server");
        }
        if let Some(tls) = &self.tls {
            reload_certificate(tls);
        }
    }
}
