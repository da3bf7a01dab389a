//! The configuration of a running server, and what a reload of it changes at once.
//!
//! Never applies half of a configuration: a file that is not valid changes nothing. A key that only
//! a restart can change keeps its value until then.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::Config;

/// The configuration of a running server.
#[derive(Debug)]
pub struct LiveConfig {
    now: ArcSwap<Config>,
    waiting: Mutex<Vec<&'static str>>,
}

/// What came of a reload, as names of keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys whose new value is in use.
    pub changed: Vec<&'static str>,
    /// Keys whose new value needs a restart.
    pub needs_restart: Vec<&'static str>,
}

impl LiveConfig {
    /// Starts with the configuration that was read at the start.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { now: ArcSwap::from_pointee(config), waiting: Mutex::default() }
    }

    /// Returns the configuration as it is now.
    #[must_use]
    pub fn now(&self) -> Arc<Config> {
        self.now.load_full()
    }

    /// Returns the keys whose value in the file needs a restart.
    #[must_use]
    pub fn needs_restart(&self) -> Vec<&'static str> {
        self.waiting.lock().clone()
    }

    /// Uses the values of `new`, except those that need a restart.
    pub fn reload(&self, new: Config) -> Reloaded {
        let old = self.now();
        let reloaded = Reloaded {
            changed: names(&live_keys(&old, &new)),
            needs_restart: names(&restart_keys(&old, &new)),
        };
        self.waiting.lock().clone_from(&reloaded.needs_restart);
        self.now.store(Arc::new(with_fixed_keys(new, &old)));
        reloaded
    }
}

/// The name of a key, and whether its values differ.
type Difference = (&'static str, bool);

fn names(differences: &[Difference]) -> Vec<&'static str> {
    differences.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect()
}

/// The keys that are read whenever they are used.
fn live_keys(old: &Config, new: &Config) -> [Difference; 17] {
    [
        ("trusted_proxies", old.trusted_proxies != new.trusted_proxies),
        ("proxy_user_header", old.proxy_user_header != new.proxy_user_header),
        ("proxy_role_header", old.proxy_role_header != new.proxy_role_header),
        ("keep_alive_s", old.keep_alive_s != new.keep_alive_s),
        ("rescan_ms", old.rescan_ms != new.rescan_ms),
        ("compiled_bytes_max", old.compiled_bytes_max != new.compiled_bytes_max),
        ("events_days", old.events_days != new.events_days),
        ("events_max", old.events_max != new.events_max),
        ("events_bytes_max", old.events_bytes_max != new.events_bytes_max),
        ("sweep_ms", old.sweep_ms != new.sweep_ms),
        ("kpi_fresh_ms", old.kpi_fresh_ms != new.kpi_fresh_ms),
        ("secret_file_roots", old.secret_file_roots != new.secret_file_roots),
        ("secret_env_prefixes", old.secret_env_prefixes != new.secret_env_prefixes),
        ("create.in_doubt_s", old.in_doubt_s != new.in_doubt_s),
        ("webhook", old.webhook != new.webhook),
        ("limits", old.limits != new.limits),
        ("connectors", old.connector_limits != new.connector_limits),
    ]
}

/// The keys that were used up at the start: sockets, folders, pools, and the lease, about which
/// running work must agree.
fn restart_keys(old: &Config, new: &Config) -> [Difference; 19] {
    [
        ("listen", old.listen != new.listen),
        ("data", old.data != new.data),
        ("plugins", old.plugins != new.plugins),
        ("public_url", old.public_url != new.public_url),
        ("admin_listen", old.admin_listen != new.admin_listen),
        ("proxy_protocol", old.proxy_protocol != new.proxy_protocol),
        ("admin_proxy_protocol", old.admin_proxy_protocol != new.admin_proxy_protocol),
        ("tls_certificate", old.tls_certificate != new.tls_certificate),
        ("tls_key", old.tls_key != new.tls_key),
        ("allowed_hosts", old.allowed_hosts != new.allowed_hosts),
        ("oidc", old.oidc != new.oidc),
        ("audit_days", old.audit_days != new.audit_days),
        ("concurrent_runs_host", old.concurrent_runs_host != new.concurrent_runs_host),
        ("memory_bytes_host", old.memory_bytes_host != new.memory_bytes_host),
        ("spool_bytes_max", old.spool_bytes_max != new.spool_bytes_max),
        ("lease_ms", old.lease_ms != new.lease_ms),
        ("drain_ms", old.drain_ms != new.drain_ms),
        ("extra_ca_file", old.extra_ca_file != new.extra_ca_file),
        ("compile_for", old.compile_for != new.compile_for),
    ]
}

/// The new configuration with the old values of [`restart_keys`].
fn with_fixed_keys(new: Config, old: &Config) -> Config {
    let Config {
        listen,
        data,
        plugins,
        public_url,
        admin_listen,
        proxy_protocol,
        admin_proxy_protocol,
        tls_certificate,
        tls_key,
        allowed_hosts,
        oidc,
        audit_days,
        concurrent_runs_host,
        memory_bytes_host,
        spool_bytes_max,
        lease_ms,
        drain_ms,
        extra_ca_file,
        compile_for,
        compiler,
        ..
    } = old.clone();
    Config {
        listen,
        data,
        plugins,
        public_url,
        admin_listen,
        proxy_protocol,
        admin_proxy_protocol,
        tls_certificate,
        tls_key,
        allowed_hosts,
        oidc,
        audit_days,
        concurrent_runs_host,
        memory_bytes_host,
        spool_bytes_max,
        lease_ms,
        drain_ms,
        extra_ca_file,
        compile_for,
        compiler,
        ..new
    }
}

#[cfg(test)]
mod tests {
    use crate::config::read::KEYS;

    use super::*;

    #[test]
    fn every_key_either_changes_at_once_or_needs_a_restart() {
        let config = Config::default();
        let live = live_keys(&config, &config).map(|(name, _)| name);
        let restart = restart_keys(&config, &config).map(|(name, _)| name);
        for key in KEYS {
            let times = live.iter().chain(&restart).filter(|name| **name == key).count();
            assert_eq!(times, 1, "{key}");
        }
    }

    #[test]
    fn a_reload_changes_what_it_can_and_names_the_rest() {
        let live = LiveConfig::new(Config::default());
        let unchanged = live.reload(Config::default());
        assert_eq!(unchanged, Reloaded::default());
        let new = Config {
            keep_alive_s: 7,
            listen: "127.0.0.1:9".parse().unwrap(),
            lease_ms: 9_999,
            ..Config::default()
        };
        let reloaded = live.reload(new);
        assert_eq!(reloaded.changed, ["keep_alive_s"]);
        assert_eq!(reloaded.needs_restart, ["listen", "lease_ms"]);
        assert_eq!(live.needs_restart(), ["listen", "lease_ms"]);
        let now = live.now();
        assert_eq!((now.keep_alive_s, now.lease_ms), (7, Config::default().lease_ms));
        assert_eq!(live.reload(Config::default()).changed, ["keep_alive_s"]);
        assert_eq!(live.needs_restart(), [""; 0]);
    }
}
