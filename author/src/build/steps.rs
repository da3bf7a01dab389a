//! Runs the steps of a build. Reports the start of each step to the caller, and its end if the step
//! succeeds.

use std::ffi::OsStr;
use std::io;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::AuthorError;

/// The report of a step's start, or of the end of a step that succeeded.
#[derive(Debug)]
pub struct Step {
    /// The name of the step, usually the command that runs.
    pub name: String,
    /// The duration of the step. In the report of the start, it is `None`.
    pub took: Option<Duration>,
}

pub(super) struct Steps<'a> {
    on_step: &'a mut dyn FnMut(&Step),
}

impl<'a> Steps<'a> {
    pub(super) fn new(on_step: &'a mut dyn FnMut(&Step)) -> Self {
        Self { on_step }
    }

    pub(super) fn run_closure<T>(
        &mut self,
        name: &str,
        work: impl FnOnce() -> Result<T, AuthorError>,
    ) -> Result<T, AuthorError> {
        (self.on_step)(&Step { name: name.to_owned(), took: None });
        let start = Instant::now();
        let result = work()?;
        (self.on_step)(&Step { name: name.to_owned(), took: Some(start.elapsed()) });
        Ok(result)
    }

    /// Runs a tool as a step. What the tool prints goes to stderr. If the tool cannot be started,
    /// the error contains `fix`.
    pub(super) fn run_tool(
        &mut self,
        name: &str,
        command: &mut Command,
        fix: &'static str,
    ) -> Result<(), AuthorError> {
        self.run_closure(name, || {
            let status = command.stdin(Stdio::null()).stdout(io::stderr()).status();
            let status = status.map_err(|source| no_tool_error(command, source, fix))?;
            if status.success() { Ok(()) } else { Err(failed_step_error(name, &status)) }
        })
    }

    /// Runs a tool as a step, and returns what the tool printed to stdout. The tool's stderr is
    /// that of this process.
    pub(super) fn run_tool_for_output(
        &mut self,
        name: &str,
        command: &mut Command,
        fix: &'static str,
    ) -> Result<String, AuthorError> {
        self.run_closure(name, || {
            let output = collect_output(command.stderr(Stdio::inherit()), fix)?;
            match output.status.success() {
                true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
                false => Err(failed_step_error(name, &output.status)),
            }
        })
    }
}

pub(super) fn collect_output(
    command: &mut Command,
    fix: &'static str,
) -> Result<Output, AuthorError> {
    let output = command.stdin(Stdio::null()).output();
    output.map_err(|source| no_tool_error(command, source, fix))
}

fn no_tool_error(command: &Command, source: io::Error, fix: &'static str) -> AuthorError {
    AuthorError::NoTool {
        program: OsStr::to_string_lossy(command.get_program()).into(),
        source,
        fix,
    }
}

fn failed_step_error(step: &str, status: &std::process::ExitStatus) -> AuthorError {
    AuthorError::Step { step: step.to_owned(), status: status.to_string() }
}
