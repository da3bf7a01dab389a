//! PostgreSQL as docs/postgresql.md describes it: a user without other rights, TLS, a password
//! file, PgBouncer, standbys. What does not work is refused with one sentence that says what to do.

mod password;
mod plugins_folder;
mod pool;
mod split_brain;
mod standby;
mod tls;

use std::fs;
use std::process::Command;

use jackfield_tests::{Connection, Postgres, Setup, TestHost, binary, empty_home, wait_for};
use serde_json::Value;
use tempfile::TempDir;

const PASSWORD: &str = "pw-of-the-app-9271";
const VARIABLE: &str = "JACKFIELD_SECRET_APP";
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// How long a change needs at most until it holds at another server that was notified, seconds.
const CHANGED_S: u64 = 10;

/// A PostgreSQL server with the user and the database of the documentation.
fn documented() -> Postgres {
    let postgres = Postgres::start();
    postgres.query(&format!("CREATE USER app PASSWORD '{PASSWORD}'"));
    postgres.query("CREATE DATABASE app OWNER app ENCODING 'UTF8' TEMPLATE template0");
    postgres
}

/// The configuration for this host, port and query of the address.
fn config(host: &str, port: u16, query: &str) -> String {
    format!(
        "store = \"postgres://app@{host}:{port}/app?{query}\"\nstore_password = \"env:{VARIABLE}\"\n"
    )
}

/// Prepares a server with this configuration.
fn setup(config: &str) -> Setup {
    let setup = Setup::new().env(VARIABLE, PASSWORD).env("JACKFIELD_SECRET_KEY", KEY);
    setup.config(config)
}

/// A folder with a configuration, for commands without a running server.
struct Home {
    folder: TempDir,
    password: String,
}

impl Home {
    fn new(config: &str) -> Self {
        let folder = empty_home();
        fs::write(folder.path().join("jackfield.toml"), config).expect("the configuration");
        Self { folder, password: PASSWORD.to_owned() }
    }

    fn with_password(self, password: &str) -> Self {
        Self { password: password.to_owned(), ..self }
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new("timeout");
        command.arg("30").arg(binary()).args(arguments).current_dir(self.folder.path());
        command.args(["--config", "jackfield.toml", "--data", "data", "--plugins", "plugins"]);
        command.env(VARIABLE, &self.password).env("JACKFIELD_SECRET_KEY", KEY);
        let done = command.output().expect("the binary starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (printed, error) = (text(&done.stdout), text(&done.stderr));
        let shown = format!("{printed}{error}");
        assert!(!shown.contains(&self.password), "the password was printed: {shown}");
        (done.status.code(), printed, error)
    }

    /// The line with which a server refuses to start.
    #[track_caller]
    fn refusal(&self) -> String {
        let (code, printed, error) = self.run(&["serve", "--listen", "127.0.0.1:0"]);
        assert_eq!(code, Some(1), "{printed}{error}");
        assert_eq!(error.trim_end().lines().count(), 1, "not one line: {error}");
        error
    }

    /// What `doctor` finds about this check: the status, what it found and the advice.
    #[track_caller]
    fn diagnosis(&self, check: &str) -> Option<(String, String)> {
        let (_, printed, error) = self.run(&["doctor", "--json"]);
        let report: Value = serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{error}"));
        let found = report["findings"].as_array().expect("a list").iter();
        let found = found.clone().find(|it| it["check"] == check)?;
        let of = |name: &str| found[name].as_str().expect("a text").to_owned();
        Some((of("status"), format!("{}; {}", of("found"), of("fix"))))
    }

    /// Checks that a server refuses to start, and that `doctor` fails, with these words.
    #[track_caller]
    fn assert_refused(&self, words: &[&str]) {
        let (refusal, diagnosis) = (self.refusal(), self.diagnosis("database"));
        let (status, diagnosis) = diagnosis.expect("a finding");
        assert_eq!(status, "fail", "{diagnosis}");
        for word in words {
            assert!(refusal.contains(word), "no {word:?} in: {refusal}");
            assert!(diagnosis.contains(word), "no {word:?} in: {diagnosis}");
        }
    }
}

/// Pauses a connection at one server and waits until another one, which is notified, refuses its
/// clicks.
#[track_caller]
fn assert_pause_is_noticed(by: &TestHost, at: &TestHost, connection: &Connection) {
    let test = jackfield_tests::failed_test();
    wait_for("the other server to know the connection", 20, || {
        (by.create(connection, &test).status == 200).then_some(())
    });
    let path = format!("/connections/{}/pause", connection.id);
    at.admin().json("POST", &path, &serde_json::json!({})).assert_status(200);
    wait_for("the pause at the other server", CHANGED_S, || {
        (by.create(connection, &test).status == 503).then_some(())
    });
}
