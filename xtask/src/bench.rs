//! `cargo xtask bench`: builds the release, builds the programs with which the server is compared,
//! and runs the benchmarks. The program `bench` in `tests/` makes the measurements; xtask measures
//! nothing.

mod guests;
mod peers;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context;
use lexopt::{Arg, Parser, ValueExt as _};

use crate::connectors::{self, Example};
use crate::step::{cargo_command, program_command, run_program, run_step};
use crate::tools;
use crate::workspace::Workspace;

const BENCHMARKS: [&str; 8] =
    ["throughput", "peers", "calls", "cold", "memory", "languages", "scaling", "postgres"];

pub(crate) struct Arguments {
    /// The names of the benchmarks that run. If it is empty, all benchmarks run.
    benchmark_names: Vec<String>,
    /// The options that are passed on to the program `bench`. Paths of files are absolute.
    options: Vec<OsString>,
}

impl Arguments {
    pub(crate) fn parse(parser: &mut Parser) -> Result<Self, lexopt::Error> {
        let (mut benchmark_names, mut options) = (Vec::new(), Vec::new());
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Value(name) => benchmark_names.push(name.parse_with(|name| match name {
                    name if BENCHMARKS.contains(&name) => Ok(name.to_owned()),
                    _ => Err(format!("the benchmarks are {}", BENCHMARKS.join(", "))),
                })?),
                Arg::Long("quick") => options.push("--quick".into()),
                Arg::Long(option @ ("json" | "markdown" | "svg")) => {
                    options.push(format!("--{option}").into());
                    options.push(
                        std::path::absolute(parser.value()?).map_err(|e| e.to_string())?.into(),
                    );
                }
                other => return Err(other.unexpected()),
            }
        }
        Ok(Self { benchmark_names, options })
    }

    fn runs_any(&self, benchmarks: &[&str]) -> bool {
        self.benchmark_names.is_empty()
            || self.benchmark_names.iter().any(|name| benchmarks.contains(&name.as_str()))
    }
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<()> {
    let folder = workspace.target.join("bench");
    if arguments.runs_any(&["throughput", "peers", "scaling"]) {
        tools::install_debian_packages(workspace, &["wrk", "libeatmydata1"])?;
        peers::build_native_handler(workspace, &folder)?;
    }
    if arguments.runs_any(&["postgres"]) {
        tools::install_debian_packages(workspace, &["wrk", "postgresql"])?;
    }
    if arguments.runs_any(&["peers"]) {
        peers::build_other_programs(workspace, &folder)?;
    }
    if arguments.runs_any(&["languages"]) {
        guests::build_template_connectors(workspace, &folder)?;
    }
    let with_rust_guests =
        ["throughput", "peers", "calls", "cold", "memory", "scaling", "postgres"];
    if arguments.runs_any(&with_rust_guests) {
        guests::build_rust_connectors(workspace, &folder)?;
    }
    if arguments.runs_any(&["calls", "cold", "memory"]) {
        guests::build_javascript_and_python_connectors(workspace, &folder)?;
    }
    if arguments.runs_any(&["memory"]) {
        connectors::build(workspace, &Example::ALL)?;
    }
    run_step("release build (takes some minutes)", || {
        let packages = ["--package", "jackfield", "--package", "jackfield-tests", "--bins"];
        run_program(cargo_command(&workspace.root).args(["build", "--release"]).args(packages), "")
    })?;
    let mut bench = program_command(workspace.target.join("release/bench"), &workspace.root);
    bench.args(&arguments.benchmark_names).args(&arguments.options);
    if arguments.runs_any(&["calls"]) {
        bench.env("BENCH_CALLS", build_guest_call(workspace)?);
    }
    bench.env("TEST_BIN", workspace.target.join("release/jackfield"));
    bench.env("TEST_PLUGINS", workspace.plugins_folder());
    bench.env("BENCH_PEERS", &folder);
    bench.env("BENCH_SOURCES", peers_folder(workspace));
    bench.env("BENCH_GUESTS", folder.join("guests"));
    run_program(&mut bench, "")
}

fn build_guest_call(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let messages = run_step("build of the benchmark `guest_call`", || {
        let mut build = cargo_command(&workspace.root);
        build.args(["bench", "--package", "jackfield", "--bench", "guest_call", "--no-run"]);
        let build = build.arg("--message-format=json").stderr(std::process::Stdio::inherit());
        Ok(String::from_utf8(build.output()?.stdout)?)
    })?;
    let mut paths =
        messages.split("\"executable\":\"").skip(1).filter_map(|it| it.split('"').next());
    let path = paths.find(|path| path.contains("guest_call"));
    Ok(path.context("the benchmark `guest_call` was not built")?.into())
}

/// Returns the folder with the sources of the compared programs and of the benchmarks' connectors.
fn peers_folder(workspace: &Workspace) -> PathBuf {
    workspace.root.join("xtask/peers")
}

/// Builds the crate `name` in [`peers_folder`]. The crate's target folder is below `folder`.
fn build_crate(
    workspace: &Workspace,
    name: &str,
    folder: &Path,
    options: &[&str],
) -> anyhow::Result<()> {
    run_step(&format!("{name} (the first build takes some minutes)"), || {
        let mut build = cargo_command(&peers_folder(workspace).join(name));
        build.args(["build", "--release", "--locked"]).args(options);
        run_program(build.arg("--target-dir").arg(folder.join(name)), "")
    })
}
