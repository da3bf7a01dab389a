//! The built server as a child process, with folders of its own.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::death::Waiting;
use crate::{Answer, Client, Guest, Point, binary, until};

/// The admin token that every test host is given.
const ADMIN_TOKEN: &str = "test-admin-token-0123456789abcdef";

/// How to start a server.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    config: String,
    env: Vec<(String, String)>,
    plugins: Vec<(String, Guest)>,
    under: Vec<String>,
    own_token: bool,
}

impl Setup {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With these lines in its `jackfield.toml`.
    #[must_use]
    pub fn config(mut self, toml: &str) -> Self {
        self.config += toml;
        self.config += "\n";
        self
    }

    /// With this variable in its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Started by this program, which must become the server (`strace -D …`).
    #[must_use]
    pub fn under(mut self, words: &[&str]) -> Self {
        self.under = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// With an admin token of its own making instead of the harness's.
    #[must_use]
    pub fn own_token(mut self) -> Self {
        self.own_token = true;
        self
    }

    /// With this connector in its plugins folder, `ready` when [`Self::start`] returns.
    #[must_use]
    pub fn plugin(mut self, name: &str, guest: &Guest) -> Self {
        self.plugins.push((name.to_owned(), guest.clone()));
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// With the server's output when it does not come up.
    #[track_caller]
    #[must_use]
    pub fn start(self) -> TestHost {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["data", "plugins"] {
            std::fs::create_dir(folder.path().join(name)).expect("a new folder");
        }
        std::fs::write(folder.path().join("jackfield.toml"), &self.config).expect("a new file");
        for (name, guest) in &self.plugins {
            let path = folder.path().join("plugins").join(format!("{name}.wasm"));
            std::fs::write(path, &guest.bytes).expect("a new file");
        }
        let running = Running::start(&self, folder.path());
        let host = TestHost { setup: self, folder, running, doom: None };
        for (name, guest) in &host.setup.plugins {
            host.await_connector(name, "ready", Some(&guest.sha256()));
        }
        host
    }
}

/// A running server. It is killed when dropped; a failing test shows what it printed.
pub struct TestHost {
    setup: Setup,
    folder: TempDir,
    running: Running,
    doom: Option<Waiting>,
}

/// One connection of a test host, and the way to its webhooks.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Its id.
    pub id: String,
    /// `/hooks/{token}`.
    pub hook: String,
}

impl TestHost {
    /// The server's base address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.running.url
    }

    /// The admin token.
    #[must_use]
    pub fn admin_token(&self) -> &'static str {
        ADMIN_TOKEN
    }

    /// The folder that holds `data`, `plugins` and `jackfield.toml`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where a connector's file lies.
    #[must_use]
    pub fn plugin(&self, name: &str) -> PathBuf {
        self.folder().join("plugins").join(format!("{name}.wasm"))
    }

    /// Everything that the server printed.
    #[must_use]
    pub fn output(&self) -> String {
        self.running.output()
    }

    /// The admin API.
    #[must_use]
    pub fn admin(&self) -> Client {
        let bearer = format!("Bearer {ADMIN_TOKEN}");
        Client::new(&format!("{}/api/v1", self.url()), &[("authorization", &bearer)])
    }

    /// The server without credentials.
    #[must_use]
    pub fn anyone(&self) -> Client {
        Client::new(self.url(), &[])
    }

    /// The binary's command line, speaking to this server.
    #[must_use]
    pub fn cli(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(words)
            .env("JACKFIELD_URL", self.url())
            .env("JACKFIELD_ADMIN_TOKEN", ADMIN_TOKEN);
        command.current_dir(self.folder());
        command
    }

    /// Puts a connector into the plugins folder, by rename.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn install(&self, name: &str, guest: &Guest) {
        let aside = self.folder().join("plugins").join(format!("{name}.part"));
        std::fs::write(&aside, &guest.bytes).expect("a new file");
        std::fs::rename(aside, self.plugin(name)).expect("a rename");
    }

    /// Waits until a connector stands so, and, where given, is this version; returns what the admin
    /// API says of it.
    ///
    /// # Panics
    /// After 90 seconds; what the connector was meanwhile is printed.
    #[track_caller]
    pub fn await_connector(&self, name: &str, status: &str, sha256: Option<&str>) -> Value {
        let admin = self.admin();
        let mut last = Value::Null;
        until(&format!("{name} to be {status}"), 90, || {
            let answer = admin.get(&format!("/connectors/{name}"));
            if answer.status == 404 {
                return None;
            }
            let shown = answer.expect(200);
            if shown["status"] != last["status"] || shown["error"] != last["error"] {
                println!("{name} is {}, error {}", shown["status"], shown["error"]);
            }
            last = shown;
            let fits = last["status"] == status && sha256.is_none_or(|sha| last["sha256"] == sha);
            fits.then(|| last.clone())
        })
    }

    /// Makes a connection.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn connect(
        &self,
        name: &str,
        connector: &str,
        settings: Value,
        secrets: Value,
    ) -> Connection {
        let body =
            json!({"name": name, "connector": connector, "settings": settings, "secrets": secrets});
        let made = self.admin().json("POST", "/connections", &body).expect(201);
        let url = made["webhook_url"].as_str().expect("a webhook_url");
        let at = url.find("/hooks/").expect("a webhook_url below /hooks/");
        Connection {
            id: made["id"].as_str().expect("an id").to_owned(),
            hook: url[at..].to_owned(),
        }
    }

    /// Sends a Create Defect.
    #[track_caller]
    pub fn create(&self, connection: &Connection, test: &Value) -> Answer {
        self.anyone().json("POST", &format!("{}/defects", connection.hook), test)
    }

    /// Repeats a Create Defect until its answer is final: the defect, or the detail of a 409.
    ///
    /// # Errors
    /// Nobody knows whether the defect was made.
    ///
    /// # Panics
    /// After a minute without one, or at any other answer.
    #[track_caller]
    pub fn settled(&self, connection: &Connection, test: &Value) -> Result<Value, String> {
        until("the repeat to be answered", 60, || {
            let answer = self.create(connection, test);
            match answer.status {
                200 => Some(Ok(answer.json())),
                409 => Some(Err(answer.problem(409))),
                503 | 504 => None,
                _ => panic!("{answer:?}"),
            }
        })
    }

    /// Sends a Create Defect on a thread of its own; `None` where the connection broke.
    #[must_use]
    pub fn create_aside(
        &self,
        connection: &Connection,
        test: &Value,
    ) -> std::thread::JoinHandle<Option<Answer>> {
        let (client, path) = (self.anyone(), format!("{}/defects", connection.hook));
        let body = test.to_string();
        std::thread::spawn(move || {
            client.attempt("POST", &path, &[("content-type", "application/json")], body.as_bytes())
        })
    }

    /// Asks for Defect KPIs.
    #[track_caller]
    pub fn kpis(&self, connection: &Connection, project: &str) -> Answer {
        let path = format!("{}/api/kpis/project/{project}/defectstatus", connection.hook);
        self.anyone().get(&path)
    }

    /// One event in full, once it is kept.
    ///
    /// # Panics
    /// When it is not kept within ten seconds.
    #[track_caller]
    pub fn event(&self, id: &str) -> Value {
        let admin = self.admin();
        until(&format!("the event {id}"), 10, || {
            let answer = admin.get(&format!("/events/{id}"));
            (answer.status == 200).then(|| answer.json())
        })
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill9(&mut self) {
        self.running.kill();
    }

    /// Has it die at this point; returns once it is watched.
    #[track_caller]
    pub fn die_at(&mut self, point: &Point) {
        self.doom = Some(Waiting::at(self.running.child.id(), point));
    }

    /// Waits until it has died there.
    ///
    /// # Panics
    /// When it still lives after a minute, or ended otherwise than by SIGKILL.
    #[track_caller]
    pub fn await_death(&mut self) {
        let child = &mut self.running.child;
        let end = until("the server to die", 60, || child.try_wait().expect("a child to wait for"));
        assert_eq!(end.signal(), Some(Signal::KILL.as_raw()), "{end:?}");
        self.doom = None;
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// When it does not end within a minute.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.terminate();
        let child = &mut self.running.child;
        until("the server to end", 60, || child.try_wait().expect("a child to wait for"))
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let _ = kill_process(self.pid(), Signal::TERM);
    }

    /// Starts it again on the same folders (and another port).
    #[track_caller]
    pub fn start_again(&mut self) {
        self.running.kill();
        self.running = Running::start(&self.setup, self.folder.path());
    }

    /// Has this variable in its environment from the next start on.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.setup.env.retain(|(set, _)| set != name);
        self.setup.env.push((name.to_owned(), value.to_owned()));
    }

    /// Starts it again, which it must refuse: exit code 1, and one line on stderr, which is returned.
    ///
    /// # Panics
    /// When it still runs after 20 seconds, ends otherwise or says more.
    #[track_caller]
    pub fn refuses_to_start(&mut self) -> String {
        self.running.kill();
        let mut child = serve(&self.setup, self.folder.path());
        let output = Arc::new(Mutex::new(String::new()));
        let (out, err) = (child.stdout.take(), child.stderr.take());
        collect(out, &output, None);
        let deadline = Instant::now() + Duration::from_secs(20);
        let ended = until("the server to end", 30, || match child.try_wait().expect("a child") {
            None if Instant::now() < deadline => None,
            ended => Some(ended),
        });
        let _ = child.kill();
        let _ = child.wait();
        let mut said = String::new();
        err.expect("a pipe").read_to_string(&mut said).expect("text on stderr");
        let printed = output.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let code = ended.and_then(|end| end.code());
        assert_eq!(code, Some(1), "it ended by {ended:?} and said:\n{printed}{said}");
        assert_eq!(said.trim_end().lines().count(), 1, "one line says it all: {said}");
        said
    }

    /// The server's process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.running.child.id()
    }

    /// Resident memory, bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.expect("VmRSS in kB") * 1024
    }

    /// Open file descriptors.
    #[must_use]
    pub fn open_files(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.running.child.id());
        std::fs::read_dir(folder).expect("the server runs").count()
    }

    /// Threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        let folder = format!("/proc/{}/task", self.running.child.id());
        std::fs::read_dir(folder).expect("the server runs").count()
    }

    /// Tasks of its runtime.
    ///
    /// # Panics
    /// When the server does not say.
    #[must_use]
    pub fn tasks(&self) -> u64 {
        self.admin().get("/status").expect(200)["tasks"].as_u64().expect("a number")
    }

    /// Child processes.
    #[must_use]
    pub fn children(&self) -> usize {
        let pid = self.running.child.id();
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the server runs");
        let children = |task: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(task.ok()?.path().join("children")).ok()
        };
        tasks.filter_map(children).map(|list| list.split_whitespace().count()).sum()
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.running.child.id());
        std::fs::read_to_string(path).expect("the server runs")
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.running.child)
    }
}

struct Running {
    child: Child,
    url: String,
    output: Arc<Mutex<String>>,
}

impl Running {
    #[track_caller]
    fn start(setup: &Setup, folder: &Path) -> Self {
        let mut child = serve(setup, folder);
        let output = Arc::new(Mutex::new(String::new()));
        let (listening, address) = mpsc::channel();
        collect(child.stdout.take(), &output, Some(listening));
        collect(child.stderr.take(), &output, None);
        let mut running = Self { child, url: String::new(), output };
        match address.recv_timeout(Duration::from_secs(60)) {
            Ok(url) => running.url = url,
            Err(_) => panic!("the server does not listen:\n{}", running.output()),
        }
        let client = Client::new(&running.url, &[]);
        until("/readyz to be 200", 60, || (client.get("/readyz").status == 200).then_some(()));
        running
    }

    fn output(&self) -> String {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let output = self.output();
            let from = output.len().saturating_sub(8_000);
            let from = (from..output.len()).find(|at| output.is_char_boundary(*at)).unwrap_or(0);
            eprintln!("--- the server printed:\n{}", &output[from..]);
        }
    }
}

/// `jackfield serve`, its output in pipes.
fn serve(setup: &Setup, folder: &Path) -> Child {
    let mut words = setup.under.iter().map(OsStr::new).chain([binary().as_os_str()]);
    let mut command = Command::new(words.next().expect("at least the binary"));
    if !setup.own_token {
        command.env("JACKFIELD_ADMIN_TOKEN", ADMIN_TOKEN);
    }
    command
        .args(words)
        .args(["serve", "--listen", "127.0.0.1:0", "--data", "data", "--plugins", "plugins"])
        .args(["--config", "jackfield.toml"])
        .current_dir(folder)
        .envs(setup.env.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the server's binary starts")
}

/// Keeps what a pipe prints and tells the address after `listening on `.
fn collect(
    pipe: Option<impl Read + Send + 'static>,
    output: &Arc<Mutex<String>>,
    listening: Option<mpsc::Sender<String>>,
) {
    let output = Arc::clone(output);
    let lines = BufReader::new(pipe.expect("a pipe")).lines();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let (Some((_, url)), Some(tell)) = (line.split_once("listening on "), &listening) {
                let _ = tell.send(url.trim().to_owned());
            }
            let mut kept = output.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push_str(&line);
            kept.push('\n');
        }
    });
}
