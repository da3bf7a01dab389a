//! The command line: arguments in, tables or JSON and an exit code out.
//!
//! Commands that act on a server go through its admin API, as anybody's program could; none touches
//! the store (`secrets rotate` asks `app`, while no server runs). Exit codes: 0 done, 1 refused or failed (one line on stderr), 2 a wrong command line.

#![expect(
    clippy::indexing_slicing,
    reason = "only JSON values are indexed here, and what they lack reads as null"
)]

mod check;
mod client;
mod connections;
mod defects;
mod demo;
mod doctor;
mod events;
mod output;
mod pairs;
mod secrets;
mod serve;
mod trigger;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use client::Server;
use output::{Output, complain};

#[derive(Parser)]
#[command(name = "jackfield", version, about, after_help = EXAMPLES, propagate_version = true)]
struct Arguments {
    #[command(flatten)]
    server: Server,
    /// Prints JSON instead of tables
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  jackfield demo
  jackfield serve
  jackfield connections create qa --connector redmine --set url=https://redmine.example.com \\
      --set project=qa --secret api-key=@key-file
  jackfield trigger create-defect --url http://127.0.0.1:8080/hooks/TOKEN
  jackfield events tail";

#[derive(Subcommand)]
enum Command {
    /// Runs the server
    Serve(serve::Arguments),
    /// Shows Jackfield at work: server, sample tracker, one defect, its counts
    Demo(demo::Arguments),
    /// Tells what a connector file is, or why it would be refused
    Check(check::Arguments),
    /// Sends what Test Manager would send
    #[command(subcommand)]
    Trigger(trigger::Command),
    /// Makes and changes connections
    #[command(subcommand)]
    Connections(connections::Command),
    /// Looks at connectors
    #[command(subcommand)]
    Connectors(connections::ConnectorsCommand),
    /// Looks at what came in and what became of it
    #[command(subcommand)]
    Events(events::Command),
    /// Looks at defects and settles those in doubt
    #[command(subcommand)]
    Defects(defects::Command),
    /// Changes the key under which secrets lie
    #[command(subcommand)]
    Secrets(secrets::Command),
    /// Looks for what hinders the server, and says how to mend it
    Doctor(doctor::Arguments),
    /// Compiles components for the server, which starts this itself
    #[command(hide = true)]
    CompileComponent(check::CompileArguments),
}

/// Runs one command line.
#[must_use]
pub fn run(words: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match obey(arguments) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn obey(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let output = Output { json: arguments.json };
    let server = arguments.server;
    match arguments.command {
        Command::Serve(serve) => serve.run(server.data)?,
        Command::Demo(demo) => demo.run(server.data)?,
        Command::Check(check) => check.run(output)?,
        Command::Trigger(trigger) => trigger.run(&server, output)?,
        Command::Connections(command) => command.run(&server, output)?,
        Command::Connectors(command) => command.run(&server, output)?,
        Command::Events(command) => command.run(&server, output)?,
        Command::Defects(command) => command.run(&server, output)?,
        Command::Secrets(command) => command.run(&server, output)?,
        Command::Doctor(doctor) => return doctor.run(&server, output),
        Command::CompileComponent(compile) => return Ok(compile.run()),
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
