//! Divides the file descriptors of the process between client connections and everything else.
//! Never closes a client connection.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// Maximum to which the soft limit on file descriptors is raised.
const SOFT_LIMIT_MAX: u64 = 65_536;
/// Maximum number of client connections of all listeners, even if the process has more descriptors.
const CLIENT_CONNECTIONS_MAX: u64 = 4_096;
/// Maximum number of client connections of a separate admin listener.
const ADMIN_CONNECTIONS_MAX: u64 = 128;
/// Descriptors reserved for the database, logs, the plugins folder and compiling.
const RESERVED_DESCRIPTORS: u64 = 128;
/// Descriptors reserved for the tracker connections of one run.
const RESERVED_DESCRIPTORS_PER_RUN: u64 = 4;

/// How the file descriptors of the process are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// The soft limit of the process on file descriptors.
    pub limit: u64,
    /// The number of descriptors reserved for everything except client connections.
    pub reserve: u64,
    /// Whether the reserve is smaller than the number of descriptors that the maximum number of
    /// runs and the other parts of the server need.
    pub is_scarce: bool,
    /// Maximum number of client connections of the main listener.
    pub client_connections_max: usize,
    /// Maximum number of client connections of the admin listener, if there is one.
    pub admin_connections_max: usize,
}

impl Descriptors {
    /// Raises the soft limit as far as the hard limit allows, at most to 65,536. Then divides the
    /// descriptors.
    #[must_use]
    pub fn raise_limit_and_divide(config: &Config) -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let new_limit = maximum.unwrap_or(SOFT_LIMIT_MAX).min(SOFT_LIMIT_MAX);
        let current = current.unwrap_or(SOFT_LIMIT_MAX);
        let raised = Rlimit { current: Some(new_limit), maximum };
        let is_raised = new_limit > current && setrlimit(Resource::Nofile, raised).is_ok();
        let limit = if is_raised { new_limit } else { current };
        Self::divide(limit, config.concurrent_runs_host, config.admin_listen.is_some())
    }

    fn divide(limit: u64, runs: u32, has_admin_listener: bool) -> Self {
        let needed = RESERVED_DESCRIPTORS + u64::from(runs) * RESERVED_DESCRIPTORS_PER_RUN;
        let reserve = needed.min(limit / 2);
        let clients = (limit - reserve).min(CLIENT_CONNECTIONS_MAX);
        let admin = if has_admin_listener { ADMIN_CONNECTIONS_MAX.min(clients / 4) } else { 0 };
        // Reserve one descriptor: a new client connection is accepted before another one is closed
        // for it.
        let connections = |count: u64| usize::try_from(count.saturating_sub(1)).unwrap_or(1).max(1);
        Self {
            limit,
            reserve,
            is_scarce: reserve < needed,
            client_connections_max: connections(clients - admin),
            admin_connections_max: connections(admin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_the_descriptors_that_are_not_reserved() {
        let divided = |limit| {
            let parts = Descriptors::divide(limit, 256, true);
            (
                parts.reserve,
                parts.client_connections_max,
                parts.admin_connections_max,
                parts.is_scarce,
            )
        };
        assert_eq!(divided(65_536), (1_152, 3_967, 127, false));
        assert_eq!(divided(1_024), (512, 383, 127, true));
        assert_eq!(divided(64), (32, 23, 7, true));
        assert_eq!(divided(0), (0, 1, 1, true));
        let without_admin = Descriptors::divide(65_536, 256, false);
        assert_eq!(without_admin.client_connections_max, 4_095);
    }
}
