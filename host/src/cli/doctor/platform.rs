//! The findings of `doctor` about the machine, its file systems and the container.

use std::fs::{self, DirEntry, File};
use std::path::Path;

use crate::app;
use crate::config::{Config, DataFolder};
use crate::domain::ConnectorName;

use super::{Finding, fail, ok, warn};

/// Enough for a busy server: its own threads, those of name lookups, and those of a compiler.
const THREADS_RECOMMENDED: usize = 128;

/// `runs`: whether a server runs on these folders.
pub(super) fn findings(config: &Config, runs: bool) -> Vec<Finding> {
    let folder = config.data_folder();
    vec![
        address_space(),
        memory(config),
        finding("threads", app::few_threads(THREADS_RECOMMENDED), "enough"),
        compiled_code(&folder),
        database_disk(&config.data),
        program(&folder, runs),
        blocked_connectors(&folder),
    ]
}

/// A warning for a problem; `ok_text` describes the finding if there is none.
fn finding(
    check: &'static str,
    problem: Option<app::PlatformProblem>,
    ok_text: impl Into<String>,
) -> Finding {
    match problem {
        None => ok(check, ok_text),
        Some(app::PlatformProblem { found, fix }) => warn(check, found, fix),
    }
}

/// The owners and modes of the data folder and of the files with keys and tokens in it.
pub(super) fn access(folder: &DataFolder) -> Finding {
    const CHECK: &str = "access";
    match app::shared_access(folder) {
        Ok(problems) => {
            let found: Vec<_> = problems.iter().map(|it| it.found.as_str()).collect();
            let fix: Vec<_> = problems.iter().map(|it| it.fix.as_str()).collect();
            match found.is_empty() {
                true => ok(CHECK, "only this user, or the group of the data folder"),
                false => warn(CHECK, found.join("; "), fix.join("; ")),
            }
        }
        Err(error) => fail(
            CHECK,
            error.to_string(),
            "run the command in the message, then `jackfield secrets rotate` if it was a key",
        ),
    }
}

fn address_space() -> Finding {
    const CHECK: &str = "address space";
    match app::address_space() {
        Ok(space) => {
            let ok_text = format!("a pool of {} guest memories", space.slots);
            finding(CHECK, app::small_address_space(space), ok_text)
        }
        Err(error) => fail(CHECK, format!("the engine cannot start: {error}"), "raise `ulimit -v`"),
    }
}

fn memory(config: &Config) -> Finding {
    finding("memory", app::little_memory(&config.limits), "enough to compile connectors")
}

/// Whether compiled connectors can run from the data folder.
fn compiled_code(folder: &DataFolder) -> Finding {
    const CHECK: &str = "compiled code";
    if !folder.path().exists() {
        return ok(CHECK, "not checked: the data folder does not exist yet");
    }
    match app::runs_code(folder) {
        Ok(()) => ok(CHECK, "can be run from the data folder"),
        Err(error) => fail(CHECK, error.to_string(), "do what the message says"),
    }
}

fn database_disk(data: &Path) -> Finding {
    finding("database disk", app::unsuitable_disk(data), "not on a network file system")
}

/// Whether the running server is older than the installed program.
fn program(folder: &DataFolder, runs: bool) -> Finding {
    let ok_text = match runs {
        true => "the server runs the installed version",
        false => "no server is known to run an older version",
    };
    finding("program", app::replaced_program(folder), ok_text)
}

/// Connector files that are not compiled again because their compiler died.
fn blocked_connectors(folder: &DataFolder) -> Finding {
    let ok_text = "no compiler process died";
    finding("compiling", app::blocked_connectors(folder), ok_text)
}

/// Why a `.wasm` or `.js` file in the plugins folder cannot be a connector. `None` if it can, and
/// for every other file.
pub(super) fn file_problem(entry: &DirEntry) -> Option<String> {
    let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
    let (stem, given) = name.rsplit_once('.')?;
    let extension = ["wasm", "js"].into_iter().find(|it| given.eq_ignore_ascii_case(it))?;
    if name.starts_with('.') {
        return None;
    }
    let other = path.with_extension(if extension == "js" { "wasm" } else { "js" });
    let why = match stem {
        _ if given != extension => {
            format!("its ending must be .{extension}, in lower case: rename it")
        }
        _ if other.exists() => format!("{} has the same name: remove one", other.display()),
        stem => match stem.parse::<ConnectorName>() {
            Err(error) => format!("{error}; rename it"),
            Ok(_) => match fs::metadata(&path).and_then(|it| File::open(&path).map(|_| it)) {
                Err(error) => error.to_string(),
                Ok(metadata) if !metadata.is_file() => "not a regular file".to_owned(),
                Ok(_) => return None,
            },
        },
    };
    Some(format!("{}: {why}", path.display()))
}
