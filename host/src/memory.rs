//! What runs make the host hold in memory, counted while it grows: one account for each run, a share
//! for each connection, and one sum for the whole host.
//!
//! Everything whose size a guest or its tracker chooses is charged before it is allocated: linear
//! memories and tables, request and response bodies, buffers of HTTP connections.

mod machine;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

pub(crate) use machine::default_bytes_max;

/// What each run may use beside its own account: stacks, log, record, headers and the texts of one
/// host call. The host's sum is charged for it when the run begins.
pub(crate) const RUN_BYTES: u64 = 8 << 20;
/// The runs of one connection together use at most the host's memory divided by this.
const SHARES: u64 = 2;

/// The sum over all runs.
#[derive(Debug)]
pub(crate) struct HostMemory {
    used: AtomicU64,
    bytes_max: u64,
}

/// The sum over the runs of one connection.
#[derive(Debug, Default)]
pub(crate) struct ConnectionMemory(AtomicU64);

/// The memory of one run.
#[derive(Debug)]
pub(crate) struct Account {
    host: Arc<HostMemory>,
    connection: Arc<ConnectionMemory>,
    used: AtomicU64,
    peak: AtomicU64,
    bytes_max: u64,
}

/// A part of an account; given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    account: Arc<Account>,
    bytes: u64,
}

/// Why nothing more may be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MemoryFull {
    /// The run has used its limit.
    #[error(
        "`limits.memory_bytes` = {0}: the run's memory and the bodies that the host holds for it"
    )]
    Run(u64),
    /// All runs together have used theirs, or those of one connection their share of it.
    #[error("`memory_bytes_host` = {0}: the memory of all runs is in use; try again")]
    Host(u64),
}

impl HostMemory {
    pub(crate) fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { used: AtomicU64::new(0), bytes_max })
    }
}

impl Account {
    /// Opens the account of a run whose limit is `bytes_max`.
    ///
    /// # Errors
    /// The host's memory does not suffice for one more run.
    pub(crate) fn open(
        host: &Arc<HostMemory>,
        connection: &Arc<ConnectionMemory>,
        bytes_max: u64,
    ) -> Result<Arc<Self>, MemoryFull> {
        let (host, connection) = (Arc::clone(host), Arc::clone(connection));
        let (used, peak) = (AtomicU64::new(0), AtomicU64::new(0));
        add_shared(&host, &connection, RUN_BYTES)?;
        Ok(Arc::new(Self { host, connection, used, peak, bytes_max }))
    }

    /// An account beside which the host has much room.
    #[cfg(test)]
    pub(crate) fn for_test(bytes_max: u64) -> Arc<Self> {
        let host = HostMemory::new(u64::MAX);
        Self::open(&host, &Arc::default(), bytes_max).unwrap()
    }

    /// Charges this many bytes.
    ///
    /// # Errors
    /// The run's limit, or that of all runs.
    pub(crate) fn charge(self: &Arc<Self>, bytes: u64) -> Result<Charge, MemoryFull> {
        let mut charge = self.nothing();
        charge.grow(bytes)?;
        Ok(charge)
    }

    /// A charge of nothing, which can grow.
    pub(crate) fn nothing(self: &Arc<Self>) -> Charge {
        Charge { account: Arc::clone(self), bytes: 0 }
    }

    /// Charges a body for as long as any part of it is held.
    ///
    /// # Errors
    /// As [`Account::charge`].
    pub(crate) fn hold(self: &Arc<Self>, body: Vec<u8>) -> Result<Bytes, MemoryFull> {
        let charge = self.charge(body.capacity() as u64)?;
        Ok(charge.hold(body.into()))
    }

    /// How much more the run's own limit allows.
    pub(crate) fn room(&self) -> u64 {
        self.bytes_max.saturating_sub(self.used.load(Ordering::Relaxed))
    }

    /// The most that was in use at once.
    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        give_back_shared(&self.host, &self.connection, RUN_BYTES);
    }
}

impl Charge {
    /// Charges more.
    ///
    /// # Errors
    /// As [`Account::charge`]; then nothing is added.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), MemoryFull> {
        let Account { host, connection, used, peak, bytes_max } = &*self.account;
        let used_now = add(used, bytes, *bytes_max).ok_or(MemoryFull::Run(*bytes_max))?;
        if let Err(full) = add_shared(host, connection, bytes) {
            used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(full);
        }
        peak.fetch_max(used_now, Ordering::Relaxed);
        self.bytes += bytes;
        Ok(())
    }

    /// Charges exactly this many bytes from now on.
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

    /// Gives some of it back.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.account.used.fetch_sub(bytes, Ordering::Relaxed);
        give_back_shared(&self.account.host, &self.account.connection, bytes);
    }

    /// The body, charged for as long as any part of it is held.
    pub(crate) fn hold(self, body: Bytes) -> Bytes {
        Bytes::from_owner(Held { body, _charge: self })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

struct Held {
    body: Bytes,
    _charge: Charge,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// Adds to the sums that runs share.
fn add_shared(
    host: &HostMemory,
    connection: &ConnectionMemory,
    bytes: u64,
) -> Result<(), MemoryFull> {
    let full = MemoryFull::Host(host.bytes_max);
    add(&connection.0, bytes, host.bytes_max / SHARES).ok_or(full)?;
    if add(&host.used, bytes, host.bytes_max).is_none() {
        connection.0.fetch_sub(bytes, Ordering::Relaxed);
        return Err(full);
    }
    Ok(())
}

fn give_back_shared(host: &HostMemory, connection: &ConnectionMemory, bytes: u64) {
    connection.0.fetch_sub(bytes, Ordering::Relaxed);
    host.used.fetch_sub(bytes, Ordering::Relaxed);
}

/// Adds and returns the sum, unless it would exceed the maximum.
fn add(sum: &AtomicU64, bytes: u64, max: u64) -> Option<u64> {
    let within = |now: u64| now.checked_add(bytes).filter(|sum| *sum <= max);
    sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).ok().map(|before| before + bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_charge_counts_for_run_connection_and_host_until_it_is_dropped() {
        let host = HostMemory::new(100 * MIB);
        let (one, other) = (Arc::<ConnectionMemory>::default(), Arc::<ConnectionMemory>::default());
        let run = Account::open(&host, &one, 30 * MIB).unwrap();
        let body = run.hold(vec![0; 20 << 20]).unwrap();
        let part = body.slice(..1);
        drop(body);
        assert_eq!(run.charge(11 * MIB).unwrap_err(), MemoryFull::Run(30 * MIB));
        let mut charge = run.charge(10 * MIB).unwrap();
        assert_eq!(run.room(), 0);
        // 46 of the connection's 50 MiB with a second run: a third does not begin.
        let full = MemoryFull::Host(100 * MIB);
        let second = Account::open(&host, &one, MIB).unwrap();
        assert_eq!(Account::open(&host, &one, MIB).unwrap_err(), full);
        let beside = Account::open(&host, &other, 90 * MIB).unwrap();
        assert_eq!(beside.charge(43 * MIB).unwrap_err(), full);
        assert!(beside.charge(42 * MIB).is_ok());
        charge.set(2 * MIB).unwrap();
        drop(part);
        assert_eq!((run.room(), run.peak()), (28 * MIB, 30 * MIB));
        drop((charge, run, second, beside));
        let all = [&host.used, &one.0, &other.0].map(|sum| sum.load(Ordering::Relaxed));
        assert_eq!(all, [0; 3]);
    }
}
