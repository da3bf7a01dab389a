//! Determines from the exit status and stderr of a compiler process why the process ended. Never
//! starts or ends a process.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use rustix::process::Signal;

use crate::runtime::error::{CompileError, MemoryBound, shortened};

use super::ChildError;
use super::limits::{CompileLimits, cpu_limit_s, output_bytes_max};

/// The exit code of a Rust program that panicked.
const PANIC_EXIT_CODE: i32 = 101;

/// The exit codes with which the child process reports an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The compiler refused the file, or a step other than writing the result failed.
    Refused = 1,
    /// The compiler could not write the result.
    CannotWrite = 3,
}

impl Failure {
    pub(super) fn of(error: &ChildError) -> Self {
        if matches!(error, ChildError::Write(_)) { Self::CannotWrite } else { Self::Refused }
    }
}

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> Self {
        Self::from(failure as u8)
    }
}

pub(super) fn classify_exit(
    status: ExitStatus,
    stderr: &str,
    limits: &CompileLimits,
) -> Result<(), CompileError> {
    if status.success() {
        return Ok(());
    }
    let bytes = limits.memory_bytes;
    let over_memory = || CompileError::OverMemory { bytes, by: limits.memory_bound };
    let memory_errors = ["memory allocation of", "Cannot allocate memory", "out of memory"];
    let is_out_of_memory = memory_errors.iter().any(|text| stderr.contains(text));
    Err(match status.signal().and_then(Signal::from_named_raw) {
        Some(Signal::XCPU) if cpu_limit_s(limits.time_ms).1 => CompileError::OverCpuTime,
        Some(Signal::XCPU) => CompileError::OverTime(limits.time_ms),
        Some(Signal::XFSZ) => CompileError::OverFileSize { bytes_max: output_bytes_max() },
        Some(Signal::ABORT) if stderr.trim().is_empty() || is_out_of_memory => over_memory(),
        // The kernel sends SIGKILL when memory runs out, and at the hard limit on CPU time. The
        // server also sends SIGKILL, but only after its own time-out, which is reported as another
        // error.
        Some(Signal::KILL) => CompileError::Killed { bytes },
        Some(_) => CompileError::Died(status),
        None if is_out_of_memory => over_memory(),
        None if status.code() == Some(PANIC_EXIT_CODE) && cannot_start_thread(stderr) => {
            match limits.memory_bound {
                // A new thread also needs memory for its stack. The kernel does not report whether
                // memory or threads ran out.
                MemoryBound::ConfigKey => CompileError::NoThread,
                MemoryBound::FreeMemory | MemoryBound::ProcessLimit => over_memory(),
            }
        }
        None if status.code() == Some(PANIC_EXIT_CODE) => CompileError::Died(status),
        None => match stderr.trim() {
            "" => CompileError::Failed(status),
            text if status.code() == Some(Failure::CannotWrite as i32) => {
                CompileError::Output(text.to_owned())
            }
            text => CompileError::Refused(shortened(text)),
        },
    })
}

fn cannot_start_thread(stderr: &str) -> bool {
    stderr.contains("Resource temporarily unavailable") || stderr.contains("WouldBlock")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: CompileLimits = CompileLimits {
        memory_bytes: 7_000,
        memory_bound: MemoryBound::ConfigKey,
        time_ms: 120_000,
    };

    #[track_caller]
    fn exit_error(wait_status: i32, stderr: &str, limits: &CompileLimits) -> CompileError {
        classify_exit(ExitStatus::from_raw(wait_status), stderr, limits).unwrap_err()
    }

    /// In a wait status, the low bits are the signal, and the next 8 bits are the exit code.
    #[test]
    fn each_exceeded_limit_has_its_own_error() {
        assert!(classify_exit(ExitStatus::from_raw(0), "", &LIMITS).is_ok());
        for (wait_status, stderr, word, died, may_be_temporary) in [
            (6, "memory allocation of 9 bytes failed", "compile_memory_bytes` = 7000", true, false),
            (6, "", "compile_memory_bytes` = 7000", true, false),
            (1 << 8, "Cannot allocate memory (os error 12)", "compile_memory_bytes", true, false),
            (24, "", "compile_ms", true, false),
            (25, "", "ulimit -f", true, false),
            (9, "", "killed", true, true),
            (11, "", "died on this file", true, false),
            (101 << 8, "panicked: WouldBlock", "TasksMax", false, true),
            (101 << 8, "panicked: index out of bounds", "died on this file", true, false),
            (3 << 8, "cannot write: No space left on device", "disk", false, true),
            (1 << 8, "No space left on device", "No space", false, false),
            (1 << 8, "why\n", "why", false, false),
            (1 << 8, "", "exit status", false, false),
        ] {
            let error = exit_error(wait_status, stderr, &LIMITS);
            let text = error.to_string();
            assert!(text.contains(word), "{wait_status} {stderr}: {text}");
            assert_eq!(
                (error.compiler_died(), error.may_be_temporary()),
                (died, may_be_temporary),
                "{text}"
            );
        }
        assert!(
            exit_error(1 << 8, &"ä".repeat(100_000), &LIMITS).to_string().chars().count() < 2_000
        );
    }

    #[test]
    fn an_error_about_a_limit_of_the_system_does_not_name_the_config_key() {
        for (bound, word) in
            [(MemoryBound::FreeMemory, "container"), (MemoryBound::ProcessLimit, "ulimit -v")]
        {
            let limits = CompileLimits { memory_bound: bound, ..LIMITS };
            for (wait_status, stderr) in [(6, ""), (101 << 8, "Resource temporarily unavailable")] {
                let text = exit_error(wait_status, stderr, &limits).to_string();
                assert!(text.contains(word) && text.contains("7000"), "{text}");
                assert!(!text.contains("compile_memory_bytes"), "{text}");
            }
        }
    }
}
