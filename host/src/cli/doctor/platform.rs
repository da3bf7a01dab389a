//! The checks of `doctor` for problems of the machine, its file systems and its containers. They
//! may write a temporary file, and change nothing else.

use std::fs::{self, DirEntry, File};

use crate::app;
use crate::config::{Config, DataFolder};
use crate::domain::ConnectorName;

use super::{Finding, fail_finding, ok_finding, warn_finding};

/// The number of threads that a busy server needs: its own threads, the threads that resolve host
/// names, and the threads of a compiler process.
const THREADS_RECOMMENDED: usize = 128;

/// Runs the checks. `is_running` is true if a server answers and its folders are on this machine.
pub(super) fn run_checks(config: &Config, is_running: bool) -> Vec<Finding> {
    let folder = config.data_folder();
    vec![
        check_address_space(),
        check_memory(config),
        problem_finding("threads", app::threads_problem(THREADS_RECOMMENDED), "enough"),
        check_compiled_code(&folder),
        check_database_disk(config),
        check_program(&folder, is_running),
        check_blocked_connectors(&folder),
    ]
}

fn problem_finding(
    check: &'static str,
    problem: Option<app::PlatformProblem>,
    ok_text: impl Into<String>,
) -> Finding {
    match problem {
        None => ok_finding(check, ok_text),
        Some(app::PlatformProblem { problem, fix }) => warn_finding(check, problem, fix),
    }
}

pub(super) fn check_access(folder: &DataFolder) -> Finding {
    const CHECK: &str = "access";
    match app::access_problems(folder) {
        Ok(problems) => {
            let found: Vec<_> = problems.iter().map(|it| it.problem.as_str()).collect();
            let fix: Vec<_> = problems.iter().map(|it| it.fix.as_str()).collect();
            match found.is_empty() {
                true => ok_finding(CHECK, "only this user, or the group of the data folder"),
                false => warn_finding(CHECK, found.join("; "), fix.join("; ")),
            }
        }
        Err(error) => fail_finding(
            CHECK,
            error.to_string(),
            "run the command in the message; for a key, then run `jackfield secrets rotate`",
        ),
    }
}

fn check_address_space() -> Finding {
    const CHECK: &str = "address space";
    match app::new_engine_address_space() {
        Ok(space) => {
            let ok_text = format!("a pool of {} guest memories", space.slots);
            problem_finding(CHECK, app::address_space_problem(space), ok_text)
        }
        Err(error) => {
            fail_finding(CHECK, format!("the engine cannot start: {error}"), "raise `ulimit -v`")
        }
    }
}

fn check_memory(config: &Config) -> Finding {
    problem_finding("memory", app::memory_problem(&config.limits), "enough to compile connectors")
}

fn check_compiled_code(folder: &DataFolder) -> Finding {
    const CHECK: &str = "compiled code";
    if !folder.path().exists() {
        return ok_finding(CHECK, "not checked: the data folder does not exist yet");
    }
    match app::check_code_execution(folder) {
        Ok(()) => ok_finding(CHECK, "can be run from the data folder"),
        Err(error) => fail_finding(CHECK, error.to_string(), "do what the message says"),
    }
}

fn check_database_disk(config: &Config) -> Finding {
    let ok = match &config.store {
        Some(_) => "not checked: the store is in PostgreSQL",
        None => "not on a network file system",
    };
    problem_finding("database disk", app::disk_problem(config), ok)
}

fn check_program(folder: &DataFolder, is_running: bool) -> Finding {
    let ok_text = match is_running {
        true => "the server runs the installed version",
        false => "no server is known to run an older version",
    };
    problem_finding("program", app::replaced_program_problem(folder), ok_text)
}

fn check_blocked_connectors(folder: &DataFolder) -> Finding {
    let ok_text = "no compiler process died";
    problem_finding("compiling", app::blocked_files_problem(folder), ok_text)
}

/// Returns the reason why a `.wasm` or `.js` file in the plugins folder cannot be a connector.
pub(super) fn file_problem(entry: &DirEntry) -> Option<String> {
    let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
    let (stem, file_extension) = name.rsplit_once('.')?;
    let extension =
        ["wasm", "js"].into_iter().find(|it| file_extension.eq_ignore_ascii_case(it))?;
    if name.starts_with('.') {
        return None;
    }
    let other = path.with_extension(if extension == "js" { "wasm" } else { "js" });
    let why = match stem {
        _ if file_extension != extension => {
            format!("its extension must be .{extension} in lower case: rename the file")
        }
        _ if other.exists() => {
            format!("{} has the same name: remove one of the two", other.display())
        }
        stem => match stem.parse::<ConnectorName>() {
            Err(error) => format!("{error}; rename the file"),
            Ok(_) => match fs::metadata(&path).and_then(|it| File::open(&path).map(|_| it)) {
                Err(error) => error.to_string(),
                Ok(metadata) if !metadata.is_file() => "not a regular file".to_owned(),
                Ok(_) => return None,
            },
        },
    };
    Some(format!("{}: {why}", path.display()))
}
