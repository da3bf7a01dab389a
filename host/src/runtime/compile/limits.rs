//! Determines and sets the limits of one compiler process. Never sets a limit of the server.

use rustix::io;
use rustix::process::{
    Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit,
};

use crate::domain::Limits;
use crate::memory::free_bytes;
use crate::runtime::error::MemoryBound;

/// Maximum size of a compiled file, bytes.
const OUTPUT_BYTES_MAX: u64 = 2 << 30;
/// A compiler may use at most this part of the free memory, in percent. The running server needs
/// the rest.
const FREE_MEMORY_PERCENT: u64 = 75;
/// A file of `/proc` and the value that a compiler writes into it. When memory runs out, the kernel
/// then kills a compiler before other processes. A process may raise its own value without a
/// privilege.
const OOM_SCORE: (&str, &str) = ("/proc/self/oom_score_adj", "1000");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CompileLimits {
    /// Maximum address space that the compiler may map after its start, bytes.
    pub(crate) memory_bytes: u64,
    /// What `memory_bytes` comes from.
    pub(crate) memory_bound: MemoryBound,
    /// Maximum time of the compiler, milliseconds.
    pub(crate) time_ms: u64,
}

impl CompileLimits {
    pub(crate) fn now(limits: &Limits) -> Self {
        Self::with_lowest_memory_limit(limits, free_bytes(), getrlimit(Resource::As).maximum)
    }

    /// The memory limit is the lowest of three values: the configured limit, a part of the free
    /// memory, and the limit of this process. A value that is `None` is ignored.
    fn with_lowest_memory_limit(limits: &Limits, free: Option<u64>, process: Option<u64>) -> Self {
        let free = free.map(|bytes| (bytes / 100 * FREE_MEMORY_PERCENT, MemoryBound::FreeMemory));
        let process = process.map(|bytes| (bytes, MemoryBound::ProcessLimit));
        let configured = (limits.compile_memory_bytes, MemoryBound::ConfigKey);
        let memory_limits = [Some(configured), free, process].into_iter().flatten();
        let (memory_bytes, memory_bound) =
            memory_limits.min_by_key(|(bytes, _)| *bytes).unwrap_or(configured);
        Self { memory_bytes, memory_bound, time_ms: limits.compile_ms }
    }
}

pub(super) fn output_bytes_max() -> u64 {
    capped_by_hard_limit(Resource::Fsize, OUTPUT_BYTES_MAX)
}

/// Returns the limit on a compiler's CPU time, in seconds, and whether the hard limit of this
/// process makes it lower than the configuration allows. The configuration allows one thread on
/// each core to compute all the time, so usually the server's limit on the elapsed time ends a slow
/// compiler first.
pub(super) fn cpu_limit_s(time_ms: u64) -> (u64, bool) {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let wanted = time_ms.div_ceil(1_000).saturating_mul(cores);
    let allowed = capped_by_hard_limit(Resource::Cpu, wanted);
    (allowed, allowed < wanted)
}

/// Returns `wanted` or the process's hard limit, whichever is lower. The kernel refuses a limit
/// above the hard limit.
fn capped_by_hard_limit(resource: Resource, wanted: u64) -> u64 {
    getrlimit(resource).maximum.unwrap_or(wanted).min(wanted)
}

/// Returns the size of the address space that this process has already mapped, in bytes. Returns 0
/// if `/proc` cannot be read.
fn mapped_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').next().and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    pages.saturating_mul(rustix::param::page_size() as u64)
}

/// Sets the limits of the compiler process, and makes the kernel kill this process when its parent
/// ends. Only the compiler process itself may call this function.
pub(super) fn limit_this_process(memory_bytes: u64, time_ms: u64) -> io::Result<()> {
    let address_space = memory_bytes.saturating_add(mapped_bytes());
    for (resource, limit) in [
        (Resource::As, capped_by_hard_limit(Resource::As, address_space)),
        (Resource::Core, 0),
        (Resource::Fsize, output_bytes_max()),
    ] {
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    // At the soft limit, the kernel sends SIGXCPU, which shows the cause. At the hard limit, one
    // second above, the kernel sends SIGKILL, which does not show the cause.
    let cpu_limit_s = cpu_limit_s(time_ms).0;
    let maximum = capped_by_hard_limit(Resource::Cpu, cpu_limit_s.saturating_add(1));
    let current = cpu_limit_s.min(maximum.saturating_sub(1)).max(1);
    setrlimit(Resource::Cpu, Rlimit { current: Some(current), maximum: Some(maximum) })?;
    // Without this value, the kernel may kill another process when memory runs out.
    let _ = std::fs::write(OOM_SCORE.0, OOM_SCORE.1);
    set_parent_process_death_signal(Some(Signal::KILL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_memory_limit_is_used_and_its_source_is_stored() {
        let limits = Limits { compile_memory_bytes: 1_000, ..Limits::default() };
        let lowest = |free, process| {
            let chosen = CompileLimits::with_lowest_memory_limit(&limits, free, process);
            (chosen.memory_bytes, chosen.memory_bound)
        };
        assert_eq!(lowest(None, None), (1_000, MemoryBound::ConfigKey));
        assert_eq!(lowest(Some(10_000), Some(5_000)), (1_000, MemoryBound::ConfigKey));
        assert_eq!(lowest(Some(1_200), Some(5_000)), (900, MemoryBound::FreeMemory));
        assert_eq!(lowest(Some(1_200), Some(800)), (800, MemoryBound::ProcessLimit));
        assert_eq!(lowest(Some(0), None), (0, MemoryBound::FreeMemory));
    }
}
