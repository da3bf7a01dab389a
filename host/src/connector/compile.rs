//! Compiles a component in a child process with limits of its own: the compiler is large, its input
//! a stranger's, and no file dropped into the folder may take the server's time or memory with it.
//!
//! The child reads one file and writes one file; it never runs a guest.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
use tokio::process::Command;

use crate::domain::Limits;

use super::engine::Engine;

/// The hidden subcommand that the child is started with; [`compile_component_child`] takes the rest.
pub const SUBCOMMAND: &str = "compile-component";

/// The largest compiled file, in bytes.
const OUTPUT_BYTES_MAX: u64 = 2 << 30;
/// What is kept of the child's words.
const REASON_CHARS_MAX: usize = 2_000;

/// The child's allocator (the variable is jemalloc's): one arena that gives back at once, so that the bound
/// on its address space bounds what it uses, and no more than that.
const ALLOCATOR: (&str, &str) =
    ("_RJEM_MALLOC_CONF", "narenas:1,retain:false,background_thread:false");

/// Compiles `input` to `output` by `compiler`, a Jackfield executable.
///
/// # Errors
/// The reason in words; a limit that was hit is named with its key and value.
pub(super) async fn compile(
    compiler: &Path,
    input: &Path,
    output: &Path,
    limits: &Limits,
) -> Result<(), String> {
    // A fuzzer sees the branches of its own process only, and starts no child at each input.
    if cfg!(fuzzing) {
        return make(input, output);
    }
    let mut command = Command::new(compiler);
    command
        .arg(SUBCOMMAND)
        .args([input, output])
        .arg(limits.compile_memory_bytes.to_string())
        .arg(limits.compile_ms.to_string())
        .env_clear()
        .env(ALLOCATOR.0, ALLOCATOR.1)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let child = command
        .spawn()
        .map_err(|error| format!("the compiler {} does not start: {error}", compiler.display()))?;
    let deadline = Duration::from_millis(limits.compile_ms);
    match tokio::time::timeout(deadline, child.wait_with_output()).await {
        Err(_) => Err(over_time(limits)),
        Ok(Err(error)) => Err(format!("the compiler's answer cannot be read: {error}")),
        Ok(Ok(done)) => judge(done.status, &String::from_utf8_lossy(&done.stderr), limits),
    }
}

/// The child's whole life: limits itself, compiles, answers by its exit code and stderr. Takes the
/// arguments after the subcommand: input, output, address space in bytes, time in milliseconds.
#[must_use]
pub fn compile_component_child(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match child(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // Nobody is left to tell if the parent has closed the pipe.
            let _ = writeln!(std::io::stderr(), "{why}");
            ExitCode::FAILURE
        }
    }
}

fn child(args: impl IntoIterator<Item = OsString>) -> Result<(), String> {
    let args: Vec<OsString> = args.into_iter().collect();
    let [input, output, memory_bytes, time_ms] = args.as_slice() else {
        return Err(format!("{SUBCOMMAND} is the host's own and takes IN OUT BYTES MS"));
    };
    let number = |arg: &OsString| arg.to_str().and_then(|text| text.parse::<u64>().ok());
    let (Some(memory_bytes), Some(time_ms)) = (number(memory_bytes), number(time_ms)) else {
        return Err(format!("{SUBCOMMAND}: BYTES and MS must be numbers"));
    };
    confine(memory_bytes, time_ms).map_err(|error| format!("no limits can be set: {error}"))?;
    make(Path::new(input), Path::new(output))
}

fn make(input: &Path, output: &Path) -> Result<(), String> {
    let wasm = std::fs::read(input).map_err(|error| format!("the file cannot be read: {error}"))?;
    check_kind(&wasm)?;
    let engine = Engine::compiling().map_err(|error| format!("no compiler: {error:#}"))?;
    let compiled = engine
        .precompile_component(&wasm)
        .map_err(|error| format!("it is no valid component: {error:#}"))?;
    std::fs::write(output, compiled)
        .map_err(|error| format!("the compiled code cannot be written: {error}"))
}

fn confine(memory_bytes: u64, time_ms: u64) -> rustix::io::Result<()> {
    // Wall time is the parent's to keep; this ends the child where the parent cannot, so it
    // allows for several cores.
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

/// Names the usual mistakes before the compiler answers in its own words.
fn check_kind(wasm: &[u8]) -> Result<(), String> {
    match wasm.get(..8) {
        _ if wasm.is_empty() => Err("the file is empty".into()),
        Some([0, b'a', b's', b'm', 0x01, 0, 0, 0]) => Err("it is a core module, not a component; \
            build for wasm32-wasip2 or wrap it with `wasm-tools component new`"
            .into()),
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Ok(()),
        _ => Err("it is no WebAssembly component: its first bytes are others".into()),
    }
}

fn judge(status: ExitStatus, words: &str, limits: &Limits) -> Result<(), String> {
    if status.success() {
        return Ok(());
    }
    let signal = status.signal().and_then(Signal::from_named_raw);
    if signal == Some(Signal::XCPU) {
        return Err(over_time(limits));
    }
    let out_of_memory = ["memory allocation of", "Cannot allocate memory", "out of memory"];
    let aborted = matches!(signal, Some(Signal::ABORT | Signal::KILL));
    if aborted || out_of_memory.iter().any(|known| words.contains(known)) {
        return Err(format!(
            "compile memory: over `limits.compile_memory_bytes` = {}",
            limits.compile_memory_bytes
        ));
    }
    let reason = shortened(words.trim());
    if reason.is_empty() {
        return Err(format!("the compiler ended without a word: {status}"));
    }
    Err(reason)
}

/// As much of a reason as is kept: it may repeat a stranger's words, which have any length.
pub(super) fn shortened(words: &str) -> String {
    words.chars().take(REASON_CHARS_MAX).collect()
}

fn over_time(limits: &Limits) -> String {
    format!("compile time: over `limits.compile_ms` = {}", limits.compile_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_component_are_told_apart() {
        assert!(check_kind(b"").unwrap_err().contains("empty"));
        assert!(check_kind(b"\0asm\x01\0\0\0").unwrap_err().contains("core module"));
        assert!(check_kind(b"hello world").unwrap_err().contains("no WebAssembly"));
        assert!(check_kind(b"\0as").unwrap_err().contains("no WebAssembly"));
        assert_eq!(check_kind(b"\0asm\x0d\0\x01\0"), Ok(()));
    }

    #[test]
    fn the_end_of_the_child_names_the_limit() {
        let limits = Limits::default();
        let end = |wait, words| judge(ExitStatus::from_raw(wait), words, &limits);
        assert_eq!(end(0, ""), Ok(()));
        assert!(
            end(6, "memory allocation of 9 bytes failed").unwrap_err().contains("memory_bytes")
        );
        assert!(end(24, "").unwrap_err().contains("compile_ms"));
        assert_eq!(end(1 << 8, "why\n"), Err("why".to_owned()));
        let long = end(1 << 8, &"ä".repeat(REASON_CHARS_MAX + 1)).unwrap_err();
        assert_eq!(long.chars().count(), REASON_CHARS_MAX);
    }
}
