//! `cargo xtask demo`: builds the host and the Redmine connector, then runs `jackfield demo`.

use std::ffi::OsString;

use lexopt::Parser;

use crate::connectors::{self, Example};
use crate::step::{cargo, program, run as run_program, step};
use crate::workspace::Workspace;

pub(crate) struct Arguments {
    build_only: bool,
    /// The arguments of `jackfield demo`.
    rest: Vec<OsString>,
}

impl Arguments {
    pub(crate) fn parse(parser: &mut Parser) -> Result<Self, lexopt::Error> {
        let mut rest: Vec<OsString> = parser.raw_args()?.collect();
        let build_only = rest.first().is_some_and(|argument| argument == "--build-only");
        if build_only || rest.first().is_some_and(|argument| argument == "--") {
            rest.remove(0);
        }
        Ok(Self { build_only, rest })
    }
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<()> {
    step("build of the demo", || {
        connectors::build(workspace, &[Example::Redmine])?;
        step("host (the first build takes some minutes)", || {
            // Without the features that the demo does not use: the tool of a connector's author.
            let package = ["--package", "jackfield", "--no-default-features"];
            run_program(cargo(&workspace.root).arg("build").args(package), "")
        })
    })?;
    if arguments.build_only {
        return Ok(());
    }
    let mut demo = program(workspace.host(), &workspace.root);
    run_program(demo.arg("demo").args(&arguments.rest), "run `cargo build --package jackfield`")
}
