//! A connector's project outside the repository, and the commands that its author runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jackfield_tests::{binary, target};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const NAME: &str = "my-tracker";

pub(crate) struct Project {
    /// The folder that contains the project's folder.
    parent: TempDir,
}

pub(crate) struct EndedCommand {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Project {
    #[track_caller]
    pub(crate) fn new(language: &str, options: &[&str]) -> Self {
        Self::create(&[&["--lang", language], options].concat())
    }

    /// Creates a project from an example, in the language of the example.
    #[track_caller]
    pub(crate) fn like(example: &str) -> Self {
        Self::create(&["--like", example])
    }

    #[track_caller]
    fn create(options: &[&str]) -> Self {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let arguments = [&["new", NAME], options].concat();
        run(Command::new(binary()).args(arguments), parent.path()).assert_success();
        let project = Self { parent };
        fs::write(project.path("api-key.txt"), "any-key-for-the-recording").expect("a file");
        project
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.parent.path().join(NAME).join(file)
    }

    /// Rust projects and the test guests use one target folder, so cargo compiles their
    /// dependencies once. All projects use one folder of tools from PyPI.
    pub(crate) fn run(&self, command: &str, arguments: &[&str]) -> EndedCommand {
        let mut program = Command::new(binary());
        program.arg(command).args(arguments).env("CARGO_TARGET_DIR", target().join("guests"));
        program.env("XDG_CACHE_HOME", target().join("cache"));
        run(&mut program, &self.path(""))
    }

    /// Runs a command that must succeed, and returns the JSON that it printed.
    #[track_caller]
    pub(crate) fn json(&self, command: &str, arguments: &[&str]) -> Value {
        let stdout = self.run(command, &[arguments, &["--json"]].concat()).assert_success();
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error} in {stdout}"))
    }

    #[track_caller]
    pub(crate) fn build(&self) -> Value {
        let built = self.json("build", &["."]);
        let file = self.path(&format!("{NAME}.wasm"));
        let bytes = fs::metadata(&file).expect("the component").len();
        assert_eq!(built["bytes"], bytes, "{built}");
        built
    }

    /// Replaces the first occurrence of a text in a file.
    #[track_caller]
    pub(super) fn edit(&self, file: &str, from: &str, to: &str) {
        let source = fs::read_to_string(self.path(file)).expect("the source");
        assert!(source.contains(from), "{from} is not in {source}");
        fs::write(self.path(file), source.replacen(from, to, 1)).expect("the source is written");
    }

    /// Inserts a mistake into a file and builds. Checks that the build fails with these words on
    /// stderr and keeps the component of the last build. Then restores the file.
    #[track_caller]
    pub(crate) fn assert_build_fails(&self, file: &str, from: &str, to: &str, words: &[&str]) {
        let component = self.path(&format!("{NAME}.wasm"));
        let before = fs::read(&component).expect("the component");
        let source = fs::read_to_string(self.path(file)).expect("the source");
        self.edit(file, from, to);
        let stderr = self.run("build", &["."]).assert_failure();
        for word in words {
            assert!(stderr.contains(word), "{word:?} is not in: {stderr}");
        }
        assert!(
            before == fs::read(component).expect("the component"),
            "the failed build changed the component"
        );
        fs::write(self.path(file), source).expect("the source is written");
    }
}

pub(crate) fn run(command: &mut Command, folder: &Path) -> EndedCommand {
    let output = command.current_dir(folder).output().expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    EndedCommand {
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

impl EndedCommand {
    /// Returns what the command wrote to stdout.
    #[track_caller]
    pub(crate) fn assert_success(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Returns the JSON that the command wrote to stdout, even if the command failed.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        let (stdout, stderr) = (self.stdout, self.stderr);
        serde_json::from_str(&stdout)
            .unwrap_or_else(|error| panic!("{error} in {stdout}\n{stderr}"))
    }

    /// The command must write nothing to stdout, and its last line on stderr must be the error.
    /// Returns what it wrote to stderr.
    #[track_caller]
    pub(crate) fn assert_failure(self) -> String {
        assert_eq!(self.code, Some(1), "{}\n{}", self.stdout, self.stderr);
        assert!(self.stdout.is_empty(), "{}", self.stdout);
        let last = self.stderr.trim_end().lines().last().unwrap_or_default();
        assert!(last.starts_with("error: "), "{}", self.stderr);
        self.stderr
    }
}
