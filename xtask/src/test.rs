//! `cargo xtask test`: installs what the tests need, builds everything once, runs all of them.

use crate::connectors::{self, Example};
use crate::step::{cargo, run as run_program, step};
use crate::tools;
use crate::workspace::Workspace;
use clap::ValueEnum;

/// The real tracker of the tests, what shows the order of the host's system calls, and what gives a test
/// a network of its own.
const DEBIAN_PACKAGES: [&str; 5] = ["redmine", "redmine-sqlite", "puma", "strace", "iproute2"];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// More rounds in the tests that kill, race and soak
    #[arg(long)]
    long: bool,
    /// Run only tests whose name contains this
    filter: Option<String>,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<()> {
    tools::debian_packages(workspace, &DEBIAN_PACKAGES)?;
    connectors::build(workspace, Example::value_variants())?;
    test_guests(workspace)?;
    // With the tests' own dependencies in the same build, so that nothing is built twice.
    step("host and tests (the first build takes some minutes)", || {
        run_program(
            cargo(&workspace.root).args(["build", "--workspace", "--lib", "--bins", "--tests"]),
            "",
        )
    })?;
    step("tests", || {
        let mut test = cargo(&workspace.root);
        test.args(["test", "--workspace"]).args(&arguments.filter);
        test.env("JACKFIELD_BIN", workspace.host());
        test.env("JACKFIELD_PLUGINS", workspace.plugins());
        test.env("JACKFIELD_GUESTS", examples(workspace));
        if arguments.long {
            test.env("JACKFIELD_LONG", "1");
        }
        run_program(&mut test, "")
    })
}

/// Builds the guests of one purpose each that the tests run.
pub(crate) fn test_guests(workspace: &Workspace) -> anyhow::Result<()> {
    let folder = workspace.root.join("tests/guests");
    if !folder.is_dir() {
        return Ok(());
    }
    step("test guests", || {
        let mut build = cargo(&folder);
        build.args([
            "build",
            "--locked",
            "--release",
            "--examples",
            "--target",
            tools::WASM_TARGET,
        ]);
        run_program(build.arg("--target-dir").arg(workspace.guests()), "")
    })
}

/// Where they are then.
pub(crate) fn examples(workspace: &Workspace) -> std::path::PathBuf {
    workspace.guests().join(tools::WASM_TARGET).join("release/examples")
}
