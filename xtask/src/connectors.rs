//! `cargo xtask connectors`: builds the example connectors into `plugins/`.
//!
//! A connector gets its final name only when its file is complete, so a host that watches the
//! folder never reads an incomplete file. A connector whose inputs have not changed is not built
//! again.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::Context;
use jackfield_author::{AuthorError, BuildResult, Engine, Example as ProjectExample};
use lexopt::{Arg, Parser, ValueExt as _};

use crate::step::{cargo_command, program_command, run_program, run_step};
use crate::tools;
use crate::workspace::Workspace;

pub(crate) struct Arguments {
    /// The connectors that are built. If it is empty, all connectors are built.
    examples: Vec<Example>,
}

impl Arguments {
    pub(crate) fn parse(parser: &mut Parser) -> Result<Self, lexopt::Error> {
        let mut examples = Vec::new();
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("only") => examples.push(parser.value()?.parse_with(Example::parse)?),
                other => return Err(other.unexpected()),
            }
        }
        Ok(Self { examples })
    }
}

/// The example connectors, named like their folders in `guest-examples/`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Example {
    Redmine,
    Javascript,
    Python,
    Rest,
    /// A connector that is built from a project of `jackfield new --like`.
    Project(ProjectExample),
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<()> {
    let examples = &arguments.examples;
    build(workspace, if examples.is_empty() { &Example::ALL } else { examples })
}

/// Builds the connectors that are not up to date.
pub(crate) fn build(workspace: &Workspace, examples: &[Example]) -> anyhow::Result<()> {
    fs::create_dir_all(workspace.guest_target_folder())?;
    for example in examples {
        let name = example.name();
        let plugin = workspace.plugins_folder().join(format!("{name}.wasm"));
        let hash_file = workspace.guest_target_folder().join(format!("{name}.inputs"));
        let shared = [
            "wit",
            "author/go-bindings",
            "guest-examples/connector-kit",
            "guest-examples/script-runner",
            "guest-examples/templates",
        ];
        let shared = shared.map(|folder| workspace.root.join(folder));
        let hash = hash_folders(&[&[example.folder(workspace)], &shared[..]].concat())?;
        if plugin.exists() && fs::read_to_string(&hash_file).is_ok_and(|built| built == hash) {
            println!("==> connector {name}: up to date");
            continue;
        }
        run_step(&format!("connector {name}"), || {
            let component = example.build_component(workspace)?;
            copy_to_plugins(&component, &plugin)?;
            Ok(fs::write(&hash_file, &hash)?)
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
        Self::Project(ProjectExample::Github),
        Self::Project(ProjectExample::Jira),
        Self::Project(ProjectExample::AzureDevops),
        Self::Project(ProjectExample::RequestTracker),
        Self::Project(ProjectExample::ServiceNow),
        Self::Project(ProjectExample::Gitlab),
    ];

    fn parse(name: &str) -> anyhow::Result<Self> {
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
            Self::Project(example) => example.name(),
        }
    }

    fn folder(self, workspace: &Workspace) -> PathBuf {
        workspace.root.join("guest-examples").join(self.name())
    }

    fn build_component(self, workspace: &Workspace) -> anyhow::Result<PathBuf> {
        let folder = self.folder(workspace);
        match self {
            Self::Redmine | Self::Rest => build_rust(workspace, &folder, self.name()),
            Self::Javascript => build_javascript(workspace, &folder),
            Self::Python => build_python(workspace, &folder),
            Self::Project(example) => build_example_project(workspace, example),
        }
    }
}

/// The world of the examples `javascript` and `python`.
const EXAMPLE_WORLD: &str = "follow-up-connector";
/// The world of the benchmarks' connectors in JavaScript and Python. They neither use test data nor
/// export `follow-up`.
pub(crate) const PLAIN_WORLD: &str = "plain-connector";

fn build_rust(workspace: &Workspace, folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    tools::install_wasm_target(workspace)?;
    let target = workspace.guest_target_folder();
    let mut build = cargo_command(folder);
    build.args(["build", "--release", "--locked", "--target", tools::WASM_TARGET]);
    run_program(build.arg("--target-dir").arg(&target), "install Rust from https://rustup.rs")?;
    Ok(target.join(tools::WASM_TARGET).join("release").join(format!("{name}.wasm")))
}

fn build_example_project(
    workspace: &Workspace,
    example: ProjectExample,
) -> anyhow::Result<PathBuf> {
    let language = example.language().context("the example does not exist in any language")?;
    let parent = workspace.guest_target_folder().join("projects");
    build_project(workspace, &parent, example.name(), |parent| {
        jackfield_author::new(example.name(), parent, language, Some(example), Engine::Quickjs)
    })
}

/// Creates a project and builds it with the author's tool, like an author does. Returns the path of
/// the built connector.
pub(crate) fn build_project(
    workspace: &Workspace,
    parent: &Path,
    name: &str,
    create_project: impl FnOnce(&Path) -> Result<PathBuf, AuthorError>,
) -> anyhow::Result<PathBuf> {
    let folder = parent.join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(parent)?;
    let folder = create_project(parent)?;
    let tools = workspace.target.join("cache/jackfield/tools");
    match jackfield_author::build(&folder, Some(&tools), &mut |_| ())? {
        BuildResult::Component(component) => Ok(component.publish()?),
        BuildResult::Script(script) => Ok(script),
    }
}

fn build_javascript(workspace: &Workspace, folder: &Path) -> anyhow::Result<PathBuf> {
    let component = workspace.guest_target_folder().join("javascript.wasm");
    build_with_quickjs(workspace, EXAMPLE_WORLD, &folder.join("connector.js"), &component)?;
    Ok(component)
}

/// Builds a connector in JavaScript with the version of QuickJS that the example `javascript` uses.
pub(crate) fn build_with_quickjs(
    workspace: &Workspace,
    world: &str,
    source: &Path,
    component: &Path,
) -> anyhow::Result<()> {
    let example = Example::Javascript.folder(workspace);
    let modules =
        tools::install_node_modules(&example, &workspace.guest_target_folder().join("javascript"))?;
    let mut build = program_command("node", &workspace.root);
    build.arg(modules.join("componentize-qjs/bin/componentize-qjs"));
    build.args(["--wit", "wit", "--world", world, "--sync", "--js"]).arg(source);
    run_program(build.arg("--output").arg(component), tools::NODE_FIX)
}

fn build_python(workspace: &Workspace, folder: &Path) -> anyhow::Result<PathBuf> {
    let component = workspace.guest_target_folder().join("python.wasm");
    build_with_componentize_py(workspace, EXAMPLE_WORLD, folder, "connector", &component)?;
    Ok(component)
}

/// Builds the connector of a Python module with the version of componentize-py that the example
/// `python` uses.
pub(crate) fn build_with_componentize_py(
    workspace: &Workspace,
    world: &str,
    folder: &Path,
    module: &str,
    component: &Path,
) -> anyhow::Result<()> {
    let example = Example::Python.folder(workspace);
    let binaries =
        tools::install_python_venv(&example, &workspace.guest_target_folder().join("python"))?;
    let mut build = program_command(binaries.join("componentize-py"), folder);
    build.arg("--wit-path").arg(workspace.root.join("wit"));
    build.args(["--world", world, "componentize", module]);
    run_program(build.arg("--output").arg(component), tools::PYTHON_FIX)
}

/// Copies a finished component into the plugins folder. The copy is first written under a name that
/// does not end in `.wasm`, because the host ignores such a file. Then the copy is renamed.
fn copy_to_plugins(component: &Path, plugin: &Path) -> anyhow::Result<()> {
    let unfinished = plugin.with_extension("wasm.unfinished");
    fs::copy(component, &unfinished)
        .with_context(|| format!("cannot copy {} to plugins/", component.display()))?;
    Ok(fs::rename(&unfinished, plugin)?)
}

/// Returns a hash of the paths and contents of the files that [`collect_files`] finds.
fn hash_folders(folders: &[PathBuf]) -> anyhow::Result<String> {
    let mut files = vec![];
    for folder in folders {
        collect_files(folder, &mut files)?;
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

/// Adds the path of each file below a folder, except files in folders for generated files.
pub(crate) fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    const GENERATED_FOLDERS: [&str; 3] = ["target", "node_modules", "__pycache__"];
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let entry = entry?;
        if GENERATED_FOLDERS.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true => collect_files(&entry.path(), files)?,
            false => files.push(entry.path()),
        }
    }
    Ok(())
}
