//! A folder such as the author of a connector has. It contains the connector's file and the files
//! that `jackfield test` and `jackfield invoke` read.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::{Guest, binary, failed_test};

/// A folder with `connector.wasm`, `settings.json`, `event.json` and `secret`.
pub struct ConnectorFolder {
    folder: TempDir,
}

/// A command that has ended.
#[derive(Debug)]
pub struct EndedCommand {
    /// The exit code; `None` if a signal ended the command.
    pub code: Option<i32>,
    /// The text that the command printed to stdout.
    pub out: String,
    /// The text that the command printed to stderr.
    pub err: String,
}

impl ConnectorFolder {
    /// Creates a temporary folder that contains this connector, these settings, this secret, and
    /// the body of a Create Defect request (`event.json`).
    #[must_use]
    #[track_caller]
    pub fn new(guest: &Guest, settings: &Value, secret: &str) -> Self {
        let created = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        created.write("connector.wasm", &guest.bytes);
        created.write("settings.json", settings.to_string());
        created.write("event.json", failed_test().to_string());
        created.write("secret", secret);
        created
    }

    /// Returns the path of a file in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file in the folder.
    #[track_caller]
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("the file is written");
    }

    /// Runs `jackfield` with these arguments in the folder.
    #[must_use]
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> EndedCommand {
        let mut command = Command::new(binary());
        command.env("XDG_CACHE_HOME", self.path("cache")).current_dir(self.folder.path());
        let output = command.args(arguments).output().expect("the binary starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        EndedCommand { code: output.status.code(), out, err }
    }
}
