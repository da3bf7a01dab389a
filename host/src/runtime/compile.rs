//! Compiles a component in a child process with its own limits: the compiler is large and its input is
//! untrusted, so it must not use up the server's time or memory.
//!
//! The child reads one file and writes one file. It never runs a guest.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
use tokio::process::Command;
use tokio::time::timeout;

use crate::domain::Limits;

use super::engine::Engine;
use super::error::{CompileError, EngineError, WrongFile, shortened};

/// The hidden subcommand of the child process; [`compile_component_child`] takes its arguments.
pub const SUBCOMMAND: &str = "compile-component";

/// The largest compiled file, in bytes.
const OUTPUT_BYTES_MAX: u64 = 2 << 30;

/// The child's allocator settings (a variable of jemalloc): one arena that returns memory at once, so that
/// the limit on the address space is a limit on the memory in use.
const ALLOCATOR: (&str, &str) =
    ("_RJEM_MALLOC_CONF", "narenas:1,retain:false,background_thread:false");

/// The files of one compilation.
pub(crate) struct CompiledFiles {
    /// The component.
    pub(crate) source: PathBuf,
    /// Its machine code.
    pub(crate) code: PathBuf,
}

/// Compiles a component into `folder` with `compiler`, a Jackfield executable.
///
/// # Errors
/// Why not; a limit that was hit is named with its key and value.
pub(crate) async fn compile(
    compiler: &Path,
    wasm: &[u8],
    folder: &Path,
    limits: &Limits,
) -> Result<CompiledFiles, CompileError> {
    check_magic_bytes(wasm)?;
    let files = CompiledFiles { source: folder.join("in.wasm"), code: folder.join("out.cwasm") };
    tokio::fs::write(&files.source, wasm).await.map_err(CompileError::Input)?;
    // A fuzzer sees only the branches of its own process, and must not start a child for each input.
    if cfg!(fuzzing) {
        let compiled = compile_file(&files.source, &files.code);
        compiled.map_err(|error| CompileError::Refused(error.to_string()))?;
        return Ok(files);
    }
    let mut child = child_command(compiler, &files, limits);
    let child = child
        .spawn()
        .map_err(|source| CompileError::Start { program: compiler.to_owned(), source })?;
    match timeout(Duration::from_millis(limits.compile_ms), child.wait_with_output()).await {
        Err(_) => Err(CompileError::OverTime(limits.compile_ms)),
        Ok(Err(error)) => Err(CompileError::Wait(error)),
        Ok(Ok(done)) => {
            classify_exit(done.status, &String::from_utf8_lossy(&done.stderr), limits)?;
            Ok(files)
        }
    }
}

/// Names the common mistakes, for which no compiler is needed.
fn check_magic_bytes(wasm: &[u8]) -> Result<(), WrongFile> {
    match wasm.get(..8) {
        _ if wasm.is_empty() => Err(WrongFile::Empty),
        Some([0, b'a', b's', b'm', 0x01, 0, 0, 0]) => Err(WrongFile::CoreModule),
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Ok(()),
        _ => Err(WrongFile::NotWasm),
    }
}

fn child_command(compiler: &Path, files: &CompiledFiles, limits: &Limits) -> Command {
    let mut command = Command::new(compiler);
    command
        .arg(SUBCOMMAND)
        .args([&files.source, &files.code])
        .arg(limits.compile_memory_bytes.to_string())
        .arg(limits.compile_ms.to_string())
        .env_clear()
        .env(ALLOCATOR.0, ALLOCATOR.1)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Why the child failed, from its exit status and its stderr.
fn classify_exit(status: ExitStatus, stderr: &str, limits: &Limits) -> Result<(), CompileError> {
    if status.success() {
        return Ok(());
    }
    let signal = status.signal().and_then(Signal::from_named_raw);
    if signal == Some(Signal::XCPU) {
        return Err(CompileError::OverTime(limits.compile_ms));
    }
    let out_of_memory = ["memory allocation of", "Cannot allocate memory", "out of memory"];
    let aborted = matches!(signal, Some(Signal::ABORT | Signal::KILL));
    if aborted || out_of_memory.iter().any(|text| stderr.contains(text)) {
        return Err(CompileError::OverMemory(limits.compile_memory_bytes));
    }
    match stderr.trim() {
        "" => Err(CompileError::Failed(status)),
        message => Err(CompileError::Refused(shortened(message))),
    }
}

/// The whole work of the child process: sets its own limits, compiles, and reports by exit code and
/// stderr. `args` are the arguments after the subcommand: input, output, address space in bytes, time in
/// milliseconds.
#[must_use]
pub fn compile_component_child(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match run_child(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // It fails if the parent has closed the pipe; then no process reads it.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

/// Why the child process cannot compile; the parent reads only the text.
#[derive(Debug, thiserror::Error)]
enum ChildError {
    #[error("{SUBCOMMAND} is internal and takes the arguments IN OUT BYTES MS")]
    Arguments,
    #[error("cannot set the compiler's limits: {0}")]
    Limits(#[from] rustix::io::Errno),
    #[error("cannot read the file: {0}")]
    Read(#[source] io::Error),
    #[error("cannot start the compiler: {0:#}")]
    Engine(#[from] EngineError),
    #[error("not a valid component: {0:#}")]
    Invalid(#[source] wasmtime::Error),
    #[error("cannot write the compiled code: {0}")]
    Write(#[source] io::Error),
}

fn run_child(args: impl IntoIterator<Item = OsString>) -> Result<(), ChildError> {
    let args: Vec<OsString> = args.into_iter().collect();
    let [input, output, memory_bytes, time_ms] = args.as_slice() else {
        return Err(ChildError::Arguments);
    };
    let number = |arg: &OsString| arg.to_str().and_then(|text| text.parse::<u64>().ok());
    let (Some(memory_bytes), Some(time_ms)) = (number(memory_bytes), number(time_ms)) else {
        return Err(ChildError::Arguments);
    };
    limit_this_process(memory_bytes, time_ms)?;
    compile_file(Path::new(input), Path::new(output))
}

fn compile_file(input: &Path, output: &Path) -> Result<(), ChildError> {
    let wasm = std::fs::read(input).map_err(ChildError::Read)?;
    let engine = Engine::for_compiling()?;
    let compiled = engine.precompile_component(&wasm).map_err(ChildError::Invalid)?;
    std::fs::write(output, compiled).map_err(ChildError::Write)
}

fn limit_this_process(memory_bytes: u64, time_ms: u64) -> rustix::io::Result<()> {
    // The parent limits the wall time. The limit on CPU time ends the child where the parent cannot; it
    // allows for a thread on each core.
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let cpu_s = time_ms.div_ceil(1_000).saturating_mul(cores);
    for (resource, most) in [
        (Resource::As, memory_bytes),
        (Resource::Cpu, cpu_s),
        (Resource::Core, 0),
        (Resource::Fsize, OUTPUT_BYTES_MAX),
    ] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    set_parent_process_death_signal(Some(Signal::KILL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_not_components_are_distinguished() {
        assert_eq!(check_magic_bytes(b""), Err(WrongFile::Empty));
        assert_eq!(check_magic_bytes(b"\0asm\x01\0\0\0"), Err(WrongFile::CoreModule));
        assert_eq!(check_magic_bytes(b"hello world"), Err(WrongFile::NotWasm));
        assert_eq!(check_magic_bytes(b"\0as"), Err(WrongFile::NotWasm));
        assert_eq!(check_magic_bytes(b"\0asm\x0d\0\x01\0"), Ok(()));
        assert!(WrongFile::CoreModule.to_string().contains("core module"));
    }

    #[test]
    fn the_childs_exit_names_the_limit() {
        let limits = Limits::default();
        let exit = |wait, stderr| classify_exit(ExitStatus::from_raw(wait), stderr, &limits);
        let text = |wait, stderr| exit(wait, stderr).unwrap_err().to_string();
        assert!(exit(0, "").is_ok());
        assert!(text(6, "memory allocation of 9 bytes failed").contains("compile_memory_bytes"));
        assert!(text(24, "").contains("compile_ms"));
        assert_eq!(text(1 << 8, "why\n"), "why");
        assert!(text(1 << 8, "").contains("exit status"));
        assert!(text(1 << 8, &"ä".repeat(100_000)).chars().count() < 2_000);
    }
}
