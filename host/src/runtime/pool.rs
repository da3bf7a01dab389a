//! Configures the engine's pool of memories, tables and stacks, and computes how many slots of the
//! pool one instance needs. Never allocates a slot: the engine does it.

use wasmtime::component::Component;
use wasmtime::{Enabled, PoolingAllocationConfig};

use super::error::LoadError;
use super::limiter::{INSTANCES_MAX, MEMORIES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX};

/// The sizes of pools, in slots. The host tries them in this order until a pool fits into the
/// address space. A slot needs about 4 GiB of address space, and contains one linear memory and
/// [`TABLES_PER_SLOT`] tables. The smallest pool is large enough for one run of any component.
pub(super) const SLOT_COUNTS: [u32; 4] = [1_000, 250, 60, MEMORIES_MAX];
const TABLES_PER_SLOT: u32 = 4;
/// Maximum number of unused slots that keep their memory pages for the component that used them
/// last, so that its next run starts faster. A higher number would keep more memory of versions
/// that were replaced.
const WARM_SLOTS_MAX: u32 = 32;
/// Maximum size of one linear memory, even if a run's limit is higher.
const MEMORY_BYTES_MAX: usize = 1 << 30;
/// At most this number of bytes of a memory or table stay mapped between runs. Clearing these bytes
/// costs less than mapping them again.
const RESIDENT_BYTES_MAX: usize = 2 << 20;

pub(super) fn pool_config(slots: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_memories(slots)
        .total_tables(slots * TABLES_PER_SLOT)
        // A run needs one stack, one component instance and at least one slot, so these numbers are
        // enough.
        .total_stacks(slots)
        .total_component_instances(slots)
        // This limit reserves nothing, so it allows each run the maximum for one component.
        .total_core_instances(slots * INSTANCES_MAX)
        .max_unused_warm_slots(WARM_SLOTS_MAX)
        .max_memory_size(MEMORY_BYTES_MAX)
        .max_memories_per_module(8)
        .max_tables_per_module(8)
        .max_core_instances_per_component(INSTANCES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .linear_memory_keep_resident(RESIDENT_BYTES_MAX)
        .table_keep_resident(RESIDENT_BYTES_MAX)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// Returns how many slots one instance of a component needs.
///
/// # Errors
/// The component has more memories or tables than a run may have, or it imports a core module.
pub(super) fn slots_needed(component: &Component) -> Result<u32, LoadError> {
    let too_many = |what, count, max| Err(LoadError::TooMany { what, count, max });
    let Some(needed) = component.resources_required() else {
        return Err(LoadError::ImportsModule);
    };
    match (needed.num_memories, needed.num_tables) {
        (memories, _) if memories > MEMORIES_MAX => too_many("memories", memories, MEMORIES_MAX),
        (_, tables) if tables > TABLES_MAX => too_many("tables", tables, TABLES_MAX),
        (memories, tables) => Ok(memories.max(tables.div_ceil(TABLES_PER_SLOT)).max(1)),
    }
}
