//! Builds projects in Rust. cargo compiles a project directly to a component.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::steps::{Steps, collect_output};
use super::tools::RUST;
use crate::{AuthorError, Project};

const TARGET: &str = "wasm32-wasip2";
/// An instruction that installs the target if `rustup` is missing.
const FIX_WITHOUT_RUSTUP: &str = "Rust was not installed by rustup: install its standard library \
                                  for wasm32-wasip2 (Debian: `apt install \
                                  libstd-rust-dev-wasm32`)";

pub(super) fn build(
    project: &Project,
    component_file: &Path,
    steps: &mut Steps,
) -> Result<(), AuthorError> {
    RUST.check()?;
    if !has_target(project)? {
        let mut add = Command::new("rustup");
        add.args(["target", "add", TARGET]).current_dir(&project.folder);
        steps.run_tool(&format!("rustup target add {TARGET}"), &mut add, FIX_WITHOUT_RUSTUP)?;
    }
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--target", TARGET]);
    cargo.arg("--message-format=json-render-diagnostics").current_dir(&project.folder);
    let messages = steps.run_tool_for_output("cargo build --release", &mut cargo, RUST.fix)?;
    let built_file = find_component(&messages).ok_or_else(|| {
        AuthorError::error_in_file(
            "Cargo.toml",
            "cargo built no component: the package's library needs `crate-type = [\"cdylib\"]`",
        )
    })?;
    fs::copy(&built_file, component_file).map_err(AuthorError::disk_error("copy", built_file))?;
    Ok(())
}

/// Whether Rust's standard library for the target is installed. `rustup` is not asked, because it
/// may be missing.
fn has_target(project: &Project) -> Result<bool, AuthorError> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", TARGET]).current_dir(&project.folder);
    let printed = collect_output(&mut rustc, RUST.fix)?;
    Ok(Path::new(String::from_utf8_lossy(&printed.stdout).trim()).is_dir())
}

#[derive(Deserialize)]
struct CargoMessage {
    /// The kind of the message, such as `compiler-artifact`.
    reason: String,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// The component is the last built file whose name ends in `.wasm`. Its path cannot be assumed,
/// because `CARGO_TARGET_DIR` and other settings change it.
fn find_component(messages: &str) -> Option<PathBuf> {
    let messages =
        messages.lines().filter_map(|line| serde_json::from_str::<CargoMessage>(line).ok());
    let artifacts = messages.filter(|message| message.reason == "compiler-artifact");
    let mut files = artifacts.flat_map(|artifact| artifact.filenames).rev();
    files.find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_component_is_the_last_wasm_file_of_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","filenames":["/t/libkit.rlib"]}
            {"reason":"build-script-executed"}
            {"reason":"compiler-artifact","filenames":["/t/connector.wasm"]}
            {"reason":"build-finished","success":true}"#;
        assert_eq!(find_component(messages), Some("/t/connector.wasm".into()));
        assert_eq!(find_component("{\"reason\":\"build-finished\"}"), None);
    }
}
