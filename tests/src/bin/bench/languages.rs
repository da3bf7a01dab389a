//! Measures the template's connector in each language: its size, its compilation, its first event,
//! and its creates, each of which sends one request to a tracker.

use std::time::{Duration, Instant};

use jackfield_tests::{Connection, Guest, Reply, ScriptedServer, TestHost, failed_test};
use serde_json::json;

use crate::memory::REDMINE_ISSUE;
use crate::report::{Figure, Unit};
use crate::rounds::Effort;
use crate::servers::{folder, unlimited};

const SUBJECT: &str = "languages";
/// The languages, and the files that `cargo xtask bench` builds.
const LANGUAGES: [(&str, &str); 8] = [
    ("Rust", "rust.wasm"),
    ("C", "c.wasm"),
    ("C++", "cpp.wasm"),
    ("a script", "script.js"),
    ("JavaScript", "javascript.wasm"),
    ("TypeScript", "typescript.wasm"),
    ("Go", "go.wasm"),
    ("Python", "python.wasm"),
];

pub(crate) fn run(effort: Effort) -> Vec<Figure> {
    LANGUAGES.iter().flat_map(|(language, file)| measure(language, file, effort)).collect()
}

fn measure(language: &str, file: &'static str, effort: Effort) -> Vec<Figure> {
    println!("{language}");
    let bytes = std::fs::read(folder("BENCH_GUESTS").join("languages").join(file));
    let guest = Guest { bytes: bytes.unwrap_or_else(|e| panic!("{file}: {e}")) };
    let figure =
        |what: &str, unit, rounds| Figure::of(SUBJECT, format!("{what}, {language}"), unit, rounds);
    let size = guest.bytes.len() as f64 / 1e3;

    let tracker = ScriptedServer::start(|_| Reply::json(201, REDMINE_ISSUE));
    let server = Server::start(file, guest, &tracker.url());
    let versions = effort.pick(7, 2);
    let (compiled, _): (Vec<_>, Vec<_>) = (1..=versions).map(|it| server.replace(it)).unzip();
    let (_, cached): (Vec<_>, Vec<_>) = (1..=versions).map(|it| server.replace(it)).unzip();
    let creates = server.create(effort.pick(300, 20));
    vec![
        figure("size", Unit::Kilobytes, vec![size]),
        figure("compilation", Unit::Milliseconds, compiled),
        figure("cached file to first create", Unit::Milliseconds, cached),
        figure("create", Unit::Milliseconds, creates.times),
        figure("CPU of a create", Unit::Milliseconds, vec![creates.cpu_ms]),
        figure("memory of a create", Unit::Kilobytes, vec![creates.kilobytes]),
    ]
}

/// A server with one connector, whose file is replaced again and again.
struct Server {
    host: TestHost,
    connection: Connection,
    file: &'static str,
    guest: Guest,
}

/// What creates took, one after the other.
struct Creates {
    times: Vec<f64>,
    /// CPU time of the server for each.
    cpu_ms: f64,
    /// Memory that the last run used.
    kilobytes: f64,
}

impl Server {
    fn start(file: &'static str, guest: Guest, tracker: &str) -> Self {
        let host = unlimited().start();
        install(&host, file, &guest);
        host.await_connector("c", "ready", None);
        let settings = json!({"url": tracker, "project": "qa"});
        let connection = host.connect("qa", "c", settings, json!({"api-key": "any-k3y"}));
        Self { host, connection, file, guest }
    }

    /// Installs a version. Returns the milliseconds until it is ready, and until the end of its
    /// first create.
    fn replace(&self, number: u32) -> (f64, f64) {
        let version = match self.file.ends_with(".js") {
            true => {
                let comment = format!("\n// {number}\n");
                Guest { bytes: [&self.guest.bytes, comment.as_bytes()].concat() }
            }
            false => self.guest.clone().with_custom_section(number),
        };
        let (admin, sha256) = (self.host.admin(), version.sha256());
        install(&self.host, self.file, &version);
        let written = Instant::now();
        while admin.get("/connectors/c").json()["sha256"] != *sha256 {
            assert!(written.elapsed() < Duration::from_secs(120), "the version does not go live");
        }
        let ready = written.elapsed();
        self.host.create(&self.connection, &failed_test()).assert_status(200);
        (milliseconds(ready), milliseconds(written.elapsed()))
    }

    fn create(&self, count: u32) -> Creates {
        let create = || {
            let begun = Instant::now();
            let answer = self.host.create(&self.connection, &failed_test());
            answer.assert_status(200);
            (milliseconds(begun.elapsed()), answer)
        };
        let before = self.host.cpu_ms();
        let times = (0..count).map(|_| create().0).collect();
        let cpu_ms = (self.host.cpu_ms() - before) as f64 / f64::from(count);
        let run = self.host.run_of(&create().1);
        let bytes = run["usage"]["memory_bytes"].as_f64().expect("a number");
        Creates { times, cpu_ms, kilobytes: bytes / 1e3 }
    }
}

/// Puts a file into the plugins folder, by a rename.
fn install(host: &TestHost, file: &str, guest: &Guest) {
    let plugins = host.folder().join("plugins");
    let (_, extension) = file.split_once('.').expect("an extension");
    std::fs::write(plugins.join("c.part"), &guest.bytes).expect("the file is written");
    std::fs::rename(plugins.join("c.part"), plugins.join(format!("c.{extension}")))
        .expect("the file is renamed");
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
