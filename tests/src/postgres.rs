//! Runs PostgreSQL servers for tests and benchmarks, with the script `tests/postgres.sh`.

mod standby;

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

use tempfile::TempDir;

use crate::repository::run;
use crate::{Setup, root};

const PASSWORD_VARIABLE: &str = "JACKFIELD_SECRET_DATABASE";
const PASSWORD: &str = "test-database-password";

const KEY_VARIABLE: &str = "JACKFIELD_SECRET_KEY";
/// The encryption key of all Jackfield servers that share a database: 32 bytes in hex.
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// A running PostgreSQL server. Dropping this value kills the server.
pub struct Postgres {
    /// The folder with the server's files and its log.
    folder: TempDir,
    address: Ipv4Addr,
    port: u16,
}

impl Postgres {
    /// Starts a server with an empty database, and waits until it answers.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST)
    }

    /// Like [`Self::start`], but the server listens on this address of the machine.
    #[must_use]
    #[track_caller]
    pub fn start_at(address: Ipv4Addr) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        drop(listener);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = Self { folder, address, port };
        server.run_script("start");
        server
    }

    /// Returns the URL of the database, without the password.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_with_port(self.port)
    }

    fn url_with_port(&self, port: u16) -> String {
        format!("postgres://jackfield@{}:{port}/jackfield", self.address)
    }

    /// Returns the password of the database's user.
    #[must_use]
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// Returns the lines of `jackfield.toml` that make a server use the database.
    #[must_use]
    pub fn config(&self) -> String {
        self.config_with_port(self.port)
    }

    fn config_with_port(&self, port: u16) -> String {
        let url = self.url_with_port(port);
        format!("store = \"{url}\"\nstore_password = \"env:{PASSWORD_VARIABLE}\"\n")
    }

    /// Returns the environment variable with the password, and its value.
    #[must_use]
    pub fn password_variable(&self) -> (&'static str, &'static str) {
        (PASSWORD_VARIABLE, PASSWORD)
    }

    /// Prepares a Jackfield server that uses the database.
    #[must_use]
    pub fn setup(&self) -> Setup {
        self.setup_with_port(self.port)
    }

    fn setup_with_port(&self, port: u16) -> Setup {
        Setup::new().env(PASSWORD_VARIABLE, PASSWORD).config(&self.config_with_port(port))
    }

    /// Prepares one of several Jackfield servers that share the database. All of them use the same
    /// key.
    #[must_use]
    pub fn server_setup(&self) -> Setup {
        self.server_setup_at(self.port)
    }

    /// Like [`Self::server_setup`], but the server connects to the database through a relay with
    /// this port.
    #[must_use]
    pub fn server_setup_at(&self, port: u16) -> Setup {
        self.setup_with_port(port).env(KEY_VARIABLE, KEY)
    }

    /// Returns the CPU time of all running processes of this server, milliseconds.
    #[must_use]
    pub fn cpu_ms(&self) -> u64 {
        let pid_file = self.folder.path().join("data/postmaster.pid");
        let pid_file = std::fs::read_to_string(pid_file).expect("PostgreSQL runs");
        let main_process = pid_file.lines().next().unwrap_or_default();
        let processes = std::fs::read_dir("/proc").expect("the processes").flatten();
        let stats = processes.filter_map(|it| std::fs::read_to_string(it.path().join("stat")).ok());
        let times = stats.filter_map(|stat| {
            let (start, rest) = stat.rsplit_once(") ")?;
            let fields: Vec<_> = rest.split(' ').collect();
            let is_main = start.split(' ').next() == Some(main_process);
            let is_child = fields.get(1) == Some(&main_process);
            let time = |at: usize| fields.get(at)?.parse::<u64>().ok();
            (is_main || is_child).then(|| Some(time(11)? + time(12)?))?
        });
        // The kernel counts in hundredths of a second on x86-64 and Arm.
        times.map(|ticks| ticks * 10).sum()
    }

    /// Returns the port of the database.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the server's log since its first start.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.log")).expect("the log")
    }

    /// Kills the server, as in a crash.
    #[track_caller]
    pub fn kill(&self) {
        self.run_script("kill");
    }

    /// Starts the server again with the same database.
    #[track_caller]
    pub fn start_again(&self) {
        self.run_script("start");
    }

    /// Runs an SQL statement as the superuser `jackfield`. Returns the rows, with `|` between the
    /// columns.
    #[track_caller]
    pub fn query(&self, sql: &str) -> Vec<String> {
        run(self.script_command("query").arg(sql)).lines().map(str::to_owned).collect()
    }

    /// Runs an SQL statement that PostgreSQL must refuse. Returns the error.
    #[must_use]
    #[track_caller]
    pub fn refuses(&self, sql: &str) -> String {
        let output = self.script_command("query").arg(sql).output().expect("the script runs");
        assert!(!output.status.success(), "PostgreSQL does not refuse {sql}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    #[track_caller]
    fn run_script(&self, action: &str) {
        let mut command = self.script_command(action);
        if self.address != Ipv4Addr::LOCALHOST {
            command.arg(self.address.to_string());
        }
        let status = command.status().expect("the script runs");
        assert!(status.success(), "postgres.sh {action} ended with {status}");
    }

    fn script_command(&self, action: &str) -> Command {
        let mut command = Command::new(root().join("tests/postgres.sh"));
        command.arg(action).arg(self.folder.path()).arg(self.port.to_string());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.script_command("kill").status();
    }
}
