//! `jackfield check`: loads one connector file as the server does, and describes the connector. It
//! needs no server and no network. This file also has the entry point of the process that compiles
//! components for the server.

mod describe;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::app::{CheckedFile, Checker};
use crate::config::Config;
use crate::domain::printable;
use crate::runtime::compile_component_child;

use super::output::{Output, eprint, print};
use super::serve::{read_config, runtime};
use super::units::{duration, size};

#[derive(Args)]
#[command(after_help = "\
Examples:
  jackfield check plugins/redmine.wasm
  jackfield check my-tracker.js")]
pub(super) struct Arguments {
    /// The connector file: a component (.wasm) or a script (.js)
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Read the limits from this configuration file [default: jackfield.toml, if it exists]
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
    /// What a connection grants it.
    may: Vec<String>,
    /// What it can do for users, and what it cannot.
    can: Vec<String>,
    cannot: Vec<String>,
    /// What the file says it exports and does not have.
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
        let checked = runtime()?.block_on(check(&self.file, config))?;
        let report = Report::of(&checked);
        if output.json {
            output.print_record(&report);
        } else {
            print(&report.text(&checked));
        }
        if checked.missing.is_empty() {
            return Ok(());
        }
        checked.missing.iter().for_each(|missing| eprint(&format!("missing: {missing}")));
        bail!("{} would fail at its first event: an export is missing", self.file.display())
    }
}

pub(super) async fn check(file: &Path, config: Config) -> anyhow::Result<CheckedFile> {
    let checked = Checker::start(config)?.check(file).await;
    checked.with_context(|| format!("the server would not load {}", file.display()))
}

impl<'a> Report<'a> {
    fn of(checked: &'a CheckedFile) -> Self {
        let CheckedFile { report, missing, connector } = checked;
        let manifest = &report.manifest;
        let (can, cannot) = describe::abilities(connector);
        Self {
            name: &manifest.name,
            version: manifest.version.to_string(),
            summary: &manifest.summary,
            homepage: manifest.homepage.as_deref(),
            interfaces: report.interfaces.names().collect(),
            may: describe::permissions(connector),
            can,
            cannot,
            missing,
            settings: &manifest.settings_schema,
            index_delay_s: manifest.index_delay_s,
            imports: &report.imports,
            exports: &report.exports,
            sha256: &report.sha256,
            bytes: report.bytes,
            compile_ms: report.compile_ms,
        }
    }

    /// The description for people.
    fn text(&self, checked: &CheckedFile) -> String {
        let manifest = &checked.report.manifest;
        let mut text = format!("{} {}", printable(self.name), self.version);
        let about = [Some(self.summary), self.homepage].into_iter().flatten();
        about
            .filter(|it| !it.is_empty())
            .for_each(|it| text.push_str(&format!("\n{}", printable(it))));
        let mut list = |heading: &str, lines: &[String]| {
            if !lines.is_empty() {
                text.push_str(&format!("\n\n{heading}\n  {}", lines.join("\n  ")));
            }
        };
        list("It may", &self.may);
        list("It can", &self.can);
        list("It cannot", &self.cannot);
        list("A connection needs", &describe::values(manifest, true));
        list("A connection may have", &describe::values(manifest, false));
        let names = |names: &[String]| names.iter().map(|it| printable(it)).collect::<Vec<_>>();
        list("It imports", &names(self.imports));
        list("It exports", &names(self.exports));
        let (size, compiled) = (size(self.bytes), duration(self.compile_ms));
        list(
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
