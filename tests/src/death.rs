//! Death at a chosen system call: strace stands at every thread of the server and kills the process at
//! the entry of the call, before the kernel has done anything of it. The server itself knows nothing of
//! it: it is the binary that everybody runs.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Where a server is to die.
#[derive(Debug, Clone)]
pub struct Point {
    calls: &'static str,
    path: Option<PathBuf>,
    nth: u32,
}

impl Point {
    /// At the next write to this file.
    #[must_use]
    pub fn write_to(path: PathBuf) -> Self {
        Self { calls: "pwrite64,pwritev,write", path: Some(path), nth: 1 }
    }

    /// At the next connection that it makes.
    #[must_use]
    pub fn connecting() -> Self {
        Self { calls: "connect", path: None, nth: 1 }
    }

    /// When a thread sends to a socket for the `nth` time from now on.
    #[must_use]
    pub fn sending(nth: u32) -> Self {
        Self { calls: "sendto,sendmsg,writev", path: None, nth }
    }
}

/// strace, waiting for the point. It ends with the server, or when this is dropped.
#[derive(Debug)]
pub(crate) struct Waiting(Child);

impl Waiting {
    /// Returns once every thread is watched.
    ///
    /// # Panics
    /// When strace is missing or may not attach (as another user's or under Yama's `ptrace_scope`).
    #[track_caller]
    pub(crate) fn at(pid: u32, point: &Point) -> Self {
        let Point { calls, path, nth } = point;
        let mut command = Command::new("strace");
        command.args([
            "-f",
            "-o",
            "/dev/null",
            "-p",
            &pid.to_string(),
            "-e",
            &format!("trace={calls}"),
        ]);
        command.args(["-e", &format!("inject={calls}:signal=SIGKILL:when={nth}")]);
        if let Some(path) = path {
            command.arg("-P").arg(path);
        }
        let spawned = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut strace = spawned.expect("strace starts (apt-get install strace)");
        let mut lines = BufReader::new(strace.stderr.take().expect("a pipe")).lines();
        let mut told = String::new();
        let attached = lines.by_ref().map_while(Result::ok).any(|line| {
            told += &line;
            line.contains("attached")
        });
        assert!(attached, "strace cannot watch the server: {told}");
        std::thread::spawn(move || lines.for_each(drop));
        Self(strace)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
