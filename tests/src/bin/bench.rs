//! `cargo xtask bench WHAT`: measures the built server from outside and prints each figure beside its
//! goal. Measures what users feel, on whatever machine this is; judges nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use jackfield_tests::{
    Connection, Guest, Peer, Reply, Response, Setup, TestHost, failed_test, until,
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

/// The middle of the values, in milliseconds.
fn median_ms(mut values: Vec<Duration>) -> f64 {
    values.sort();
    values.get(values.len() / 2).map_or(f64::NAN, |value| value.as_secs_f64() * 1000.0)
}

fn reload() {
    let tracker = Peer::start(|_| Reply::Answer(Response::json(201, REDMINES_ANSWER)));
    let redmines = json!({"url": tracker.url(), "project": "qa"});
    let benches = [
        ("the smallest", Guest::named("instant"), json!({}), json!({})),
        ("Redmine's", Guest::example("redmine"), redmines, json!({"api-key": "k3y-of-nobody"})),
    ];
    for (what, guest, settings, secrets) in benches {
        let host = Setup::new().plugin("c", &guest).start();
        let connection = host.connect("bench", "c", settings, secrets);
        let bench = Reloads { host, connection };
        let swap = |number: u32| bench.swap(&guest.clone().noted(number));
        let new = median_ms((1..=10).map(swap).collect());
        let known = median_ms((1..=10).map(swap).collect());
        println!("from the last byte of a file to its first event, {what} connector:");
        println!("    never seen {new:.0} ms (goal: below 1000)");
        println!("    known by its hash {known:.0} ms (goal: below 100)");
    }
    start_with_fifty(&Guest::named("instant"));
}

const REDMINES_ANSWER: &str = r#"{"issue":{"id":1,"subject":"s","description":"d",
    "status":{"id":1,"name":"New"},"priority":{"id":2,"name":"Normal"}}}"#;

/// A server whose connector is replaced.
struct Reloads {
    host: TestHost,
    connection: Connection,
}

impl Reloads {
    /// Puts a build in place and returns how long it took to its first event.
    fn swap(&self, build: &Guest) -> Duration {
        let sha256 = build.sha256();
        self.host.install("c", build);
        let written = Instant::now();
        loop {
            let answer = self.host.create(&self.connection, &failed_test());
            let took = written.elapsed();
            let _ = answer.expect(200);
            if self.host.event(&answer.event())["runs"][0]["connector_sha256"] == *sha256 {
                return took;
            }
        }
    }
}

fn start_with_fifty(guest: &Guest) {
    let guests = (0..50).map(|n| (format!("c{n}"), guest.clone().build(n)));
    let setup = guests.fold(Setup::new(), |setup, (name, guest)| setup.plugin(&name, &guest));
    let mut host = setup.start();
    let _ = host.stop();
    let start = Instant::now();
    host.start_again();
    until("all connectors to be ready", 60, || {
        let shown = host.admin().get("/connectors").expect(200);
        let ready = shown["connectors"].as_array()?.iter().filter(|c| c["status"] == "ready");
        (ready.count() == 50).then_some(())
    });
    let seconds = start.elapsed().as_secs_f64();
    let mib = host.resident_bytes() >> 20;
    println!("start with 50 connectors in the cache: {seconds:.2} s (goal: below 1)");
    println!("its resident memory: {mib} MB (goal: below 80)");
}

fn create() {
    let durable = Creates::start(Setup::new());
    let preload = library("libeatmydata1", "libeatmydata.so").display().to_string();
    let without = Creates::start(Setup::new().env("LD_PRELOAD", &preload));
    println!("creates a second, one POST each to a local tracker:");
    println!("{:>12} {:>10} {:>18} {:>7}", "concurrent", "durable", "without syncs", "ratio");
    for concurrent in [1, 64, 256] {
        // In turns, so that whatever else the machine does falls on both.
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
    _tracker: Peer,
}

impl Creates {
    fn start(setup: Setup) -> Self {
        let config = "[limits]\nconcurrent_runs = 256";
        let host = setup.config(config).plugin("good", &Guest::named("good")).start();
        let tracker = Peer::start(|_| Reply::Answer(Response::json(201, r#"{"issue":{"id":1}}"#)));
        let settings = json!({"url": tracker.url()});
        let connection = host.connect("bench", "good", settings, json!({}));
        Self { host, connection, _tracker: tracker }
    }

    /// Creates a second.
    fn load(&self, concurrent: usize) -> f64 {
        load(&self.host, &self.connection, concurrent) as f64 / SECONDS as f64
    }
}

/// A created defect asked for again, beside the cheapest answer that there is.
fn repeat(bench: &Creates) {
    let test = failed_test();
    let _ = bench.host.create(&bench.connection, &test).expect(200);
    let client = bench.host.anyone();
    let timed = |work: &dyn Fn()| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    let repeat = || drop(bench.host.create(&bench.connection, &test).expect(200));
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

/// Syncs are counted by the kernel's own word for them; only they are traced, all else runs at its
/// speed.
fn syncs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let trace = folder.path().join("trace");
    let file = trace.display().to_string();
    let calls = "trace=fdatasync,fsync,sync_file_range,msync";
    let strace = ["strace", "-D", "-f", "--seccomp-bpf", "-e", calls, "-o", &file];
    let bench = Creates::start(Setup::new().under(&strace));
    let count = || {
        let lines = std::fs::read_to_string(&trace).expect("what strace wrote");
        lines.lines().filter(|line| line.contains("sync(")).count()
    };
    let before = count();
    let made = load(&bench.host, &bench.connection, 64);
    let syncs = count() - before;
    let each = syncs as f64 / made as f64;
    println!("syncs per create at 64 concurrent: {each:.3} ({syncs} for {made}; goal: below 0.2)");
}

/// A shared library of a Debian package.
fn library(package: &str, name: &str) -> PathBuf {
    let listed = Command::new("dpkg").args(["-L", package]).output().expect("dpkg runs");
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let found = text.lines().map(PathBuf::from).find(|path| path.ends_with(name));
    found.unwrap_or_else(|| panic!("apt-get install {package}"))
}

/// How long each load lasts.
const SECONDS: u64 = 5;

/// Creates for some seconds; returns how many.
fn load(host: &TestHost, connection: &Connection, concurrent: usize) -> usize {
    let start = Arc::new(Barrier::new(concurrent));
    let threads = (0..concurrent).map(|_| {
        let (client, start) = (host.anyone(), Arc::clone(&start));
        let path = format!("{}/defects", connection.hook);
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
    threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
}
