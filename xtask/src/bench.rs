//! `cargo xtask bench`: builds for release and measures. The benchmarks themselves are in the
//! program `bench` of `tests/`.

use lexopt::{Arg, Parser, ValueExt as _};

use crate::connectors::{self, Example};
use crate::step::{cargo, run as run_program, step};
use crate::test::{examples, test_guests};
use crate::tools;
use crate::workspace::Workspace;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arguments {
    /// The time from the last byte of a connector's file to the first event that it serves.
    Reload,
    /// The number of defects created per second, with and without syncs to the disk.
    Create,
}

impl Arguments {
    pub(crate) fn parse(parser: &mut Parser) -> Result<Self, lexopt::Error> {
        let mut bench = None;
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Value(name) if bench.is_none() => {
                    bench = Some(name.parse_with(|name| match name {
                        "reload" => Ok(Self::Reload),
                        "create" => Ok(Self::Create),
                        _ => Err("the benchmarks are `reload` and `create`"),
                    })?);
                }
                other => return Err(other.unexpected()),
            }
        }
        bench.ok_or_else(|| "name a benchmark: `reload` or `create`".into())
    }

    fn name(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Create => "create",
        }
    }
}

pub(crate) fn run(workspace: &Workspace, arguments: Arguments) -> anyhow::Result<()> {
    if arguments == Arguments::Create {
        tools::debian_packages(workspace, &["libeatmydata1", "strace"])?;
    }
    connectors::build(workspace, &[Example::Redmine])?;
    test_guests(workspace)?;
    step("release build (takes some minutes)", || {
        run_program(cargo(&workspace.root).args(["build", "--release", "--workspace"]), "")
    })?;
    let mut bench = cargo(&workspace.root);
    bench.args(["run", "--release", "--package", "jackfield-tests", "--bin", "bench", "--"]);
    bench.arg(arguments.name());
    bench.env("TEST_BIN", workspace.target.join("release/jackfield"));
    bench.env("TEST_PLUGINS", workspace.plugins());
    bench.env("TEST_GUESTS", examples(workspace));
    run_program(&mut bench, "")
}
