//! The project's own commands: `cargo xtask COMMAND`. Each command is in the file with its name.
//!
//! xtask installs packages of npm, PyPI and cargo below `target/`, not into the user's home folder.
//! Only a missing Rust target (by rustup) and Debian packages (for tests and benchmarks) are
//! installed elsewhere. xtask prints their names before it installs them.

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
        --build-only    Only build, and print how long it took
  test [--long] [FILTER]
        Install the tools for the tests, build everything, and run all tests or those whose
        name contains FILTER
        --long          Run more rounds of the crash, race and fault tests, try more generated
                        inputs, and run `soak` and `api_fuzz` for about 30 minutes each
  connectors [--only NAME]...
        Build the example connectors into plugins/
        --only NAME     Build only this one: redmine, javascript, python (all three for Redmine),
                        rest, github, jira, azure-devops, request-tracker, servicenow, gitlab
  screenshots
        Run the browser tests of the console, and copy the README's pictures to
        docs/screenshots/
  script-runner [--check | --output FILE]
        Build the component that runs scripts into guest-examples/script-runner/
        --check         Only check that the component was built from the current sources
        --output FILE   Write the component to this file instead
  fuzz [--seconds N] [--seed N] [TARGET [INPUT]]
        Install cargo-fuzz, build the fuzz targets and run all of them, or TARGET
        --seconds N     How long each target runs (default 600)
        --seed N        Choose the random numbers by N, so that runs with the same N use the same
                        numbers (default: other numbers in each run)
        INPUT           Run only this input, for example one that failed before
  bench [NAME]... [--quick] [--json FILE] [--markdown FILE] [--svg FILE]
        Build the release, build the programs with which it is compared, measure, and print each
        result with its goal. Without NAME, run all benchmarks: throughput, peers (throughput of
        other programs), calls, cold, memory, languages (the connector of `jackfield new` in
        each language), scaling, postgres
        --quick         Run fewer and shorter rounds, for a first impression
        --json FILE     Also write the results to this file; --markdown and --svg likewise
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
    // Arguments after `--` are for the program that the command runs.
    let own_arguments: Vec<OsString> =
        std::env::args_os().skip(1).take_while(|argument| argument != "--").collect();
    if own_arguments.is_empty()
        || own_arguments.iter().any(|argument| argument == "--help" || argument == "-h")
    {
        print!("{HELP}");
        return Ok(());
    }
    let workspace = Workspace::locate()?;
    let mut parser = Parser::from_env();
    let Some(Arg::Value(command)) = parser.next()? else {
        bail!("the first argument must be a command; run `cargo xtask --help`");
    };
    let wrong_arguments = "wrong arguments; run `cargo xtask --help`";
    match command.to_string_lossy().as_ref() {
        "bench" => {
            bench::run(&workspace, &bench::Arguments::parse(&mut parser).context(wrong_arguments)?)
        }
        "connectors" => connectors::run(
            &workspace,
            &connectors::Arguments::parse(&mut parser).context(wrong_arguments)?,
        ),
        "demo" => {
            demo::run(&workspace, &demo::Arguments::parse(&mut parser).context(wrong_arguments)?)
        }
        "fuzz" => {
            fuzz::run(&workspace, &fuzz::Arguments::parse(&mut parser).context(wrong_arguments)?)
        }
        "screenshots" => screenshots::run(&workspace),
        "script-runner" => script_runner::run(
            &workspace,
            &script_runner::Arguments::parse(&mut parser).context(wrong_arguments)?,
        ),
        "test" => {
            test::run(&workspace, &test::Arguments::parse(&mut parser).context(wrong_arguments)?)
        }
        unknown => bail!("the command {unknown:?} does not exist; run `cargo xtask --help`"),
    }
}
