//! Tests ways to run PostgreSQL that docs/postgresql.md describes, such as TLS, PgBouncer and
//! standbys. If a setup cannot work, the server refuses to start; its error is one line and
//! contains the fix.

mod password;
mod pool;
mod read_only_plugins_folder;
mod split_brain;
mod standby;
mod tls;

use std::fs;
use std::process::Command;

use jackfield_tests::{Connection, Postgres, Setup, TestHost, binary, empty_home, wait_for};
use serde_json::Value;
use tempfile::TempDir;

const PASSWORD: &str = "pw-of-the-app-9271";
const PASSWORD_VARIABLE: &str = "JACKFIELD_SECRET_APP";
/// The key that encrypts the secrets. All servers of a test use the same key.
const SECRET_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// The longest time, in seconds, until a server has applied a change of another server.
const CHANGE_S_MAX: u64 = 10;

/// Starts PostgreSQL with the user `app` and the database `app`.
fn start_postgres() -> Postgres {
    let postgres = Postgres::start();
    postgres.query(&format!("CREATE USER app PASSWORD '{PASSWORD}'"));
    postgres.query("CREATE DATABASE app OWNER app ENCODING 'UTF8' TEMPLATE template0");
    postgres
}

fn config(host: &str, port: u16, query: &str) -> String {
    format!(
        "store = \"postgres://app@{host}:{port}/app?{query}\"\n\
         store_password = \"env:{PASSWORD_VARIABLE}\"\n"
    )
}

fn setup(config: &str) -> Setup {
    let setup =
        Setup::new().env(PASSWORD_VARIABLE, PASSWORD).env("JACKFIELD_SECRET_KEY", SECRET_KEY);
    setup.config(config)
}

struct CommandFolder {
    folder: TempDir,
    /// The password that each command gets in the variable [`PASSWORD_VARIABLE`].
    password: String,
}

impl CommandFolder {
    fn new(config: &str) -> Self {
        let folder = empty_home();
        fs::write(folder.path().join("jackfield.toml"), config).expect("the configuration");
        Self { folder, password: PASSWORD.to_owned() }
    }

    fn with_password(self, password: &str) -> Self {
        Self { password: password.to_owned(), ..self }
    }

    /// Returns the exit code, the stdout and the stderr of the command.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new("timeout");
        command.arg("30").arg(binary()).args(arguments).current_dir(self.folder.path());
        command.args(["--config", "jackfield.toml", "--data", "data", "--plugins", "plugins"]);
        command.env(PASSWORD_VARIABLE, &self.password).env("JACKFIELD_SECRET_KEY", SECRET_KEY);
        let done = command.output().expect("the binary starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (printed, error) = (text(&done.stdout), text(&done.stderr));
        let shown = format!("{printed}{error}");
        assert!(!shown.contains(&self.password), "the password was printed: {shown}");
        (done.status.code(), printed, error)
    }

    /// Returns the one line with which the server refuses to start.
    #[track_caller]
    fn start_refusal(&self) -> String {
        let (code, printed, error) = self.run(&["serve", "--listen", "127.0.0.1:0"]);
        assert_eq!(code, Some(1), "{printed}{error}");
        assert_eq!(error.trim_end().lines().count(), 1, "not one line: {error}");
        error
    }

    /// Returns the status of one check of `doctor`, and its finding with the fix. Returns `None` if
    /// `doctor` reports nothing about this check.
    #[track_caller]
    fn diagnose(&self, check: &str) -> Option<(String, String)> {
        let (_, printed, error) = self.run(&["doctor", "--json"]);
        let report: Value = serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{error}"));
        let findings = report["findings"].as_array().expect("a list").iter();
        let found = findings.clone().find(|it| it["check"] == check)?;
        let field = |name: &str| found[name].as_str().expect("a text").to_owned();
        Some((field("status"), format!("{}; {}", field("found"), field("fix"))))
    }

    /// The error of the server and the finding of `doctor` must both contain all of these words.
    #[track_caller]
    fn assert_refused(&self, words: &[&str]) {
        let (refusal, diagnosis) = (self.start_refusal(), self.diagnose("database"));
        let (status, diagnosis) = diagnosis.expect("a finding");
        assert_eq!(status, "fail", "{diagnosis}");
        for word in words {
            assert!(refusal.contains(word), "no {word:?} in: {refusal}");
            assert!(diagnosis.contains(word), "no {word:?} in: {diagnosis}");
        }
    }
}

/// Pauses a connection at one server. Waits until the other server refuses the clicks of this
/// connection.
#[track_caller]
fn assert_pause_is_noticed(other: &TestHost, pausing: &TestHost, connection: &Connection) {
    let test = jackfield_tests::failed_test();
    wait_for("the other server to know the connection", 20, || {
        (other.create(connection, &test).status == 200).then_some(())
    });
    let path = format!("/connections/{}/pause", connection.id);
    pausing.admin().json("POST", &path, &serde_json::json!({})).assert_status(200);
    wait_for("the pause at the other server", CHANGE_S_MAX, || {
        (other.create(connection, &test).status == 503).then_some(())
    });
}
