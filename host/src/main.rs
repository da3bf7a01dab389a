//! The `jackfield` program: selects the memory allocator and calls `cli`.

use std::process::ExitCode;

/// jemalloc returns free memory to the system within seconds. The system's allocator could retain
/// memory of a hostile connector in the arenas of its threads.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// jemalloc reads these settings before `main`. They allow only one background thread: if the
/// system refused another thread, jemalloc would retry and report the failure forever.
#[expect(unsafe_code, reason = "jemalloc finds its settings by the symbol's name")]
// SAFETY: the only other symbol with this name is jemalloc's own, which is weak. The first word of
// a `&[u8]` is a pointer to its bytes, and these bytes end with zero.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static ALLOCATOR_SETTINGS: &[u8] = b"max_background_threads:1\0";

fn main() -> ExitCode {
    jackfield::cli::run(std::env::args_os())
}
