//! The `jackfield` program.

use std::process::ExitCode;

/// Gives back what a hostile run made the host allocate, within seconds and by itself; the system's own
/// allocator keeps it in whichever thread's arena it was.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    jackfield::cli::run(std::env::args_os())
}
