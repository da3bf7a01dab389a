//! The file descriptors of the process, and how many client connections they allow.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// The soft limit is never raised above this.
const LIMIT_MAX: u64 = 65_536;
/// Maximum number of client connections, even if there are more descriptors.
const CONNECTIONS_MAX: u64 = 4_096;
/// Maximum number of client connections of a separate admin listener.
const ADMIN_CONNECTIONS_MAX: u64 = 128;
/// Descriptors for the database, logs, the plugins folder and compiling.
const RESERVE: u64 = 128;
/// Descriptors for the connections of one run to trackers. Few runs need that many.
const RESERVE_PER_RUN: u64 = 4;

/// How the file descriptors are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// The soft limit of the process.
    pub limit: u64,
    /// Descriptors reserved for everything except client connections.
    pub reserve: u64,
    /// Whether the reserve is smaller than what all runs together could need.
    pub scarce: bool,
    /// Client connections of the main listener.
    pub client_connections_max: usize,
    /// Client connections of the admin listener, if there is one.
    pub admin_connections_max: usize,
}

impl Descriptors {
    /// Raises the soft limit as far as the hard limit allows, then divides the descriptors.
    #[must_use]
    pub fn raise(config: &Config) -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let wanted = maximum.unwrap_or(LIMIT_MAX).min(LIMIT_MAX);
        let current = current.unwrap_or(LIMIT_MAX);
        let raised = Rlimit { current: Some(wanted), maximum };
        let is_raised = wanted > current && setrlimit(Resource::Nofile, raised).is_ok();
        let limit = if is_raised { wanted } else { current };
        Self::share(limit, config.concurrent_runs_host, config.admin_listen.is_some())
    }

    /// Divides `limit` descriptors between clients and the reserve.
    fn share(limit: u64, runs: u32, has_admin_listener: bool) -> Self {
        let wanted = RESERVE + u64::from(runs) * RESERVE_PER_RUN;
        let reserve = wanted.min(limit / 2);
        let clients = (limit - reserve).min(CONNECTIONS_MAX);
        let admin = if has_admin_listener { ADMIN_CONNECTIONS_MAX.min(clients / 4) } else { 0 };
        // Reserve one descriptor: a new connection is accepted before the oldest one is closed.
        let connections = |count: u64| usize::try_from(count.saturating_sub(1)).unwrap_or(1).max(1);
        Self {
            limit,
            reserve,
            scarce: reserve < wanted,
            client_connections_max: connections(clients - admin),
            admin_connections_max: connections(admin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_the_reserve_leaves() {
        let share = |limit| {
            let it = Descriptors::share(limit, 256, true);
            (it.reserve, it.client_connections_max, it.admin_connections_max, it.scarce)
        };
        assert_eq!(share(65_536), (1_152, 3_967, 127, false));
        assert_eq!(share(1_024), (512, 383, 127, true));
        assert_eq!(share(64), (32, 23, 7, true));
        assert_eq!(share(0), (0, 1, 1, true));
        let one = Descriptors::share(65_536, 256, false);
        assert_eq!(one.client_connections_max, 4_095);
    }
}
