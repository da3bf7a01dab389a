//! Runs the steps of a build, and reports the start and the end of each step to the caller.

use std::ffi::OsStr;
use std::io;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::AuthorError;

/// The report that a step starts or ends.
#[derive(Debug)]
pub struct Step {
    /// The name of the step, usually the command that runs.
    pub name: String,
    /// The duration of the step; `None` when it starts.
    pub took: Option<Duration>,
}

pub(super) struct Steps<'a> {
    on_step: &'a mut dyn FnMut(&Step),
}

impl<'a> Steps<'a> {
    pub(super) fn new(on_step: &'a mut dyn FnMut(&Step)) -> Self {
        Self { on_step }
    }

    /// Runs `work` as a step.
    pub(super) fn step<T>(
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

    /// Runs a tool as a step. The output of the tool goes to stderr.
    pub(super) fn run(
        &mut self,
        name: &str,
        command: &mut Command,
        fix: &'static str,
    ) -> Result<(), AuthorError> {
        self.step(name, || {
            let status = command.stdin(Stdio::null()).stdout(io::stderr()).status();
            let status = status.map_err(|source| no_tool(command, source, fix))?;
            if status.success() { Ok(()) } else { Err(step_failed(name, &status)) }
        })
    }

    /// Runs a tool as a step, and returns what it printed to stdout. Its stderr is not changed.
    pub(super) fn run_for_output(
        &mut self,
        name: &str,
        command: &mut Command,
        fix: &'static str,
    ) -> Result<String, AuthorError> {
        self.step(name, || {
            let output = output(command.stderr(Stdio::inherit()), fix)?;
            match output.status.success() {
                true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
                false => Err(step_failed(name, &output.status)),
            }
        })
    }
}

/// Runs a tool and returns its output.
pub(super) fn output(command: &mut Command, fix: &'static str) -> Result<Output, AuthorError> {
    let output = command.stdin(Stdio::null()).output();
    output.map_err(|source| no_tool(command, source, fix))
}

fn no_tool(command: &Command, source: io::Error, fix: &'static str) -> AuthorError {
    AuthorError::NoTool {
        program: OsStr::to_string_lossy(command.get_program()).into(),
        source,
        fix,
    }
}

fn step_failed(step: &str, status: &std::process::ExitStatus) -> AuthorError {
    AuthorError::Step { step: step.to_owned(), status: status.to_string() }
}
