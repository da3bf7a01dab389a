//! How much address space the machine gives: usually enough for a pool, in which each guest memory
//! has 4 GiB of it. Less where a limit applies (`ulimit -v`), on machines with 39 bits, and in some
//! sandboxes.

use std::ptr;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::domain::string_enum;

use super::pool;

/// The address space of one memory without a pool: what most runs may use at most.
pub(super) const ON_DEMAND_BYTES: u64 = 128 << 20;
/// What a memory beyond it gets in advance, so that it is not moved at each growth.
pub(super) const GROWTH_BYTES: u64 = 32 << 20;
/// For one run without a pool: a memory, its tables and its stack.
const RUN_BYTES: u64 = ON_DEMAND_BYTES + (4 << 20);
/// Left for everything else: heap, threads, compiled code, the database.
const HEADROOM_BYTES: u64 = 2 << 30;

string_enum! {
    /// How compiled code reaches a guest's memory.
    pub enum MemoryLayout {
        /// 4 GiB of address space are reserved, so that few accesses are checked.
        Reserved = "reserved",
        /// As much as the memory has; each access is checked.
        OnDemand = "on-demand",
    }
}

/// What the machine allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressSpace {
    /// Guest memories that can exist at the same time.
    pub slots: u32,
    /// How they are laid out.
    pub layout: MemoryLayout,
}

impl AddressSpace {
    /// As many slots as fit, at most `slots_max` and at least one.
    pub(super) fn on_demand(slots_max: u32) -> Self {
        let halves = std::iter::successors(Some(slots_max), |slots| Some(slots / 2));
        let mut tried = halves.take_while(|slots| *slots > 0);
        let slots = tried.find(|slots| has_room(RUN_BYTES * u64::from(*slots))).unwrap_or(1);
        Self { slots, layout: MemoryLayout::OnDemand }
    }

    /// Whether it is less than Jackfield is made for.
    #[must_use]
    pub fn is_small(self) -> bool {
        self != Self { slots: pool::SIZES[0], layout: MemoryLayout::Reserved }
    }
}

/// Whether so much address space is free beside what the server needs.
pub(super) fn has_room(bytes: u64) -> bool {
    let Ok(length) = usize::try_from(bytes.saturating_add(HEADROOM_BYTES)) else { return false };
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    #[expect(
        unsafe_code,
        reason = "only a mapping shows what is free; limits differ between systems"
    )]
    // SAFETY: a new mapping without access at an address that the system chooses, removed at once.
    unsafe {
        mmap_anonymous(ptr::null_mut(), length, ProtFlags::empty(), flags)
            .and_then(|mapped| munmap(mapped, length))
            .is_ok()
    }
}
