//! `cargo xtask bench WHAT`: measures the built server from outside and prints each figure beside its
//! goal. Measures what users feel, on whatever machine this is; judges nothing.

use std::collections::BTreeSet;
use std::process::ExitCode;
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
    let guest = Guest::named("instant");
    let host = Setup::new().plugin("c", &guest.clone().build(0)).start();
    let connection = host.connect("bench", "c", json!({}), json!({}));
    let swap = |number: u32| {
        host.install("c", &guest.clone().build(number));
        let written = Instant::now();
        while served(&host, &connection) != number {}
        written.elapsed()
    };
    let new = median_ms((1..=10).map(swap).collect());
    println!("last byte of a file to its first event, never seen: {new:.0} ms (goal: below 1000)");
    let known = median_ms((1..=10).map(swap).collect());
    println!(
        "last byte of a file to its first event, known by hash: {known:.0} ms (goal: below 100)"
    );
    drop(host);
    start_with_fifty(&guest);
}

fn served(host: &TestHost, connection: &Connection) -> u32 {
    let defect = host.create(connection, &failed_test()).expect(200);
    let number = defect["name"].as_str().and_then(|name| name.strip_prefix("build "));
    number.and_then(|number| number.parse().ok()).expect("the build's number")
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
    let host = Setup::new()
        .config("[limits]\nconcurrent_runs = 256")
        .plugin("good", &Guest::named("good"))
        .start();
    let tracker = Peer::start(|_| Reply::Answer(Response::json(201, r#"{"issue":{"id":1}}"#)));
    let connection = host.connect("bench", "good", json!({"url": tracker.url()}), json!({}));
    for concurrent in [1, 64, 256] {
        let (per_second, answers) = load(&host, &connection, concurrent);
        println!("creates at {concurrent} concurrent: {per_second:.0} a second ({answers} in all)");
    }
    let test = failed_test();
    let _ = host.create(&connection, &test).expect(200);
    let client = host.anyone();
    let timed = |work: &dyn Fn()| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    let repeat = || drop(host.create(&connection, &test).expect(200));
    let health = || drop(client.get("/healthz"));
    let (mut repeats, mut healths) = (Vec::new(), Vec::new());
    for _ in 0..500 {
        repeats.push(timed(&repeat));
        healths.push(timed(&health));
    }
    let (repeat, health) = (median_ms(repeats), median_ms(healths));
    println!(
        "a repeat: {repeat:.2} ms, GET /healthz: {health:.2} ms: x {:.1} (goal: at most 2)",
        repeat / health
    );
}

/// Creates for five seconds; returns creates a second and how many different answers came.
fn load(host: &TestHost, connection: &Connection, concurrent: usize) -> (f64, usize) {
    const SECONDS: u64 = 5;
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
    let answers = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
    (answers as f64 / SECONDS as f64, answers)
}
