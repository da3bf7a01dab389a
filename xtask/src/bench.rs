//! `cargo xtask bench`: builds for release and measures. The benches live with the tests, in the
//! program `bench` of `tests/`.

use clap::ValueEnum;

use crate::connectors::{self, Example};
use crate::step::{cargo, run as run_program, step};
use crate::test::{examples, test_guests};
use crate::tools;
use crate::workspace::Workspace;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What to measure
    what: Bench,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// From a connector's last byte to the first event that it serves
    Reload,
    /// Defects created per second, with and without durability
    Create,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.what == Bench::Create {
        tools::debian_packages(workspace, &["libeatmydata1", "strace"])?;
    }
    connectors::build(workspace, &[Example::Redmine])?;
    test_guests(workspace)?;
    step("release build (takes some minutes)", || {
        run_program(cargo(&workspace.root).args(["build", "--release", "--workspace"]), "")
    })?;
    let what = match arguments.what {
        Bench::Reload => "reload",
        Bench::Create => "create",
    };
    let mut bench = cargo(&workspace.root);
    bench.args(["run", "--release", "--package", "jackfield-tests", "--bin", "bench", "--", what]);
    bench.env("JACKFIELD_BIN", workspace.target.join("release/jackfield"));
    bench.env("JACKFIELD_PLUGINS", workspace.plugins());
    bench.env("JACKFIELD_GUESTS", examples(workspace));
    run_program(&mut bench, "")
}
