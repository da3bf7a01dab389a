//! Mistakes of a connector's author. `jackfield new` or `jackfield build` prints what to do, ends
//! with exit code 1, and leaves no incomplete file or folder.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use jackfield_tests::binary;

use super::project::{EndedCommand, NAME, Project, run};

fn run_new(folder: &Path, arguments: &[&str]) -> EndedCommand {
    run(Command::new(binary()).arg("new").args(arguments), folder)
}

#[track_caller]
fn assert_failed(ended: EndedCommand, words: &[&str]) {
    let error = ended.assert_failure();
    assert_eq!(error.trim_end().lines().count(), 1, "not one line: {error}");
    for word in words {
        assert!(error.contains(word), "{word:?} is not in: {error}");
    }
}

fn file_names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect()
}

#[test]
fn jackfield_new_refuses_wrong_names_options_and_folders() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["My_Tracker", "../up", ""] {
        assert_failed(run_new(folder.path(), &[name, "--lang", "rust"]), &["a-z, 0-9 and `-`"]);
    }
    let like = run_new(folder.path(), &["qa", "--lang", "typescript", "--like", "redmine"]);
    assert_failed(
        like,
        &["redmine does not exist in typescript", "rust, javascript, python, script"],
    );
    let engine = run_new(folder.path(), &["qa", "--lang", "python", "--engine", "starlingmonkey"]);
    assert_failed(engine, &["starlingmonkey runs javascript, not python"]);
    assert!(file_names(folder.path()).is_empty());

    fs::write(folder.path().join("qa"), "mine").expect("a file");
    assert_failed(run_new(folder.path(), &["qa", "--lang", "rust"]), &["qa exists already"]);
    assert_eq!(file_names(folder.path()), ["qa"]);
    assert_eq!(fs::read_to_string(folder.path().join("qa")).expect("a file"), "mine");

    // Not even root may create a folder in /proc.
    assert_failed(
        run_new(Path::new("/proc"), &["qa", "--lang", "rust"]),
        &["cannot create a folder in"],
    );
}

#[test]
fn jackfield_build_refuses_a_folder_that_is_not_a_project() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let build = |folder: &str| run(Command::new(binary()).args(["build", folder]), parent.path());
    fs::create_dir(parent.path().join("qa")).expect("a folder");
    assert_failed(build("qa"), &["not the project of a connector", "jackfield new"]);
    fs::create_dir(parent.path().join("Wrong Name")).expect("a folder");
    assert_failed(build("Wrong Name"), &["`Wrong Name` cannot be the name of a connector"]);
    assert_failed(build("missing"), &["cannot open missing"]);

    fs::write(parent.path().join("qa/Cargo.toml"), "").expect("a file");
    fs::write(parent.path().join("qa/.build"), "").expect("a file");
    assert_failed(build("qa"), &["cannot create", "/qa/.build"]);
}

/// Each language that needs a tool, with the first tool that `jackfield build` runs for this
/// language, and with words of the advice how to install the tool.
const TOOLS: [(&str, &str, &str); 7] = [
    ("rust", "rustc", "rustup update stable"),
    ("javascript", "node", "apt install nodejs npm"),
    ("typescript", "node", "apt install nodejs npm"),
    ("python", "python3", "apt install python3 python3-venv"),
    ("c", "python3", "apt install python3 python3-venv"),
    ("cpp", "python3", "apt install python3 python3-venv"),
    ("go", "go", "install Go 1.27"),
];

/// The PATH contains only these shell scripts, each with its name and its text.
fn build_with_programs(project: &Project, programs: &[(&str, &str)]) -> EndedCommand {
    let path = tempfile::tempdir().expect("a temporary folder");
    for (name, script) in programs {
        let file = path.path().join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("a program");
    }
    let mut build = Command::new(binary());
    // The new cache folder contains no tool that an earlier build downloaded.
    build.arg("build").env("PATH", path.path()).env("XDG_CACHE_HOME", path.path());
    run(&mut build, &project.path(""))
}

#[test]
fn a_missing_or_old_tool_is_named_with_the_command_that_installs_it() {
    for (language, tool, fix) in TOOLS {
        let project = Project::new(language, &[]);
        assert_failed(build_with_programs(&project, &[]), &[tool, "cannot be run", fix]);
        let old_version = [(tool, "echo v1.2.3")];
        assert_failed(build_with_programs(&project, &old_version), &[tool, "1.2 is too old", fix]);
        assert!(!project.path(&format!("{NAME}.wasm")).exists());
    }
    let python = Project::new("python", &[]);
    let no_venv = [("python3", "[ \"$1\" = --version ] && echo Python 3.11.2")];
    assert_failed(
        build_with_programs(&python, &no_venv),
        &["venv or pip is missing", "python3-venv"],
    );
}

#[test]
fn jackfield_build_installs_a_missing_target_of_rust() {
    let project = Project::new("rust", &[]);
    let rustc = ("rustc", "[ \"$1\" = --version ] && echo rustc 1.95.0 || echo /missing");
    let error = build_with_programs(&project, &[rustc]).assert_failure();
    assert!(error.contains("rustup is needed") && error.contains("wasm32-wasip2"), "{error}");
    let arguments = project.path("arguments");
    let rustup = format!("echo \"$@\" > {}", arguments.display());
    let cargo = ("cargo", "echo the error of the compiler >&2; exit 101");
    let programs = [rustc, ("rustup", rustup.as_str()), cargo];
    let error = build_with_programs(&project, &programs).assert_failure();
    assert_eq!(fs::read_to_string(arguments).expect("rustup ran"), "target add wasm32-wasip2\n");
    assert!(error.contains("the error of the compiler\n"), "{error}");
    assert!(error.contains("cargo build --release failed"), "{error}");
}
