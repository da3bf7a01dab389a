//! The project's own commands: `cargo xtask COMMAND`. Each command is in the file with its name.
//! `workspace` knows the folders, `step` runs programs and prints their time, `tools` installs what
//! they need.
//!
//! Nothing is installed into the user's home: packages of npm, PyPI and cargo are installed below
//! `target/`. There are two exceptions, and each is printed: a missing Rust target (rustup) and
//! Debian packages (only for tests and benchmarks).

#![expect(clippy::print_stdout, reason = "a command-line tool")]

mod bench;
mod browser;
mod connectors;
mod demo;
mod fuzz;
mod screenshots;
mod script_runner;
mod step;
mod test;
mod tools;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, bail};
use lexopt::{Arg, Parser};

use workspace::Workspace;

const HELP: &str = "\
The project's own commands

Usage: cargo xtask COMMAND

Commands:
  demo [--build-only] [ARGUMENT]...
        Build the host and the Redmine connector, then run `jackfield demo` with the arguments
        --build-only    Only build, and print the time
  test [--long] [FILTER]
        Install what the tests need, build everything, run all tests or those whose name
        contains FILTER
        --long          Run the crash, race and load tests longer (200 rounds, 30 minutes)
  connectors [--only NAME]...
        Build the example connectors into plugins/
        --only NAME     Build only this one: redmine, javascript, python (all three for Redmine),
                        rest, github, jira, azure-devops, request-tracker, servicenow, gitlab
  screenshots
        Drive the console in a browser, and keep the README's pictures in docs/screenshots/
  script-runner [--check | --output FILE]
        Build the component that runs scripts into guest-examples/script-runner/
        --check         Only check that it is as new as its sources
        --output FILE   Write it to this file instead
  fuzz [--seconds N] [--seed N] [TARGET [INPUT]]
        Install cargo-fuzz, build the fuzz targets and run all of them, or TARGET
        --seconds N     How long each target runs (default 600)
        --seed N        Begins with the same random numbers each time (default: others each time)
        INPUT           Run only this input, for example one that failed before
  bench [NAME]... [--quick] [--json FILE] [--markdown FILE] [--svg FILE]
        Build for release, build what it is compared with, measure, and print each figure with its
        goal. Everything, or: throughput, peers (throughput beside other programs), calls, cold,
        memory, languages (the template's connector in each language), scaling
        --quick         Fewer and shorter rounds, for a look while other work runs
        --json FILE     Also write the figures to this file; --markdown and --svg likewise
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    // What follows `--` belongs to the program that the command runs.
    let own: Vec<OsString> =
        std::env::args_os().skip(1).take_while(|argument| argument != "--").collect();
    if own.is_empty() || own.iter().any(|argument| argument == "--help" || argument == "-h") {
        print!("{HELP}");
        return Ok(());
    }
    let workspace = Workspace::locate()?;
    let mut parser = Parser::from_env();
    let Some(Arg::Value(command)) = parser.next()? else {
        bail!("the first argument must be a command; run `cargo xtask --help`");
    };
    let arguments = "wrong arguments; run `cargo xtask --help`";
    match command.to_string_lossy().as_ref() {
        "bench" => {
            bench::run(&workspace, &bench::Arguments::parse(&mut parser).context(arguments)?)
        }
        "connectors" => connectors::run(
            &workspace,
            &connectors::Arguments::parse(&mut parser).context(arguments)?,
        ),
        "demo" => demo::run(&workspace, &demo::Arguments::parse(&mut parser).context(arguments)?),
        "fuzz" => fuzz::run(&workspace, &fuzz::Arguments::parse(&mut parser).context(arguments)?),
        "screenshots" => screenshots::run(&workspace),
        "script-runner" => script_runner::run(
            &workspace,
            &script_runner::Arguments::parse(&mut parser).context(arguments)?,
        ),
        "test" => test::run(&workspace, &test::Arguments::parse(&mut parser).context(arguments)?),
        unknown => bail!("there is no command {unknown:?}; run `cargo xtask --help`"),
    }
}
