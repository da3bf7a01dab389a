//! `jackfield dev` puts each new build of a connector into use on a running server, and shows the
//! events of the connector. If a new build does not work, the server continues to use the previous
//! version.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use jackfield_tests::{
    Guest, Reply, ScriptedServer, Setup, TestHost, binary, failed_test, unreachable_url,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

const LINE_TIMEOUT: Duration = Duration::from_secs(90);

/// A running `jackfield dev --json`. Dropping this value kills the process.
struct DevProcess {
    child: Child,
    /// The JSON values that the command prints, one on each line.
    lines: Receiver<Value>,
}

impl DevProcess {
    fn start(host: &TestHost, target: &Path, words: &[&str]) -> Self {
        let mut command = host.cli(&["dev", "--json"]);
        command.arg(target).args(words).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("the binary starts");
        let out = BufReader::new(child.stdout.take().expect("stdout"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let value =
                    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"));
                println!("dev: {line}");
                let _ = sender.send(value);
            }
        });
        Self { child, lines }
    }

    #[track_caller]
    fn next_line(&self, what: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.lines.recv_timeout(LINE_TIMEOUT);
            let line = line.unwrap_or_else(|error| panic!("no line for {what}: {error}"));
            if is_wanted(&line) {
                return line;
            }
        }
    }

    #[track_caller]
    fn next_state(&self, state: &str) -> Value {
        self.next_line(state, |line| line["state"] == state)
    }

    /// Sends the signal of Ctrl-C. Returns the exit code.
    fn interrupt(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("the process runs");
        self.child.wait().expect("the process ends").code()
    }
}

impl Drop for DevProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn guest_build(number: u32) -> Guest {
    Guest::named("traps-on-demand").with_build(number)
}

fn write_connector(guest: &Guest) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("tracker.wasm");
    std::fs::write(&file, &guest.bytes).expect("the file is written");
    (folder, file)
}

#[test]
fn each_new_build_is_put_into_use_and_its_events_are_shown() {
    let host = Setup::new().start();
    let (_folder, file) = write_connector(&guest_build(1));
    let dev = DevProcess::start(&host, &file, &[]);
    let first = dev.next_state("serving");
    assert_eq!((&first["connector"], &first["version"]), (&json!("tracker"), &json!("1.0.1")));
    let hint = dev.next_state("no-connection");
    assert!(hint["text"].to_string().contains("connections create tracker"), "{hint}");

    let tracker = ScriptedServer::start(|_| Reply::new(200, "good"));
    let connection = host.add_connection("qa", "tracker", json!({"url": tracker.url()}), json!({}));
    host.create(&connection, &failed_test()).assert_status(200);
    let event = dev.next_line("the event", |line| line["kind"] == "create-defect");
    assert_eq!(event["outcome"], "created", "{event}");
    assert_eq!(event["runs"][0]["calls"][0]["path"], "/health", "{event}");

    std::fs::write(&file, &guest_build(3).bytes).expect("the file is written");
    let second = dev.next_state("serving");
    assert_eq!(second["sha256"], guest_build(3).sha256(), "{second}");
    let after_ms = second["after_ms"].as_u64().expect("a time");
    println!("in use after {after_ms} ms");
    assert!(
        after_ms >= second["load_ms"].as_u64().expect("a time") && after_ms < 30_000,
        "{second}"
    );

    // The server refuses the next build, because the function `describe` of this build panics. The
    // previous build stays in use.
    std::fs::write(&file, &guest_build(2).bytes).expect("the file is written");
    let failed = dev.next_state("failed");
    assert!(failed["text"].to_string().contains("build 2 does not describe itself"), "{failed}");
    std::fs::write(&file, "half a file").expect("the file is written");
    let failed = dev.next_state("failed");
    assert!(failed["text"].to_string().contains("not a WebAssembly file"), "{failed}");
    host.await_connector("tracker", "broken", Some(&guest_build(3).sha256()));
    host.create(&connection, &failed_test()).assert_status(200);

    assert_eq!(dev.interrupt(), Some(0));
    let plugins = std::fs::read_dir(host.folder().join("plugins")).expect("the plugins folder");
    let names: Vec<_> = plugins.map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(names, ["tracker.wasm"]);
}

#[test]
fn a_project_is_built_at_each_change_and_a_build_that_fails_changes_nothing() {
    let host = Setup::new().start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let new = host.cli(&["new", "my-tracker", "--lang", "script"]).current_dir(&folder).output();
    assert!(new.expect("the binary starts").status.success());
    let project = folder.path().join("my-tracker");
    let dev = DevProcess::start(&host, &project, &[]);
    let first = dev.next_state("serving");
    assert_eq!(first["connector"], "my-tracker", "{first}");

    let script = project.join("my-tracker.js");
    let source = std::fs::read_to_string(&script).expect("the script");
    std::fs::write(&script, format!("{source}\n// changed\n")).expect("the script is written");
    let second = dev.next_state("serving");
    println!("in use after {} ms", second["after_ms"]);
    assert_ne!(first["sha256"], second["sha256"]);
    std::fs::write(&script, "export const plugin = {").expect("the script is written");
    let failed = dev.next_state("failed")["text"].to_string();
    assert!(failed.contains("my-tracker.js:1"), "{failed}");
    host.await_connector("my-tracker", "broken", second["sha256"].as_str());

    // With this file, the folder is a Rust project that does not build.
    std::fs::write(project.join("Cargo.toml"), "[package").expect("the file is written");
    let failed = dev.next_state("failed")["text"].to_string();
    assert!(failed.contains("cargo") && failed.contains("in use is unchanged"), "{failed}");
    std::fs::remove_file(project.join("Cargo.toml")).expect("the file is removed");
    std::fs::write(&script, source).expect("the script is written");
    assert_eq!(dev.next_state("serving")["sha256"], first["sha256"]);
    assert_eq!(dev.interrupt(), Some(0));
}

#[test]
fn dev_names_a_version_that_waits_for_consent() {
    let asks_more = |build| Guest::named("asks-more").with_build(build);
    let host = Setup::new().plugin("tracker", &asks_more(1)).start();
    let secrets = json!({"key": "k3y-of-qa"});
    host.add_connection("qa", "tracker", json!({"url": unreachable_url()}), secrets);
    let (_folder, file) = write_connector(&asks_more(2));
    let plugins = host.folder().join("plugins").display().to_string();
    let dev = DevProcess::start(&host, &file, &["--plugins", &plugins]);
    let loaded = dev.next_line("the version", |line| !line["sha256"].is_null());
    assert_eq!(
        (&loaded["state"], &loaded["sha256"]),
        (&json!("waiting"), &json!(asks_more(2).sha256()))
    );
    let reason = dev.next_state("needs-consent")["text"].to_string();
    assert!(reason.contains("http://mirror.test:8080"), "{reason}");
    assert!(reason.contains("connections accept qa"), "{reason}");
}

#[test]
fn dev_refuses_to_start_without_a_server_a_folder_or_a_valid_file() {
    let (folder, file) = write_connector(&guest_build(1));
    let refused = |command: &mut Command, words: &[&str]| {
        let output = command.output().expect("the binary starts");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), err.trim_end().lines().count()), (Some(1), 1), "{err}");
        assert!(words.iter().all(|word| err.contains(word)), "{words:?}: {err}");
    };
    let mut without_server = Command::new(binary());
    without_server.arg("dev").arg(&file).args(["--server", &unreachable_url()]);
    refused(&mut without_server, &["no server answers", "jackfield serve"]);
    let host = Setup::new().start();
    let missing = folder.path().join("nowhere").display().to_string();
    let dev = |target: &Path, words: &[&str]| {
        let mut command = host.cli(&["dev"]);
        command.arg(target).args(words);
        command
    };
    refused(&mut dev(&file, &["--plugins", &missing]), &["no plugins folder", "--plugins"]);
    refused(&mut dev(Path::new(&missing), &[]), &["cannot open", "nowhere"]);
    let wrongly_named = folder.path().join("My_Tracker.wasm");
    std::fs::copy(&file, &wrongly_named).expect("the file is copied");
    refused(&mut dev(&wrongly_named, &[]), &["rename", "My_Tracker.wasm"]);
    let text_file = folder.path().join("notes.txt");
    std::fs::write(&text_file, "x").expect("the file is written");
    refused(&mut dev(&text_file, &[]), &["not a connector's file", "NAME.js"]);
}
