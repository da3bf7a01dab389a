//! What `doctor` says about the machine, its file systems and the container: one line for each.

use std::fs::{self, DirEntry, File};
use std::path::Path;

use crate::app;
use crate::config::{Config, DataFolder};
use crate::domain::ConnectorName;

use super::{Finding, fail, ok, warn};

/// For a busy server: its own, those of name look-ups and of a compiler.
const THREADS_RECOMMENDED: usize = 128;

pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let folder = config.data_folder();
    vec![
        address_space(),
        memory(config),
        lack("threads", app::few_threads(THREADS_RECOMMENDED), "enough"),
        compiled_code(&folder),
        database_disk(&config.data),
        program(&folder),
        given_up(&folder),
    ]
}

fn lack(check: &'static str, lack: Option<app::Lack>, fine: impl Into<String>) -> Finding {
    match lack {
        None => ok(check, fine),
        Some(app::Lack { found, fix }) => warn(check, found, fix),
    }
}

/// The owners and modes of the data folder and of the files with keys and tokens in it.
pub(super) fn access(folder: &DataFolder) -> Finding {
    const CHECK: &str = "access";
    match app::shared_access(folder) {
        Ok(lacks) => {
            let found: Vec<_> = lacks.iter().map(|it| it.found.as_str()).collect();
            let fix: Vec<_> = lacks.iter().map(|it| it.fix.as_str()).collect();
            match found.is_empty() {
                true => ok(CHECK, "only this user, or the group of the data folder"),
                false => warn(CHECK, found.join("; "), fix.join("; ")),
            }
        }
        Err(error) => fail(
            CHECK,
            error.to_string(),
            "run the command that is named, then `jackfield secrets rotate` if it was a key",
        ),
    }
}

fn address_space() -> Finding {
    const CHECK: &str = "address space";
    match app::address_space() {
        Ok(space) => {
            let fine = format!("a pool of {} guest memories", space.slots);
            lack(CHECK, app::small_address_space(space), fine)
        }
        Err(error) => fail(CHECK, format!("no engine starts: {error}"), "raise `ulimit -v`"),
    }
}

fn memory(config: &Config) -> Finding {
    lack("memory", app::little_memory(&config.limits), "enough to compile connectors")
}

fn compiled_code(folder: &DataFolder) -> Finding {
    const CHECK: &str = "compiled code";
    if !folder.path().exists() {
        return ok(CHECK, "not tried: there is no data folder yet");
    }
    match app::runs_code(folder) {
        Ok(()) => ok(CHECK, "can be run from the data folder"),
        Err(error) => fail(CHECK, error.to_string(), "as it says"),
    }
}

fn database_disk(data: &Path) -> Finding {
    lack("database disk", app::unsuitable_disk(data), "not on a network file system")
}

fn program(folder: &DataFolder) -> Finding {
    let fine = "the server, if one runs, runs the installed version";
    lack("program", app::replaced_program(folder), fine)
}

fn given_up(folder: &DataFolder) -> Finding {
    let fine = "none made its compiler die";
    lack("compiling", app::given_up(folder), fine)
}

/// Why a file of the plugins folder is no connector; `None` if it is, or is not meant to be.
pub(super) fn problem(entry: &DirEntry) -> Option<String> {
    let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
    if name.starts_with('.') || !path.extension()?.eq_ignore_ascii_case("wasm") {
        return None;
    }
    let why = match name.strip_suffix(".wasm") {
        None => "its ending must be .wasm, in lower case: rename it".to_owned(),
        Some(stem) => match stem.parse::<ConnectorName>() {
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
