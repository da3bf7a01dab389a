//! Rust: cargo builds the component itself.

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

pub(super) fn build(project: &Project, to: &Path, steps: &mut Steps) -> Result<(), AuthorError> {
    RUST.check()?;
    if !has_target(project)? {
        let mut add = Command::new("rustup");
        add.args(["target", "add", TARGET]).current_dir(&project.folder);
        steps.run(&format!("rustup target add {TARGET}"), &mut add, NO_RUSTUP)?;
    }
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--target", TARGET]);
    cargo.arg("--message-format=json-render-diagnostics").current_dir(&project.folder);
    let messages = steps.ask("cargo build --release", &mut cargo, RUST.fix)?;
    let built = component(&messages).ok_or_else(|| {
        AuthorError::file(
            "Cargo.toml",
            "the package makes no component: its library needs `crate-type = [\"cdylib\"]`",
        )
    })?;
    fs::copy(&built, to).map_err(AuthorError::disk("copy", built))?;
    Ok(())
}

/// Whether Rust can compile for the target. rustc is asked, because Rust may be without rustup.
fn has_target(project: &Project) -> Result<bool, AuthorError> {
    let mut ask = Command::new("rustc");
    ask.args(["--print", "target-libdir", "--target", TARGET]).current_dir(&project.folder);
    let answer = output(&mut ask, RUST.fix)?;
    Ok(Path::new(String::from_utf8_lossy(&answer.stdout).trim()).is_dir())
}

/// A message of cargo, as far as it is needed.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// The component that the last artifact has; wherever `CARGO_TARGET_DIR` and the like put it.
fn component(messages: &str) -> Option<PathBuf> {
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
        assert_eq!(component(messages), Some("/t/connector.wasm".into()));
        assert_eq!(component("{\"reason\":\"build-finished\"}"), None);
    }
}
