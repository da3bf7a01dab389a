//! Measures the connectors that the templates contain, one for each language: their size, the time
//! until they are ready, and the costs of a create, which sends one request to a tracker.

use std::time::{Duration, Instant};

use jackfield_tests::{Connection, Guest, Reply, ScriptedServer, TestHost, failed_test};
use serde_json::json;

use crate::memory::REDMINE_ISSUE_ANSWER;
use crate::report::{Figure, Unit};
use crate::rounds::Effort;
use crate::servers::{path_from_env, setup_on_all_cores};

const MEASUREMENT: &str = "languages";
/// The languages, each with the name of the file that `cargo xtask bench` builds.
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
    LANGUAGES.iter().flat_map(|(language, file)| measure_language(language, file, effort)).collect()
}

fn measure_language(language: &str, file: &'static str, effort: Effort) -> Vec<Figure> {
    println!("{language}");
    let bytes = std::fs::read(path_from_env("BENCH_GUESTS").join("languages").join(file));
    let guest = Guest { bytes: bytes.unwrap_or_else(|e| panic!("{file}: {e}")) };
    let figure = |what: &str, unit, rounds| {
        Figure::from_rounds(MEASUREMENT, format!("{what}, {language}"), unit, rounds)
    };
    let size = guest.bytes.len() as f64 / 1e3;

    let tracker = ScriptedServer::start(|_| Reply::json(201, REDMINE_ISSUE_ANSWER));
    let server = ReloadingServer::start(file, guest, &tracker.url());
    let versions = effort.pick(7, 2);
    let (compiled, _): (Vec<_>, Vec<_>) =
        (1..=versions).map(|it| server.install_and_create(it)).unzip();
    let (_, cached): (Vec<_>, Vec<_>) =
        (1..=versions).map(|it| server.install_and_create(it)).unzip();
    let costs = server.measure_creates(effort.pick(300, 20));
    vec![
        figure("size", Unit::Kilobytes, vec![size]),
        figure("compilation", Unit::Milliseconds, compiled),
        figure("cached file to first create", Unit::Milliseconds, cached),
        figure("create", Unit::Milliseconds, costs.times_ms),
        figure("CPU of a create", Unit::Milliseconds, vec![costs.cpu_ms]),
        figure("memory of a create", Unit::Kilobytes, vec![costs.memory_kb]),
    ]
}

/// A server with one connector, whose file is replaced repeatedly by another version.
struct ReloadingServer {
    host: TestHost,
    connection: Connection,
    file: &'static str,
    /// The connector without the change that makes another version of it.
    guest: Guest,
}

/// The measured costs of creates that were sent one after the other.
struct CreateCosts {
    /// The time of each create, from the request to the answer.
    times_ms: Vec<f64>,
    /// The average CPU time of the server for one create.
    cpu_ms: f64,
    /// The memory that the guest used in the last run.
    memory_kb: f64,
}

impl ReloadingServer {
    fn start(file: &'static str, guest: Guest, tracker: &str) -> Self {
        let host = setup_on_all_cores().start();
        install(&host, file, &guest);
        host.await_connector("c", "ready", None);
        let settings = json!({"url": tracker, "project": "qa"});
        let connection = host.add_connection("qa", "c", settings, json!({"api-key": "any-k3y"}));
        Self { host, connection, file, guest }
    }

    /// Installs the version with this number. Returns the milliseconds until the version is ready,
    /// and those until the end of its first create.
    fn install_and_create(&self, number: u32) -> (f64, f64) {
        let version = match self.file.ends_with(".js") {
            true => {
                let comment = format!("\n// {number}\n");
                Guest { bytes: [&self.guest.bytes, comment.as_bytes()].concat() }
            }
            false => self.guest.clone().with_custom_section(number),
        };
        let (admin, sha256) = (self.host.admin(), version.sha256());
        install(&self.host, self.file, &version);
        let installed_at = Instant::now();
        while admin.get("/connectors/c").json()["sha256"] != *sha256 {
            assert!(
                installed_at.elapsed() < Duration::from_secs(120),
                "the server does not use the new version after 120 s"
            );
        }
        let ready = installed_at.elapsed();
        self.host.create(&self.connection, &failed_test()).assert_status(200);
        (to_milliseconds(ready), to_milliseconds(installed_at.elapsed()))
    }

    /// Sends `count` creates, one after the other, and one more create to measure the memory.
    fn measure_creates(&self, count: u32) -> CreateCosts {
        let create = || {
            let start = Instant::now();
            let answer = self.host.create(&self.connection, &failed_test());
            answer.assert_status(200);
            (to_milliseconds(start.elapsed()), answer)
        };
        let before = self.host.cpu_ms();
        let times_ms = (0..count).map(|_| create().0).collect();
        let cpu_ms = (self.host.cpu_ms() - before) as f64 / f64::from(count);
        let run = self.host.run_of(&create().1);
        let bytes = run["usage"]["memory_bytes"].as_f64().expect("a number");
        CreateCosts { times_ms, cpu_ms, memory_kb: bytes / 1e3 }
    }
}

/// Installs the connector's file by a rename, so that the server never reads an incomplete file.
fn install(host: &TestHost, file: &str, guest: &Guest) {
    let plugins = host.folder().join("plugins");
    let (_, extension) = file.split_once('.').expect("an extension");
    std::fs::write(plugins.join("c.part"), &guest.bytes).expect("the file is written");
    std::fs::rename(plugins.join("c.part"), plugins.join(format!("c.{extension}")))
        .expect("the file is renamed");
}

fn to_milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
