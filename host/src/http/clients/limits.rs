//! The limits on what the clients of a listener may occupy.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::domain::Network;

/// Maximum number of idle connections of one client address. Also the maximum number of requests
/// that proxies forward for one client address, or that it sends by HTTP/2, and whose body is still
/// incomplete.
const IDLE_PER_ADDRESS_MAX: usize = 128;
/// Maximum time from the start of a connection to its first byte.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum time from the first byte of a request until its head is complete.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Limits on what clients may occupy.
#[derive(Debug, Clone)]
pub struct ClientLimits {
    /// Maximum number of open connections.
    pub connections_max: usize,
    /// Maximum number of idle connections of one client address, and of its forwarded requests
    /// whose body is still incomplete.
    pub idle_per_address_max: usize,
    /// Maximum time until the first byte of a connection.
    pub first_byte: Duration,
    /// Maximum time from the first byte of a request until its head is complete.
    pub head: Duration,
    /// Maximum time from the end of an answer until the first byte of the next request.
    pub keep_alive: Duration,
    /// Proxies that are exempt from the limit on one address, and whose headers name their clients.
    pub trusted_proxies: Vec<Network>,
}

impl ClientLimits {
    /// The limits of a listener with this number of connections.
    #[must_use]
    pub fn new(
        connections_max: usize,
        keep_alive: Duration,
        trusted_proxies: Vec<Network>,
    ) -> Self {
        Self {
            connections_max,
            idle_per_address_max: IDLE_PER_ADDRESS_MAX,
            first_byte: FIRST_BYTE_TIMEOUT,
            head: HEAD_TIMEOUT,
            keep_alive,
            trusted_proxies,
        }
    }

    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(address))
    }
}

/// The limits of a listener, which may change while it serves.
pub type SharedLimits = Arc<ArcSwap<ClientLimits>>;
