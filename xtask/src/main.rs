//! The project's own commands, `cargo xtask …`. Each lives in the file of its name; `workspace`
//! knows where things are, `step` runs programs visibly, `tools` finds and installs what they need.
//!
//! Never installs anything into the user's home: what npm, PyPI and cargo give goes below `target/`.
//! Two exceptions, each announced: a missing Rust target (rustup) and Debian packages (tests only).

#![expect(clippy::print_stdout, reason = "a command-line tool")]

mod bench;
mod connectors;
mod demo;
mod fuzz;
mod step;
mod test;
mod tools;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Jackfield's own commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the example connectors into plugins/
    Connectors(connectors::Arguments),
    /// Build the host and the Redmine connector, then run `jackfield demo`
    Demo(demo::Arguments),
    /// Install what the tests need, build everything, run all tests
    Test(test::Arguments),
    /// Install cargo-fuzz, build the fuzz targets, run them
    Fuzz(fuzz::Arguments),
    /// Measure (release build)
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let workspace = Workspace::locate()?;
    match command {
        Command::Connectors(arguments) => connectors::run(&workspace, &arguments),
        Command::Demo(arguments) => demo::run(&workspace, &arguments),
        Command::Test(arguments) => test::run(&workspace, &arguments),
        Command::Fuzz(arguments) => fuzz::run(&workspace, &arguments),
        Command::Bench(arguments) => bench::run(&workspace, &arguments),
    }
}
