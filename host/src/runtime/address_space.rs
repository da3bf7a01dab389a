//! Checks how many guest memories fit into the address space of the process. The address space may
//! be too small for a pool that reserves 4 GiB for each guest memory: if a limit applies
//! (`ulimit -v`), on machines with 39-bit addresses, and under some container runtimes. The check
//! reserves address space only for a moment.

use std::ptr;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::domain::string_enum;

use super::pool;

/// The address space that is reserved for one guest memory if there is no pool, bytes.
pub(super) const ON_DEMAND_MEMORY_BYTES: u64 = 128 << 20;
/// The address space that is reserved for further growth when a memory grows beyond
/// [`ON_DEMAND_MEMORY_BYTES`], bytes. Without this reserve, each growth would move the memory.
pub(super) const GROWTH_RESERVE_BYTES: u64 = 32 << 20;
/// The address space that is counted for one slot if there is no pool, bytes: for one memory, and
/// for the tables and the stack that belong to it.
const ON_DEMAND_RUN_BYTES: u64 = ON_DEMAND_MEMORY_BYTES + (4 << 20);
/// The address space that must stay free for the server's heap, threads, compiled code and
/// database, bytes.
const HEADROOM_BYTES: u64 = 2 << 30;

string_enum! {
    /// How the address space of a guest's memory is laid out.
    pub enum MemoryLayout {
        /// 4 GiB of address space are reserved for each memory. So only few accesses to the memory
        /// need a check.
        Reserved = "reserved",
        /// Less than 4 GiB of address space is reserved for each memory. So each access to the
        /// memory is checked.
        OnDemand = "on-demand",
    }
}

/// How many guest memories fit into the address space, and how they are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressSpace {
    /// The number of guest memories that can exist at the same time.
    pub slots: u32,
    /// The layout of each memory.
    pub layout: MemoryLayout,
}

impl AddressSpace {
    /// Returns the number of slots and the layout for an engine without a pool. The number is
    /// `slots_max`, halved until the slots fit into the free address space, but at least 1.
    pub(super) fn on_demand(slots_max: u32) -> Self {
        let slot_counts = std::iter::successors(Some(slots_max), |slots| Some(slots / 2));
        let mut slot_counts = slot_counts.take_while(|slots| *slots > 0);
        let slots = slot_counts
            .find(|slots| has_free_address_space(ON_DEMAND_RUN_BYTES * u64::from(*slots)))
            .unwrap_or(1);
        Self { slots, layout: MemoryLayout::OnDemand }
    }

    /// Returns whether the address space of the process is too small for the largest pool.
    #[must_use]
    pub fn is_small(self) -> bool {
        self != Self { slots: pool::SLOT_COUNTS[0], layout: MemoryLayout::Reserved }
    }
}

/// Returns whether this number of bytes of address space is free, in addition to [`HEADROOM_BYTES`]
/// for the server.
pub(super) fn has_free_address_space(bytes: u64) -> bool {
    let Ok(length) = usize::try_from(bytes.saturating_add(HEADROOM_BYTES)) else { return false };
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    #[expect(
        unsafe_code,
        reason = "only a mapping shows how much is free, because limits differ between systems"
    )]
    // SAFETY: the mapping is new, at an address that the system chooses. It allows no access, and
    // is removed at once.
    unsafe {
        mmap_anonymous(ptr::null_mut(), length, ProtFlags::empty(), flags)
            .and_then(|mapped| munmap(mapped, length))
            .is_ok()
    }
}
