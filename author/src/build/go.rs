//! Builds projects in Go. Go's standard compiler compiles the project together with generated
//! bindings of the contract. The build uses the installed Go, or a package of PyPI that contains
//! Go.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::contract::{Contract, componentize};
use super::settings::Settings;
use super::source::{source_files, without_comments};
use super::steps::Steps;
use super::tools::{GO, PYTHON};
use super::venv;
use super::world::{ConnectorSource, EXPORTS, TEST_DATA, World};
use crate::template::EMBEDDED_FILES;
use crate::{AuthorError, Project};

/// The folder of the repository with the files that the build adds to the generated bindings.
const ADDED_BINDINGS_FOLDER: &str = "author/go-bindings/";
/// The beginning of the declaration of `Choices`. An author may leave out this function of the
/// interface `plugin`.
const CHOICES_DECLARATION: &str = "func Choices(";

pub(super) fn build(
    project: &Project,
    shared_tools: Option<&Path>,
    component_file: &Path,
    steps: &mut Steps,
) -> Result<(), AuthorError> {
    let settings = read_settings(project)?;
    let go = find_or_install_go(project, shared_tools, steps)?;
    let mut code = String::new();
    for file in source_files(project, "go")? {
        code += "\n";
        code += &without_comments(&project.read(&file)?);
    }
    let world = choose_world(&settings, &code)?;
    let bindings = project.build_folder().join("bindings");
    steps.run_closure("bindings of the contract", || {
        let generator =
            wit_bindgen_go::Opts { format: wit_bindgen_go::Format::False, ..Default::default() };
        Contract::read(project, world.name)?.write_bindings(generator.build(), &bindings)?;
        write_added_bindings(&bindings, world, code.contains(CHOICES_DECLARATION))
    })?;
    let module = project.build_folder().join("module.wasm");
    let mut compile = Command::new(go);
    // The bindings use the function `sbrk` of Go's runtime. Without `-checklinkname=0`, the linker
    // does not allow this.
    compile.args(["build", "-buildmode=c-shared", "-ldflags=-checklinkname=0 -s -w", "-trimpath"]);
    compile.arg("-o").arg(&module).arg("wit_component").current_dir(&project.folder);
    compile.envs([
        ("GOOS", "wasip1"),
        ("GOARCH", "wasm"),
        ("GOTOOLCHAIN", "local"),
        ("GOWORK", "off"),
    ]);
    steps.run_tool("go build", &mut compile, GO.fix)?;
    steps.run_closure("component", || {
        Contract::read(project, world.name)?.embed_world(&module)?;
        componentize(&module, component_file)
    })
}

/// Reads `connector.toml`, and refuses a list of source files, which is only for C and C++.
fn read_settings(project: &Project) -> Result<Settings, AuthorError> {
    let settings = Settings::read(project)?;
    if !settings.sources.is_empty() {
        let why = "`sources` is only for projects in C and C++: `go build` finds the packages of a \
                   project itself";
        return Err(AuthorError::error_in_file(Settings::FILE, why.to_owned()));
    }
    Ok(settings)
}

/// Returns the path of the installed Go. If Go is missing or too old, installs the packages that
/// `requirements.txt` pins, and returns the path of their Go. Without this file, or without Python,
/// returns the error about Go.
fn find_or_install_go(
    project: &Project,
    shared_tools: Option<&Path>,
    steps: &mut Steps,
) -> Result<PathBuf, AuthorError> {
    let error = match GO.check() {
        Ok(()) => return Ok("go".into()),
        Err(error) => error,
    };
    let is_pinned = project.folder.join(venv::TOOLS_FILE).exists();
    if !is_pinned || PYTHON.check().is_err() {
        return Err(error);
    }
    Ok(venv::install_tools(project, shared_tools, steps)?.join("go"))
}

/// Adds files of [`ADDED_BINDINGS_FOLDER`] to the bindings: `pkg/`, `outcome/`, the folders of the
/// interfaces that the world exports, and `choices/` or `no_choices/`.
fn write_added_bindings(
    bindings: &Path,
    world: &World,
    has_choices: bool,
) -> Result<(), AuthorError> {
    let choices = if has_choices { "choices/" } else { "no_choices/" };
    for (path, content) in EMBEDDED_FILES {
        let Some(relative) = path.strip_prefix(ADDED_BINDINGS_FOLDER) else { continue };
        let export_file = relative.strip_prefix("export_jackfield_connector_");
        let interface = export_file.and_then(|path| path.split('/').next());
        let target = match (relative.strip_prefix(choices), interface) {
            (Some(file), _) => format!("export_jackfield_connector_plugin/{file}"),
            (None, Some(interface)) if world.exports(&interface.replace('_', "-")) => {
                relative.to_owned()
            }
            (None, None) if relative.starts_with("pkg/") || relative.starts_with("outcome/") => {
                relative.to_owned()
            }
            _ => continue,
        };
        let file = bindings.join(target);
        let folder = file.parent().unwrap_or(bindings);
        fs::create_dir_all(folder).map_err(AuthorError::disk_error("create", folder))?;
        fs::write(&file, content).map_err(AuthorError::disk_error("create", file))?;
    }
    Ok(())
}

/// `code` is all sources without comments.
fn choose_world(settings: &Settings, code: &str) -> Result<&'static World, AuthorError> {
    let is_exported = |interface: &&str| {
        author_functions(interface).iter().any(|name| code.contains(&format!("\nfunc {name}(")))
    };
    let is_imported = |interface: &&str| {
        let names = [
            format!("/{interface}\""),
            format!("/jackfield_connector_{}\"", interface.replace('-', "_")),
        ];
        names.iter().any(|name| code.contains(name))
    };
    let source = ConnectorSource {
        chosen_world: settings.world.as_deref(),
        settings_file: Settings::FILE,
        exports: EXPORTS.into_iter().filter(is_exported).collect(),
        uses_test_data: TEST_DATA.iter().any(is_imported),
        describe_export: |interface| {
            let functions = author_functions(interface).iter().map(|name| format!("`func {name}`"));
            format!("the functions {}", functions.collect::<Vec<_>>().join(", "))
        },
    };
    source.choose_world().map_err(|why| AuthorError::error_in_file("connector.go", why.to_string()))
}

/// Returns the names of the functions that an author must write for an exported interface.
fn author_functions(interface: &str) -> &'static [&'static str] {
    match interface {
        "plugin" => &["Describe", "Check"],
        "defects" => &["Create", "Find"],
        "kpis" => &["Count"],
        _ => &["State", "Comment", "FindComment", "Reopen", "Attach", "Attached"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_may_not_list_source_files() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("qa");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("go.mod"), "").unwrap();
        let project = Project::open(&folder).unwrap();
        assert!(read_settings(&project).is_ok());
        fs::write(folder.join(Settings::FILE), "sources = [\"more.go\"]").unwrap();
        let error = read_settings(&project).unwrap_err().to_string();
        assert!(error.contains("only for projects in C and C++"), "{error}");
    }
}
