//! Causes faults at a chosen system call of a running server. strace attaches to every thread of
//! the server. When a thread makes the call, strace kills the process, or makes the call fail. The
//! server's binary is not changed.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// The system call at which a server is killed.
#[derive(Debug, Clone)]
pub struct KillPoint {
    calls: &'static str,
    path: Option<PathBuf>,
    nth: u32,
}

impl KillPoint {
    /// Selects the next write to this file.
    #[must_use]
    pub fn write_to(path: PathBuf) -> Self {
        Self { calls: "pwrite64,pwritev,write", path: Some(path), nth: 1 }
    }

    /// Selects the next outgoing connection.
    #[must_use]
    pub fn outgoing_connection() -> Self {
        Self { calls: "connect", path: None, nth: 1 }
    }

    /// Selects the `nth` system call, counted from the attachment of strace, that sends to a
    /// socket.
    #[must_use]
    pub fn send(nth: u32) -> Self {
        Self { calls: "sendto,sendmsg,writev", path: None, nth }
    }
}

/// A strace that is attached to a server. It ends when the server ends. It detaches when this value
/// is dropped.
#[derive(Debug)]
pub struct Strace(Child);

impl Strace {
    /// Kills the process at the entry of this call, before the kernel executes any of it.
    ///
    /// # Panics
    /// If strace is missing or may not attach (another user, Yama's `ptrace_scope`).
    #[must_use]
    #[track_caller]
    pub fn kill_at(process: u32, point: &KillPoint) -> Self {
        let fault = format!("signal=SIGKILL:when={}", point.nth);
        Self::inject(process, point.calls, &fault, point.path.as_slice())
    }

    /// Makes each write to these files fail with EROFS, like a file system that turned read-only.
    ///
    /// # Panics
    /// If strace is missing or may not attach.
    #[must_use]
    #[track_caller]
    pub fn make_read_only(process: u32, files: &[PathBuf]) -> Self {
        let writes = "pwrite64,pwritev,write,ftruncate,fallocate,fsync,fdatasync";
        Self::inject(process, writes, "error=EROFS", files)
    }

    /// Delays the end of each sync to the disk.
    ///
    /// # Panics
    /// If strace is missing or may not attach.
    #[must_use]
    #[track_caller]
    pub fn delay_syncs(process: u32, delay: Duration) -> Self {
        let fault = format!("delay_exit={}", delay.as_micros());
        Self::inject(process, "fsync,fdatasync", &fault, &[])
    }

    /// Attaches strace with a fault, in the syntax of strace, at these system calls and files.
    /// Returns when every thread is traced.
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
