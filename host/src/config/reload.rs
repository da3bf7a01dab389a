//! The configuration of a running server. A reload changes some keys at once; other keys keep their
//! values until a restart.
//!
//! A configuration that is not valid changes nothing.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::Config;

/// The configuration of a running server.
#[derive(Debug)]
pub struct LiveConfig {
    current: ArcSwap<Config>,
    /// The keys whose new value waits for a restart.
    keys_that_need_restart: Mutex<Vec<&'static str>>,
}

/// The result of a reload, as names of keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReloadResult {
    /// Keys whose new value is in use.
    pub changed_keys: Vec<&'static str>,
    /// Keys whose new value needs a restart.
    pub keys_that_need_restart: Vec<&'static str>,
}

impl LiveConfig {
    /// Starts with the configuration that was read at the start of the server.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { current: ArcSwap::from_pointee(config), keys_that_need_restart: Mutex::default() }
    }

    /// Returns the current configuration.
    #[must_use]
    pub fn current(&self) -> Arc<Config> {
        self.current.load_full()
    }

    /// Returns the keys whose new value waits for a restart.
    #[must_use]
    pub fn keys_that_need_restart(&self) -> Vec<&'static str> {
        self.keys_that_need_restart.lock().clone()
    }

    /// Uses the values of `new`, except those that need a restart.
    pub fn reload(&self, new: Config) -> ReloadResult {
        let old = self.current();
        let result = ReloadResult {
            changed_keys: different_keys(&compare_live_keys(&old, &new)),
            keys_that_need_restart: different_keys(&compare_restart_keys(&old, &new)),
        };
        self.keys_that_need_restart.lock().clone_from(&result.keys_that_need_restart);
        self.current.store(Arc::new(with_old_restart_keys(new, &old)));
        result
    }
}

/// The name of a key, and whether its old and new values differ.
type KeyDifference = (&'static str, bool);

fn different_keys(differences: &[KeyDifference]) -> Vec<&'static str> {
    differences.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect()
}

/// Compares the keys that change without a restart.
fn compare_live_keys(old: &Config, new: &Config) -> [KeyDifference; 15] {
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

/// Generates these two functions from one list of keys, so that each key that needs a restart also
/// keeps its old value.
macro_rules! restart_keys {
    ($($key:ident),+ $(,)?) => {
        fn compare_restart_keys(old: &Config, new: &Config) -> Vec<KeyDifference> {
            vec![$((stringify!($key), old.$key != new.$key)),+]
        }

        fn with_old_restart_keys(new: Config, old: &Config) -> Config {
            let old = old.clone();
            Config { $($key: old.$key,)+ compiler: old.compiler, ..new }
        }
    };
}

// Most of these keys configure what is opened or created at the start. The duration of leases must
// be the same for all running work.
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
    use crate::config::read::TOP_LEVEL_KEYS;

    use super::*;

    #[test]
    fn every_key_either_changes_at_once_or_needs_a_restart() {
        let config = Config::default();
        let live = compare_live_keys(&config, &config).map(|(name, _)| name);
        let restart = compare_restart_keys(&config, &config);
        let restart = restart.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        for key in TOP_LEVEL_KEYS {
            let list_count = live.iter().chain(&restart).filter(|name| **name == key).count();
            assert_eq!(list_count, 1, "{key}");
        }
    }

    #[test]
    fn the_operator_manual_shows_whether_a_new_value_of_each_key_needs_a_restart() {
        let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operator.md"));
        let (_, section) = page.split_once("\n## Change the configuration\n").unwrap();
        let (table, _) = section.split_once("\n## ").unwrap();
        let (live, restart) = table.split_once("SIGHUP |").unwrap();
        let config = Config::default();
        for (key, _) in compare_restart_keys(&config, &config) {
            let spellings = [format!("`{key}`"), format!("`{key}.*`")];
            assert!(spellings.iter().any(|name| restart.contains(name)), "{key}");
        }
        for (key, _) in compare_live_keys(&config, &config) {
            let spellings = [format!("`{key}`"), format!("`{key}.*`")];
            assert!(spellings.iter().any(|name| live.contains(name)), "{key}");
        }
    }

    #[test]
    fn a_reload_returns_changed_keys_and_keys_that_need_a_restart() {
        let live = LiveConfig::new(Config::default());
        let unchanged = live.reload(Config::default());
        assert_eq!(unchanged, ReloadResult::default());
        let new = Config {
            keep_alive_s: 7,
            listen: "127.0.0.1:9".parse().unwrap(),
            lease_ms: 9_999,
            ..Config::default()
        };
        let result = live.reload(new);
        assert_eq!(result.changed_keys, ["keep_alive_s"]);
        assert_eq!(result.keys_that_need_restart, ["listen", "lease_ms"]);
        assert_eq!(live.keys_that_need_restart(), ["listen", "lease_ms"]);
        let now = live.current();
        assert_eq!((now.keep_alive_s, now.lease_ms), (7, Config::default().lease_ms));
        assert_eq!(live.reload(Config::default()).changed_keys, ["keep_alive_s"]);
        assert_eq!(live.keys_that_need_restart(), [""; 0]);
    }
}
