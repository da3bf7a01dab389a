//! The command line: reads arguments, prints tables or JSON, and returns an exit code: 0 success, 1
//! refused or failed, 2 wrong usage.
//!
//! This room itself opens no database, except that `doctor` inspects a PostgreSQL database. A
//! failure is reported in one line on stderr, with `--json` as JSON; a second line may show the
//! recorded event.

mod apply;
mod audit;
#[cfg(feature = "author")]
mod author;
mod backup;
mod check;
mod client;
mod connections;
mod connectors;
mod defects;
mod demo;
mod dev;
mod doctor;
mod events;
mod filter;
mod fixture;
mod ids;
mod invoke;
mod key_value;
mod migrate;
mod ordered;
mod output;
mod secrets;
mod serve;
mod server;
mod simulate;
mod test;
mod timeline;
mod tokens;
mod trigger;
mod units;
mod user_cache;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::runtime::COMPILE_SUBCOMMAND;

use output::Output;
use server::{GLOBAL_OPTIONS, ServerArgs};

#[derive(Parser)]
#[command(name = "jackfield", version, about, after_help = HELP_EXAMPLES, propagate_version = true)]
struct Arguments {
    #[command(flatten)]
    server: ServerArgs,
    /// Print JSON instead of tables
    #[arg(long, global = true, help_heading = GLOBAL_OPTIONS)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

const HELP_EXAMPLES: &str = "\
Examples:
  jackfield demo
  jackfield serve
  jackfield connections create qa --connector redmine --set url=https://redmine.example.com \\
      --set project=qa --secret api-key=@key-file
  jackfield trigger create-defect --url http://127.0.0.1:8080/hooks/TOKEN
  jackfield events tail";

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::Arguments),
    /// Run a demonstration: start a server and a sample tracker, create a defect, count the defects
    Demo(demo::Arguments),
    /// Create a connector project from a template; `new --help` lists the languages
    #[cfg(feature = "author")]
    New(author::NewArguments),
    /// Build the connector of a project, and check it
    #[cfg(feature = "author")]
    Build(author::BuildArguments),
    /// Report that this program was built without `new` and `build`, and how to get both commands
    #[cfg(not(feature = "author"))]
    #[command(name = "new", alias = "build", hide = true, disable_help_flag = true)]
    WithoutAuthor {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        ignored: Vec<String>,
    },
    /// Rebuild a connector at each change and run it on a server; show its logs and events
    Dev(dev::Arguments),
    /// Check whether the server can load a connector file, and describe it
    Check(check::Arguments),
    /// Call one export of a connector file, without a server; record or replay its requests
    Invoke(Box<invoke::Arguments>),
    /// Test whether a connector keeps the rules of wit/connector.wit, also with a faulty tracker
    Test(Box<test::Arguments>),
    /// Make a recording for `invoke --replay` from a recorded event
    Fixture(fixture::Arguments),
    /// Send a webhook request as Test Manager does
    #[command(subcommand)]
    Trigger(trigger::Command),
    /// Simulate Test Manager, to try Jackfield without one
    #[command(subcommand)]
    Simulate(simulate::Command),
    /// Create, change, test and delete connections
    #[command(subcommand)]
    Connections(Box<connections::Command>),
    /// Create and change connections from a file, after showing the differences and asking
    Apply(apply::Apply),
    /// Print all connections as a file for `apply`, without the values of secrets
    Export(apply::Export),
    /// List, show, upload, remove and roll back connectors
    #[command(subcommand)]
    Connectors(connectors::Command),
    /// List, show and follow events, such as webhook requests, with their outcomes
    #[command(subcommand)]
    Events(events::Command),
    /// List and show defects, and resolve those in doubt
    #[command(subcommand)]
    Defects(defects::Command),
    /// Create, list and revoke the tokens with which people and programs sign in
    #[command(subcommand)]
    Tokens(tokens::Command),
    /// List who changed what, newest first
    Audit(audit::Arguments),
    /// Rotate the key that encrypts secrets
    #[command(subcommand)]
    Secrets(secrets::Command),
    /// Back up a data folder with a SQLite database; the server may keep running
    Backup(backup::Backup),
    /// Copy the SQLite database into PostgreSQL
    Migrate(migrate::Arguments),
    /// Restore a backup into a data folder
    Restore(backup::Restore),
    /// Diagnose the installation and suggest fixes
    Doctor(doctor::Arguments),
    /// Compile one component; the server starts this process itself
    #[command(name = COMPILE_SUBCOMMAND, hide = true)]
    CompileComponent(check::CompileArguments),
}

/// Parses the arguments, runs the command, and returns the exit code of the process.
#[must_use]
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let output = Output { is_json: arguments.json };
    match run_command(arguments, output) {
        Ok(code) => code,
        Err(error) => {
            output.print_error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run_command(arguments: Arguments, output: Output) -> anyhow::Result<ExitCode> {
    let server = arguments.server;
    match arguments.command {
        Command::Serve(serve) => serve.run(server.data)?,
        Command::Demo(demo) => demo.run(server.data)?,
        #[cfg(feature = "author")]
        Command::New(new) => new.run(output)?,
        #[cfg(feature = "author")]
        Command::Build(build) => build.run(output)?,
        #[cfg(not(feature = "author"))]
        Command::WithoutAuthor { .. } => anyhow::bail!(
            "this program was built without `new` and `build` (`cargo xtask demo` builds it this \
             way): run `cargo build --release -p jackfield` to get a program with both commands"
        ),
        Command::Dev(dev) => dev.run(&server, output)?,
        Command::Check(check) => check.run(output)?,
        Command::Test(test) => return test.run(output),
        Command::Invoke(invoke) => return invoke.run(server.data, output),
        Command::Fixture(fixture) => fixture.run(&server, output)?,
        Command::Trigger(trigger) => trigger.run(&server, output)?,
        Command::Simulate(command) => command.run(output)?,
        Command::Connections(command) => command.run(&server, output)?,
        Command::Apply(apply) => apply.run(&server, output)?,
        Command::Export(export) => export.run(&server, output)?,
        Command::Connectors(command) => command.run(&server, output)?,
        Command::Events(command) => command.run(&server, output)?,
        Command::Defects(command) => command.run(&server, output)?,
        Command::Tokens(command) => command.run(&server, output)?,
        Command::Audit(audit) => audit.run(&server, output)?,
        Command::Secrets(command) => command.run(&server, output)?,
        Command::Backup(backup) => backup.run(&server, output)?,
        Command::Migrate(migrate) => migrate.run(output)?,
        Command::Restore(restore) => restore.run(&server, output)?,
        Command::Doctor(doctor) => return doctor.run(&server, output),
        Command::CompileComponent(compile) => return Ok(compile.run()),
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use crate::domain::{EventKind, StringEnum};

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    /// Splits a shell command into words and drops its comment. Quotes may enclose only whole
    /// words.
    fn shell_words(line: &str) -> Vec<String> {
        let line = line.split(" # ").next().unwrap_or_default();
        let mut words = Vec::new();
        for (index, part) in line.split('\'').enumerate() {
            if index % 2 == 1 {
                words.push(part.to_owned());
            } else {
                words.extend(part.split_whitespace().map(str::to_owned));
            }
        }
        words
    }

    #[test]
    fn each_command_in_the_manuals_is_parsed() {
        let manuals =
            [include_str!("../../docs/operator.md"), include_str!("../../docs/conformance.md")];
        let manual = manuals.join("\n");
        let blocks = manual.split("```sh\n").skip(1);
        let blocks = blocks.filter_map(|rest| rest.split("\n```").next());
        let commands: Vec<_> = blocks.flat_map(str::lines).collect();
        assert!(commands.len() > 8, "{commands:?}");
        for line in commands {
            let id = "5b8f5c4e-7c1d-4e0b-9a43-0c2d8a6f1e01";
            let parsed = Arguments::try_parse_from(shell_words(&line.replace("UUID", id)));
            let error = parsed.err().map(|error| error.to_string());
            assert_eq!(error, None, "{line}");
        }
    }

    #[test]
    fn the_help_of_events_list_contains_all_kinds_and_an_unknown_kind_is_refused() {
        let mut command = Arguments::command();
        let events = command.find_subcommand_mut("events").expect("events");
        let list = events.find_subcommand_mut("list").expect("events list");
        let help = list.render_help().to_string();
        for kind in EventKind::ALL {
            assert!(help.contains(kind.as_str()), "{kind} is missing: {help}");
        }
        let refused = Arguments::try_parse_from(["jackfield", "events", "list", "--kind", "kpi"]);
        assert_eq!(refused.err().map(|error| error.exit_code()), Some(2));
    }
}
