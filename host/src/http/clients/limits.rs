//! The limits on the connections and requests that the clients of a listener may keep open. This
//! module never enforces them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::domain::Network;

const IDLE_PER_ADDRESS_MAX: usize = 128;
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The limits of one listener on open connections, and on the times that clients may take.
#[derive(Debug, Clone)]
pub struct ClientLimits {
    /// Maximum number of open connections.
    pub connections_max: usize,
    /// If unknown clients have this number of idle connections from one address, the server closes
    /// the one that has been idle longest for a new connection from the address. This is also the
    /// maximum number of forwarded or HTTP/2 requests of one client address whose bodies are still
    /// arriving.
    pub idle_per_address_max: usize,
    /// Maximum time from the start of a connection to its first byte.
    pub first_byte: Duration,
    /// Maximum time for the head of a request, from its first byte; for the first request, from the
    /// beginning of HTTP on the connection. The same maximum applies to the header of the PROXY
    /// protocol and the TLS handshake together.
    pub head: Duration,
    /// Maximum time after all requests are answered until the first byte of the next request; with
    /// HTTP/2, until the head of the next request is complete.
    pub keep_alive: Duration,
    /// The proxies whose headers are trusted to name their clients. The maximum number of idle
    /// connections from one address does not apply to these proxies.
    pub trusted_proxies: Vec<Network>,
}

impl ClientLimits {
    /// The limits of a listener, with the default values of the limits that are not parameters.
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
