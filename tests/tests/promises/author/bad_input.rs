//! What an author gets wrong: each time one sentence that says what to do, exit code 1, and nothing
//! half-written.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use jackfield_tests::binary;

use super::project::{Ended, NAME, Project, run};

/// Runs `jackfield new` in a folder.
fn new(folder: &Path, words: &[&str]) -> Ended {
    run(Command::new(binary()).arg("new").args(words), folder)
}

/// Asserts that a command failed with one line that has these words.
#[track_caller]
fn fails_with(ended: Ended, words: &[&str]) {
    let err = ended.fails();
    assert_eq!(err.trim_end().lines().count(), 1, "not one line: {err}");
    for word in words {
        assert!(err.contains(word), "{word:?} is not in: {err}");
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect()
}

#[test]
fn new_refuses_what_it_cannot_create() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["My_Tracker", "../up", ""] {
        fails_with(new(folder.path(), &[name, "--lang", "rust"]), &["a-z, 0-9 and `-`"]);
    }
    let like = new(folder.path(), &["qa", "--lang", "typescript", "--like", "redmine"]);
    fails_with(like, &["redmine does not exist in typescript", "rust, javascript, python, script"]);
    let engine = new(folder.path(), &["qa", "--lang", "python", "--engine", "starlingmonkey"]);
    fails_with(engine, &["starlingmonkey runs javascript, not python"]);
    assert!(names(folder.path()).is_empty());

    fs::write(folder.path().join("qa"), "mine").expect("a file");
    fails_with(new(folder.path(), &["qa", "--lang", "rust"]), &["qa exists already"]);
    assert_eq!(names(folder.path()), ["qa"]);
    assert_eq!(fs::read_to_string(folder.path().join("qa")).expect("a file"), "mine");

    // Where not even root may write.
    fails_with(new(Path::new("/proc"), &["qa", "--lang", "rust"]), &["cannot create a folder in"]);
}

#[test]
fn build_refuses_a_folder_that_is_not_a_project() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let build = |folder: &str| run(Command::new(binary()).args(["build", folder]), parent.path());
    fs::create_dir(parent.path().join("qa")).expect("a folder");
    fails_with(build("qa"), &["not the project of a connector", "jackfield new"]);
    fs::create_dir(parent.path().join("Wrong Name")).expect("a folder");
    fails_with(build("Wrong Name"), &["`Wrong Name` cannot be the name of a connector"]);
    fails_with(build("missing"), &["cannot open missing"]);

    fs::write(parent.path().join("qa/Cargo.toml"), "").expect("a file");
    fs::write(parent.path().join("qa/.build"), "").expect("a file");
    fails_with(build("qa"), &["cannot create", "/qa/.build"]);
}

/// The languages, their first tool, and how it is installed.
const TOOLS: [(&str, &str, &str); 7] = [
    ("rust", "rustc", "rustup update stable"),
    ("javascript", "node", "apt install nodejs npm"),
    ("typescript", "node", "apt install nodejs npm"),
    ("python", "python3", "apt install python3 python3-venv"),
    ("c", "python3", "apt install python3 python3-venv"),
    ("cpp", "python3", "apt install python3 python3-venv"),
    ("go", "go", "install Go 1.27"),
];

/// Builds with only these programs in the PATH, each a shell script.
fn build_with(project: &Project, programs: &[(&str, &str)]) -> Ended {
    let path = tempfile::tempdir().expect("a temporary folder");
    for (name, script) in programs {
        let file = path.path().join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("a program");
    }
    let mut build = Command::new(binary());
    // A cache without tools.
    build.arg("build").env("PATH", path.path()).env("XDG_CACHE_HOME", path.path());
    run(&mut build, &project.path(""))
}

#[test]
fn a_missing_or_old_tool_is_named_with_the_command_that_installs_it() {
    for (language, tool, fix) in TOOLS {
        let project = Project::new(language, &[]);
        fails_with(build_with(&project, &[]), &[tool, "cannot be run", fix]);
        let old = [(tool, "echo v1.2.3")];
        fails_with(build_with(&project, &old), &[tool, "1.2 is too old", fix]);
        assert!(!project.path(&format!("{NAME}.wasm")).exists());
    }
    let python = Project::new("python", &[]);
    let no_venv = [("python3", "[ \"$1\" = --version ] && echo Python 3.11.2")];
    fails_with(build_with(&python, &no_venv), &["venv or pip is missing", "python3-venv"]);
}

#[test]
fn the_target_of_rust_is_added_where_it_is_missing() {
    let project = Project::new("rust", &[]);
    let rustc = ("rustc", "[ \"$1\" = --version ] && echo rustc 1.95.0 || echo /missing");
    let without = build_with(&project, &[rustc]).fails();
    assert!(without.contains("rustup is needed") && without.contains("wasm32-wasip2"), "{without}");
    let added = project.path("added");
    let rustup = format!("echo \"$@\" > {}", added.display());
    let cargo = ("cargo", "echo the error of the compiler >&2; exit 101");
    let failed = build_with(&project, &[rustc, ("rustup", &rustup), cargo]).fails();
    assert_eq!(fs::read_to_string(added).expect("rustup ran"), "target add wasm32-wasip2\n");
    assert!(failed.contains("the error of the compiler\n"), "{failed}");
    assert!(failed.contains("cargo build --release failed"), "{failed}");
}
