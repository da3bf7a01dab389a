//! Builds projects in Rust. cargo itself builds the component.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::steps::{Steps, output};
use super::tools::RUST;
use crate::{AuthorError, Project};

const TARGET: &str = "wasm32-wasip2";
const NO_RUSTUP: &str = "Rust was not installed by rustup: install its standard library for \
                         wasm32-wasip2 (Debian: `apt install libstd-rust-dev-wasm32`)";

pub(super) fn build(
    project: &Project,
    component_file: &Path,
    steps: &mut Steps,
) -> Result<(), AuthorError> {
    RUST.check()?;
    if !has_target(project)? {
        let mut add = Command::new("rustup");
        add.args(["target", "add", TARGET]).current_dir(&project.folder);
        steps.run(&format!("rustup target add {TARGET}"), &mut add, NO_RUSTUP)?;
    }
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--target", TARGET]);
    cargo.arg("--message-format=json-render-diagnostics").current_dir(&project.folder);
    let messages = steps.run_for_output("cargo build --release", &mut cargo, RUST.fix)?;
    let built_file = find_component(&messages).ok_or_else(|| {
        AuthorError::file(
            "Cargo.toml",
            "cargo built no component: the package's library needs `crate-type = [\"cdylib\"]`",
        )
    })?;
    fs::copy(&built_file, component_file).map_err(AuthorError::disk("copy", built_file))?;
    Ok(())
}

/// Whether Rust's standard library for the target is installed. rustc prints where it would be;
/// rustup is not used for this, because it may be missing.
fn has_target(project: &Project) -> Result<bool, AuthorError> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", TARGET]).current_dir(&project.folder);
    let printed = output(&mut rustc, RUST.fix)?;
    Ok(Path::new(String::from_utf8_lossy(&printed.stdout).trim()).is_dir())
}

/// The needed members of a JSON message of cargo.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Finds the path of the component in cargo's messages: the last artifact that is a `.wasm` file.
/// The path is not assumed, because `CARGO_TARGET_DIR` and other settings change it.
fn find_component(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
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
