//! Finds out how much address space the process has. Usually the address space is large enough for
//! a pool in which each guest memory has 4 GiB. It is smaller if a limit applies (`ulimit -v`), on
//! machines with 39-bit addresses, and in some sandboxes.

use std::ptr;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::domain::string_enum;

use super::pool;

/// The address space that is reserved for one guest memory if there is no pool, bytes. By default,
/// a run may not use more memory than this.
pub(super) const ON_DEMAND_BYTES: u64 = 128 << 20;
/// The address space that is reserved for further growth when a memory grows beyond
/// [`ON_DEMAND_BYTES`], bytes. With this reserve, the memory is not moved at each growth.
pub(super) const GROWTH_BYTES: u64 = 32 << 20;
/// The address space of one run if there is no pool, bytes: one memory, the tables and the stack.
const RUN_BYTES: u64 = ON_DEMAND_BYTES + (4 << 20);
/// The address space that must stay free for the server's heap, threads, compiled code and
/// database, bytes.
const HEADROOM_BYTES: u64 = 2 << 30;

string_enum! {
    /// How the address space of a guest's memory is laid out.
    pub enum MemoryLayout {
        /// 4 GiB of address space are reserved for each memory, so that few accesses need a check.
        Reserved = "reserved",
        /// Less than 4 GiB of address space is reserved for each memory, and each access is
        /// checked.
        OnDemand = "on-demand",
    }
}

/// The number of guest memories that the address space allows, and their layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressSpace {
    /// The number of guest memories that can exist at the same time.
    pub slots: u32,
    /// The layout of each memory.
    pub layout: MemoryLayout,
}

impl AddressSpace {
    /// Returns the slots and the layout that are used if there is no pool: `slots_max` slots,
    /// halved until they fit into the free address space, but at least one.
    pub(super) fn on_demand(slots_max: u32) -> Self {
        let slot_counts = std::iter::successors(Some(slots_max), |slots| Some(slots / 2));
        let mut slot_counts = slot_counts.take_while(|slots| *slots > 0);
        let slots = slot_counts.find(|slots| has_room(RUN_BYTES * u64::from(*slots))).unwrap_or(1);
        Self { slots, layout: MemoryLayout::OnDemand }
    }

    /// Whether this is less address space than Jackfield is designed for.
    #[must_use]
    pub fn is_small(self) -> bool {
        self != Self { slots: pool::SLOT_COUNTS[0], layout: MemoryLayout::Reserved }
    }
}

/// Whether this much address space is free, in addition to [`HEADROOM_BYTES`] for the server.
pub(super) fn has_room(bytes: u64) -> bool {
    let Ok(length) = usize::try_from(bytes.saturating_add(HEADROOM_BYTES)) else { return false };
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    #[expect(
        unsafe_code,
        reason = "only a mapping shows how much is free, because limits differ between systems"
    )]
    // SAFETY: a new mapping without access at an address that the system chooses, removed at once.
    unsafe {
        mmap_anonymous(ptr::null_mut(), length, ProtFlags::empty(), flags)
            .and_then(|mapped| munmap(mapped, length))
            .is_ok()
    }
}
