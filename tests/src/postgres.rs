//! A PostgreSQL server of one test, which `tests/postgres.sh` starts.

mod standby;

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

use tempfile::TempDir;

use crate::repository::run;
use crate::{Setup, root};

/// The variable that has the password of the database.
const PASSWORD_VARIABLE: &str = "JACKFIELD_SECRET_DATABASE";
const PASSWORD: &str = "test-database-password";

/// The variable that has the key of the secrets, which servers that share a database have in
/// common.
const KEY_VARIABLE: &str = "JACKFIELD_SECRET_KEY";
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// A PostgreSQL server. Dropping it kills the server.
pub struct Postgres {
    folder: TempDir,
    address: Ipv4Addr,
    port: u16,
}

impl Postgres {
    /// Starts a server with an empty database, and waits until it answers.
    ///
    /// # Panics
    /// If PostgreSQL is not installed, or does not start.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST)
    }

    /// As [`Self::start`], at this address of the machine.
    ///
    /// # Panics
    /// As for [`Self::start`].
    #[must_use]
    #[track_caller]
    pub fn start_at(address: Ipv4Addr) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        drop(listener);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let started = Self { folder, address, port };
        started.run("start");
        started
    }

    /// The address of the database, without the password.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    fn url_at(&self, port: u16) -> String {
        format!("postgres://jackfield@{}:{port}/jackfield", self.address)
    }

    /// The password of the database's user.
    #[must_use]
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// The lines of the configuration by which a server uses the database.
    #[must_use]
    pub fn config(&self) -> String {
        self.config_at(self.port)
    }

    fn config_at(&self, port: u16) -> String {
        let url = self.url_at(port);
        format!("store = \"{url}\"\nstore_password = \"env:{PASSWORD_VARIABLE}\"\n")
    }

    /// The variable with the password, and its value.
    #[must_use]
    pub fn variable(&self) -> (&'static str, &'static str) {
        (PASSWORD_VARIABLE, PASSWORD)
    }

    /// Prepares a server of Jackfield that uses the database.
    #[must_use]
    pub fn setup(&self) -> Setup {
        self.setup_at(self.port)
    }

    fn setup_at(&self, port: u16) -> Setup {
        Setup::new().env(PASSWORD_VARIABLE, PASSWORD).config(&self.config_at(port))
    }

    /// Prepares one of several servers of Jackfield that use the database, with the key of the
    /// others.
    #[must_use]
    pub fn replica(&self) -> Setup {
        self.replica_at(self.port)
    }

    /// The same, but it reaches the database only by a relay, which has this port.
    #[must_use]
    pub fn replica_at(&self, port: u16) -> Setup {
        self.setup_at(port).env(KEY_VARIABLE, KEY)
    }

    /// The CPU time of all processes of the database that run, milliseconds.
    ///
    /// # Panics
    /// If it does not run.
    #[must_use]
    pub fn cpu_ms(&self) -> u64 {
        let file = self.folder.path().join("data/postmaster.pid");
        let file = std::fs::read_to_string(file).expect("PostgreSQL runs");
        let first = file.lines().next().unwrap_or_default();
        let processes = std::fs::read_dir("/proc").expect("the processes").flatten();
        let stats = processes.filter_map(|it| std::fs::read_to_string(it.path().join("stat")).ok());
        let times = stats.filter_map(|stat| {
            let (start, rest) = stat.rsplit_once(") ")?;
            let fields: Vec<_> = rest.split(' ').collect();
            let own = start.split(' ').next() == Some(first) || fields.get(1) == Some(&first);
            let time = |at: usize| fields.get(at)?.parse::<u64>().ok();
            own.then(|| Some(time(11)? + time(12)?))?
        });
        // The unit is a hundredth of a second on every Linux.
        times.map(|ticks| ticks * 10).sum()
    }

    /// The port of the database.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the server has logged since its first start.
    ///
    /// # Panics
    /// If the log cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.log")).expect("the log")
    }

    /// Ends the server as a crash does.
    ///
    /// # Panics
    /// If it does not end.
    #[track_caller]
    pub fn kill(&self) {
        self.run("kill");
    }

    /// Starts the server again with its database.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    pub fn start_again(&self) {
        self.run("start");
    }

    /// Runs SQL, as somebody who may write to the database. Returns its rows, with `|` between the
    /// columns.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn query(&self, sql: &str) -> Vec<String> {
        run(self.command("query").arg(sql)).lines().map(str::to_owned).collect()
    }

    /// As [`Self::query`], but PostgreSQL must refuse. Returns what it says.
    ///
    /// # Panics
    /// If it does not refuse.
    #[must_use]
    #[track_caller]
    pub fn refuses(&self, sql: &str) -> String {
        let output = self.command("query").arg(sql).output().expect("the script runs");
        assert!(!output.status.success(), "PostgreSQL does not refuse {sql}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    #[track_caller]
    fn run(&self, action: &str) {
        let mut command = self.command(action);
        if self.address != Ipv4Addr::LOCALHOST {
            command.arg(self.address.to_string());
        }
        let ended = command.status().expect("the script runs");
        assert!(ended.success(), "postgres.sh {action} ended with {ended}");
    }

    fn command(&self, action: &str) -> Command {
        let mut command = Command::new(root().join("tests/postgres.sh"));
        command.arg(action).arg(self.folder.path()).arg(self.port.to_string());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.command("kill").status();
    }
}
