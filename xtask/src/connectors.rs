//! `cargo xtask connectors`: builds the example connectors into `plugins/`.
//!
//! A finished connector is renamed into the folder, so a host that watches the folder never sees
//! half a file. A connector whose inputs have not changed is not built again.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::Context;
use jackfield_author::{AuthorError, Built, Engine, Example as Like};
use lexopt::{Arg, Parser, ValueExt as _};

use crate::step::{cargo, program, run as run_program, step};
use crate::tools;
use crate::workspace::Workspace;

pub(crate) struct Arguments {
    /// All connectors when empty.
    only: Vec<Example>,
}

impl Arguments {
    pub(crate) fn parse(parser: &mut Parser) -> Result<Self, lexopt::Error> {
        let mut only = Vec::new();
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("only") => only.push(parser.value()?.parse_with(Example::read)?),
                other => return Err(other.unexpected()),
            }
        }
        Ok(Self { only })
    }
}

/// The example connectors, by the names of their folders in `guest-examples/`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Example {
    Redmine,
    Javascript,
    Python,
    Rest,
    /// A project of `jackfield new --like`.
    Project(Like),
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<()> {
    let all = arguments.only.is_empty();
    build(workspace, if all { &Example::ALL } else { &arguments.only })
}

/// Builds the connectors that are not up to date.
pub(crate) fn build(workspace: &Workspace, examples: &[Example]) -> anyhow::Result<()> {
    fs::create_dir_all(workspace.guests())?;
    for example in examples {
        let name = example.name();
        let plugin = workspace.plugins().join(format!("{name}.wasm"));
        let stamp = workspace.guests().join(format!("{name}.inputs"));
        let shared = ["wit", "guest-examples/connector-kit", "guest-examples/templates"];
        let shared = shared.map(|folder| workspace.root.join(folder));
        let inputs = fingerprint(&[&[example.folder(workspace)], &shared[..]].concat())?;
        if plugin.exists() && fs::read_to_string(&stamp).is_ok_and(|built| built == inputs) {
            println!("==> connector {name}: up to date");
            continue;
        }
        step(&format!("connector {name}"), || {
            let component = example.component(workspace)?;
            publish(&component, &plugin)?;
            Ok(fs::write(&stamp, &inputs)?)
        })?;
    }
    Ok(())
}

impl Example {
    pub(crate) const ALL: [Self; 10] = [
        Self::Redmine,
        Self::Javascript,
        Self::Python,
        Self::Rest,
        Self::Project(Like::Github),
        Self::Project(Like::Jira),
        Self::Project(Like::AzureDevops),
        Self::Project(Like::RequestTracker),
        Self::Project(Like::ServiceNow),
        Self::Project(Like::Gitlab),
    ];

    fn read(name: &str) -> anyhow::Result<Self> {
        Self::ALL
            .into_iter()
            .find(|example| example.name() == name)
            .with_context(|| format!("the connectors are {}", Self::ALL.map(Self::name).join(", ")))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Redmine => "redmine",
            Self::Javascript => "javascript",
            Self::Python => "python",
            Self::Rest => "rest",
            Self::Project(like) => like.name(),
        }
    }

    fn folder(self, workspace: &Workspace) -> PathBuf {
        workspace.root.join("guest-examples").join(self.name())
    }

    /// Builds the component and returns its path.
    fn component(self, workspace: &Workspace) -> anyhow::Result<PathBuf> {
        let folder = self.folder(workspace);
        match self {
            Self::Redmine | Self::Rest => build_rust(workspace, &folder, self.name()),
            Self::Javascript => build_javascript(workspace, &folder),
            Self::Python => build_python(workspace, &folder),
            Self::Project(like) => build_like(workspace, like),
        }
    }
}

/// The world of the example connectors in JavaScript and Python.
const WORLD: &str = "follow-up-connector";
/// The world of connectors that use no test data.
pub(crate) const PLAIN_WORLD: &str = "plain-connector";

fn build_rust(workspace: &Workspace, folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    tools::wasm_target(workspace)?;
    let target = workspace.guests();
    let mut build = cargo(folder);
    build.args(["build", "--release", "--locked", "--target", tools::WASM_TARGET]);
    run_program(build.arg("--target-dir").arg(&target), "install Rust from https://rustup.rs")?;
    Ok(target.join(tools::WASM_TARGET).join("release").join(format!("{name}.wasm")))
}

fn build_like(workspace: &Workspace, like: Like) -> anyhow::Result<PathBuf> {
    let language = like.language().context("the example exists in no language")?;
    build_project(workspace, &workspace.guests().join("projects"), like.name(), |parent| {
        jackfield_author::new(like.name(), parent, language, Some(like), Engine::Quickjs)
    })
}

/// Creates and builds a project as its author does: with `new` and `build`.
pub(crate) fn build_project(
    workspace: &Workspace,
    parent: &Path,
    name: &str,
    new: impl FnOnce(&Path) -> Result<PathBuf, AuthorError>,
) -> anyhow::Result<PathBuf> {
    let folder = parent.join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(parent)?;
    let folder = new(parent)?;
    let tools = workspace.target.join("cache/jackfield/tools");
    match jackfield_author::build(&folder, Some(&tools), &mut |_| ())? {
        Built::Component(component) => Ok(component.publish()?),
        Built::Script(script) => Ok(script),
    }
}

fn build_javascript(workspace: &Workspace, folder: &Path) -> anyhow::Result<PathBuf> {
    let component = workspace.guests().join("javascript.wasm");
    quickjs(workspace, WORLD, &folder.join("connector.js"), &component)?;
    Ok(component)
}

/// Builds a connector in JavaScript with QuickJS, in the version that the example uses.
pub(crate) fn quickjs(
    workspace: &Workspace,
    world: &str,
    source: &Path,
    component: &Path,
) -> anyhow::Result<()> {
    let example = Example::Javascript.folder(workspace);
    let modules = tools::node_modules(&example, &workspace.guests().join("javascript"))?;
    let mut build = program("node", &workspace.root);
    build.arg(modules.join("componentize-qjs/bin/componentize-qjs"));
    build.args(["--wit", "wit", "--world", world, "--sync", "--js"]).arg(source);
    run_program(build.arg("--output").arg(component), tools::NODE_FIX)
}

fn build_python(workspace: &Workspace, folder: &Path) -> anyhow::Result<PathBuf> {
    let component = workspace.guests().join("python.wasm");
    componentize_py(workspace, WORLD, folder, "connector", &component)?;
    Ok(component)
}

/// Builds the connector of a Python module, with the tool in the version that the example uses.
pub(crate) fn componentize_py(
    workspace: &Workspace,
    world: &str,
    folder: &Path,
    module: &str,
    component: &Path,
) -> anyhow::Result<()> {
    let example = Example::Python.folder(workspace);
    let binaries = tools::python_venv(&example, &workspace.guests().join("python"))?;
    let mut build = program(binaries.join("componentize-py"), folder);
    build.arg("--wit-path").arg(workspace.root.join("wit"));
    build.args(["--world", world, "componentize", module]);
    run_program(build.arg("--output").arg(component), tools::PYTHON_FIX)
}

/// Publishes a finished component; the host ignores names that do not end in `.wasm`.
fn publish(component: &Path, plugin: &Path) -> anyhow::Result<()> {
    let unfinished = plugin.with_extension("wasm.unfinished");
    fs::copy(component, &unfinished)
        .with_context(|| format!("cannot copy {} to plugins/", component.display()))?;
    Ok(fs::rename(&unfinished, plugin)?)
}

/// A hash of the content of all files in these folders.
fn fingerprint(folders: &[PathBuf]) -> anyhow::Result<String> {
    let mut files = vec![];
    for folder in folders {
        collect(folder, &mut files)?;
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        fs::read(&file)
            .with_context(|| format!("cannot read {}", file.display()))?
            .hash(&mut hasher);
        file.hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// Adds the files below a folder, without generated ones.
pub(crate) fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    const GENERATED: [&str; 3] = ["target", "node_modules", "__pycache__"];
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let entry = entry?;
        if GENERATED.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true => collect(&entry.path(), files)?,
            false => files.push(entry.path()),
        }
    }
    Ok(())
}
