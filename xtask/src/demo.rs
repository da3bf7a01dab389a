//! `cargo xtask demo`: builds the host and the Redmine connector, then runs `jackfield demo`.

use crate::connectors::{self, Example};
use crate::step::{cargo, program, run as run_program, step};
use crate::workspace::Workspace;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Handed on to `jackfield demo`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<()> {
    connectors::build(workspace, &[Example::Redmine])?;
    step("host (the first build takes some minutes)", || {
        run_program(cargo(&workspace.root).args(["build", "--package", "jackfield"]), "")
    })?;
    let mut demo = program(workspace.host(), &workspace.root);
    run_program(demo.arg("demo").args(&arguments.rest), "build it by `cargo build`")
}
