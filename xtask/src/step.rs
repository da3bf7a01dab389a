//! Runs the steps of a command. Prints the name of each step, the output of its programs while they
//! run, and the duration of the step if it succeeds.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};

pub(crate) fn run_step<T>(
    name: &str,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    println!("==> {name}");
    let start = Instant::now();
    let result = work().with_context(|| format!("failed: {name}"))?;
    println!("    done in {:.1} s: {name}", start.elapsed().as_secs_f64());
    Ok(result)
}

pub(crate) fn program_command(name: impl AsRef<OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(name);
    command.current_dir(folder);
    command
}

/// Returns a command that runs the same cargo that runs xtask, without the variables `CARGO_PKG_…`
/// and `CARGO_MANIFEST_…` that cargo set for xtask. With these variables, build scripts that read
/// them would run again, and half of the dependencies would be rebuilt.
pub(crate) fn cargo_command(folder: &Path) -> Command {
    let mut cargo =
        program_command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), folder);
    for (name, _) in std::env::vars_os() {
        let prefixes = ["CARGO_PKG_", "CARGO_MANIFEST_"];
        if prefixes.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Runs a program until it ends. The output of the program is printed immediately. If the program
/// cannot be started, the error contains `fix`, which describes how to fix this.
pub(crate) fn run_program(command: &mut Command, fix: &str) -> anyhow::Result<()> {
    let name = command.get_program().to_owned();
    let status =
        command.status().with_context(|| format!("cannot run {}: {fix}", name.display()))?;
    if !status.success() {
        let arguments: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
        bail!("{} {} ended with {status}", name.display(), arguments.join(" "));
    }
    Ok(())
}
