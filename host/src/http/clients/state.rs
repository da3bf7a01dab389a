//! Stores how many client connections of a listener are open and which of them are idle, and
//! chooses the connection that is closed for a new connection. It never accepts or closes a
//! connection itself.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use tokio_util::sync::CancellationToken;

#[derive(Default)]
pub(super) struct OpenConnections {
    pub(super) open_total: usize,
    /// Number of idle connections that were asked to close and are still open.
    pub(super) closing_count: usize,
    next_key: u64,
    /// Idle connections of unknown clients, in the order in which they became idle.
    pub(super) unknown_idle: BTreeMap<u64, IdleConnection>,
    /// Idle connections of proxies and of known clients, in the order in which they became idle.
    known_idle: BTreeMap<u64, IdleConnection>,
    /// Number of connections in `unknown_idle`, for each address.
    idle_counts: HashMap<IpAddr, usize>,
    /// Number of open connections of unknown clients, for each address.
    open_counts: HashMap<IpAddr, usize>,
    /// Number of forwarded or HTTP/2 requests that are still arriving, for each client address.
    pub(super) arriving_counts: HashMap<IpAddr, usize>,
}

/// The connection that is closed for a new connection when too many connections are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionToClose {
    /// The idle connection with this key.
    Idle(u64),
    /// No connection can be closed now. The new connection must wait until another connection ends
    /// or becomes idle.
    NoneYet,
    /// The new connection is refused.
    NoneMayClose,
}

/// An idle connection.
pub(super) struct IdleConnection {
    /// The address by which limits count the connection; `None` if the client is known, or the peer
    /// is a proxy.
    pub(super) limit_key: Option<IpAddr>,
    /// Cancelling this token asks the connection to close.
    pub(super) close_token: CancellationToken,
}

impl OpenConnections {
    /// Chooses the connection to close for a new connection when too many connections are open. Of
    /// the idle connections of unknown clients, prefers those whose address has the most open
    /// connections, and of these the one that has been idle longest. If no unknown client has an
    /// open connection, chooses from the known clients and proxies the connection that has been
    /// idle longest. A new connection never closes a connection of another address that has at most
    /// as many open connections as its own address. `limit_key` is the address of the new
    /// connection; `None` if its peer is a proxy.
    pub(super) fn choose_connection_to_close(
        &self,
        limit_key: Option<IpAddr>,
    ) -> ConnectionToClose {
        let new_count = limit_key.map_or(0, |address| self.open_count_of(address));
        let unknown =
            self.unknown_idle.iter().filter_map(|(key, idle)| Some((*key, idle.limit_key?)));
        let candidate =
            unknown.max_by_key(|(key, address)| (self.open_count_of(*address), Reverse(*key)));
        match candidate {
            Some((key, address))
                if new_count == 0
                    || new_count < self.open_count_of(address)
                    || limit_key == Some(address) =>
            {
                ConnectionToClose::Idle(key)
            }
            Some(_) => ConnectionToClose::NoneMayClose,
            None if !self.open_counts.is_empty() => ConnectionToClose::NoneYet,
            None => {
                let oldest = self.known_idle.keys().next();
                oldest.map_or(ConnectionToClose::NoneYet, |key| ConnectionToClose::Idle(*key))
            }
        }
    }

    pub(super) fn add_open(&mut self, limit_key: IpAddr) {
        *self.open_counts.entry(limit_key).or_default() += 1;
    }

    pub(super) fn remove_open(&mut self, limit_key: IpAddr) {
        decrement(&mut self.open_counts, limit_key);
    }

    fn open_count_of(&self, limit_key: IpAddr) -> usize {
        self.open_counts.get(&limit_key).copied().unwrap_or_default()
    }

    pub(super) fn idle_count_of(&self, limit_key: IpAddr) -> usize {
        self.idle_counts.get(&limit_key).copied().unwrap_or_default()
    }

    /// Returns the key of the connection in the list of idle connections.
    pub(super) fn add_idle(&mut self, idle: IdleConnection) -> u64 {
        let key = self.next_key;
        self.next_key += 1;
        self.insert_idle(key, idle);
        key
    }

    pub(super) fn insert_idle(&mut self, key: u64, idle: IdleConnection) {
        match idle.limit_key {
            Some(limit_key) => {
                *self.idle_counts.entry(limit_key).or_default() += 1;
                self.unknown_idle.insert(key, idle);
            }
            None => {
                self.known_idle.insert(key, idle);
            }
        }
    }

    /// Returns `None` if the list of idle connections does not contain the connection.
    pub(super) fn remove_idle(&mut self, key: u64) -> Option<IdleConnection> {
        let idle = self.unknown_idle.remove(&key).or_else(|| self.known_idle.remove(&key))?;
        if let Some(limit_key) = idle.limit_key {
            decrement(&mut self.idle_counts, limit_key);
        }
        Some(idle)
    }

    pub(super) fn request_close(&mut self, key: u64) {
        if let Some(idle) = self.remove_idle(key) {
            self.closing_count += 1;
            idle.close_token.cancel();
        }
    }
}

pub(super) fn decrement(counts: &mut HashMap<IpAddr, usize>, key: IpAddr) {
    if let Some(count) = counts.get_mut(&key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(&key);
        }
    }
}
