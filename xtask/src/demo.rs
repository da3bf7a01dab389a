//! `cargo xtask demo`: builds the host and the Redmine connector, then runs `jackfield demo`.

use std::ffi::OsString;

use lexopt::Parser;

use crate::connectors::{self, Example};
use crate::step::{cargo_command, program_command, run_program, run_step};
use crate::workspace::Workspace;

pub(crate) struct Arguments {
    is_build_only: bool,
    demo_arguments: Vec<OsString>,
}

impl Arguments {
    pub(crate) fn parse(parser: &mut Parser) -> Result<Self, lexopt::Error> {
        let mut demo_arguments: Vec<OsString> = parser.raw_args()?.collect();
        let is_first = |text: &str| demo_arguments.first().is_some_and(|it| it == text);
        let is_build_only = is_first("--build-only");
        if is_build_only || is_first("--") {
            demo_arguments.remove(0);
        }
        Ok(Self { is_build_only, demo_arguments })
    }
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<()> {
    run_step("build of the demo", || {
        connectors::build(workspace, &[Example::Redmine])?;
        run_step("host (the first build takes some minutes)", || {
            // The demo does not need the default features, which contain the tool for authors.
            let package = ["--package", "jackfield", "--no-default-features"];
            run_program(cargo_command(&workspace.root).arg("build").args(package), "")
        })
    })?;
    if arguments.is_build_only {
        return Ok(());
    }
    let mut demo = program_command(workspace.host_program(), &workspace.root);
    run_program(
        demo.arg("demo").args(&arguments.demo_arguments),
        "run `cargo build --package jackfield`",
    )
}
