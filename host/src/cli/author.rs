//! `jackfield new` creates a connector's project, and `jackfield build` builds it. The crate
//! `jackfield-author` does the work. A component that the server's own check refuses never becomes
//! NAME.wasm in the project's folder.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use clap::builder::PossibleValuesParser;
use jackfield_author::{AuthorError, BuildResult, Component, Engine, Example, Language, Step};
use serde::Serialize;

use crate::app::CheckedFile;

use super::check;
use super::output::{Output, eprint};
use super::serve::{read_config, start_runtime};
use super::user_cache::user_cache_folder;

#[derive(Args)]
#[command(after_help = "\
Creates the folder NAME with a connector that works, its settings, a failed test, and a recording of
a tracker's answers. The folder's README.md has the next commands. NAME is the connector's name.

Examples:
  jackfield new my-tracker --lang rust
  jackfield new my-tracker --lang script
  jackfield new my-redmine --lang python --like redmine
  jackfield new my-github --like github")]
pub(super) struct NewArguments {
    /// The connector's name: a-z, 0-9 and `-`
    name: String,
    /// The language; `script` is one file of JavaScript that needs no build [default with --like:
    /// the first language that has the example]
    #[arg(long, value_name = "LANGUAGE")]
    #[arg(value_parser = name_parser(Language::ALL.map(Language::name)))]
    #[arg(required_unless_present = "like")]
    lang: Option<String>,
    /// Start from the example connector for this tracker
    #[arg(long, value_name = "TRACKER")]
    #[arg(value_parser = name_parser(Example::ALL.map(Example::name)))]
    like: Option<String>,
    /// The JavaScript engine; `starlingmonkey` has `fetch`, and makes a connector file of 12 MB
    #[arg(long, value_name = "ENGINE", value_parser = name_parser(Engine::ALL.map(Engine::name)),
        default_value = Engine::Quickjs.name(), hide_default_value = true)]
    engine: String,
}

#[derive(Args)]
#[command(after_help = "\
Builds the project with the tools of its language, and checks the component as `jackfield check`
does. If both succeed, the component becomes NAME.wasm in the project's folder; NAME is the name of
the folder.

A file in the project's folder determines the language: Cargo.toml (Rust), package.json (JavaScript;
TypeScript with tsconfig.json), connector.c, connector.cpp, go.mod or requirements.txt (Python). The
packages that the project pins are installed into its folder. Only the packages of requirements.txt
are shared between projects, in $XDG_CACHE_HOME/jackfield/tools or ~/.cache/jackfield/tools. Rust
projects can share build output through CARGO_TARGET_DIR.

Examples:
  jackfield build
  jackfield build my-tracker")]
pub(super) struct BuildArguments {
    /// The project's folder
    #[arg(default_value = ".", value_name = "FOLDER")]
    folder: PathBuf,
    /// Use this configuration file [default: jackfield.toml, if it exists]
    #[arg(long, value_name = "CONFIG")]
    config: Option<PathBuf>,
}

fn name_parser(names: impl IntoIterator<Item = &'static str>) -> PossibleValuesParser {
    PossibleValuesParser::new(names)
}

/// The project that `jackfield new` created, for `--json`.
#[derive(Serialize)]
struct CreatedProject<'a> {
    folder: &'a Path,
    language: &'static str,
}

/// The connector that `jackfield build` built and checked.
#[derive(Serialize)]
pub(super) struct BuildReport {
    /// The path of NAME.wasm, the component in the project's folder.
    pub(super) file: PathBuf,
    version: String,
    interfaces: Vec<&'static str>,
    bytes: u64,
}

impl NewArguments {
    pub(super) fn run(&self, output: Output) -> anyhow::Result<()> {
        // clap has already refused unknown names.
        let like = self.like.as_deref().and_then(Example::parse);
        let language = self.lang.as_deref().and_then(Language::parse);
        let language = language.or_else(|| like?.language()).unwrap_or(Language::Rust);
        let engine = Engine::parse(&self.engine).unwrap_or(Engine::Quickjs);
        let folder = jackfield_author::new(&self.name, Path::new("."), language, like, engine)?;
        let sentence =
            format!("{0} is created; the next steps are in {0}/README.md", folder.display());
        output.print_result(
            &sentence,
            &CreatedProject { folder: &folder, language: language.name() },
        );
        Ok(())
    }
}

impl BuildArguments {
    pub(super) fn run(self, output: Output) -> anyhow::Result<()> {
        match build(&self.folder)? {
            BuildResult::Component(component) => {
                let report = publish(component, self.config.as_deref())?;
                output.print_record(&report);
            }
            BuildResult::Script(file) => {
                let file = file.display();
                let sentence =
                    format!("{file} is a script, which needs no build: copy it to plugins/");
                output.print_result(&sentence, &serde_json::json!({ "file": file.to_string() }));
            }
        }
        Ok(())
    }
}

/// Builds a project. Tools from PyPI are installed in the user's cache folder, or in the project if
/// the cache folder is not known or cannot be written.
pub(super) fn build(folder: &Path) -> Result<BuildResult, AuthorError> {
    let tools = user_cache_folder().map(|cache| cache.join("tools"));
    jackfield_author::build(folder, tools.as_deref(), &mut print_step)
}

/// Checks a component as the server does, and moves it to NAME.wasm in the project's folder.
pub(super) fn publish(component: Component, config: Option<&Path>) -> anyhow::Result<BuildReport> {
    let (config, _) = read_config(config)?;
    let CheckedFile { report, missing_functions, .. } =
        start_runtime()?.block_on(check::check_file(component.file(), config))?;
    if !missing_functions.is_empty() {
        bail!(
            "the connector would fail at its first event, because exports are missing: {}",
            missing_functions.join("; ")
        );
    }
    Ok(BuildReport {
        file: component.publish()?,
        version: report.manifest.version.to_string(),
        interfaces: report.interfaces.names().collect(),
        bytes: report.bytes,
    })
}

/// Prints the start or the duration of a build step on stderr, because the build tools also print
/// on stderr.
fn print_step(step: &Step) {
    match step.took {
        None => eprint(&format!("==> {}", step.name)),
        Some(took) => eprint(&format!("    {}: {:.1} s", step.name, took.as_secs_f64())),
    }
}
