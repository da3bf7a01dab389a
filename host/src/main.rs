//! The `jackfield` program.

use std::process::ExitCode;

/// Gives back what a hostile run made the host allocate, within seconds and by itself; the system's own
/// allocator keeps it in whichever thread's arena it was.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// jemalloc's settings, read before `main`. One background thread: where no further ones can be started, it
/// would try and report that without end.
#[expect(unsafe_code, reason = "jemalloc finds its settings by this name")]
// SAFETY: no other symbol has this name but jemalloc's own, which is weak; its first word is a pointer to
// a text that ends with zero.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static ALLOCATOR_SETTINGS: &[u8] = b"max_background_threads:1\0";

fn main() -> ExitCode {
    jackfield::cli::run(std::env::args_os())
}
