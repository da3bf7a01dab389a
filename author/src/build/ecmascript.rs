//! JavaScript and TypeScript: tsc checks, esbuild makes one module, componentize-qjs puts it into a
//! component with QuickJS, or componentize-js into one with StarlingMonkey.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::steps::Steps;
use super::tools::{NODE, NPM};
use super::world::{EXPORTS, Source, TEST_DATA};
use crate::{AuthorError, Engine, Project};

/// The files of npm that decide what is installed.
const PACKAGE_FILES: [&str; 2] = ["package.json", "package-lock.json"];

pub(super) fn build(
    project: &Project,
    is_typescript: bool,
    to: &Path,
    steps: &mut Steps,
) -> Result<(), AuthorError> {
    NODE.check()?;
    install(project, steps)?;
    let source = if is_typescript { "connector.ts" } else { "connector.js" };
    if is_typescript {
        steps.run("tsc", tool(project, "tsc")?.arg("--noEmit"), NODE.fix)?;
    }
    let mut bundle = tool(project, "esbuild")?;
    bundle.arg(source).args(["--bundle", "--format=esm", "--target=es2023", "--log-level=warning"]);
    bundle.args(["--external:jackfield:*", "--outfile=.build/connector.js"]);
    steps.run("esbuild", bundle.arg("--metafile=.build/bundle.json"), NODE.fix)?;
    let package: Package = json(project, "package.json")?;
    let world = world(project, &package.jackfield, source)?;
    match engine(&package.jackfield)? {
        Engine::Quickjs => {
            let mut componentize = tool(project, "componentize-qjs")?;
            componentize.args(["--wit", "wit", "--world", world, "--js", ".build/connector.js"]);
            // Without it, the component needs the asynchronous ABI, which the server does not
            // offer.
            componentize.arg("--sync").arg("--output").arg(to);
            steps.run("componentize-qjs", &mut componentize, NODE.fix)
        }
        Engine::Starlingmonkey => {
            let mut componentize = tool(project, "componentize-js")?;
            componentize.args([".build/connector.js", "--wit", "wit", "--world-name", world]);
            // A connector answers no requests.
            componentize.args(["--disable", "fetch-event", "--out"]).arg(to);
            steps.run("componentize-js", &mut componentize, NODE.fix)
        }
    }
}

fn engine(choice: &Choice) -> Result<Engine, AuthorError> {
    let Some(name) = &choice.engine else { return Ok(Engine::Quickjs) };
    Engine::parse(name).ok_or_else(|| {
        let names = Engine::ALL.map(Engine::name).join(", ");
        let why = format!("it chooses the engine `{name}`; the engines are {names}");
        AuthorError::file("package.json", why)
    })
}

/// Installs the pinned packages, unless they are installed.
fn install(project: &Project, steps: &mut Steps) -> Result<(), AuthorError> {
    let wanted: Vec<_> =
        PACKAGE_FILES.map(|file| project.read(file).unwrap_or_default()).concat().into();
    let stamp = project.folder.join("node_modules/.jackfield-installed");
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    NPM.check()?;
    let mut install = Command::new("npm");
    // Not `npm ci`: it requires optional packages of other platforms that were never published.
    install.args(["install", "--no-save", "--no-fund", "--no-audit", "--loglevel=error"]);
    steps.run("npm install", install.current_dir(&project.folder), NPM.fix)?;
    fs::write(&stamp, wanted).map_err(AuthorError::disk("create", stamp))
}

/// A tool of `node_modules`.
fn tool(project: &Project, name: &str) -> Result<Command, AuthorError> {
    let program = project.folder.join("node_modules/.bin").join(name);
    if !program.exists() {
        let why = format!(
            "`{name}` is not installed: `devDependencies` must list the tools of a project that \
             `jackfield new` creates"
        );
        return Err(AuthorError::file("package.json", why));
    }
    let mut command = Command::new(program);
    command.current_dir(&project.folder);
    Ok(command)
}

#[derive(Deserialize)]
struct Package {
    #[serde(default)]
    jackfield: Choice,
}

#[derive(Default, Deserialize)]
struct Choice {
    world: Option<String>,
    engine: Option<String>,
}

/// esbuild's description of what it wrote, as far as it is needed.
#[derive(Deserialize)]
struct Bundle {
    outputs: std::collections::BTreeMap<String, Output>,
}

#[derive(Default, Deserialize)]
struct Output {
    imports: Vec<Import>,
    exports: Vec<String>,
}

#[derive(Deserialize)]
struct Import {
    path: String,
}

fn world(project: &Project, choice: &Choice, source: &str) -> Result<&'static str, AuthorError> {
    let bundle: Bundle = json(project, ".build/bundle.json")?;
    let output = bundle.outputs.into_values().next().unwrap_or_default();
    let is_exported = |interface: &&str| output.exports.contains(&camel_case(interface));
    let is_test_data = |import: &Import| {
        let interface = import.path.strip_prefix("jackfield:connector/").unwrap_or_default();
        TEST_DATA.contains(&interface.split('@').next().unwrap_or_default())
    };
    let found = Source {
        chosen: choice.world.as_deref(),
        chosen_in: "package.json",
        exports: EXPORTS.into_iter().filter(|it| is_exported(it)).collect(),
        uses_test_data: output.imports.iter().any(is_test_data),
        spell: |interface| format!("`export const {} = {{ … }}`", camel_case(interface)),
    };
    found
        .world()
        .map(|world| world.name)
        .map_err(|error| AuthorError::file(source, error.to_string()))
}

fn json<T: DeserializeOwned>(project: &Project, file: &str) -> Result<T, AuthorError> {
    let text = project.read(file)?;
    serde_json::from_str(&text)
        .map_err(|error| AuthorError::file(file, format!("it is not valid: {error}")))
}

/// The name of an interface in JavaScript.
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
    fn an_interface_has_its_javascript_name() {
        assert_eq!(EXPORTS.map(camel_case), ["plugin", "defects", "kpis", "followUp"]);
    }
}
