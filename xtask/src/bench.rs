//! `cargo xtask bench`: builds for release, builds what the server is compared with, and measures.
//! The measurements are in the program `bench` of `tests/`.

mod guests;
mod peers;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context;
use lexopt::{Arg, Parser, ValueExt as _};

use crate::connectors::{self, Example};
use crate::step::{cargo, program, run as run_program, step};
use crate::tools;
use crate::workspace::Workspace;

/// What `cargo xtask bench` measures; everything when nothing is named.
const NAMES: [&str; 8] =
    ["throughput", "peers", "calls", "cold", "memory", "languages", "scaling", "postgres"];

pub(crate) struct Arguments {
    names: Vec<String>,
    /// The options of the program that measures. Its files are relative to the caller's folder.
    options: Vec<OsString>,
}

impl Arguments {
    pub(crate) fn parse(parser: &mut Parser) -> Result<Self, lexopt::Error> {
        let (mut names, mut options) = (Vec::new(), Vec::new());
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Value(name) => names.push(name.parse_with(|name| match name {
                    name if NAMES.contains(&name) => Ok(name.to_owned()),
                    _ => Err(format!("the benchmarks are {}", NAMES.join(", "))),
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
        Ok(Self { names, options })
    }

    /// Whether one of these is measured.
    fn measures(&self, any: &[&str]) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| any.contains(&name.as_str()))
    }
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<()> {
    let folder = workspace.target.join("bench");
    if arguments.measures(&["throughput", "peers", "scaling"]) {
        tools::debian_packages(workspace, &["wrk", "libeatmydata1"])?;
        peers::native(workspace, &folder)?;
    }
    if arguments.measures(&["postgres"]) {
        tools::debian_packages(workspace, &["wrk", "postgresql"])?;
    }
    if arguments.measures(&["peers"]) {
        peers::all(workspace, &folder)?;
    }
    if arguments.measures(&["languages"]) {
        guests::languages(workspace, &folder)?;
    }
    let rust = ["throughput", "peers", "calls", "cold", "memory", "scaling", "postgres"];
    if arguments.measures(&rust) {
        guests::rust(workspace, &folder)?;
    }
    if arguments.measures(&["calls", "cold", "memory"]) {
        guests::scripts(workspace, &folder)?;
    }
    if arguments.measures(&["memory"]) {
        connectors::build(workspace, &Example::ALL)?;
    }
    step("release build (takes some minutes)", || {
        let packages = ["--package", "jackfield", "--package", "jackfield-tests", "--bins"];
        run_program(cargo(&workspace.root).args(["build", "--release"]).args(packages), "")
    })?;
    let mut bench = program(workspace.target.join("release/bench"), &workspace.root);
    bench.args(&arguments.names).args(&arguments.options);
    if arguments.measures(&["calls"]) {
        bench.env("BENCH_CALLS", guest_call(workspace)?);
    }
    bench.env("TEST_BIN", workspace.target.join("release/jackfield"));
    bench.env("TEST_PLUGINS", workspace.plugins());
    bench.env("BENCH_PEERS", &folder);
    bench.env("BENCH_SOURCES", sources(workspace));
    bench.env("BENCH_GUESTS", folder.join("guests"));
    run_program(&mut bench, "")
}

/// Builds the program that measures calls without a server, and returns its path.
fn guest_call(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let build = step("build of the benchmark of calls", || {
        let mut build = cargo(&workspace.root);
        build.args(["bench", "--package", "jackfield", "--bench", "guest_call", "--no-run"]);
        let build = build.arg("--message-format=json").stderr(std::process::Stdio::inherit());
        Ok(String::from_utf8(build.output()?.stdout)?)
    })?;
    let mut paths = build.split("\"executable\":\"").skip(1).filter_map(|it| it.split('"').next());
    let path = paths.find(|path| path.contains("guest_call"));
    Ok(path.context("the benchmark `guest_call` was not built")?.into())
}

/// The sources of the peers and of the guests under load.
fn sources(workspace: &Workspace) -> PathBuf {
    workspace.root.join("xtask/peers")
}

/// Builds a crate of [`sources`] into a folder of its own.
fn build(workspace: &Workspace, name: &str, folder: &Path, more: &[&str]) -> anyhow::Result<()> {
    step(&format!("{name} (the first build takes some minutes)"), || {
        let mut build = cargo(&sources(workspace).join(name));
        build.args(["build", "--release", "--locked"]).args(more);
        run_program(build.arg("--target-dir").arg(folder.join(name)), "")
    })
}
