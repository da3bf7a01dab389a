//! A running server of a test: its clients, connectors, connections, events and process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::Process;
use crate::{Answer, Client, Guest, KillPoint, Setup, Strace, binary, wait_for};

pub(crate) const ADMIN_TOKEN: &str = "test-admin-token-0123456789abcdef";

/// A running server, with its own data and plugins folders. Dropping this value kills the server.
pub struct TestHost {
    /// The setup that the next start of the server uses.
    setup: Setup,
    folder: TempDir,
    process: Process,
    /// The strace that will kill the server, see [`TestHost::kill_at`].
    killing_strace: Option<Strace>,
}

/// A connection that a test created.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The id in the admin API.
    pub id: String,
    /// The path of its webhook URL: `/hooks/{token}`.
    pub webhook_path: String,
}

impl Connection {
    /// Parses an answer of the admin API that contains the webhook URL of a connection.
    #[must_use]
    #[track_caller]
    pub fn from_json(json: &Value) -> Self {
        let url = json["webhook_url"].as_str().expect("a webhook_url");
        let path = url.find("/hooks/").expect("a webhook_url with /hooks/");
        let id = json["id"].as_str().expect("an id").to_owned();
        Self { id, webhook_path: url[path..].to_owned() }
    }

    /// Returns the path for Create Defect requests.
    #[must_use]
    pub fn create_path(&self) -> String {
        format!("{}/defects", self.webhook_path)
    }
}

impl TestHost {
    pub(crate) fn new(setup: Setup, folder: TempDir, process: Process) -> Self {
        Self { setup, folder, process, killing_strace: None }
    }

    /// Returns the server's base URL.
    #[must_use]
    pub fn url(&self) -> &str {
        self.process.url()
    }

    /// Returns the admin token.
    #[must_use]
    pub fn admin_token(&self) -> &'static str {
        ADMIN_TOKEN
    }

    /// Returns the folder with `data`, `plugins` and `jackfield.toml`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the path of the data folder.
    #[must_use]
    pub fn data_folder(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// Returns the paths and contents of the readable files in the data folder and its subfolders.
    #[must_use]
    pub fn files_in_data_folder(&self) -> Vec<(String, Vec<u8>)> {
        files_below(&self.data_folder())
    }

    /// Returns the path of a file in the data folder.
    #[must_use]
    pub fn data(&self, name: &str) -> PathBuf {
        self.data_folder().join(name)
    }

    /// Returns the path of the component `NAME.wasm` in the plugins folder.
    #[must_use]
    pub fn plugin(&self, name: &str) -> PathBuf {
        self.folder().join("plugins").join(format!("{name}.wasm"))
    }

    /// Returns everything that the server has printed since its last start.
    #[must_use]
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// Returns a client of the admin API.
    #[must_use]
    pub fn admin(&self) -> Client {
        self.api_as(ADMIN_TOKEN)
    }

    /// Returns a client without credentials.
    #[must_use]
    pub fn anonymous(&self) -> Client {
        Client::new(self.url(), &[])
    }

    /// Returns a command of the `jackfield` binary that uses this server.
    #[must_use]
    pub fn cli(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .env("JACKFIELD_URL", self.url())
            .env("JACKFIELD_ADMIN_TOKEN", ADMIN_TOKEN)
            .current_dir(self.folder());
        command
    }

    /// Runs a command of the `jackfield` binary. Returns whether the command succeeded, and what it
    /// printed.
    #[must_use]
    pub fn run_cli(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.cli(arguments).output().expect("the binary starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    }

    /// Puts a connector into the plugins folder. The server never loads an incomplete file.
    pub fn install(&self, name: &str, guest: &Guest) {
        let temporary = self.folder().join("plugins").join(format!("{name}.part"));
        std::fs::write(&temporary, &guest.bytes).expect("the connector is written");
        std::fs::rename(temporary, self.plugin(name)).expect("the connector is renamed");
    }

    /// Puts a connector into the plugins folder, and waits at most 90 seconds until the connector
    /// is ready.
    #[track_caller]
    pub fn replace(&self, name: &str, guest: &Guest) {
        self.install(name, guest);
        self.await_connector(name, "ready", Some(&guest.sha256()));
    }

    /// Waits at most 90 seconds until a connector has this status and, if `sha256` is not `None`,
    /// this version. Returns the connector's record in the admin API.
    #[track_caller]
    pub fn await_connector(&self, name: &str, status: &str, sha256: Option<&str>) -> Value {
        let admin = self.admin();
        let mut last = Value::Null;
        wait_for(&format!("{name} to be {status}"), 90, || {
            let answer = admin.get(&format!("/connectors/{name}"));
            if answer.status == 404 {
                return None;
            }
            let connector = answer.expect(200);
            if connector["status"] != last["status"] || connector["error"] != last["error"] {
                println!("{name} is {}, error {}", connector["status"], connector["error"]);
            }
            last = connector;
            let is_match =
                last["status"] == status && sha256.is_none_or(|sha| last["sha256"] == sha);
            is_match.then(|| last.clone())
        })
    }

    /// Creates a connection by the admin API.
    #[track_caller]
    pub fn add_connection(
        &self,
        name: &str,
        connector: &str,
        settings: Value,
        secrets: Value,
    ) -> Connection {
        let body =
            json!({"name": name, "connector": connector, "settings": settings, "secrets": secrets});
        Connection::from_json(&self.admin().json("POST", "/connections", &body).expect(201))
    }

    /// Returns a connection's record in the admin API, by name or id.
    #[must_use]
    #[track_caller]
    pub fn connection(&self, name: &str) -> Value {
        self.admin().get(&format!("/connections/{name}")).expect(200)
    }

    /// Sends a request for Defect KPIs.
    #[track_caller]
    pub fn kpis(&self, connection: &Connection, project: &str) -> Answer {
        let path = format!("{}/api/kpis/project/{project}/defectstatus", connection.webhook_path);
        self.anonymous().get(&path)
    }

    /// Waits at most ten seconds until the event of an answer is stored, and returns the event.
    #[must_use]
    #[track_caller]
    pub fn event_of(&self, answer: &Answer) -> Value {
        self.event(&answer.event())
    }

    /// Returns the first run of the event of an answer. Waits like [`Self::event_of`].
    #[must_use]
    #[track_caller]
    pub fn run_of(&self, answer: &Answer) -> Value {
        self.event_of(answer)["runs"][0].clone()
    }

    /// Waits at most ten seconds until the event with this id is stored, and returns the event.
    #[track_caller]
    pub fn event(&self, id: &str) -> Value {
        let admin = self.admin();
        wait_for(&format!("the event {id}"), 10, || {
            let answer = admin.get(&format!("/events/{id}"));
            (answer.status == 200).then(|| answer.json())
        })
    }

    /// Sends SIGKILL and waits until the process has ended.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends SIGSTOP: the server is suspended until [`Self::resume`].
    pub fn suspend(&self) {
        self.process.suspend();
    }

    /// Sends SIGCONT: a suspended server continues.
    pub fn resume(&self) {
        self.process.resume();
    }

    /// Attaches strace to the server. When the server makes this system call, strace kills the
    /// server.
    #[track_caller]
    pub fn kill_at(&mut self, point: &KillPoint) {
        self.killing_strace = Some(Strace::kill_at(self.process.id(), point));
    }

    /// Waits at most a minute until strace has killed the server, see [`Self::kill_at`].
    #[track_caller]
    pub fn await_kill(&mut self) {
        self.process.await_kill();
        self.killing_strace = None;
    }

    /// Sends SIGTERM, and waits at most a minute until the process has ended.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.process.await_end()
    }

    /// Sends SIGTERM, without waiting for the end of the process.
    pub fn terminate(&self) {
        self.process.terminate();
    }

    /// Kills the server, if it is running, and starts it again with the same folders. The port
    /// usually changes, unless [`Setup::listen`] sets the address.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = Process::start(&self.setup, self.folder.path());
    }

    /// Restarts the server under this command, see [`Setup::run_under`].
    #[track_caller]
    pub fn restart_under(&mut self, command: &[&str]) {
        self.setup = std::mem::take(&mut self.setup).run_under(command);
        self.restart();
    }

    /// Sets an environment variable for the next start and all later starts.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.setup.env.retain(|(variable, _)| variable != name);
        self.setup.env.push((name.to_owned(), value.to_owned()));
    }

    /// Kills the server and starts it again. Checks that the new process ends within 20 seconds
    /// with exit code 1, and prints one line on stderr. Returns this line.
    #[track_caller]
    pub fn start_refusal(&mut self) -> String {
        self.process.kill();
        Process::start_refusal(&self.setup, self.folder.path())
    }

    /// Returns the server's process id.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Returns the resident memory of the server, bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.process.resident_bytes()
    }

    /// Runs `work`. Returns its result, and by how many bytes the peak of the server's resident
    /// memory exceeded the memory before `work`.
    pub fn rise_of_peak<T>(&self, work: impl FnOnce() -> T) -> (T, u64) {
        self.process.reset_peak();
        let before = self.process.resident_bytes();
        let result = work();
        (result, self.process.peak_bytes().saturating_sub(before))
    }

    /// Returns the CPU time of the server so far, milliseconds.
    #[must_use]
    pub fn cpu_ms(&self) -> u64 {
        self.process.cpu_ms()
    }

    /// Returns the number of open file descriptors of the server.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.process.open_files()
    }

    /// Returns the number of threads of the server.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.process.threads()
    }

    /// Returns how often the server's running threads, except the thread `ticker`, have waited: the
    /// number of their voluntary context switches.
    #[must_use]
    pub fn waits(&self) -> u64 {
        self.process.waits()
    }

    /// Returns the number of child processes of the server.
    #[must_use]
    pub fn children(&self) -> usize {
        self.process.children()
    }

    /// Returns the number of tasks of the server's async runtime.
    #[must_use]
    pub fn tasks(&self) -> u64 {
        self.admin().get("/status").expect(200)["tasks"].as_u64().expect("a number")
    }
}

fn files_below(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if let Ok(bytes) = fs::read(&path) {
            files.push((path.display().to_string(), bytes));
        }
    }
    files
}
