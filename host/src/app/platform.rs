//! Problems of the machine, its file systems and the container, described for the operator.
//!
//! A [`PlatformProblem`] does not prevent the start of the server, except for too few threads.

use std::fs;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;

use parking_lot::Mutex;

use crate::config::{
    AccessError, AccessWarning, Config, DataFolder, inspect_folder, inspect_private,
    unsuitable_file_system,
};
use crate::domain::{CompileFor, Limits};
use crate::memory::{free_bytes, group_limit_bytes};
use crate::plugins;
use crate::runtime::{AddressSpace, Engine, EngineError, MemoryLayout, check_executable};

/// A problem, and how to fix it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformProblem {
    /// Describes the problem for people.
    pub problem: String,
    /// Describes for people how to fix the problem.
    pub fix: String,
}

impl PlatformProblem {
    pub(super) fn log(&self) {
        tracing::warn!(fix = self.fix, "{}", self.problem);
    }
}

/// The recommended memory of a compiler process, bytes. Compiling a typical connector in JavaScript
/// or Python needs this much.
const COMPILE_BYTES_RECOMMENDED: u64 = 512 << 20;

/// Returns the address space that a new engine gets.
///
/// # Errors
/// No engine can be started.
pub fn new_engine_address_space() -> Result<AddressSpace, EngineError> {
    Engine::start(CompileFor::ThisCpu).map(|engine| engine.address_space())
}

/// Returns a problem if the address space is too small for the largest pool of guest memories.
#[must_use]
pub fn address_space_problem(space: AddressSpace) -> Option<PlatformProblem> {
    let how = match space.layout {
        MemoryLayout::Reserved => "in a smaller pool",
        MemoryLayout::OnDemand => "without a pool, which is slower",
    };
    space.is_small().then(|| PlatformProblem {
        problem: format!(
            "the address space is small: connectors run {how}, at most {} guest memories at a time",
            space.slots
        ),
        fix: "give the process 5 TB of address space, with `ulimit -v unlimited` or \
              LimitAS=infinity; 39-bit kernels and some sandboxes cannot provide it"
            .to_owned(),
    })
}

/// Returns a problem if the process cannot start `count` more threads. Starts these threads to find
/// out, and ends them.
#[must_use]
pub fn threads_problem(count: usize) -> Option<PlatformProblem> {
    let (release, wait) = mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let mut started = Vec::new();
    for _ in 0..count {
        let wait = Arc::clone(&wait);
        let thread = thread::Builder::new().spawn(move || wait.lock().recv().is_err());
        match thread {
            Ok(thread) => started.push(thread),
            Err(_) => break,
        }
    }
    drop(release);
    let possible = started.len();
    for thread in started {
        let _ = thread.join();
    }
    (possible < count).then(|| PlatformProblem {
        problem: format!("the process can start only {possible} more threads, but needs {count}"),
        fix: "raise the limit on processes: `ulimit -u`, TasksMax=, pids.max".to_owned(),
    })
}

/// Returns a problem if the database is on a file system that is not reliable enough for SQLite.
#[must_use]
pub fn disk_problem(config: &Config) -> Option<PlatformProblem> {
    if config.store.is_some() {
        return None;
    }
    let data = &config.data;
    let kind = unsuitable_file_system(data)?;
    Some(PlatformProblem {
        problem: format!(
            "{} is on {kind}: SQLite needs locks and shared memory that such file systems do not \
             provide reliably, and the database may be damaged",
            data.display()
        ),
        fix: "use a local disk or a block volume for the data folder".to_owned(),
    })
}

/// Returns a problem if too little memory is free for a compiler.
#[must_use]
pub fn memory_problem(limits: &Limits) -> Option<PlatformProblem> {
    let needed = COMPILE_BYTES_RECOMMENDED.min(limits.compile_memory_bytes);
    let free = free_bytes().filter(|free| free / 4 * 3 < needed)?;
    let memory_description = match group_limit_bytes() {
        Some(limit) => format!("the control group's limit is {} MiB", limit >> 20),
        None => "the memory of the machine".to_owned(),
    };
    Some(PlatformProblem {
        problem: format!(
            "{} MiB of memory are free ({memory_description}): compiling a connector may fail, \
             because a compiler gets three quarters of the free memory",
            free >> 20
        ),
        fix: "give the machine or the container 1 GiB or more".to_owned(),
    })
}

/// Inspects the data folder, and its files with the keys and the admin token. Returns a problem for
/// each file to which its group has access. Also returns a problem if the file system stores no
/// owners and modes.
///
/// # Errors
/// The folder or one of the files is not safe to use.
pub fn access_problems(folder: &DataFolder) -> Result<Vec<PlatformProblem>, AccessError> {
    let files = [folder.secret_key(), folder.admin_token(), folder.compiled_key()];
    let mut warnings = vec![inspect_folder(folder.path())?];
    for file in files.iter().filter(|file| file.exists()) {
        warnings.push(inspect_private(file)?);
    }
    let mut warnings: Vec<AccessWarning> = warnings.into_iter().flatten().collect();
    warnings.dedup();
    let problem = |warning: AccessWarning| PlatformProblem {
        problem: warning.to_string(),
        fix: warning.fix(),
    };
    Ok(warnings.into_iter().map(problem).collect())
}

/// Checks that compiled code in a data folder can be run. The error describes how to fix the
/// problem.
///
/// # Errors
/// Compiled code cannot be run, or the check itself failed.
pub fn check_code_execution(folder: &DataFolder) -> anyhow::Result<()> {
    let compiled = folder.compiled_folder();
    let checked_folder = if compiled.exists() { compiled } else { folder.path().to_owned() };
    Ok(check_executable(&checked_folder)?)
}

/// Returns a problem if the program file of the server that uses this folder was replaced or
/// removed after the server started.
#[must_use]
pub fn replaced_program_problem(folder: &DataFolder) -> Option<PlatformProblem> {
    let process: u32 = fs::read_to_string(folder.lock()).ok()?.trim().parse().ok()?;
    let program = fs::read_link(format!("/proc/{process}/exe")).ok()?;
    let program = program.to_str()?.strip_suffix(" (deleted)")?;
    let is_jackfield = Path::new(program).file_name().is_some_and(|name| name == "jackfield");
    is_jackfield.then(|| PlatformProblem {
        problem: format!(
            "the server (process {process}) runs an old version: its program file was replaced"
        ),
        fix: "restart the server at a convenient time; until then, it runs the old version"
            .to_owned(),
    })
}

/// Returns a problem if connector files are not compiled again because the compiler or the server
/// ended during earlier attempts.
#[must_use]
pub fn blocked_files_problem(folder: &DataFolder) -> Option<PlatformProblem> {
    let reasons = plugins::blocked_files(&folder.compiled_folder());
    let first = reasons.first()?;
    Some(PlatformProblem {
        problem: format!("{} connector files are not compiled again: {first}", reasons.len()),
        fix: "fix the cause, or install another version of the file".to_owned(),
    })
}

/// Logs the problems with the address space, the file system and the memory.
pub(super) fn log_problems(config: &Config, space: AddressSpace) {
    let problems =
        [address_space_problem(space), disk_problem(config), memory_problem(&config.limits)];
    problems.iter().flatten().for_each(PlatformProblem::log);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_found_and_have_a_fix() {
        let space = |slots, layout| address_space_problem(AddressSpace { slots, layout });
        assert_eq!(space(1_000, MemoryLayout::Reserved), None);
        let small = space(250, MemoryLayout::Reserved).unwrap();
        assert!(small.problem.contains("smaller pool") && small.fix.contains("ulimit -v"));
        let without_pool = space(1_000, MemoryLayout::OnDemand).unwrap();
        assert!(without_pool.problem.contains("without a pool"), "{without_pool:?}");
        let limits = Limits { compile_memory_bytes: 1 << 20, ..Limits::default() };
        assert_eq!(
            memory_problem(&limits),
            None,
            "the configured limit is lower than the recommendation"
        );
        assert_eq!(threads_problem(4), None);
        let folder = tempfile::tempdir().unwrap();
        let config = Config { data: folder.path().to_owned(), ..Config::default() };
        assert_eq!(disk_problem(&config), None);
        assert_eq!(replaced_program_problem(&DataFolder::at(folder.path())), None);
        assert!(check_code_execution(&DataFolder::at(folder.path())).is_ok());
    }
}
