//! `jackfield check`: reads one connector file as the server would. Needs no server and no network.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::{Value, json};

use crate::config::Config;
use crate::connector::{CheckReport, Egress, Engine, Sandbox, check_file, compile_component_child};
use crate::domain::SystemClock;

use super::output::Output;
use super::serve::{read_config, runtime};

#[derive(Args)]
#[command(after_help = "\
Example:
  jackfield check plugins/redmine.wasm")]
pub(super) struct Arguments {
    /// The connector's file
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// The configuration, for its limits [default: jackfield.toml, if it is there]
    #[arg(long, value_name = "CONFIG")]
    config: Option<PathBuf>,
}

impl Arguments {
    pub(super) fn run(self, output: Output) -> anyhow::Result<()> {
        let config = read_config(self.config.as_deref())?;
        let report = runtime()?.block_on(check(&self.file, config))?;
        output.one(&shown(&report));
        Ok(())
    }
}

async fn check(file: &Path, config: Config) -> anyhow::Result<CheckReport> {
    let config = Arc::new(config);
    let clock = Arc::new(SystemClock);
    let engine =
        Engine::start().map_err(|error| anyhow!("the engine does not start: {error:#}"))?;
    let engine = Arc::new(engine);
    let egress = Arc::new(Egress::new(None).context("no trust anchors")?);
    let sandbox = Sandbox::new(engine.clone(), egress, clock.clone(), config.concurrent_runs_host);
    check_file(file, config, engine, Arc::new(sandbox), clock)
        .await
        .map_err(|why| anyhow!("{} is no connector that would be taken: {why}", file.display()))
}

fn shown(report: &CheckReport) -> Value {
    let manifest = &report.manifest;
    let able = [("defects", report.interfaces.defects), ("kpis", report.interfaces.kpis)];
    let able: Vec<_> = able.iter().filter(|(_, can)| *can).map(|(name, _)| *name).collect();
    json!({
        "name": manifest.name,
        "version": manifest.version.to_string(),
        "summary": manifest.summary,
        "homepage": manifest.homepage,
        "interfaces": able,
        "settings": manifest.settings_schema,
        "settle_s": manifest.settle_s,
        "imports": report.imports,
        "exports": report.exports,
        "sha256": report.sha256,
        "bytes": report.bytes,
        "compile_ms": report.compile_ms,
    })
}

/// What the server hands to the process that compiles for it.
#[derive(Args)]
pub(super) struct CompileArguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

impl CompileArguments {
    pub(super) fn run(self) -> ExitCode {
        compile_component_child(self.words)
    }
}
