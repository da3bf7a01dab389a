//! Builds projects in JavaScript and TypeScript. tsc checks the types of TypeScript, and esbuild
//! bundles the sources into one module. Then componentize-qjs makes a component that contains this
//! module and QuickJS. If the project chooses StarlingMonkey, componentize-js makes the component
//! instead.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::steps::Steps;
use super::tools::{NODE, NPM};
use super::world::{ConnectorSource, EXPORTS, TEST_DATA};
use crate::{AuthorError, Engine, Project};

/// The files that determine which packages npm installs.
const PACKAGE_FILES: [&str; 2] = ["package.json", "package-lock.json"];

pub(super) fn build(
    project: &Project,
    is_typescript: bool,
    component_file: &Path,
    steps: &mut Steps,
) -> Result<(), AuthorError> {
    NODE.check()?;
    install_packages(project, steps)?;
    let source = if is_typescript { "connector.ts" } else { "connector.js" };
    if is_typescript {
        steps.run_tool("tsc", tool_command(project, "tsc")?.arg("--noEmit"), NODE.fix)?;
    }
    let mut bundle = tool_command(project, "esbuild")?;
    bundle.arg(source).args(["--bundle", "--format=esm", "--target=es2023", "--log-level=warning"]);
    bundle.args(["--external:jackfield:*", "--outfile=.build/connector.js"]);
    steps.run_tool("esbuild", bundle.arg("--metafile=.build/bundle.json"), NODE.fix)?;
    let package: PackageFile = read_json(project, "package.json")?;
    let world = choose_world(project, &package.jackfield, source)?;
    match chosen_engine(&package.jackfield)? {
        Engine::Quickjs => {
            let mut componentize = tool_command(project, "componentize-qjs")?;
            componentize.args(["--wit", "wit", "--world", world, "--js", ".build/connector.js"]);
            // Without `--sync`, the component would need the asynchronous ABI, which the server
            // does not offer.
            componentize.arg("--sync").arg("--output").arg(component_file);
            steps.run_tool("componentize-qjs", &mut componentize, NODE.fix)
        }
        Engine::Starlingmonkey => {
            let mut componentize = tool_command(project, "componentize-js")?;
            componentize.args([".build/connector.js", "--wit", "wit", "--world-name", world]);
            // The feature `fetch-event` is for components that answer HTTP requests. A connector
            // does not.
            componentize.args(["--disable", "fetch-event", "--out"]).arg(component_file);
            steps.run_tool("componentize-js", &mut componentize, NODE.fix)
        }
    }
}

fn chosen_engine(settings: &JackfieldSettings) -> Result<Engine, AuthorError> {
    let Some(name) = &settings.engine else { return Ok(Engine::Quickjs) };
    Engine::parse(name).ok_or_else(|| {
        let names = Engine::ALL.map(Engine::name).join(", ");
        let why = format!("the engine `{name}` does not exist: choose one of {names}");
        AuthorError::error_in_file("package.json", why)
    })
}

/// Installs the pinned packages, unless they are already installed.
fn install_packages(project: &Project, steps: &mut Steps) -> Result<(), AuthorError> {
    let package_files: Vec<_> =
        PACKAGE_FILES.map(|file| project.read(file).unwrap_or_default()).concat().into();
    let stamp = project.folder.join("node_modules/.jackfield-installed");
    if fs::read(&stamp).is_ok_and(|installed| installed == package_files) {
        return Ok(());
    }
    NPM.check()?;
    let mut install = Command::new("npm");
    // `npm ci` does not work here. It requires the optional packages for all platforms, and some of
    // them were never published.
    install.args(["install", "--no-save", "--no-fund", "--no-audit", "--loglevel=error"]);
    steps.run_tool("npm install", install.current_dir(&project.folder), NPM.fix)?;
    fs::write(&stamp, package_files).map_err(AuthorError::disk_error("create", stamp))
}

fn tool_command(project: &Project, name: &str) -> Result<Command, AuthorError> {
    let program = project.folder.join("node_modules/.bin").join(name);
    if !program.exists() {
        let why = format!(
            "`{name}` is not installed: `devDependencies` must list the tools of a project that \
             `jackfield new` creates"
        );
        return Err(AuthorError::error_in_file("package.json", why));
    }
    let mut command = Command::new(program);
    command.current_dir(&project.folder);
    Ok(command)
}

#[derive(Deserialize)]
struct PackageFile {
    #[serde(default)]
    jackfield: JackfieldSettings,
}

/// The member `jackfield` of `package.json`.
#[derive(Default, Deserialize)]
struct JackfieldSettings {
    /// The name of a world. If it is `None`, the exports and imports determine the world.
    world: Option<String>,
    /// The name of an engine. If it is `None`, the engine is QuickJS.
    engine: Option<String>,
}

/// The part of esbuild's metafile that the build reads.
#[derive(Deserialize)]
struct Metafile {
    /// The bundled files by their paths. The build bundles all sources into one file.
    outputs: std::collections::BTreeMap<String, BundledFile>,
}

#[derive(Default, Deserialize)]
struct BundledFile {
    imports: Vec<Import>,
    exports: Vec<String>,
}

#[derive(Deserialize)]
struct Import {
    /// What the import statement names, such as `jackfield:connector/report@0.1.0`.
    path: String,
}

fn choose_world(
    project: &Project,
    settings: &JackfieldSettings,
    source_file: &str,
) -> Result<&'static str, AuthorError> {
    let metafile: Metafile = read_json(project, ".build/bundle.json")?;
    let bundled_file = metafile.outputs.into_values().next().unwrap_or_default();
    let is_exported = |interface: &&str| bundled_file.exports.contains(&camel_case(interface));
    let is_test_data = |import: &Import| {
        let interface = import.path.strip_prefix("jackfield:connector/").unwrap_or_default();
        TEST_DATA.contains(&interface.split('@').next().unwrap_or_default())
    };
    let source = ConnectorSource {
        chosen_world: settings.world.as_deref(),
        settings_file: "package.json",
        exports: EXPORTS.into_iter().filter(|it| is_exported(it)).collect(),
        uses_test_data: bundled_file.imports.iter().any(is_test_data),
        describe_export: |interface| format!("`export const {} = {{ … }}`", camel_case(interface)),
    };
    source
        .choose_world()
        .map(|world| world.name)
        .map_err(|error| AuthorError::error_in_file(source_file, error.to_string()))
}

fn read_json<T: DeserializeOwned>(project: &Project, file: &str) -> Result<T, AuthorError> {
    let text = project.read(file)?;
    serde_json::from_str(&text).map_err(|error| {
        AuthorError::error_in_file(file, format!("this file is not valid: {error}"))
    })
}

fn camel_case(name: &str) -> String {
    match name.split_once('-') {
        Some((first, rest)) => {
            let (initial, end) = rest.split_at(rest.len().min(1));
            format!("{first}{}{end}", initial.to_uppercase())
        }
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_have_camel_case_names_in_javascript() {
        assert_eq!(EXPORTS.map(camel_case), ["plugin", "defects", "kpis", "followUp"]);
    }
}
