//! The `jackfield` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    jackfield::cli::run(std::env::args_os())
}
