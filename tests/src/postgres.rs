//! A PostgreSQL server of one test, which `tests/postgres.sh` starts.

use std::net::TcpListener;
use std::process::Command;

use tempfile::TempDir;

use crate::{Setup, root};

/// The variable that has the password of the database.
const PASSWORD_VARIABLE: &str = "JACKFIELD_SECRET_DATABASE";
const PASSWORD: &str = "test-database-password";

/// A PostgreSQL server. Dropping it kills the server.
pub struct Postgres {
    folder: TempDir,
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
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        drop(listener);
        let started = Self { folder: tempfile::tempdir().expect("a temporary folder"), port };
        started.run("start");
        started
    }

    /// The address of the database, without the password.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://jackfield@127.0.0.1:{}/jackfield", self.port)
    }

    /// The password of the database's user.
    #[must_use]
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// The lines of the configuration by which a server uses the database.
    #[must_use]
    pub fn config(&self) -> String {
        format!("store = \"{}\"\nstore_password = \"env:{PASSWORD_VARIABLE}\"\n", self.url())
    }

    /// The variable with the password, and its value.
    #[must_use]
    pub fn variable(&self) -> (&'static str, &'static str) {
        (PASSWORD_VARIABLE, PASSWORD)
    }

    /// Prepares a server of Jackfield that uses the database.
    #[must_use]
    pub fn setup(&self) -> Setup {
        Setup::new().env(PASSWORD_VARIABLE, PASSWORD).config(&self.config())
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

    #[track_caller]
    fn run(&self, action: &str) {
        let ended = self.command(action).status().expect("the script runs");
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
