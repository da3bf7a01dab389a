//! `cargo xtask script-runner`: builds the component that runs scripts. The built component is in
//! the repository and is embedded in the host, so that the host can be built without Node.js.
//!
//! A file beside the component contains a hash of its sources. `--check` compares this hash with
//! that of the current sources.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use lexopt::{Arg, Parser, ValueExt as _};
use sha2::{Digest, Sha256};

use crate::connectors::collect_files;
use crate::step::{program_command, run_program, run_step};
use crate::tools;
use crate::workspace::Workspace;

const RUNNER_FOLDER: &str = "guest-examples/script-runner";
/// The file of the contract. The component is built from this file, too.
const CONTRACT_FILE: &str = "wit/connector.wit";

pub(crate) struct Arguments {
    /// Whether to build nothing, and only to compare the stored hash with that of the sources.
    is_check_only: bool,
    /// The file to which the component is written; `None` for the component's file in the
    /// repository.
    output: Option<PathBuf>,
}

impl Arguments {
    pub(crate) fn parse(parser: &mut Parser) -> Result<Self, lexopt::Error> {
        let mut arguments = Self { is_check_only: false, output: None };
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("check") => arguments.is_check_only = true,
                Arg::Long("output") => arguments.output = Some(parser.value()?.parse()?),
                other => return Err(other.unexpected()),
            }
        }
        Ok(arguments)
    }
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<()> {
    let folder = workspace.root.join(RUNNER_FOLDER);
    let (component, hash_file) =
        (folder.join("script-runner.wasm"), folder.join("script-runner.sources"));
    let current_hash = hash_sources(&workspace.root)?;
    if arguments.is_check_only {
        if fs::read_to_string(&hash_file).is_ok_and(|hash| hash.trim() == current_hash) {
            return Ok(());
        }
        bail!(
            "{} was not built from the current sources: run `cargo xtask script-runner`",
            component.display()
        );
    }
    run_step("script runner", || match &arguments.output {
        Some(output) => build(workspace, &folder, output),
        None => {
            build(workspace, &folder, &component)?;
            fs::OpenOptions::new().append(true).open(&component)?.write_all(&padding_section())?;
            Ok(fs::write(hash_file, current_hash + "\n")?)
        }
    })
}

/// Bundles the sources and the JavaScript parser acorn into one module. Then builds a component
/// from this module and QuickJS.
fn build(workspace: &Workspace, folder: &Path, component: &Path) -> anyhow::Result<()> {
    let build_folder = workspace.guest_target_folder().join("script-runner");
    let modules = tools::install_node_modules(folder, &build_folder)?;
    let (wit, module) = (build_folder.join("wit"), build_folder.join("runner.js"));
    fs::create_dir_all(wit.join("deps"))?;
    for (from, to) in [
        (folder.join("wit/script.wit"), wit.join("script.wit")),
        (folder.join("wit/deps/random.wit"), wit.join("deps/random.wit")),
        (workspace.root.join(CONTRACT_FILE), wit.join("deps/connector.wit")),
    ] {
        fs::copy(&from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    let mut bundle = program_command(modules.join(".bin/esbuild"), folder);
    bundle.env("NODE_PATH", &modules).args(["runner.js", "--bundle", "--format=esm", "--minify"]);
    bundle.args(["--target=es2023", "--external:jackfield:*", "--external:wasi:*"]);
    bundle.arg("--log-level=warning").arg(format!("--outfile={}", module.display()));
    run_program(&mut bundle, tools::NODE_FIX)?;
    // Run the command in the folder of the module, because the component contains the path that the
    // command gets.
    let mut build = program_command("node", &build_folder);
    build.arg(modules.join("componentize-qjs/bin/componentize-qjs"));
    build.args(["--wit", "wit", "--world", "script-runner", "--sync", "--js", "runner.js"]);
    run_program(build.arg("--output").arg(component), tools::NODE_FIX)
}

/// Returns a custom section of 8 KiB, which the host ignores. A test replaces the component inside
/// the program with a rebuilt component, which may be some bytes larger. The section leaves space
/// for these bytes.
fn padding_section() -> Vec<u8> {
    /// The id of a custom section, the size of the rest of the section (8,189 in LEB128), the
    /// length of the section's name, and the name.
    const HEADER: &[u8] = b"\0\xfd\x3f\x05slack";
    let mut section = HEADER.to_vec();
    section.resize(8_192, 0);
    section
}

/// Returns the SHA-256 of the sources as hex. Lines of WIT files that contain only a comment are
/// not hashed, because they do not change the component.
fn hash_sources(root: &Path) -> anyhow::Result<String> {
    let mut sources = vec![root.join(CONTRACT_FILE)];
    collect_files(&root.join(RUNNER_FOLDER), &mut sources)?;
    let extension = |path: &PathBuf| path.extension().unwrap_or_default().to_owned();
    sources.retain(|path| ["js", "json", "wit"].iter().any(|it| extension(path) == *it));
    sources.sort();
    let mut hash = Sha256::new();
    for source in sources {
        let text = fs::read_to_string(&source);
        let text = text.with_context(|| format!("cannot read {}", source.display()))?;
        let is_code = |line: &&str| extension(&source) != "wit" || !line.trim().starts_with("//");
        hash.update(source.strip_prefix(root)?.as_os_str().as_encoded_bytes());
        for line in text.lines().filter(is_code) {
            hash.update(line);
            hash.update("\n");
        }
    }
    Ok(hash.finalize().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}
