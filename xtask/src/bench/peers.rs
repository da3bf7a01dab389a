//! Builds the programs with which the server is compared, below `target/bench`. The versions of
//! these programs and of their dependencies are pinned.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::step::{cargo_command, run_program, run_step};
use crate::tools;
use crate::workspace::Workspace;

use super::{build_crate, peers_folder};

/// The version of wasmtime that the server uses.
const WASMTIME_VERSION: &str = "48.0.8";

/// The default features of wasmtime's program, except features that `wasmtime serve` does not use.
const WASMTIME_FEATURES: &str = "run,compile,serve,backtrace,parallel-compilation,\
    pooling-allocator,logging,component-model,component-model-async,threads,gc,gc-copying,gc-drc,\
    gc-null,stack-switching,debug-builtins,addr2line,demangle,coredump,profiling,cache";

/// Builds a handler that has neither a sandbox nor a store. The server's throughput is divided by
/// that of this handler.
pub(super) fn build_native_handler(workspace: &Workspace, folder: &Path) -> anyhow::Result<()> {
    build_crate(workspace, "native", folder, &[])
}

pub(super) fn build_other_programs(workspace: &Workspace, folder: &Path) -> anyhow::Result<()> {
    let source = |name: &str| peers_folder(workspace).join(name);
    tools::install_node_modules(&source("fastify"), &folder.join("fastify"))?;
    // Node.js searches packages in the folder of the script.
    fs::copy(source("fastify").join("server.js"), folder.join("fastify/server.js"))?;
    tools::install_python_venv(&source("fastapi"), &folder.join("fastapi"))?;
    tools::install_wasm_target(workspace)?;
    build_crate(workspace, "serve-guest", folder, &["--target", tools::WASM_TARGET])?;
    build_crate(workspace, "extism-plugin", folder, &["--target", tools::WASM_TARGET])?;
    build_crate(workspace, "extism", folder, &[])?;
    install_wasmtime(workspace, &folder.join("wasmtime"))
}

/// Installs wasmtime's command-line program, unless the pinned version is already installed.
fn install_wasmtime(workspace: &Workspace, folder: &Path) -> anyhow::Result<()> {
    let installed = Command::new(folder.join("bin/wasmtime")).arg("--version").output();
    let wanted = format!("wasmtime {WASMTIME_VERSION}");
    if installed.is_ok_and(|it| String::from_utf8_lossy(&it.stdout).starts_with(&wanted)) {
        return Ok(());
    }
    run_step("wasmtime (takes many minutes)", || {
        let mut install = cargo_command(&workspace.root);
        install.args(["install", "wasmtime-cli", "--version", WASMTIME_VERSION, "--locked"]);
        install.args(["--no-default-features", "--features", WASMTIME_FEATURES]);
        install.arg("--target-dir").arg(folder.join("build"));
        run_program(install.arg("--root").arg(folder), "")
    })
}
