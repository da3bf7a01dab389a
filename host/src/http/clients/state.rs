//! Tracks a listener's client connections: how many are open, which are idle, and which of them to
//! close for a new one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use tokio_util::sync::CancellationToken;

#[derive(Default)]
pub(super) struct State {
    pub(super) open: usize,
    /// Idle connections that were asked to close and are still open.
    pub(super) closing: usize,
    next: u64,
    /// Idle connections of clients that are not known, in the order in which they became idle.
    pub(super) idle: BTreeMap<u64, Idle>,
    /// Idle connections of known clients and of proxies, in the same order.
    known_idle: BTreeMap<u64, Idle>,
    /// Number of connections in `idle` of each address.
    idle_counts: HashMap<IpAddr, usize>,
    /// Number of open connections of each address, of clients that are not known.
    open_counts: HashMap<IpAddr, usize>,
    /// Number of forwarded requests that arrive for each client address.
    pub(super) arriving_counts: HashMap<IpAddr, usize>,
}

/// Where there is room for a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// After this idle connection was closed.
    Close(u64),
    /// When one that is busy becomes idle.
    Later,
    /// Nowhere: every idle connection is of an address that has as few.
    None,
}

pub(super) struct Idle {
    /// `None` if the client is known, or the peer is a proxy.
    pub(super) limit_key: Option<IpAddr>,
    pub(super) close: CancellationToken,
}

impl State {
    /// What is done for a new connection when there are too many: of the idle ones, that of the
    /// address with most open connections is closed; of several, the one that has been idle
    /// longest. An address never displaces one that has fewer, nor a known client while there are
    /// unknown clients.
    pub(super) fn make_room(&self, limit_key: Option<IpAddr>) -> Room {
        let own = limit_key.map_or(0, |it| self.open_count(it));
        let unknown = self.idle.iter().filter_map(|(place, idle)| Some((*place, idle.limit_key?)));
        let most = unknown.max_by_key(|(place, it)| (self.open_count(*it), Reverse(*place)));
        match most {
            Some((place, it)) if own == 0 || own < self.open_count(it) || limit_key == Some(it) => {
                Room::Close(place)
            }
            Some(_) => Room::None,
            None if !self.open_counts.is_empty() => Room::Later,
            None => self.known_idle.keys().next().map_or(Room::Later, |place| Room::Close(*place)),
        }
    }

    /// Counts an open connection of a client that is not known.
    pub(super) fn add_open(&mut self, limit_key: IpAddr) {
        *self.open_counts.entry(limit_key).or_default() += 1;
    }

    /// The connection has ended, or its client is known now.
    pub(super) fn remove_open(&mut self, limit_key: IpAddr) {
        decrement(&mut self.open_counts, limit_key);
    }

    fn open_count(&self, limit_key: IpAddr) -> usize {
        self.open_counts.get(&limit_key).copied().unwrap_or_default()
    }

    pub(super) fn idle_count(&self, limit_key: IpAddr) -> usize {
        self.idle_counts.get(&limit_key).copied().unwrap_or_default()
    }

    pub(super) fn add_idle(&mut self, idle: Idle) -> u64 {
        let place = self.next;
        self.next += 1;
        self.insert_idle(place, idle);
        place
    }

    pub(super) fn insert_idle(&mut self, place: u64, idle: Idle) {
        match idle.limit_key {
            Some(limit_key) => {
                *self.idle_counts.entry(limit_key).or_default() += 1;
                self.idle.insert(place, idle);
            }
            None => {
                self.known_idle.insert(place, idle);
            }
        }
    }

    pub(super) fn remove_idle(&mut self, place: u64) -> Option<Idle> {
        let idle = self.idle.remove(&place).or_else(|| self.known_idle.remove(&place))?;
        if let Some(limit_key) = idle.limit_key {
            decrement(&mut self.idle_counts, limit_key);
        }
        Some(idle)
    }

    pub(super) fn close(&mut self, place: u64) {
        if let Some(idle) = self.remove_idle(place) {
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
