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
    needs_restart: Mutex<Vec<&'static str>>,
}

/// The result of a reload, as names of keys.
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
        Self { now: ArcSwap::from_pointee(config), needs_restart: Mutex::default() }
    }

    /// Returns the configuration as it is now.
    #[must_use]
    pub fn now(&self) -> Arc<Config> {
        self.now.load_full()
    }

    /// Returns the keys whose value in the file needs a restart.
    #[must_use]
    pub fn needs_restart(&self) -> Vec<&'static str> {
        self.needs_restart.lock().clone()
    }

    /// Uses the values of `new`, except those that need a restart.
    pub fn reload(&self, new: Config) -> Reloaded {
        let old = self.now();
        let reloaded = Reloaded {
            changed: names(&live_keys(&old, &new)),
            needs_restart: names(&restart_keys(&old, &new)),
        };
        self.needs_restart.lock().clone_from(&reloaded.needs_restart);
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
fn live_keys(old: &Config, new: &Config) -> [Difference; 15] {
    [
        ("trusted_proxies", old.trusted_proxies != new.trusted_proxies),
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

/// Makes two functions of one list of keys, so that no key is compared but not kept.
macro_rules! restart_keys {
    ($($key:ident),+ $(,)?) => {
        /// The keys that are read only at the start.
        fn restart_keys(old: &Config, new: &Config) -> Vec<Difference> {
            vec![$((stringify!($key), old.$key != new.$key)),+]
        }

        /// The new configuration with the old values of [`restart_keys`].
        fn with_fixed_keys(new: Config, old: &Config) -> Config {
            let old = old.clone();
            Config { $($key: old.$key,)+ compiler: old.compiler, ..new }
        }
    };
}

// Sockets, folders, pools, and the lease, about which running work must agree.
restart_keys! {
    listen,
    data,
    plugins,
    plugins_source,
    store,
    store_password,
    store_connections_max,
    store_statement_s,
    store_connect_s,
    public_url,
    admin_listen,
    proxy_protocol,
    admin_proxy_protocol,
    tls_certificate,
    tls_key,
    allowed_hosts,
    proxy_user_header,
    proxy_role_header,
    proxy_secret,
    oidc,
    traces,
    audit_days,
    concurrent_runs_host,
    memory_bytes_host,
    spool_bytes_max,
    lease_ms,
    drain_ms,
    extra_ca_file,
    compile_for,
}

#[cfg(test)]
mod tests {
    use crate::config::read::KEYS;

    use super::*;

    #[test]
    fn every_key_either_changes_at_once_or_needs_a_restart() {
        let config = Config::default();
        let live = live_keys(&config, &config).map(|(name, _)| name);
        let restart = restart_keys(&config, &config);
        let restart = restart.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        for key in KEYS {
            let times = live.iter().chain(&restart).filter(|name| **name == key).count();
            assert_eq!(times, 1, "{key}");
        }
    }

    #[test]
    fn the_operators_page_says_when_a_new_value_of_each_key_is_used() {
        let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operator.md"));
        let (_, section) = page.split_once("\n## Change the configuration\n").unwrap();
        let (table, _) = section.split_once("\n## ").unwrap();
        let (live, restart) = table.split_once("SIGHUP |").unwrap();
        let config = Config::default();
        for (key, _) in restart_keys(&config, &config) {
            let named = [format!("`{key}`"), format!("`{key}.*`")];
            assert!(named.iter().any(|name| restart.contains(name)), "{key}");
        }
        for (key, _) in live_keys(&config, &config) {
            let named = [format!("`{key}`"), format!("`{key}.*`")];
            assert!(named.iter().any(|name| live.contains(name)), "{key}");
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
