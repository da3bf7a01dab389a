//! Tracks a listener's client connections: how many are open, which are idle, and which of them to
//! close for a new one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use tokio_util::sync::CancellationToken;

/// The connections of a listener.
#[derive(Default)]
pub(super) struct State {
    /// Number of open connections.
    pub(super) open_total: usize,
    /// Number of idle connections that were asked to close and are still open.
    pub(super) closing: usize,
    next_key: u64,
    /// Idle connections of unknown clients, in the order in which they became idle.
    pub(super) unknown_idle: BTreeMap<u64, IdleConnection>,
    /// Idle connections of known clients and of proxies, in the same order.
    known_idle: BTreeMap<u64, IdleConnection>,
    /// Number of connections in `unknown_idle` of each address.
    idle_counts: HashMap<IpAddr, usize>,
    /// Number of open connections of unknown clients, for each address.
    open_counts: HashMap<IpAddr, usize>,
    /// Number of forwarded or HTTP/2 requests whose body is still arriving, for each client
    /// address.
    pub(super) arriving_counts: HashMap<IpAddr, usize>,
}

/// Which connection is closed for a new one, when too many are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Displaced {
    /// The idle connection with this key.
    Idle(u64),
    /// None yet: the new connection must wait until another one ends or becomes idle.
    NoneYet,
    /// None: the idle connection that would be closed belongs to another address, which has at most
    /// as many open connections as that of the new one.
    Never,
}

/// An idle connection.
pub(super) struct IdleConnection {
    /// `None` if the client is known, or the peer is a proxy.
    pub(super) limit_key: Option<IpAddr>,
    pub(super) close: CancellationToken,
}

impl State {
    /// Chooses the connection to close for a new one when too many are open: an idle connection of
    /// the address with the most open connections; among several, the one that has been idle
    /// longest. A new connection never displaces a connection of an address with fewer open
    /// connections, nor a connection of a known client while an unknown client has one.
    pub(super) fn choose_displaced(&self, limit_key: Option<IpAddr>) -> Displaced {
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
                Displaced::Idle(key)
            }
            Some(_) => Displaced::Never,
            None if !self.open_counts.is_empty() => Displaced::NoneYet,
            None => {
                let oldest = self.known_idle.keys().next();
                oldest.map_or(Displaced::NoneYet, |key| Displaced::Idle(*key))
            }
        }
    }

    /// Counts an open connection of an unknown client.
    pub(super) fn add_open(&mut self, limit_key: IpAddr) {
        *self.open_counts.entry(limit_key).or_default() += 1;
    }

    /// Ends the count of a connection that has ended or whose client is known now.
    pub(super) fn remove_open(&mut self, limit_key: IpAddr) {
        decrement(&mut self.open_counts, limit_key);
    }

    fn open_count_of(&self, limit_key: IpAddr) -> usize {
        self.open_counts.get(&limit_key).copied().unwrap_or_default()
    }

    pub(super) fn idle_count_of(&self, limit_key: IpAddr) -> usize {
        self.idle_counts.get(&limit_key).copied().unwrap_or_default()
    }

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

    pub(super) fn remove_idle(&mut self, key: u64) -> Option<IdleConnection> {
        let idle = self.unknown_idle.remove(&key).or_else(|| self.known_idle.remove(&key))?;
        if let Some(limit_key) = idle.limit_key {
            decrement(&mut self.idle_counts, limit_key);
        }
        Some(idle)
    }

    /// Asks an idle connection to close.
    pub(super) fn close(&mut self, key: u64) {
        if let Some(idle) = self.remove_idle(key) {
            self.closing += 1;
            idle.close.cancel();
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
