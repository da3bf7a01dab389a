//! Runs the steps of a build, and tells the caller of each.

use std::ffi::OsStr;
use std::io;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::AuthorError;

/// The begin or the end of a step.
#[derive(Debug)]
pub struct Step {
    /// What it does: usually the command that runs.
    pub name: String,
    /// How long it took; absent at its begin.
    pub took: Option<Duration>,
}

pub(super) struct Steps<'a> {
    on_step: &'a mut dyn FnMut(&Step),
}

impl<'a> Steps<'a> {
    pub(super) fn new(on_step: &'a mut dyn FnMut(&Step)) -> Self {
        Self { on_step }
    }

    /// Runs a step.
    pub(super) fn step<T>(
        &mut self,
        name: &str,
        work: impl FnOnce() -> Result<T, AuthorError>,
    ) -> Result<T, AuthorError> {
        (self.on_step)(&Step { name: name.to_owned(), took: None });
        let start = Instant::now();
        let done = work()?;
        (self.on_step)(&Step { name: name.to_owned(), took: Some(start.elapsed()) });
        Ok(done)
    }

    /// Runs a tool as a step. It prints to stderr as it works.
    pub(super) fn run(
        &mut self,
        name: &str,
        command: &mut Command,
        fix: &'static str,
    ) -> Result<(), AuthorError> {
        self.step(name, || {
            let output = command.stdin(Stdio::null()).stdout(io::stderr()).status();
            let status = output.map_err(|source| no_tool(command, source, fix))?;
            if status.success() { Ok(()) } else { Err(failed(name, &status)) }
        })
    }

    /// Runs a tool as a step, and returns what it wrote to stdout; errors go to stderr.
    pub(super) fn ask(
        &mut self,
        name: &str,
        command: &mut Command,
        fix: &'static str,
    ) -> Result<String, AuthorError> {
        self.step(name, || {
            let output = output(command.stderr(Stdio::inherit()), fix)?;
            match output.status.success() {
                true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
                false => Err(failed(name, &output.status)),
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

fn failed(step: &str, status: &std::process::ExitStatus) -> AuthorError {
    AuthorError::Step { step: step.to_owned(), status: status.to_string() }
}
