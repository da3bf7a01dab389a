//! The limits of one compiler process: those of the configuration, or lower ones of the machine, of
//! its control group or of the service.

use rustix::io;
use rustix::process::{
    Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit,
};

use crate::domain::Limits;
use crate::memory::free_bytes;
use crate::runtime::error::MemoryBound;

/// Maximum size of a compiled file, bytes.
const OUTPUT_BYTES_MAX: u64 = 2 << 30;
/// The part of the free memory that a compiler may use, in percent. The server, which keeps
/// running, needs the rest.
const FREE_PERCENT: u64 = 75;
/// Tells the kernel to kill the compiler first when memory runs out. A process may always raise its
/// own value.
const OOM_SCORE: (&str, &str) = ("/proc/self/oom_score_adj", "1000");

/// The limits of one compiler process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CompileLimits {
    /// Maximum address space of the compiler, bytes.
    pub(crate) memory_bytes: u64,
    /// The setting or system limit that `memory_bytes` comes from.
    pub(crate) memory_bound: MemoryBound,
    /// Maximum time of the compiler, milliseconds.
    pub(crate) time_ms: u64,
}

impl CompileLimits {
    /// The limits of a compiler that starts now.
    pub(crate) fn now(limits: &Limits) -> Self {
        Self::lowest(limits, free_bytes(), getrlimit(Resource::As).maximum)
    }

    /// The limits, with the lowest of three limits on memory.
    fn lowest(limits: &Limits, free: Option<u64>, process: Option<u64>) -> Self {
        let free = free.map(|bytes| (bytes / 100 * FREE_PERCENT, MemoryBound::FreeMemory));
        let process = process.map(|bytes| (bytes, MemoryBound::ProcessLimit));
        let key = (limits.compile_memory_bytes, MemoryBound::ConfigKey);
        let all = [Some(key), free, process].into_iter().flatten();
        let (memory_bytes, memory_bound) = all.min_by_key(|(bytes, _)| *bytes).unwrap_or(key);
        Self { memory_bytes, memory_bound, time_ms: limits.compile_ms }
    }
}

/// The size of the largest file that a compiler may write, in bytes.
pub(super) fn output_bytes_max() -> u64 {
    lowered(Resource::Fsize, OUTPUT_BYTES_MAX)
}

/// The limit on a compiler's CPU time, in seconds, and whether it is lower than the configuration
/// allows. The server itself limits the wall time; this limit ends the child if the server cannot.
/// It is enough for one thread on each core.
pub(super) fn cpu_s(time_ms: u64) -> (u64, bool) {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let wanted = time_ms.div_ceil(1_000).saturating_mul(cores);
    let allowed = lowered(Resource::Cpu, wanted);
    (allowed, allowed < wanted)
}

/// The lower of `most` and the process's hard limit: the kernel would refuse a higher one.
fn lowered(resource: Resource, most: u64) -> u64 {
    getrlimit(resource).maximum.unwrap_or(most).min(most)
}

/// The address space that this process has mapped already, bytes; 0 if `/proc` cannot be read. Most
/// of it is the program's file, which needs no free memory.
fn mapped_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').next().and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    pages.saturating_mul(rustix::param::page_size() as u64)
}

/// Sets the limits of the compiler process, in that process.
pub(super) fn limit_this_process(memory_bytes: u64, time_ms: u64) -> io::Result<()> {
    let address_space = memory_bytes.saturating_add(mapped_bytes());
    for (resource, most) in [
        (Resource::As, lowered(Resource::As, address_space)),
        (Resource::Core, 0),
        (Resource::Fsize, output_bytes_max()),
    ] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    // Leave a second between the soft and the hard limit: at the hard limit the kernel sends
    // SIGKILL, which does not say why.
    let cpu_s = cpu_s(time_ms).0;
    let maximum = lowered(Resource::Cpu, cpu_s.saturating_add(1));
    let current = cpu_s.min(maximum.saturating_sub(1)).max(1);
    setrlimit(Resource::Cpu, Rlimit { current: Some(current), maximum: Some(maximum) })?;
    // If this fails, the kernel chooses a process by its size, which usually is the compiler, too.
    let _ = std::fs::write(OOM_SCORE.0, OOM_SCORE.1);
    set_parent_process_death_signal(Some(Signal::KILL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_limit_on_memory_counts_and_is_named() {
        let limits = Limits { compile_memory_bytes: 1_000, ..Limits::default() };
        let lowest = |free, process| {
            let it = CompileLimits::lowest(&limits, free, process);
            (it.memory_bytes, it.memory_bound)
        };
        assert_eq!(lowest(None, None), (1_000, MemoryBound::ConfigKey));
        assert_eq!(lowest(Some(10_000), Some(5_000)), (1_000, MemoryBound::ConfigKey));
        assert_eq!(lowest(Some(1_200), Some(5_000)), (900, MemoryBound::FreeMemory));
        assert_eq!(lowest(Some(1_200), Some(800)), (800, MemoryBound::ProcessLimit));
        assert_eq!(lowest(Some(0), None), (0, MemoryBound::FreeMemory));
    }
}
