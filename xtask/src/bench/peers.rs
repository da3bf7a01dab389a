//! Builds what the server is compared with into `target/bench`, each with pinned versions.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::step::{cargo, run, step};
use crate::tools;
use crate::workspace::Workspace;

use super::{build, sources};

/// The version of wasmtime that the server uses.
const WASMTIME_VERSION: &str = "48.0.8";

/// The default ones, without commands and interfaces that `serve` does not use.
const WASMTIME_FEATURES: &str = "run,compile,serve,backtrace,parallel-compilation,\
    pooling-allocator,logging,component-model,component-model-async,threads,gc,gc-copying,gc-drc,\
    gc-null,stack-switching,debug-builtins,addr2line,demangle,coredump,profiling,cache";

/// The handler without a sandbox and a store: the limit.
pub(super) fn native(workspace: &Workspace, folder: &Path) -> anyhow::Result<()> {
    build(workspace, "native", folder, &[])
}

pub(super) fn all(workspace: &Workspace, folder: &Path) -> anyhow::Result<()> {
    let source = |name: &str| sources(workspace).join(name);
    tools::node_modules(&source("fastify"), &folder.join("fastify"))?;
    // Node looks for packages beside the script.
    fs::copy(source("fastify").join("server.js"), folder.join("fastify/server.js"))?;
    tools::python_venv(&source("fastapi"), &folder.join("fastapi"))?;
    tools::wasm_target(workspace)?;
    build(workspace, "serve-guest", folder, &["--target", tools::WASM_TARGET])?;
    build(workspace, "extism-plugin", folder, &["--target", tools::WASM_TARGET])?;
    build(workspace, "extism", folder, &[])?;
    wasmtime(workspace, &folder.join("wasmtime"))
}

/// Installs wasmtime's own program, unless this version is there.
fn wasmtime(workspace: &Workspace, folder: &Path) -> anyhow::Result<()> {
    let installed = Command::new(folder.join("bin/wasmtime")).arg("--version").output();
    let wanted = format!("wasmtime {WASMTIME_VERSION}");
    if installed.is_ok_and(|it| String::from_utf8_lossy(&it.stdout).starts_with(&wanted)) {
        return Ok(());
    }
    step("wasmtime (takes many minutes)", || {
        let mut install = cargo(&workspace.root);
        install.args(["install", "wasmtime-cli", "--version", WASMTIME_VERSION, "--locked"]);
        install.args(["--no-default-features", "--features", WASMTIME_FEATURES]);
        install.arg("--target-dir").arg(folder.join("build"));
        run(install.arg("--root").arg(folder), "")
    })
}
