//! Counts the memory that the host uses for runs: one account for each run, a sum for each
//! connection and each connector, and one sum for the whole host.
//!
//! All memory whose size a guest or its tracker can choose is charged to the run.

mod machine;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::domain::{ConnectionId, ConnectorName};

pub(crate) use machine::{default_bytes_max, describe_default, free_bytes, group_limit_bytes};

/// The memory for the stacks, log and records of a run, and for other small amounts that are not
/// counted one by one, bytes. It is in the sums of host, connector and connection, but not in the
/// run's account.
pub(crate) const FIXED_RUN_BYTES: u64 = 8 << 20;
/// All runs of one connector together may use at most this many times the memory that is still
/// free, and all runs of one connection at most as much as is still free.
const CONNECTOR_SHARE: u64 = 3;

/// The memory limit of all runs together, and the sums of the memory that they use.
#[derive(Debug)]
pub(crate) struct HostMemory {
    bytes_max: u64,
    sums: Mutex<Sums>,
}

/// Sums of charged bytes.
#[derive(Debug, Default)]
struct Sums {
    used: u64,
    connectors: HashMap<ConnectorName, u64>,
    connections: HashMap<ConnectionId, u64>,
}

/// The connector and the connection whose sums contain a run.
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
    /// `limits.memory_bytes`.
    bytes_max: u64,
    /// Whether a charge was refused because of the host's limit or a share of it.
    was_refused_by_host: AtomicBool,
}

/// Bytes that are charged to an account until this value is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    account: Arc<Account>,
    bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MemoryFull {
    /// The run would exceed its own limit, `limits.memory_bytes`.
    #[error(
        "`limits.memory_bytes` = {0}: the run and the bodies that the host stores for it need more"
    )]
    Run(u64),
    /// All runs together would exceed their limit, or the runs of one connection or connector would
    /// exceed their share.
    #[error(
        "`memory_bytes_host` = {0}: all runs together have used up this memory, or the runs of the \
         connection or the connector have used up their share of it; try again later"
    )]
    Host(u64),
}

impl HostMemory {
    pub(crate) fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { bytes_max, sums: Mutex::default() })
    }

    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    pub(crate) fn used(&self) -> u64 {
        self.sums.lock().used
    }

    fn add(&self, owner: &MemoryOwner, bytes: u64) -> Result<(), MemoryFull> {
        let mut sums = self.sums.lock();
        let of_connector = sums.connectors.get(&owner.connector).copied().unwrap_or_default();
        let of_connection = sums.connections.get(&owner.connection).copied().unwrap_or_default();
        let left = self.bytes_max.saturating_sub(sums.used);
        let is_allowed = left.checked_sub(bytes).is_some_and(|left_after| {
            of_connector.saturating_add(bytes) <= left_after.saturating_mul(CONNECTOR_SHARE)
                && of_connection.saturating_add(bytes) <= left_after
        });
        if !is_allowed {
            return Err(MemoryFull::Host(self.bytes_max));
        }
        sums.used += bytes;
        sums.connectors.insert(owner.connector.clone(), of_connector + bytes);
        sums.connections.insert(owner.connection, of_connection + bytes);
        Ok(())
    }

    fn release(&self, owner: &MemoryOwner, bytes: u64) {
        let mut sums = self.sums.lock();
        sums.used = sums.used.saturating_sub(bytes);
        subtract(&mut sums.connectors, &owner.connector, bytes);
        subtract(&mut sums.connections, &owner.connection, bytes);
    }
}

fn subtract<K: Hash + Eq>(sums: &mut HashMap<K, u64>, key: &K, bytes: u64) {
    if let Some(sum) = sums.get_mut(key) {
        *sum = sum.saturating_sub(bytes);
        if *sum == 0 {
            sums.remove(key);
        }
    }
}

impl Account {
    /// Opens the account of a run.
    ///
    /// # Errors
    /// The run's [`FIXED_RUN_BYTES`] would exceed the host's limit or a share of it.
    pub(crate) fn open(
        host: &Arc<HostMemory>,
        owner: MemoryOwner,
        bytes_max: u64,
    ) -> Result<Arc<Self>, MemoryFull> {
        host.add(&owner, FIXED_RUN_BYTES)?;
        Ok(Arc::new(Self {
            host: Arc::clone(host),
            owner,
            used: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            bytes_max,
            was_refused_by_host: AtomicBool::new(false),
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

    /// Charges bytes to the run and to the host.
    ///
    /// # Errors
    /// The charge would exceed the run's own limit, the host's limit, or the share of the
    /// connection or connector.
    pub(crate) fn charge(self: &Arc<Self>, bytes: u64) -> Result<Charge, MemoryFull> {
        let mut charge = self.empty_charge();
        charge.grow(bytes)?;
        Ok(charge)
    }

    pub(crate) fn empty_charge(self: &Arc<Self>) -> Charge {
        Charge { account: Arc::clone(self), bytes: 0 }
    }

    /// Charges a body to the run until every part of the body is dropped.
    ///
    /// # Errors
    /// The errors of [`Account::charge`].
    pub(crate) fn charge_body(self: &Arc<Self>, body: Vec<u8>) -> Result<Bytes, MemoryFull> {
        let charge = self.charge(body.capacity() as u64)?;
        Ok(charge.bind_to_body(body.into()))
    }

    /// Returns how many more bytes the run's own limit allows.
    pub(crate) fn bytes_left(&self) -> u64 {
        self.bytes_max.saturating_sub(self.used.load(Ordering::Relaxed))
    }

    /// Returns the limit of the host's memory if a charge of this run was refused because of that
    /// limit or a share of it.
    pub(crate) fn refused_by_host(&self) -> Option<u64> {
        self.was_refused_by_host.load(Ordering::Relaxed).then_some(self.host.bytes_max)
    }

    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.host.release(&self.owner, FIXED_RUN_BYTES);
    }
}

impl Charge {
    /// Adds bytes to the charge.
    ///
    /// # Errors
    /// The errors of [`Account::charge`]. After an error, the charge is unchanged.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), MemoryFull> {
        let Account { host, owner, used, peak, bytes_max, was_refused_by_host } = &*self.account;
        let used_now = add_within(used, bytes, *bytes_max).ok_or(MemoryFull::Run(*bytes_max))?;
        if let Err(full) = host.add(owner, bytes) {
            was_refused_by_host.store(true, Ordering::Relaxed);
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
    /// The errors of [`Charge::grow`].
    pub(crate) fn set(&mut self, bytes: u64) -> Result<(), MemoryFull> {
        if bytes > self.bytes {
            return self.grow(bytes - self.bytes);
        }
        self.shrink(self.bytes - bytes);
        Ok(())
    }

    pub(crate) fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.account.used.fetch_sub(bytes, Ordering::Relaxed);
        self.account.host.release(&self.account.owner, bytes);
    }

    /// Releases the bytes only when every part of the body is dropped.
    pub(crate) fn bind_to_body(self, body: Bytes) -> Bytes {
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

/// Returns the new sum. If it would exceed the maximum, adds nothing and returns `None`.
fn add_within(sum: &AtomicU64, bytes: u64, max: u64) -> Option<u64> {
    let add = |before: u64| before.checked_add(bytes).filter(|sum| *sum <= max);
    sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok().map(|before| before + bytes)
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
    fn a_charge_counts_for_the_run_and_for_the_host_until_it_is_dropped() {
        let host = HostMemory::new(100 * MIB);
        let run = Account::open(&host, owner("a", 1), 30 * MIB).unwrap();
        let body = run.charge_body(vec![0; 20 << 20]).unwrap();
        let part = body.slice(..1);
        drop(body);
        assert_eq!(run.charge(11 * MIB).unwrap_err(), MemoryFull::Run(30 * MIB));
        let mut charge = run.charge(10 * MIB).unwrap();
        assert_eq!((run.bytes_left(), run.refused_by_host()), (0, None));
        charge.set(2 * MIB).unwrap();
        drop(part);
        assert_eq!((run.bytes_left(), run.peak()), (28 * MIB, 30 * MIB));
        drop((charge, run));
        let sums = host.sums.lock();
        assert_eq!((sums.used, sums.connectors.len(), sums.connections.len()), (0, 0, 0));
    }

    #[test]
    fn a_connection_or_a_connector_always_leaves_memory_for_others() {
        let host = HostMemory::new(100 * MIB);
        let charge_until_refused = |owner: &MemoryOwner| {
            let run = Account::open(&host, owner.clone(), 100 * MIB).unwrap();
            let mut charges = Vec::new();
            while let Ok(charge) = run.charge(MIB) {
                charges.push(charge);
            }
            assert_eq!(run.refused_by_host(), Some(100 * MIB));
            (charges.len() as u64 * MIB + FIXED_RUN_BYTES, charges)
        };
        let (bytes, _charges) = charge_until_refused(&owner("a", 1));
        assert_eq!(bytes, 50 * MIB, "as much as the connection leaves free");
        let (bytes, _other_charges) = charge_until_refused(&owner("a", 2));
        assert_eq!(bytes, 25 * MIB);
        assert!(
            Account::open(&host, owner("a", 3), MIB).is_err(),
            "the connector has used up its share"
        );
        assert!(Account::open(&host, owner("b", 4), MIB).is_ok());
    }
}
