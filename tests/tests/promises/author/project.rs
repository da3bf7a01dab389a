//! A project outside the repository, and the commands that its author runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jackfield_tests::{binary, target};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const NAME: &str = "my-tracker";

/// A project in a temporary folder.
pub(crate) struct Project {
    parent: TempDir,
}

/// A command that ended.
pub(crate) struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Project {
    /// Creates a project with `jackfield new`.
    #[track_caller]
    pub(crate) fn new(language: &str, more: &[&str]) -> Self {
        Self::of(&[&["--lang", language], more].concat())
    }

    /// Creates a project like an example, in the example's own language.
    #[track_caller]
    pub(crate) fn like(example: &str) -> Self {
        Self::of(&["--like", example])
    }

    #[track_caller]
    fn of(words: &[&str]) -> Self {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let words = [&["new", NAME], words].concat();
        run(Command::new(binary()).args(words), parent.path()).succeeds();
        let project = Self { parent };
        fs::write(project.path("api-key.txt"), "any-key-for-the-recording").expect("a file");
        project
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.parent.path().join(NAME).join(file)
    }

    /// Runs a command of `jackfield` in the project's folder. Builds in Rust share their
    /// dependencies with the other guests, and builds of all projects the tools of PyPI.
    pub(crate) fn run(&self, command: &str, words: &[&str]) -> Ended {
        let mut program = Command::new(binary());
        program.arg(command).args(words).env("CARGO_TARGET_DIR", target().join("guests"));
        program.env("XDG_CACHE_HOME", target().join("cache"));
        run(&mut program, &self.path(""))
    }

    /// Runs a command that succeeds, and returns its JSON.
    #[track_caller]
    pub(crate) fn json(&self, command: &str, words: &[&str]) -> Value {
        let out = self.run(command, &[words, &["--json"]].concat()).succeeds();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error} in {out}"))
    }

    /// Builds the project, and returns what `build` printed.
    #[track_caller]
    pub(crate) fn build(&self) -> Value {
        let built = self.json("build", &["."]);
        let file = self.path(&format!("{NAME}.wasm"));
        let bytes = fs::metadata(&file).expect("the component").len();
        assert_eq!(built["bytes"], bytes, "{built}");
        built
    }

    /// Replaces a text in a file.
    #[track_caller]
    pub(super) fn edit(&self, file: &str, from: &str, to: &str) {
        let source = fs::read_to_string(self.path(file)).expect("the source");
        assert!(source.contains(from), "{from} is not in {source}");
        fs::write(self.path(file), source.replacen(from, to, 1)).expect("the source is written");
    }

    /// Builds with a mistake in a file. The build fails with these words on stderr, and the
    /// component of the last build stays.
    #[track_caller]
    pub(crate) fn breaks(&self, file: &str, from: &str, to: &str, words: &[&str]) {
        let component = self.path(&format!("{NAME}.wasm"));
        let before = fs::read(&component).expect("the component");
        let source = fs::read_to_string(self.path(file)).expect("the source");
        self.edit(file, from, to);
        let err = self.run("build", &["."]).fails();
        for word in words {
            assert!(err.contains(word), "{word:?} is not in: {err}");
        }
        assert!(before == fs::read(component).expect("the component"), "{file}: it changed");
        fs::write(self.path(file), source).expect("the source is written");
    }
}

/// Runs a command in a folder.
pub(crate) fn run(command: &mut Command, folder: &Path) -> Ended {
    let output = command.current_dir(folder).output().expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

impl Ended {
    /// What it wrote to stdout; it succeeded.
    #[track_caller]
    pub(crate) fn succeeds(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}", self.out, self.err);
        self.out
    }

    /// The JSON that it wrote to stdout, whether it succeeded or not.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        let (out, err) = (self.out, self.err);
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error} in {out}\n{err}"))
    }

    /// What it wrote to stderr; it failed with exit code 1 and a last line that says why.
    #[track_caller]
    pub(crate) fn fails(self) -> String {
        assert_eq!(self.code, Some(1), "{}\n{}", self.out, self.err);
        assert!(self.out.is_empty(), "{}", self.out);
        let last = self.err.trim_end().lines().last().unwrap_or_default();
        assert!(last.starts_with("error: "), "{}", self.err);
        self.err
    }
}
