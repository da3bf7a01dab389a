//! Counts the memory that the host holds for runs: one account for each run, a sum for each
//! connection and connector, and one sum for the whole host.
//!
//! Everything whose size a guest or its tracker chooses is charged to the run: linear memories and
//! tables, request and response bodies, buffers of HTTP connections.

mod machine;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::domain::{ConnectionId, ConnectorName};

pub(crate) use machine::{default_bytes_max, describe_default, free_bytes, group_limit_bytes};

/// A fixed amount for each run, in addition to its account: stacks, log, record, headers and the
/// texts of one host call. It is charged to the host's sum when the run begins.
pub(crate) const RUN_BYTES: u64 = 8 << 20;
/// The runs of one connection may hold at most as much memory as they leave free. The runs of one
/// connector may hold this many times as much as they leave free. So there is always room for other
/// connections.
const CONNECTOR_SHARE: u64 = 3;

/// The limit and the sums of the memory of all runs.
#[derive(Debug)]
pub(crate) struct HostMemory {
    bytes_max: u64,
    sums: Mutex<Sums>,
}

#[derive(Debug, Default)]
struct Sums {
    used: u64,
    connectors: HashMap<ConnectorName, u64>,
    connections: HashMap<ConnectionId, u64>,
}

/// The connector and the connection of a run. Each may use only a share of the host's memory.
#[derive(Debug, Clone)]
pub(crate) struct MemoryOwner {
    pub(crate) connector: ConnectorName,
    pub(crate) connection: ConnectionId,
}

/// The memory account of one run.
#[derive(Debug)]
pub(crate) struct Account {
    host: Arc<HostMemory>,
    owner: MemoryOwner,
    used: AtomicU64,
    peak: AtomicU64,
    bytes_max: u64,
    /// Whether a charge was refused because of the host's limit or a share of it, not because of
    /// the run's own limit.
    host_was_full: AtomicBool,
}

/// A number of bytes that is charged to an account. Dropping the charge gives them back.
#[derive(Debug)]
pub(crate) struct Charge {
    account: Arc<Account>,
    bytes: u64,
}

/// The reason why no more memory may be charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MemoryFull {
    /// The run reached its own limit, `limits.memory_bytes`.
    #[error(
        "`limits.memory_bytes` = {0}: the run's memory and the bodies that the host holds for it"
    )]
    Run(u64),
    /// All runs together reached their limit, or the runs of one connection or connector reached
    /// their share.
    #[error("`memory_bytes_host` = {0}: the memory of all runs is in use; try again")]
    Host(u64),
}

impl HostMemory {
    pub(crate) fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { bytes_max, sums: Mutex::default() })
    }

    /// The limit of all runs together.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// What is charged to all runs now.
    pub(crate) fn used(&self) -> u64 {
        self.sums.lock().used
    }

    /// Adds to all sums of an owner; fails without adding if a limit or a share would be exceeded.
    fn add(&self, owner: &MemoryOwner, bytes: u64) -> Result<(), MemoryFull> {
        let mut sums = self.sums.lock();
        let of_connector = sums.connectors.get(&owner.connector).copied().unwrap_or_default();
        let of_connection = sums.connections.get(&owner.connection).copied().unwrap_or_default();
        let left = self.bytes_max.saturating_sub(sums.used);
        let fits = left.checked_sub(bytes).is_some_and(|left| {
            of_connector.saturating_add(bytes) <= left.saturating_mul(CONNECTOR_SHARE)
                && of_connection.saturating_add(bytes) <= left
        });
        if !fits {
            return Err(MemoryFull::Host(self.bytes_max));
        }
        sums.used += bytes;
        sums.connectors.insert(owner.connector.clone(), of_connector + bytes);
        sums.connections.insert(owner.connection, of_connection + bytes);
        Ok(())
    }

    fn give_back(&self, owner: &MemoryOwner, bytes: u64) {
        let mut sums = self.sums.lock();
        sums.used = sums.used.saturating_sub(bytes);
        subtract(&mut sums.connectors, &owner.connector, bytes);
        subtract(&mut sums.connections, &owner.connection, bytes);
    }
}

/// Subtracts from a sum, and removes the sum if it is zero.
fn subtract<K: Hash + Eq>(sums: &mut HashMap<K, u64>, key: &K, bytes: u64) {
    if let Some(sum) = sums.get_mut(key) {
        *sum = sum.saturating_sub(bytes);
        if *sum == 0 {
            sums.remove(key);
        }
    }
}

impl Account {
    /// Opens the account of a run whose limit is `bytes_max`.
    ///
    /// # Errors
    /// The host has too little free memory for another run.
    pub(crate) fn open(
        host: &Arc<HostMemory>,
        owner: MemoryOwner,
        bytes_max: u64,
    ) -> Result<Arc<Self>, MemoryFull> {
        host.add(&owner, RUN_BYTES)?;
        Ok(Arc::new(Self {
            host: Arc::clone(host),
            owner,
            used: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            bytes_max,
            host_was_full: AtomicBool::new(false),
        }))
    }

    /// Opens an account on a host without a memory limit.
    #[cfg(test)]
    pub(crate) fn for_test(bytes_max: u64) -> Arc<Self> {
        let owner = MemoryOwner {
            connector: ConnectorName::unnamed(),
            connection: ConnectionId(uuid::Uuid::nil()),
        };
        Self::open(&HostMemory::new(u64::MAX), owner, bytes_max).unwrap()
    }

    /// Charges this many bytes to the run and to the host.
    ///
    /// # Errors
    /// The run reached its own limit, the host's memory is full, or the run's share of it is full.
    pub(crate) fn charge(self: &Arc<Self>, bytes: u64) -> Result<Charge, MemoryFull> {
        let mut charge = self.empty_charge();
        charge.grow(bytes)?;
        Ok(charge)
    }

    /// Makes a charge of zero bytes, which can grow.
    pub(crate) fn empty_charge(self: &Arc<Self>) -> Charge {
        Charge { account: Arc::clone(self), bytes: 0 }
    }

    /// Charges a body until every part of it is dropped.
    ///
    /// # Errors
    /// As [`Account::charge`].
    pub(crate) fn hold(self: &Arc<Self>, body: Vec<u8>) -> Result<Bytes, MemoryFull> {
        let charge = self.charge(body.capacity() as u64)?;
        Ok(charge.hold(body.into()))
    }

    /// Returns how many more bytes the run's own limit allows.
    pub(crate) fn room(&self) -> u64 {
        self.bytes_max.saturating_sub(self.used.load(Ordering::Relaxed))
    }

    /// Returns the limit of the host's memory, if a charge of this run was refused because of it.
    pub(crate) fn refused_by_host(&self) -> Option<u64> {
        self.host_was_full.load(Ordering::Relaxed).then_some(self.host.bytes_max)
    }

    /// Returns the maximum of the charged bytes so far.
    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.host.give_back(&self.owner, RUN_BYTES);
    }
}

impl Charge {
    /// Adds bytes to the charge.
    ///
    /// # Errors
    /// As [`Account::charge`]; then nothing is added.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), MemoryFull> {
        let Account { host, owner, used, peak, bytes_max, host_was_full } = &*self.account;
        let used_now = add(used, bytes, *bytes_max).ok_or(MemoryFull::Run(*bytes_max))?;
        if let Err(full) = host.add(owner, bytes) {
            host_was_full.store(true, Ordering::Relaxed);
            used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(full);
        }
        peak.fetch_max(used_now, Ordering::Relaxed);
        self.bytes += bytes;
        Ok(())
    }

    /// Grows or shrinks the charge to this many bytes.
    ///
    /// # Errors
    /// As [`Charge::grow`].
    pub(crate) fn set(&mut self, bytes: u64) -> Result<(), MemoryFull> {
        if bytes > self.bytes {
            return self.grow(bytes - self.bytes);
        }
        self.shrink(self.bytes - bytes);
        Ok(())
    }

    /// Gives some bytes of the charge back.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.account.used.fetch_sub(bytes, Ordering::Relaxed);
        self.account.host.give_back(&self.account.owner, bytes);
    }

    /// Binds this charge to a body: it is given back when every part of the body is dropped.
    pub(crate) fn hold(self, body: Bytes) -> Bytes {
        Bytes::from_owner(ChargedBody { body, _charge: self })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

struct ChargedBody {
    body: Bytes,
    _charge: Charge,
}

impl AsRef<[u8]> for ChargedBody {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// Adds to a sum and returns it; `None`, without adding, if the sum would exceed the maximum.
fn add(sum: &AtomicU64, bytes: u64, max: u64) -> Option<u64> {
    let within = |now: u64| now.checked_add(bytes).filter(|sum| *sum <= max);
    sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).ok().map(|before| before + bytes)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn owner(connector: &str, connection: u128) -> MemoryOwner {
        let connection = ConnectionId(Uuid::from_u128(connection));
        MemoryOwner { connector: connector.parse().unwrap(), connection }
    }

    #[test]
    fn a_charge_counts_for_run_and_host_until_it_is_dropped() {
        let host = HostMemory::new(100 * MIB);
        let run = Account::open(&host, owner("a", 1), 30 * MIB).unwrap();
        let body = run.hold(vec![0; 20 << 20]).unwrap();
        let part = body.slice(..1);
        drop(body);
        assert_eq!(run.charge(11 * MIB).unwrap_err(), MemoryFull::Run(30 * MIB));
        let mut charge = run.charge(10 * MIB).unwrap();
        assert_eq!((run.room(), run.refused_by_host()), (0, None));
        charge.set(2 * MIB).unwrap();
        drop(part);
        assert_eq!((run.room(), run.peak()), (28 * MIB, 30 * MIB));
        drop((charge, run));
        let sums = host.sums.lock();
        assert_eq!((sums.used, sums.connectors.len(), sums.connections.len()), (0, 0, 0));
    }

    #[test]
    fn a_connection_or_a_connector_always_leaves_room_for_others() {
        let host = HostMemory::new(100 * MIB);
        let hoard = |owner: &MemoryOwner| {
            let run = Account::open(&host, owner.clone(), 100 * MIB).unwrap();
            let mut charges = Vec::new();
            while let Ok(charge) = run.charge(MIB) {
                charges.push(charge);
            }
            assert_eq!(run.refused_by_host(), Some(100 * MIB));
            (charges.len() as u64 * MIB + RUN_BYTES, charges)
        };
        let (one, _one) = hoard(&owner("a", 1));
        assert_eq!(one, 50 * MIB, "as much as it leaves free");
        let (other, _other) = hoard(&owner("a", 2));
        assert_eq!(other, 25 * MIB);
        assert!(Account::open(&host, owner("a", 3), MIB).is_err(), "its connector has its share");
        assert!(Account::open(&host, owner("b", 4), MIB).is_ok());
    }
}
