//! Runs programs and prints what runs, its output as it arrives, and how long it took.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};

/// Prints the name of a step, runs the step, and prints how long it took.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    println!("==> {what}");
    let start = Instant::now();
    let done = work().with_context(|| format!("failed: {what}"))?;
    println!("    done in {:.1} s: {what}", start.elapsed().as_secs_f64());
    Ok(done)
}

/// A command that runs a program in a folder.
pub(crate) fn program(name: impl AsRef<OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(name);
    command.current_dir(folder);
    command
}

/// The cargo that runs xtask, without the variables that cargo set for xtask. Otherwise, build
/// scripts that read these variables would run again, and half of the dependencies would be
/// rebuilt.
pub(crate) fn cargo(folder: &Path) -> Command {
    let mut cargo = program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), folder);
    for (name, _) in std::env::vars_os() {
        let own = ["CARGO_PKG_", "CARGO_MANIFEST_"];
        if own.iter().any(|own| name.to_string_lossy().starts_with(own)) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Runs a program to completion and prints its output as it arrives. `fix` says what to do if the
/// program cannot be started.
pub(crate) fn run(command: &mut Command, fix: &str) -> anyhow::Result<()> {
    let name = command.get_program().to_owned();
    let status =
        command.status().with_context(|| format!("cannot run {}: {fix}", name.display()))?;
    if !status.success() {
        let arguments: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
        bail!("{} {} ended with {status}", name.display(), arguments.join(" "));
    }
    Ok(())
}
