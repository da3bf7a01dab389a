//! Finds the paths of the repository and of the built program, and runs commands.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// Returns the repository's root.
#[must_use]
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("tests/ is in the repository").to_owned()
}

/// Returns Cargo's target folder: `target/`, or another folder if Cargo is configured to use one.
#[must_use]
pub fn target() -> PathBuf {
    let exe = std::env::current_exe().expect("the test knows its own path");
    let target = exe.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    target.expect("the test runs from cargo's target folder").to_owned()
}

/// Returns the path of the `jackfield` binary under test: the value of the environment variable
/// `TEST_BIN`, or else the binary in the target folder of the test.
///
/// # Panics
/// If `TEST_BIN` is not set, and the binary is missing or older than `host/src`.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("TEST_BIN") {
            return path.into();
        }
        let exe = std::env::current_exe().expect("the test knows its own path");
        let profile = exe.ancestors().nth(2).expect("target/PROFILE/deps/EXE");
        let binary = profile.join("jackfield");
        let fix = "run `cargo build --package jackfield` (or `cargo xtask test`) first";
        let Some(built_at) = modified_at(&binary) else { panic!("no {}: {fix}", binary.display()) };
        let newest = newest_change_below(&root().join("host/src"));
        assert!(built_at >= newest, "{} is older than host/src: {fix}", binary.display());
        binary
    })
}

fn modified_at(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

fn newest_change_below(folder: &Path) -> SystemTime {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let times = paths.map(|path| {
        if path.is_dir() {
            newest_change_below(&path)
        } else {
            modified_at(&path).expect("a readable file")
        }
    });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Runs `cargo xtask` with these arguments.
pub fn xtask(arguments: &[&str]) {
    run(Command::new(cargo()).arg("xtask").args(arguments).current_dir(root()));
}

pub(crate) fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// Runs a command until it ends, and returns its stdout. Panics with its output if it fails.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> String {
    let command_line = format!("{command:?}");
    let output = command.output().unwrap_or_else(|error| panic!("{command_line}: {error}"));
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command_line}: {}\n{stdout}\n{stderr}", output.status);
    stdout.into_owned()
}
