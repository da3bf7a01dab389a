//! Finds out how much address space the process has. Usually it is enough for a pool in which each
//! guest memory has 4 GiB. It is less if a limit applies (`ulimit -v`), on machines with 39-bit
//! addresses, and in some sandboxes.

use std::ptr;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::domain::string_enum;

use super::pool;

/// Without a pool: the address space that is reserved for one memory. By default, a run may not use
/// more.
pub(super) const ON_DEMAND_BYTES: u64 = 128 << 20;
/// Without a pool: the address space that is reserved for further growth when a memory grows beyond
/// [`ON_DEMAND_BYTES`], so that not each growth moves it.
pub(super) const GROWTH_BYTES: u64 = 32 << 20;
/// Without a pool: the address space of one run, which has one memory, its tables and its stack.
const RUN_BYTES: u64 = ON_DEMAND_BYTES + (4 << 20);
/// Reserved for everything else: heap, threads, compiled code, the database.
const HEADROOM_BYTES: u64 = 2 << 30;

string_enum! {
    /// How the address space of a guest's memory is laid out.
    pub enum MemoryLayout {
        /// 4 GiB of address space are reserved for each memory, so that few accesses are checked.
        Reserved = "reserved",
        /// Less address space is reserved, and each access is checked.
        OnDemand = "on-demand",
    }
}

/// How many guest memories the address space allows, and how they are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressSpace {
    /// Guest memories that can exist at the same time.
    pub slots: u32,
    /// The layout of each memory.
    pub layout: MemoryLayout,
}

impl AddressSpace {
    /// As many slots as fit without a pool, at most `slots_max` and at least one.
    pub(super) fn on_demand(slots_max: u32) -> Self {
        let halves = std::iter::successors(Some(slots_max), |slots| Some(slots / 2));
        let mut tried = halves.take_while(|slots| *slots > 0);
        let slots = tried.find(|slots| has_room(RUN_BYTES * u64::from(*slots))).unwrap_or(1);
        Self { slots, layout: MemoryLayout::OnDemand }
    }

    /// Whether this is less address space than Jackfield is designed for.
    #[must_use]
    pub fn is_small(self) -> bool {
        self != Self { slots: pool::SIZES[0], layout: MemoryLayout::Reserved }
    }
}

/// Whether this much address space is free in addition to what the server needs.
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
