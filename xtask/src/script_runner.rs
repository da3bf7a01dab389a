//! `cargo xtask script-runner`: builds the component that runs scripts into its folder, where the
//! host includes it. It is kept in the repository, so that the host builds without Node.js.
//!
//! Beside it is a hash of its sources. `--check` compares this hash with the current sources.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use lexopt::{Arg, Parser, ValueExt as _};
use sha2::{Digest, Sha256};

use crate::connectors::collect;
use crate::step::{program, run as run_program, step};
use crate::tools;
use crate::workspace::Workspace;

/// The folder of the component and its sources.
const FOLDER: &str = "guest-examples/script-runner";
/// The contract, which the component contains.
const CONTRACT: &str = "wit/connector.wit";

pub(crate) struct Arguments {
    /// Only compare the hash of the sources.
    check: bool,
    /// Write the component to this file instead.
    output: Option<PathBuf>,
}

impl Arguments {
    pub(crate) fn parse(parser: &mut Parser) -> Result<Self, lexopt::Error> {
        let mut arguments = Self { check: false, output: None };
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("check") => arguments.check = true,
                Arg::Long("output") => arguments.output = Some(parser.value()?.parse()?),
                other => return Err(other.unexpected()),
            }
        }
        Ok(arguments)
    }
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<()> {
    let folder = workspace.root.join(FOLDER);
    let (component, recorded) =
        (folder.join("script-runner.wasm"), folder.join("script-runner.sources"));
    let sources = hash(&workspace.root)?;
    if arguments.check {
        if fs::read_to_string(&recorded).is_ok_and(|hash| hash.trim() == sources) {
            return Ok(());
        }
        bail!("{} is older than its sources: run `cargo xtask script-runner`", component.display());
    }
    step("script runner", || match &arguments.output {
        Some(output) => build(workspace, &folder, output),
        None => {
            build(workspace, &folder, &component)?;
            fs::OpenOptions::new().append(true).open(&component)?.write_all(&slack())?;
            Ok(fs::write(recorded, sources + "\n")?)
        }
    })
}

/// Bundles the sources and the parser into one module, and puts it into QuickJS.
fn build(workspace: &Workspace, folder: &Path, component: &Path) -> anyhow::Result<()> {
    let work = workspace.guests().join("script-runner");
    let modules = tools::node_modules(folder, &work)?;
    let (wit, module) = (work.join("wit"), work.join("runner.js"));
    fs::create_dir_all(wit.join("deps"))?;
    for (from, to) in [
        (folder.join("wit/script.wit"), wit.join("script.wit")),
        (folder.join("wit/deps/random.wit"), wit.join("deps/random.wit")),
        (workspace.root.join(CONTRACT), wit.join("deps/connector.wit")),
    ] {
        fs::copy(&from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    let mut bundle = program(modules.join(".bin/esbuild"), folder);
    bundle.env("NODE_PATH", &modules).args(["runner.js", "--bundle", "--format=esm", "--minify"]);
    bundle.args(["--target=es2023", "--external:jackfield:*", "--external:wasi:*"]);
    bundle.arg("--log-level=warning").arg(format!("--outfile={}", module.display()));
    run_program(&mut bundle, tools::NODE_FIX)?;
    // In the folder of the module: the component contains its path.
    let mut build = program("node", &work);
    build.arg(modules.join("componentize-qjs/bin/componentize-qjs"));
    build.args(["--wit", "wit", "--world", "script-runner", "--sync", "--js", "runner.js"]);
    run_program(build.arg("--output").arg(component), tools::NODE_FIX)
}

/// A custom section, which the host ignores. The sizes of two builds differ by some bytes, and a
/// test puts a rebuilt component into the place of this one in the program.
fn slack() -> Vec<u8> {
    /// A custom section, its size (8,189 in LEB128), and its name with its length.
    const HEADER: &[u8] = b"\0\xfd\x3f\x05slack";
    let mut section = HEADER.to_vec();
    section.resize(8_192, 0);
    section
}

/// The SHA-256 of the sources, without the comments of the WIT, which are not in the component.
fn hash(root: &Path) -> anyhow::Result<String> {
    let mut sources = vec![root.join(CONTRACT)];
    collect(&root.join(FOLDER), &mut sources)?;
    let extension = |path: &PathBuf| path.extension().unwrap_or_default().to_owned();
    sources.retain(|path| ["js", "json", "wit"].iter().any(|known| extension(path) == *known));
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
