//! The process of the server: its start, its output, and the resources that it uses.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::host::ADMIN_TOKEN;
use crate::{Client, Setup, binary, wait_for};

/// A running server. Dropping this value kills the server. If the test has failed, the end of the
/// server's output is printed then.
pub(crate) struct Process {
    child: Child,
    url: String,
    /// All lines that the server has printed to stdout and stderr.
    output: Arc<Mutex<String>>,
}

impl Process {
    /// Starts a server and waits until `/readyz` answers 200. For a server with TLS, the function
    /// waits only until the server listens, because [`Client`] does not trust the certificate
    /// authority of a test.
    #[track_caller]
    pub(crate) fn start(setup: &Setup, folder: &Path) -> Self {
        let mut child = spawn(setup, folder);
        let output = Arc::new(Mutex::new(String::new()));
        let (sender, url_receiver) = mpsc::channel();
        collect_lines(child.stdout.take(), &output, Some(sender));
        collect_lines(child.stderr.take(), &output, None);
        let mut process = Self { child, url: String::new(), output };
        match url_receiver.recv_timeout(Duration::from_secs(60)) {
            Ok(url) => process.url = url,
            Err(_) => panic!("the server does not listen:\n{}", process.output()),
        }
        if process.url.starts_with("https:") {
            return process;
        }
        let client = Client::new(&process.url, &[]);
        wait_for("/readyz to be 200", 60, || (client.get("/readyz").status == 200).then_some(()));
        process
    }

    /// Starts a server. Checks that it ends with exit code 1 and prints one line to stderr. Returns
    /// this line.
    #[track_caller]
    pub(crate) fn start_refusal(setup: &Setup, folder: &Path) -> String {
        let mut child = spawn(setup, folder);
        let output = Arc::new(Mutex::new(String::new()));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        collect_lines(stdout, &output, None);
        let deadline = Instant::now() + Duration::from_secs(20);
        let status =
            wait_for("the server to end", 30, || match child.try_wait().expect("a child") {
                None if Instant::now() < deadline => None,
                status => Some(status),
            });
        let _ = child.kill();
        let _ = child.wait();
        let mut error = String::new();
        stderr.expect("a pipe").read_to_string(&mut error).expect("text on stderr");
        let printed = output.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let code = status.and_then(|status| status.code());
        assert_eq!(code, Some(1), "ended with {status:?}, with the output:\n{printed}{error}");
        assert_eq!(
            error.trim_end().lines().count(),
            1,
            "stderr does not have exactly one line: {error}"
        );
        error
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn output(&self) -> String {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn terminate(&self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
    }

    pub(crate) fn suspend(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).expect("the process runs");
    }

    pub(crate) fn resume(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).expect("the process is suspended");
    }

    #[track_caller]
    pub(crate) fn await_end(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait_for("the server to end", 60, || child.try_wait().expect("a child to wait for"))
    }

    #[track_caller]
    pub(crate) fn await_kill(&mut self) {
        let end = self.await_end();
        assert_eq!(end.signal(), Some(Signal::KILL.as_raw()), "{end:?}");
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// Returns the peak of resident memory since the start or the last [`Self::reset_peak`], bytes.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    pub(crate) fn reset_peak(&self) {
        std::fs::write(self.proc_path("clear_refs"), "5").expect("the kernel resets the peak");
    }

    pub(crate) fn cpu_ms(&self) -> u64 {
        let stat = std::fs::read_to_string(self.proc_path("stat")).expect("the server runs");
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let times = after_name.split_whitespace().skip(11).take(2);
        // The kernel counts in hundredths of a second on x86-64 and Arm.
        times.map(|ticks| ticks.parse::<u64>().expect("a number") * 10).sum()
    }

    fn status_bytes(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(self.proc_path("status")).expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.expect("a number of kB") * 1024
    }

    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(self.proc_path("fd")).expect("the server runs").count()
    }

    pub(crate) fn threads(&self) -> usize {
        std::fs::read_dir(self.proc_path("task")).expect("the server runs").count()
    }

    /// Returns how often the running threads have waited: the number of their voluntary context
    /// switches. The thread `ticker` is not counted, because it only waits.
    pub(crate) fn waits(&self) -> u64 {
        let threads = std::fs::read_dir(self.proc_path("task")).expect("the server runs");
        let statuses = threads
            .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("status")).ok());
        let other_threads = statuses.filter(|status| !status.starts_with("Name:\tticker"));
        let waits = other_threads.map(|status| {
            let mut lines = status.lines();
            let waits = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            waits.and_then(|count| count.trim().parse::<u64>().ok()).expect("a count")
        });
        waits.sum()
    }

    pub(crate) fn children(&self) -> usize {
        let threads = std::fs::read_dir(self.proc_path("task")).expect("the server runs");
        let children = |thread: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(thread.ok()?.path().join("children")).ok()
        };
        threads.filter_map(children).map(|list| list.split_whitespace().count()).sum()
    }

    fn proc_path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let output = self.output();
            let start = output.len().saturating_sub(8_000);
            let start = (start..output.len()).find(|at| output.is_char_boundary(*at)).unwrap_or(0);
            eprintln!("--- the end of the server's output:\n{}", &output[start..]);
        }
    }
}

fn spawn(setup: &Setup, folder: &Path) -> Child {
    let mut command_line = setup.run_under.iter().map(OsStr::new).chain([binary().as_os_str()]);
    let mut command = Command::new(command_line.next().expect("at least the binary"));
    if !setup.without_admin_token {
        command.env("JACKFIELD_ADMIN_TOKEN", ADMIN_TOKEN);
    }
    command
        .args(command_line)
        .args([
            "serve",
            "--listen",
            setup.listen.as_deref().unwrap_or("127.0.0.1:0"),
            "--data",
            "data",
            "--plugins",
            "plugins",
        ])
        .args(["--config", "jackfield.toml"])
        .args(&setup.arguments)
        .current_dir(folder)
        // Tests send requests faster than people, so the rate limit must not refuse them.
        .env("JACKFIELD_WEBHOOK_REQUESTS_BURST", "1000000")
        .envs(setup.env.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the server starts")
}

/// Starts a thread that appends the lines of a pipe to `output`. If a line contains `listening on
/// URL`, the thread sends the URL to `url_sender`.
fn collect_lines(
    pipe: Option<impl Read + Send + 'static>,
    output: &Arc<Mutex<String>>,
    url_sender: Option<mpsc::Sender<String>>,
) {
    let output = Arc::clone(output);
    let lines = BufReader::new(pipe.expect("a pipe")).lines();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let (Some((_, url)), Some(sender)) = (line.split_once("listening on "), &url_sender)
            {
                let _ = sender.send(url.trim().to_owned());
            }
            let mut collected = output.lock().unwrap_or_else(PoisonError::into_inner);
            collected.push_str(&line);
            collected.push('\n');
        }
    });
}
