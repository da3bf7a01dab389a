//! `cargo xtask test`: installs the tools for the tests, builds everything once, and runs the
//! tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::browser;
use crate::connectors::{self, Example};
use crate::step::{cargo, run as run_program, step};
use crate::tools;
use crate::workspace::Workspace;
use lexopt::{Arg, Parser, ValueExt as _};

/// Redmine and Request Tracker are real trackers. strace checks the order of the host's system
/// calls. valgrind counts instructions. iproute2 gives a test its own network. libfaketime sets the
/// clock of one process. openssl runs TLS servers with certificates like those of companies. curl
/// is a client for HTTP/2 and TLS. systemd checks its unit files. Prometheus scrapes the server,
/// and its promtool checks the alerts. nginx, HAProxy and Caddy are the reverse proxies of
/// docs/operator.md. PostgreSQL is the second database engine of the store, and PgBouncer is a
/// connection pool for it.
const DEBIAN_PACKAGES: [&str; 19] = [
    "redmine",
    "redmine-sqlite",
    "puma",
    "strace",
    "valgrind",
    "iproute2",
    "libfaketime",
    "openssl",
    "curl",
    "systemd",
    "nginx",
    "haproxy",
    "caddy",
    "prometheus",
    "request-tracker5",
    "rt5-standalone",
    "rt5-db-sqlite",
    "postgresql",
    "pgbouncer",
];

pub(crate) struct Arguments {
    /// Whether the crash, race and load tests run longer.
    is_long: bool,
    /// Only tests whose name contains this text run.
    filter: Option<String>,
    /// Additional environment variables for the tests.
    variables: Vec<(&'static str, PathBuf)>,
}

impl Arguments {
    pub(crate) fn parse(parser: &mut Parser) -> Result<Self, lexopt::Error> {
        let mut arguments = Self { is_long: false, filter: None, variables: Vec::new() };
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("long") => arguments.is_long = true,
                Arg::Value(filter) if arguments.filter.is_none() => {
                    arguments.filter = Some(filter.string()?);
                }
                other => return Err(other.unexpected()),
            }
        }
        Ok(arguments)
    }

    /// Arguments that run only the tests whose name contains `filter`, with these environment
    /// variables.
    pub(crate) fn for_filter(filter: &str, variables: &[(&'static str, &Path)]) -> Self {
        let variables = variables.iter().map(|(name, value)| (*name, value.to_path_buf()));
        Self { is_long: false, filter: Some(filter.to_owned()), variables: variables.collect() }
    }
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<()> {
    tools::install_debian_packages(
        workspace,
        &[&DEBIAN_PACKAGES[..], &browser::DEBIAN_PACKAGES].concat(),
    )?;
    browser::install(workspace)?;
    connectors::build(workspace, &Example::ALL)?;
    build_test_guests(workspace)?;
    let provider = workspace.root.join("tests/identity-provider");
    tools::install_node_modules(&provider, &workspace.target.join("identity-provider"))?;
    // Everything is built by one command. Two commands could build a dependency twice, with
    // different features.
    step("host and tests (the first build takes some minutes)", || {
        run_program(
            cargo(&workspace.root).args(["build", "--workspace", "--lib", "--bins", "--tests"]),
            "",
        )
    })?;
    let postgres = Postgres::start(workspace)?;
    step("tests", || {
        let mut test = cargo(&workspace.root);
        test.args(["test", "--workspace"]).args(&arguments.filter);
        test.env("TEST_BIN", workspace.host());
        test.env("TEST_PLUGINS", workspace.plugins());
        test.env("TEST_GUESTS", built_test_guests(workspace));
        test.env("TEST_POSTGRES", &postgres.url);
        test.envs(arguments.variables.iter().map(|(name, value)| (name, value)));
        if arguments.is_long {
            test.env("TEST_LONG", "1");
        }
        run_program(&mut test, "")
    })
}

/// The PostgreSQL server for the store's unit tests. Dropping this value ends the server and
/// deletes its folder.
struct Postgres {
    script: PathBuf,
    folder: PathBuf,
    url: String,
}

impl Postgres {
    fn start(workspace: &Workspace) -> anyhow::Result<Self> {
        let script = workspace.root.join("tests/postgres.sh");
        let folder =
            std::env::temp_dir().join(format!("jackfield-postgres-{}", std::process::id()));
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let host = folder.display();
        let url = format!("postgres://jackfield@localhost:{port}/jackfield?host={host}");
        let server = Self { script, folder, url };
        step("PostgreSQL", || run_program(server.command("start").arg(port.to_string()), ""))?;
        Ok(server)
    }

    fn command(&self, action: &str) -> Command {
        let mut command = Command::new(&self.script);
        command.arg(action).arg(&self.folder);
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.command("kill").status();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Builds the guests that the tests run.
pub(crate) fn build_test_guests(workspace: &Workspace) -> anyhow::Result<()> {
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
        run_program(build.arg("--target-dir").arg(workspace.guest_target()), "")
    })
}

/// The folder that contains the built test guests.
pub(crate) fn built_test_guests(workspace: &Workspace) -> std::path::PathBuf {
    workspace.guest_target().join(tools::WASM_TARGET).join("release/examples")
}
