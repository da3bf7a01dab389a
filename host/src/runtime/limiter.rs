//! Limits the memories and tables of one run's instance, and charges their size to the run's memory
//! account. Never limits the CPU time.

use wasmtime::ResourceLimiter;

use crate::domain::{ConnectorFault, Limits};
use crate::memory::{Charge, MemoryFull};

/// Size of a table element in the host, in bytes.
const TABLE_ELEMENT_BYTES: usize = 8;
/// Maximum number of elements of one table. The engine's pool (`pool.rs`) reserves space for this
/// number.
pub(super) const TABLE_ELEMENTS_MAX: usize = 100_000;
/// Maximum number of core instances of one component.
pub(super) const INSTANCES_MAX: u32 = 256;
/// Maximum number of linear memories of one component.
pub(super) const MEMORIES_MAX: u32 = 32;
/// Maximum number of tables of one component.
pub(super) const TABLES_MAX: u32 = 64;

pub(super) struct Limiter {
    limits: Limits,
    charge: Charge,
    /// The bytes that were charged for the last growth. If this growth fails, its charge is
    /// removed.
    growing_bytes: u64,
}

/// The limit that a run exceeded, as the error with which the host stops the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("over `limits.{name}` = {value}")]
pub(super) struct ExceededLimit {
    /// The key of the limit, without `limits.`.
    pub(super) name: &'static str,
    pub(super) value: u64,
}

impl From<ExceededLimit> for ConnectorFault {
    fn from(limit: ExceededLimit) -> Self {
        Self::Limit { name: limit.name, value: limit.value, printed: None }
    }
}

impl Limiter {
    /// `charge` is empty at first, and grows with the run's memories and tables.
    pub(super) fn new(limits: Limits, charge: Charge) -> Self {
        Self { limits, charge, growing_bytes: 0 }
    }

    pub(super) fn handles_max(&self) -> u64 {
        self.limits.handles
    }

    fn charge_growth(&mut self, added_bytes: usize) -> wasmtime::Result<bool> {
        self.growing_bytes = 0;
        self.charge.grow(added_bytes as u64).map_err(memory_error)?;
        self.growing_bytes = added_bytes as u64;
        Ok(true)
    }

    fn undo_growth(&mut self) {
        self.charge.shrink(std::mem::take(&mut self.growing_bytes));
    }
}

/// Returns the error that traps the guest if a charge for memory is refused.
pub(super) fn memory_error(full: MemoryFull) -> wasmtime::Error {
    match full {
        MemoryFull::Run(value) => {
            wasmtime::Error::new(ExceededLimit { name: "memory_bytes", value })
        }
        MemoryFull::Host(_) => wasmtime::Error::new(full),
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.charge_growth(desired.saturating_sub(current))
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo_growth();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > TABLE_ELEMENTS_MAX {
            let why = format!("a table has at most {TABLE_ELEMENTS_MAX} elements, not {desired}");
            return Err(wasmtime::Error::msg(why));
        }
        self.charge_growth(desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT_BYTES))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo_growth();
        Ok(())
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Account;

    #[test]
    fn memories_and_tables_are_charged_and_the_charge_for_a_failed_growth_is_removed() {
        let mut limits = Limits::default();
        assert_eq!(limits.set("memory_bytes", 1_000), Ok(()));
        let account = Account::for_test(limits.memory_bytes);
        let mut limiter = Limiter::new(limits, account.empty_charge());
        assert!(limiter.memory_growing(0, 600, None).is_ok_and(|grows| grows));
        assert!(limiter.memory_grow_failed(wasmtime::Error::msg("no")).is_ok());
        assert!(limiter.memory_growing(0, 600, None).is_ok());
        assert!(limiter.table_growing(0, 50, None).is_ok());
        let refused = limiter.table_growing(50, 51, None).unwrap_err();
        assert_eq!(
            refused.downcast_ref::<ExceededLimit>(),
            Some(&ExceededLimit { name: "memory_bytes", value: 1_000 })
        );
        assert_eq!((account.peak(), account.bytes_left()), (1_000, 0));
    }
}
