//! Builds projects in Python. componentize-py makes a component that contains the project's module
//! and CPython. The build installs componentize-py into a virtual environment.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use super::steps::Steps;
use super::tools::PYTHON;
use super::venv;
use super::world::{ConnectorSource, EXPORTS, TEST_DATA};
use crate::{AuthorError, Project};

/// A Python program that parses `connector.py` and does not run it. The program prints the names of
/// the top-level classes in the file, and the names that the file imports.
const PRINT_MODULE_NAMES: &str = "\
import ast, json, sys, traceback
try:
    tree = ast.parse(open('connector.py', encoding='utf-8').read(), 'connector.py')
except SyntaxError:
    traceback.print_exc(limit=0)
    sys.exit(1)
classes = [it.name for it in tree.body if isinstance(it, ast.ClassDef)]
imports = [name.name for it in ast.walk(tree)
           if isinstance(it, (ast.Import, ast.ImportFrom)) for name in it.names]
print(json.dumps({'classes': classes, 'imports': imports}))";

pub(super) fn build(
    project: &Project,
    shared_tools: Option<&Path>,
    component_file: &Path,
    steps: &mut Steps,
) -> Result<(), AuthorError> {
    PYTHON.check()?;
    let tool = venv::install_tools(project, shared_tools, steps)?.join("componentize-py");
    if !tool.exists() {
        let why = "add `componentize-py`, which builds the component";
        return Err(AuthorError::error_in_file("requirements.txt", why));
    }
    let world = choose_world(project, steps)?;
    let componentize_py = || {
        let mut command = Command::new(&tool);
        command.args(["--wit-path", "wit", "--world", world]).current_dir(&project.folder);
        command
    };
    let types = project.build_folder().join("types");
    let _ = fs::remove_dir_all(&types);
    steps.run_tool(
        "types for the editor",
        componentize_py().arg("bindings").arg(&types),
        PYTHON.fix,
    )?;
    let mut command = componentize_py();
    command.args(["componentize", "connector", "--output"]).arg(component_file);
    steps.run_tool("componentize-py", &mut command, PYTHON.fix)
}

#[derive(Default, Deserialize)]
struct PyprojectFile {
    #[serde(default)]
    tool: ToolTable,
}

#[derive(Default, Deserialize)]
struct ToolTable {
    #[serde(default)]
    jackfield: JackfieldSettings,
}

/// The table `tool.jackfield`.
#[derive(Default, Deserialize)]
struct JackfieldSettings {
    /// The name of a world. If it is `None`, the exports and imports determine the world.
    world: Option<String>,
}

/// The output of [`PRINT_MODULE_NAMES`].
#[derive(Deserialize)]
struct ModuleNames {
    classes: Vec<String>,
    imports: Vec<String>,
}

fn choose_world(project: &Project, steps: &mut Steps) -> Result<&'static str, AuthorError> {
    let mut read = Command::new("python3");
    read.args(["-c", PRINT_MODULE_NAMES]).current_dir(&project.folder);
    let module = steps.run_tool_for_output("syntax of connector.py", &mut read, PYTHON.fix)?;
    let module: ModuleNames = serde_json::from_str(&module).map_err(|error| {
        AuthorError::error_in_file("connector.py", format!("cannot be read: {error}"))
    })?;
    let settings = match project.folder.join("pyproject.toml").exists() {
        true => toml::from_str(&project.read("pyproject.toml")?)
            .map_err(|error| AuthorError::error_in_file("pyproject.toml", error.to_string()))?,
        false => PyprojectFile::default(),
    };
    let is_exported = |interface: &&str| module.classes.contains(&class_name(interface));
    let source = ConnectorSource {
        chosen_world: settings.tool.jackfield.world.as_deref(),
        settings_file: "pyproject.toml",
        exports: EXPORTS.into_iter().filter(|it| is_exported(it)).collect(),
        uses_test_data: module.imports.iter().any(|it| TEST_DATA.contains(&&*it.replace('_', "-"))),
        describe_export: |interface| {
            let name = class_name(interface);
            format!("`class {name}(exports.{name})`")
        },
    };
    source
        .choose_world()
        .map(|world| world.name)
        .map_err(|error| AuthorError::error_in_file("connector.py", error.to_string()))
}

fn class_name(interface: &str) -> String {
    let words = interface.split('-').map(|word| {
        let (initial, end) = word.split_at(word.len().min(1));
        initial.to_uppercase() + end
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_exported_by_classes_with_pascal_case_names() {
        assert_eq!(EXPORTS.map(class_name), ["Plugin", "Defects", "Kpis", "FollowUp"]);
    }
}
