//! The folder of a connector's author: the connector file and what it is called with, for the
//! commands that need no server.

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

/// A command that ended.
#[derive(Debug)]
pub struct EndedCommand {
    /// The exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// What it printed on stdout.
    pub out: String,
    /// What it printed on stderr.
    pub err: String,
}

impl ConnectorFolder {
    /// Writes the files.
    ///
    /// # Panics
    /// A file cannot be written.
    #[must_use]
    #[track_caller]
    pub fn new(guest: &Guest, settings: &Value, secret: &str) -> Self {
        let it = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        it.write("connector.wasm", &guest.bytes);
        it.write("settings.json", settings.to_string());
        it.write("event.json", failed_test().to_string());
        it.write("secret", secret);
        it
    }

    /// The path of a file in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file.
    ///
    /// # Panics
    /// The file cannot be written.
    #[track_caller]
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("the file is written");
    }

    /// Runs `jackfield` in the folder, with its own cache folder.
    ///
    /// # Panics
    /// The program cannot be started.
    #[must_use]
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> EndedCommand {
        let mut command = Command::new(binary());
        command.env("XDG_CACHE_HOME", self.path("cache")).current_dir(self.folder.path());
        let output = command.args(words).output().expect("the binary starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        EndedCommand { code: output.status.code(), out, err }
    }
}
