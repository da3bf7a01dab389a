//! `cargo xtask test`: installs the tools for the tests, builds everything once, and runs the
//! tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::browser;
use crate::connectors::{self, Example};
use crate::step::{cargo_command, run_program, run_step};
use crate::tools;
use crate::workspace::Workspace;
use lexopt::{Arg, Parser, ValueExt as _};

/// The Debian packages for the tests. Redmine and Request Tracker are real trackers. strace shows
/// the host's system calls or makes them fail. valgrind counts instructions. With iproute2, a test
/// has its own network. libfaketime sets the clock of a process. openssl runs TLS servers with
/// certificates like those of companies. curl is a client for HTTP/2 and TLS. systemd checks
/// Jackfield's unit files. Prometheus scrapes the server, and its promtool checks the alerts.
/// nginx, HAProxy and Caddy are the reverse proxies of docs/operator.md. PostgreSQL is the second
/// database engine of the store, and PgBouncer is a connection pool for PostgreSQL.
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
    is_long: bool,
    /// Only tests whose name contains this text run; `None` for all tests.
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

    /// Returns the arguments that run only the tests whose name contains `filter`, with these
    /// environment variables.
    pub(crate) fn with_filter(filter: &str, variables: &[(&'static str, &Path)]) -> Self {
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
    // One command builds the host and all tests. Two commands could build a dependency twice, with
    // different features.
    run_step("host and tests (the first build takes some minutes)", || {
        run_program(
            cargo_command(&workspace.root).args([
                "build",
                "--workspace",
                "--lib",
                "--bins",
                "--tests",
            ]),
            "",
        )
    })?;
    let postgres = Postgres::start(workspace)?;
    run_step("tests", || {
        let mut test = cargo_command(&workspace.root);
        test.args(["test", "--workspace"]).args(&arguments.filter);
        test.env("TEST_BIN", workspace.host_program());
        test.env("TEST_PLUGINS", workspace.plugins_folder());
        test.env("TEST_GUESTS", test_guests_folder(workspace));
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
    /// The address of the database, in the format of the key `store`.
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
        run_step("PostgreSQL", || {
            run_program(server.script_command("start").arg(port.to_string()), "")
        })?;
        Ok(server)
    }

    fn script_command(&self, action: &str) -> Command {
        let mut command = Command::new(&self.script);
        command.arg(action).arg(&self.folder);
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.script_command("kill").status();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn build_test_guests(workspace: &Workspace) -> anyhow::Result<()> {
    let folder = workspace.root.join("tests/guests");
    if !folder.is_dir() {
        return Ok(());
    }
    run_step("test guests", || {
        let mut build = cargo_command(&folder);
        build.args([
            "build",
            "--locked",
            "--release",
            "--examples",
            "--target",
            tools::WASM_TARGET,
        ]);
        run_program(build.arg("--target-dir").arg(workspace.guest_target_folder()), "")
    })
}

pub(crate) fn test_guests_folder(workspace: &Workspace) -> std::path::PathBuf {
    workspace.guest_target_folder().join(tools::WASM_TARGET).join("release/examples")
}
