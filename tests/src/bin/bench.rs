//! `cargo xtask bench WHAT`: measures the built server from outside, on this machine, and prints
//! each figure with its goal. A figure that misses its goal is not an error.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use jackfield_tests::{
    Connection, Guest, Reply, Response, ScriptedServer, Setup, TestHost, failed_test, wait_for,
};
use serde_json::json;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("reload") => reload(),
        Some("create") => create(),
        _ => {
            eprintln!("usage: bench reload | create");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// The median, in milliseconds.
fn median_ms(mut values: Vec<Duration>) -> f64 {
    values.sort();
    values.get(values.len() / 2).map_or(f64::NAN, |value| value.as_secs_f64() * 1000.0)
}

/// Measures the time from the last byte of a connector's file to the first event that it serves.
fn reload() {
    let tracker = ScriptedServer::start(|_| Reply::Answer(Response::json(201, REDMINE_ISSUE)));
    let redmine = json!({"url": tracker.url(), "project": "qa"});
    let connectors = [
        ("smallest", Guest::named("instant"), json!({}), json!({})),
        ("Redmine", Guest::example("redmine"), redmine, json!({"api-key": "any-k3y"})),
    ];
    for (what, guest, settings, secrets) in connectors {
        let host = Setup::new().plugin("c", &guest).start();
        let connection = host.connect("bench", "c", settings, secrets);
        let reloads = Reloads { host, connection };
        let replace = |number: u32| reloads.replace(&guest.clone().with_custom_section(number));
        let new = median_ms((1..=10).map(replace).collect());
        let cached = median_ms((1..=10).map(replace).collect());
        println!("from the last byte of a file to its first event, {what} connector:");
        println!("    new {new:.0} ms (goal: below 1000)");
        println!("    in the cache {cached:.0} ms (goal: below 100)");
    }
    start_with_fifty(&Guest::named("instant"));
}

const REDMINE_ISSUE: &str = r#"{"issue":{"id":1,"subject":"s","description":"d",
    "status":{"id":1,"name":"New"},"priority":{"id":2,"name":"Normal"}}}"#;

/// A server whose connector is replaced, and a connection to the connector.
struct Reloads {
    host: TestHost,
    connection: Connection,
}

impl Reloads {
    /// Installs a build and returns the time until this build has served an event.
    fn replace(&self, build: &Guest) -> Duration {
        let sha256 = build.sha256();
        self.host.install("c", build);
        let written = Instant::now();
        loop {
            let answer = self.host.create(&self.connection, &failed_test());
            let took = written.elapsed();
            answer.assert_status(200);
            if self.host.run_of(&answer)["connector_sha256"] == *sha256 {
                return took;
            }
        }
    }
}

/// Measures the start of a server with 50 connectors whose compiled code is cached.
fn start_with_fifty(guest: &Guest) {
    let guests = (0..50).map(|n| (format!("c{n}"), guest.clone().with_build(n)));
    let setup = guests.fold(Setup::new(), |setup, (name, guest)| setup.plugin(&name, &guest));
    let mut host = setup.start();
    host.stop();
    let start = Instant::now();
    host.restart();
    wait_for("all connectors to be ready", 60, || {
        let listed = host.admin().get("/connectors").expect(200);
        let ready = listed["connectors"].as_array()?.iter().filter(|c| c["status"] == "ready");
        (ready.count() == 50).then_some(())
    });
    let seconds = start.elapsed().as_secs_f64();
    let mib = host.resident_bytes() >> 20;
    println!("start with 50 connectors in the cache: {seconds:.2} s (goal: below 1)");
    println!("resident memory after that start: {mib} MB (goal: below 80)");
}

/// Measures the creates per second, with and without syncs to the disk.
fn create() {
    let durable = Creates::start(Setup::new());
    let preload = library("libeatmydata1", "libeatmydata.so").display().to_string();
    let without = Creates::start(Setup::new().env("LD_PRELOAD", &preload));
    println!("creates per second, with one POST each to a local tracker:");
    println!("{:>12} {:>10} {:>18} {:>7}", "concurrent", "durable", "without syncs", "ratio");
    for concurrent in [1, 64, 256] {
        // Alternates between both, so that other load on the machine affects both.
        let mut seconds = [0.0, 0.0];
        for _ in 0..2 {
            seconds[0] += durable.load(concurrent) / 2.0;
            seconds[1] += without.load(concurrent) / 2.0;
        }
        let ratio = seconds[0] / seconds[1];
        println!("{concurrent:>12} {:>10.0} {:>18.0} {ratio:>7.2}", seconds[0], seconds[1]);
    }
    drop(without);
    repeat(&durable);
    drop(durable);
    syncs();
}

/// A server with a connector that sends one POST, and its tracker.
struct Creates {
    host: TestHost,
    connection: Connection,
    _tracker: ScriptedServer,
}

impl Creates {
    fn start(setup: Setup) -> Self {
        let config = "[limits]\nconcurrent_runs = 256";
        let tracker = ScriptedServer::start(|_| Reply::created(1));
        let settings = json!({"url": tracker.url()});
        let (host, connection) = setup.config(config).start_with("good", settings);
        Self { host, connection, _tracker: tracker }
    }

    /// The number of creates per second.
    fn load(&self, concurrent: usize) -> f64 {
        load(&self.host, &self.connection, concurrent) as f64 / SECONDS as f64
    }
}

/// Measures a repeated click on a created defect, compared with the cheapest answer.
fn repeat(creates: &Creates) {
    let test = failed_test();
    creates.host.create(&creates.connection, &test).assert_status(200);
    let client = creates.host.anonymous();
    let timed = |work: &dyn Fn()| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    let repeat = || creates.host.create(&creates.connection, &test).assert_status(200);
    let health = || drop(client.get("/healthz"));
    let (mut repeats, mut healths) = (Vec::new(), Vec::new());
    for _ in 0..1_000 {
        repeats.push(timed(&repeat));
        healths.push(timed(&health));
    }
    let (repeat, health) = (median_ms(repeats), median_ms(healths));
    let ratio = repeat / health;
    println!(
        "a repeat: {repeat:.3} ms, GET /healthz: {health:.3} ms: x {ratio:.1} (goal: at most 2)"
    );
}

/// Counts the system calls that sync. Only these calls are traced; all others run at full speed.
fn syncs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let trace = folder.path().join("trace");
    let file = trace.display().to_string();
    let calls = "trace=fdatasync,fsync,sync_file_range,msync";
    let strace = ["strace", "-D", "-f", "--seccomp-bpf", "-e", calls, "-o", &file];
    let creates = Creates::start(Setup::new().run_under(&strace));
    let count = || {
        let lines = std::fs::read_to_string(&trace).expect("the file of strace");
        lines.lines().filter(|line| line.contains("sync(")).count()
    };
    let before = count();
    let created = load(&creates.host, &creates.connection, 64);
    let syncs = count() - before;
    let each = syncs as f64 / created as f64;
    println!(
        "syncs per create at 64 concurrent: {each:.3} ({syncs} for {created}; goal: below 0.2)"
    );
}

/// The path of a shared library of a Debian package.
fn library(package: &str, name: &str) -> PathBuf {
    let listed = Command::new("dpkg").args(["-L", package]).output().expect("dpkg runs");
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let found = text.lines().map(PathBuf::from).find(|path| path.ends_with(name));
    found.unwrap_or_else(|| panic!("apt-get install {package}"))
}

/// The duration of each load.
const SECONDS: u64 = 5;

/// Sends creates for [`SECONDS`] and returns how many were answered.
fn load(host: &TestHost, connection: &Connection, concurrent: usize) -> usize {
    let start = Arc::new(Barrier::new(concurrent));
    let threads = (0..concurrent).map(|_| {
        let (client, start) = (host.anonymous(), Arc::clone(&start));
        let path = connection.create_path();
        std::thread::spawn(move || {
            start.wait();
            let end = Instant::now() + Duration::from_secs(SECONDS);
            let mut events = BTreeSet::new();
            while Instant::now() < end {
                let answer = client.json("POST", &path, &failed_test());
                assert_eq!(answer.status, 200, "{answer:?}");
                events.insert(answer.event());
            }
            events.len()
        })
    });
    let threads: Vec<_> = threads.collect();
    threads.into_iter().map(|thread| thread.join().expect("the thread does not panic")).sum()
}
