//! `jackfield secrets rotate` replaces the key that encrypts the secrets. The next start of the
//! server undoes or finishes an interrupted rotation.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jackfield_tests::{Connection, Reply, ScriptedServer, Setup, TestHost, failed_test};
use serde_json::json;

const SECRET: &str = "s3cr3t-of-the-tracker";

struct ServerWithSecret {
    host: TestHost,
    tracker: ScriptedServer,
    connection: Connection,
}

impl ServerWithSecret {
    fn start(setup: Setup) -> Self {
        let tracker = ScriptedServer::start(|_| Reply::new(200, "reached"));
        let host = setup.guests(["calls"]).start();
        let secrets = json!({"key-header": SECRET});
        let connection = crate::calls::add_connection(&host, &tracker, json!({}), secrets);
        Self { host, tracker, connection }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.host.data(name)
    }

    fn read_key(&self) -> String {
        fs::read_to_string(self.file("secret-key")).expect("a key")
    }

    /// Returns whether the command succeeded, and what it printed.
    fn rotate(&self, variables: &[(&str, &str)]) -> (bool, String) {
        let mut command = self.host.cli(&["secrets", "rotate", "--data", "data"]);
        let output = command.envs(variables.iter().copied()).output().expect("the binary starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    }

    #[track_caller]
    fn stop_and_rotate(&mut self, variables: &[(&str, &str)]) {
        assert!(self.host.stop().success());
        let (rotated, printed) = self.rotate(variables);
        assert!(
            rotated && printed.contains('1'),
            "the rotation failed, or did not report one encrypted secret: {printed}"
        );
        assert!(!printed.contains(SECRET), "{printed}");
    }

    #[track_caller]
    fn assert_secret_is_sent(&mut self) {
        self.host.restart();
        self.host.create(&self.connection, &failed_test()).assert_status(200);
        let request = self.tracker.last_request();
        assert_eq!(request.header("x-api-key"), Some(format!("Token {SECRET}").as_str()));
        assert!(!self.file("secret-key.next").exists(), "the rotation is not finished");
    }

    #[track_caller]
    fn assert_refuses_key(&mut self) {
        let line = self.host.start_refusal();
        assert!(line.contains("jackfield.db") && line.contains("key"), "{line}");
    }
}

#[test]
fn the_key_is_not_rotated_while_a_server_runs() {
    let server = ServerWithSecret::start(Setup::new());
    let before = server.read_key();
    let (rotated, printed) = server.rotate(&[]);
    assert!(!rotated && printed.contains("stop"), "{printed}");
    assert_eq!(printed.trim_end().lines().count(), 1, "more than one line was printed: {printed}");
    assert_eq!(server.read_key(), before);
    assert!(!server.file("secret-key.next").exists());
}

#[test]
fn after_a_rotation_only_the_new_key_opens_the_secrets() {
    let mut server = ServerWithSecret::start(Setup::new());
    let old = server.read_key();
    server.stop_and_rotate(&[]);
    let new = server.read_key();
    assert_ne!(new, old);
    let mode = fs::metadata(server.file("secret-key")).expect("a key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    server.assert_secret_is_sent();
    let audit = server.host.admin().get("/audit?action=secrets.rotate").expect(200);
    assert_eq!(audit["entries"].as_array().map(Vec::len), Some(1), "{audit}");
    assert!(server.host.stop().success());
    fs::write(server.file("secret-key"), old).expect("the old key");
    server.assert_refuses_key();
    fs::write(server.file("secret-key"), new).expect("the new key");
    server.assert_secret_is_sent();
}

/// When the rotation is interrupted, the secrets in the database are still encrypted with the old
/// key.
#[test]
fn a_rotation_interrupted_before_the_database_changed_is_undone() {
    for next in ["17".repeat(32), "17".repeat(5), String::new()] {
        let mut server = ServerWithSecret::start(Setup::new());
        let old = server.read_key();
        assert!(server.host.stop().success());
        write_private_file(&server.file("secret-key.next"), &next);
        server.assert_secret_is_sent();
        assert_eq!(server.read_key(), old, "the old key is not in use");
        server.stop_and_rotate(&[]);
        server.assert_secret_is_sent();
    }
}

/// When the rotation is interrupted, the secrets in the database are already encrypted with the new
/// key, but the key file still contains the old key.
#[test]
fn a_rotation_interrupted_after_the_database_changed_is_finished() {
    let mut server = ServerWithSecret::start(Setup::new());
    let old = server.read_key();
    server.stop_and_rotate(&[]);
    let new = server.read_key();
    fs::rename(server.file("secret-key"), server.file("secret-key.next"))
        .expect("the key is moved back");
    write_private_file(&server.file("secret-key"), &old);
    server.assert_secret_is_sent();
    assert_eq!(server.read_key(), new, "the new key is not in use");
}

#[test]
fn a_key_in_the_environment_is_rotated_to_another_key_in_the_environment() {
    let (old, new) = ("17".repeat(32), "42".repeat(32));
    let mut server = ServerWithSecret::start(Setup::new().env("JACKFIELD_SECRET_KEY", &old));
    assert!(server.host.stop().success());
    let (rotated, printed) = server.rotate(&[("JACKFIELD_SECRET_KEY", &old)]);
    assert!(!rotated && printed.contains("JACKFIELD_NEW_SECRET_KEY"), "{printed}");
    let (rotated, printed) = server.rotate(&[
        ("JACKFIELD_SECRET_KEY", new.as_str()),
        ("JACKFIELD_NEW_SECRET_KEY", old.as_str()),
    ]);
    assert!(
        !rotated && printed.contains("key"),
        "a rotation with the wrong key succeeded: {printed}"
    );
    server.assert_secret_is_sent();
    server.stop_and_rotate(&[
        ("JACKFIELD_SECRET_KEY", old.as_str()),
        ("JACKFIELD_NEW_SECRET_KEY", new.as_str()),
    ]);
    server.assert_refuses_key();
    server.host.set_env("JACKFIELD_SECRET_KEY", &new);
    server.assert_secret_is_sent();
    assert!(!server.file("secret-key").exists(), "the key is stored on the disk");
}

#[test]
fn a_rotation_moves_a_key_from_its_file_to_the_environment() {
    let new = "42".repeat(32);
    let mut server = ServerWithSecret::start(Setup::new());
    server.stop_and_rotate(&[("JACKFIELD_NEW_SECRET_KEY", &new)]);
    assert!(!server.file("secret-key").exists(), "the old key was not deleted");
    server.host.set_env("JACKFIELD_SECRET_KEY", &new);
    server.assert_secret_is_sent();
}

fn write_private_file(path: &Path, text: &str) {
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.expect("the file is opened").write_all(text.as_bytes()).expect("the file is written");
}
