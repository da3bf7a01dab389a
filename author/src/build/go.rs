//! Go: the standard toolchain compiles the project together with bindings of the contract. Go is
//! the installed one, or a package of PyPI.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::contract::{Contract, componentize};
use super::settings::Settings;
use super::source::{files, without_comments};
use super::steps::Steps;
use super::tools::{GO, PYTHON};
use super::venv;
use super::world::{EXPORTS, Source, TEST_DATA, World};
use crate::template::FILES;
use crate::{AuthorError, Project};

/// What is added to the generated bindings: their runtime, and what hands calls to the author's
/// package.
const PARTS: &str = "author/go-bindings/";
/// The functions that an author may leave out.
const OPTIONAL: &str = "func Choices(";

pub(super) fn build(
    project: &Project,
    shared_tools: Option<&Path>,
    to: &Path,
    steps: &mut Steps,
) -> Result<(), AuthorError> {
    let go = go(project, shared_tools, steps)?;
    let mut code = String::new();
    for file in files(project, "go")? {
        code += "\n";
        code += &without_comments(&project.read(&file)?);
    }
    let settings = Settings::read(project)?;
    let world = world(&settings, &code)?;
    let bindings = project.scratch().join("bindings");
    steps.step("bindings of the contract", || {
        let generator =
            wit_bindgen_go::Opts { format: wit_bindgen_go::Format::False, ..Default::default() };
        Contract::read(project, world.name)?.write_bindings(generator.build(), &bindings)?;
        write_parts(&bindings, world, code.contains(OPTIONAL))
    })?;
    let module = project.scratch().join("module.wasm");
    let mut compile = Command::new(go);
    // The runtime of the bindings uses a function of Go's own runtime, which needs
    // `-checklinkname=0`.
    compile.args(["build", "-buildmode=c-shared", "-ldflags=-checklinkname=0 -s -w", "-trimpath"]);
    compile.arg("-o").arg(&module).arg("wit_component").current_dir(&project.folder);
    compile.envs([
        ("GOOS", "wasip1"),
        ("GOARCH", "wasm"),
        ("GOTOOLCHAIN", "local"),
        ("GOWORK", "off"),
    ]);
    steps.run("go build", &mut compile, GO.fix)?;
    steps.step("component", || {
        Contract::read(project, world.name)?.embed(&module)?;
        componentize(&module, to)
    })
}

/// The installed Go, or the one that `requirements.txt` pins.
fn go(
    project: &Project,
    shared_tools: Option<&Path>,
    steps: &mut Steps,
) -> Result<PathBuf, AuthorError> {
    let missing = match GO.check() {
        Ok(()) => return Ok("go".into()),
        Err(missing) => missing,
    };
    let is_pinned = project.folder.join(venv::TOOLS).exists();
    if !is_pinned || PYTHON.check().is_err() {
        return Err(missing);
    }
    Ok(venv::tools(project, shared_tools, steps)?.join("go"))
}

/// Adds the parts that the world needs to the bindings.
fn write_parts(bindings: &Path, world: &World, has_choices: bool) -> Result<(), AuthorError> {
    let choices = if has_choices { "choices/" } else { "no_choices/" };
    for (path, content) in FILES {
        let Some(part) = path.strip_prefix(PARTS) else { continue };
        let exported = part.strip_prefix("export_jackfield_connector_");
        let interface = exported.and_then(|part| part.split('/').next());
        let place = match (part.strip_prefix(choices), interface) {
            (Some(file), _) => format!("export_jackfield_connector_plugin/{file}"),
            (None, Some(interface)) if world.exports(&interface.replace('_', "-")) => {
                part.to_owned()
            }
            (None, None) if part.starts_with("pkg/") || part.starts_with("outcome/") => {
                part.to_owned()
            }
            _ => continue,
        };
        let file = bindings.join(place);
        let folder = file.parent().unwrap_or(bindings);
        fs::create_dir_all(folder).map_err(AuthorError::disk("create", folder))?;
        fs::write(&file, content).map_err(AuthorError::disk("create", file))?;
    }
    Ok(())
}

fn world(settings: &Settings, code: &str) -> Result<&'static World, AuthorError> {
    let is_exported = |interface: &&str| {
        functions(interface).iter().any(|name| code.contains(&format!("\nfunc {name}(")))
    };
    let is_imported = |interface: &&str| {
        let names = [
            format!("/{interface}\""),
            format!("/jackfield_connector_{}\"", interface.replace('-', "_")),
        ];
        names.iter().any(|name| code.contains(name))
    };
    let found = Source {
        chosen: settings.world.as_deref(),
        chosen_in: Settings::FILE,
        exports: EXPORTS.into_iter().filter(is_exported).collect(),
        uses_test_data: TEST_DATA.iter().any(is_imported),
        spell: |interface| {
            let functions = functions(interface).iter().map(|name| format!("`func {name}`"));
            format!("the functions {}", functions.collect::<Vec<_>>().join(", "))
        },
    };
    found.world().map_err(|why| AuthorError::file("connector.go", why.to_string()))
}

/// The functions of an interface that an author writes.
fn functions(interface: &str) -> &'static [&'static str] {
    match interface {
        "plugin" => &["Describe", "Check"],
        "defects" => &["Create", "Find"],
        "kpis" => &["Count"],
        _ => &["State", "Comment", "FindComment", "Reopen", "Attach", "Attached"],
    }
}
