//! The `jackfield` program.

use std::process::ExitCode;

/// jemalloc returns free memory to the system within seconds, also the memory that a hostile run
/// made the host allocate. The system's allocator could keep that memory in the arenas of its
/// threads.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// jemalloc's settings, which it reads before `main`. Only one background thread: if the system
/// allows no more threads, jemalloc would try to start them and report the failure without end.
#[expect(unsafe_code, reason = "jemalloc finds its settings by this name")]
// SAFETY: the only other symbol with this name is jemalloc's own, which is weak. The first word of
// a `&[u8]` is a pointer to its bytes, and these bytes end with zero.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static ALLOCATOR_SETTINGS: &[u8] = b"max_background_threads:1\0";

fn main() -> ExitCode {
    jackfield::cli::run(std::env::args_os())
}
