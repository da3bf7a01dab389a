//! `jackfield check`: loads one connector file as the server does, and describes the connector. It
//! needs no server and no network. This file also has the entry point of the process that compiles
//! components for the server.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::app::Checker;
use crate::config::Config;
use crate::plugins::CheckReport;
use crate::runtime::compile_component_child;

use super::output::Output;
use super::serve::{read_config, runtime};

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
        let report = runtime()?.block_on(check(&self.file, config))?;
        output.print_record(&Report::of(&report));
        Ok(())
    }
}

pub(super) async fn check(file: &Path, config: Config) -> anyhow::Result<CheckReport> {
    let report = Checker::start(config)?.check(file).await;
    report.with_context(|| format!("the server would not load {}", file.display()))
}

impl<'a> Report<'a> {
    fn of(report: &'a CheckReport) -> Self {
        let manifest = &report.manifest;
        Self {
            name: &manifest.name,
            version: manifest.version.to_string(),
            summary: &manifest.summary,
            homepage: manifest.homepage.as_deref(),
            interfaces: report.interfaces.names().collect(),
            settings: &manifest.settings_schema,
            index_delay_s: manifest.index_delay_s,
            imports: &report.imports,
            exports: &report.exports,
            sha256: &report.sha256,
            bytes: report.bytes,
            compile_ms: report.compile_ms,
        }
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
