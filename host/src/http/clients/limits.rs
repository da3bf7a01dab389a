//! The limits on the connections and requests that clients of a listener may keep open.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::domain::Network;

/// Maximum number of idle connections of one client address. Also the maximum number of requests of
/// one client address whose body is still arriving, if proxies forward them or they use HTTP/2.
const IDLE_PER_ADDRESS_MAX: usize = 128;
/// Maximum time from the start of a connection to its first byte.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum time from the first byte of a request until its head is complete.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The limits on open connections and on the time between bytes.
#[derive(Debug, Clone)]
pub struct ClientLimits {
    /// Maximum number of open connections.
    pub connections_max: usize,
    /// Maximum number of idle connections of one client address, and of its forwarded or HTTP/2
    /// requests whose body is still arriving.
    pub idle_per_address_max: usize,
    /// Maximum time from the start of a connection to its first byte.
    pub first_byte: Duration,
    /// Maximum time from the first byte of a request until its head is complete.
    pub head: Duration,
    /// Maximum time from the end of an answer until the first byte of the next request.
    pub keep_alive: Duration,
    /// Proxies whose headers name their clients. The limits on one address do not apply to them.
    pub trusted_proxies: Vec<Network>,
}

impl ClientLimits {
    /// The limits of a listener that accepts this number of connections.
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

/// The limits of a listener, which a reload of the configuration may change.
pub type SharedLimits = Arc<ArcSwap<ClientLimits>>;
