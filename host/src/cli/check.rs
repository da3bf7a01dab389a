//! `jackfield check`: loads one connector file as the server does, and describes the connector,
//! without a server and without network. Also contains the entry point of the process that compiles
//! components for the server.

mod describe;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::app::{CheckedFile, ConnectorLoader};
use crate::config::Config;
use crate::domain::printable;
use crate::runtime::compile_component_child;

use super::output::{Output, eprint, print};
use super::serve::{read_config, start_runtime};
use super::units::{format_duration, format_size};

#[derive(Args)]
#[command(after_help = "\
Examples:
  jackfield check plugins/redmine.wasm
  jackfield check my-tracker.js")]
pub(super) struct Arguments {
    /// The connector file: a component (.wasm) or a script (.js)
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Use this configuration file [default: jackfield.toml, if it exists]
    #[arg(long, value_name = "CONFIG")]
    config: Option<PathBuf>,
}

/// The description of a connector file.
#[derive(Serialize)]
struct Report<'a> {
    name: &'a str,
    version: String,
    summary: &'a str,
    homepage: Option<&'a str>,
    interfaces: Vec<&'static str>,
    /// The permissions that the connector gets when a person creates a connection, as phrases.
    may: Vec<String>,
    /// What a connection can do with this connector.
    can: Vec<String>,
    /// What a connection cannot do, because the connector lacks an export or a declaration.
    cannot: Vec<String>,
    /// Sentences about the objects and functions that the component exports, but that are missing
    /// in the JavaScript file from which it was built.
    missing: &'a [String],
    settings: &'a Value,
    index_delay_s: Option<u32>,
    imports: &'a [String],
    exports: &'a [String],
    sha256: &'a str,
    bytes: u64,
    compile_ms: u64,
}

impl Arguments {
    pub(super) fn run(self, output: Output) -> anyhow::Result<()> {
        let (config, _) = read_config(self.config.as_deref())?;
        let checked = start_runtime()?.block_on(check_file(&self.file, config))?;
        let report = Report::new(&checked);
        if output.is_json {
            output.print_record(&report);
        } else {
            print(&report.describe(&checked));
        }
        if checked.missing_functions.is_empty() {
            return Ok(());
        }
        let missing = checked.missing_functions.iter();
        missing.for_each(|sentence| eprint(&format!("missing: {sentence}")));
        bail!("{} would fail at its first event: an export is missing", self.file.display())
    }
}

pub(super) async fn check_file(file: &Path, config: Config) -> anyhow::Result<CheckedFile> {
    let checked = ConnectorLoader::start(config)?.check(file).await;
    checked.with_context(|| format!("the server would not load {}", file.display()))
}

impl<'a> Report<'a> {
    fn new(checked: &'a CheckedFile) -> Self {
        let CheckedFile { report, missing_functions, connector } = checked;
        let manifest = &report.manifest;
        let (can, cannot) = describe::describe_abilities(connector);
        Self {
            name: &manifest.name,
            version: manifest.version.to_string(),
            summary: &manifest.summary,
            homepage: manifest.homepage.as_deref(),
            interfaces: report.interfaces.names().collect(),
            may: describe::describe_permissions(connector),
            can,
            cannot,
            missing: missing_functions,
            settings: &manifest.settings_schema,
            index_delay_s: manifest.index_delay_s,
            imports: &report.imports,
            exports: &report.exports,
            sha256: &report.sha256,
            bytes: report.bytes,
            compile_ms: report.compile_ms,
        }
    }

    fn describe(&self, checked: &CheckedFile) -> String {
        let manifest = &checked.report.manifest;
        let mut text = format!("{} {}", printable(self.name), self.version);
        let lines = [Some(self.summary), self.homepage].into_iter().flatten();
        lines
            .filter(|line| !line.is_empty())
            .for_each(|line| text.push_str(&format!("\n{}", printable(line))));
        let mut add_section = |heading: &str, lines: &[String]| {
            if !lines.is_empty() {
                text.push_str(&format!("\n\n{heading}\n  {}", lines.join("\n  ")));
            }
        };
        add_section("It may", &self.may);
        add_section("It can", &self.can);
        add_section("It cannot", &self.cannot);
        add_section("A connection needs", &describe::describe_options(manifest, true));
        add_section("A connection may have", &describe::describe_options(manifest, false));
        let printable_names =
            |names: &[String]| names.iter().map(|name| printable(name)).collect::<Vec<_>>();
        add_section("It imports", &printable_names(self.imports));
        add_section("It exports", &printable_names(self.exports));
        let (size, compiled) = (format_size(self.bytes), format_duration(self.compile_ms));
        add_section(
            "The file",
            &[
                format!("has {size}, was compiled in {compiled}"),
                format!("SHA-256 {}", self.sha256),
            ],
        );
        text
    }
}

/// The arguments that the server passes to its compiler process.
#[derive(Args)]
pub(super) struct CompileArguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl CompileArguments {
    pub(super) fn run(self) -> ExitCode {
        compile_component_child(self.arguments)
    }
}
