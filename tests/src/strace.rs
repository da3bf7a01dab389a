//! Causes faults at chosen system calls of a running server: strace kills the process, makes the
//! calls fail, or delays them.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// The system call at which a server is killed.
#[derive(Debug, Clone)]
pub struct KillPoint {
    /// The names of the system calls, with commas between them.
    calls: &'static str,
    /// The file that the system call must use; `None` for any file.
    path: Option<PathBuf>,
    /// Which of the matching calls is meant, counted from 1 for each thread and each system call.
    nth: u32,
}

impl KillPoint {
    /// Selects the next write to this file.
    #[must_use]
    pub fn write_to(path: PathBuf) -> Self {
        Self { calls: "pwrite64,pwritev,write", path: Some(path), nth: 1 }
    }

    /// Selects the next call of `connect`, such as that for an outgoing TCP connection.
    #[must_use]
    pub fn outgoing_connection() -> Self {
        Self { calls: "connect", path: None, nth: 1 }
    }

    /// Selects the `nth` call of `sendto`, `sendmsg` or `writev`. strace counts from 1 after it is
    /// attached, separately for each thread and each of these system calls.
    #[must_use]
    pub fn nth_send(nth: u32) -> Self {
        Self { calls: "sendto,sendmsg,writev", path: None, nth }
    }
}

/// A strace that is attached to a server. The strace ends when the server ends. Dropping this value
/// detaches the strace.
#[derive(Debug)]
pub struct Strace(Child);

impl Strace {
    /// Kills the process when it makes this system call, before the kernel executes the call.
    ///
    /// # Panics
    /// If strace is missing or is not allowed to attach (another user, Yama's `ptrace_scope`).
    #[must_use]
    #[track_caller]
    pub fn kill_at(process: u32, point: &KillPoint) -> Self {
        let fault = format!("signal=SIGKILL:when={}", point.nth);
        Self::inject(process, point.calls, &fault, point.path.as_slice())
    }

    /// Makes each write, truncation and sync of these files fail with EROFS, as if the file system
    /// had become read-only.
    #[must_use]
    #[track_caller]
    pub fn make_read_only(process: u32, files: &[PathBuf]) -> Self {
        let writes = "pwrite64,pwritev,write,ftruncate,fallocate,fsync,fdatasync";
        Self::inject(process, writes, "error=EROFS", files)
    }

    /// Delays each sync to the disk by `delay`.
    #[must_use]
    #[track_caller]
    pub fn delay_syncs(process: u32, delay: Duration) -> Self {
        let fault = format!("delay_exit={}", delay.as_micros());
        Self::inject(process, "fsync,fdatasync", &fault, &[])
    }

    /// Attaches strace, which causes this fault at these system calls. `calls` and `fault` have the
    /// syntax of strace. If `files` is not empty, only calls that use these files count. Returns
    /// when every thread is traced.
    #[track_caller]
    fn inject(process: u32, calls: &str, fault: &str, files: &[PathBuf]) -> Self {
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-p", &process.to_string()]);
        command.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:{fault}")]);
        for file in files {
            command.arg("-P").arg(file);
        }
        let spawned = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut strace = spawned.expect("strace starts (apt-get install strace)");
        let mut lines = BufReader::new(strace.stderr.take().expect("a pipe")).lines();
        let mut printed = String::new();
        let attached = lines.by_ref().map_while(Result::ok).any(|line| {
            printed += &line;
            line.contains("attached")
        });
        assert!(attached, "strace cannot attach to the server: {printed}");
        std::thread::spawn(move || lines.for_each(drop));
        Self(strace)
    }
}

impl Drop for Strace {
    /// Sends SIGTERM, which makes strace detach. The server continues.
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}
