//! Good and hostile guests mixed, a reload every other second: at the end, memory, descriptors, threads,
//! tasks and child processes are where they were, and the good connector answered every event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jackfield_tests::{
    Client, Connection, Guest, Peer, Reply, Setup, TestHost, failed_test, until,
};
use serde_json::json;

const HOSTILE: [&str; 9] = [
    "spin",
    "memory-bomb",
    "deep-recursion",
    "handle-flood",
    "stdout-flood",
    "endless-body",
    "many-bodies",
    "many-calls",
    "calls",
];

/// What must be flat.
#[derive(Debug, Clone, Copy)]
struct Held {
    resident_bytes: u64,
    files: usize,
    threads: usize,
    tasks: u64,
    children: usize,
}

fn held(host: &TestHost) -> Held {
    Held {
        resident_bytes: host.resident_bytes(),
        files: host.open_files(),
        threads: host.threads(),
        tasks: host.tasks(),
        children: host.children(),
    }
}

#[test]
fn a_long_mixed_load_leaves_nothing_behind() {
    let long = std::env::var_os("JACKFIELD_LONG").is_some();
    let seconds = if long { 1_800 } else { 180 };
    let setup =
        Setup::new().config("[limits]\ncpu_ms = 200").plugin("good", &Guest::named("instant"));
    let host = HOSTILE.iter().fold(setup, |setup, name| setup.plugin(name, &Guest::named(name)));
    let host = host.start();
    let good = host.connect("good", "good", json!({}), json!({}));
    let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
    let endless = Peer::start(|_| Reply::Endless(head.to_vec()));
    let hostile = HOSTILE.map(|name| {
        let settings = match name {
            "calls" => {
                let target = endless.url() + "/x";
                json!({"url": endless.url(), "target": target, "via": "wasi:http"})
            }
            "endless-body" | "many-bodies" | "many-calls" => json!({"url": endless.url()}),
            _ => json!({}),
        };
        host.connect(name, name, settings, json!({}))
    });

    // Long enough for every cache to be full.
    mixed(&host, &good, &hostile, Duration::from_secs(75), 0);
    let before = settled(&host);
    mixed(&host, &good, &hostile, Duration::from_secs(seconds), 1_000);
    let flat = |now: &Held| {
        now.resident_bytes <= before.resident_bytes + before.resident_bytes / 10
            && now.files <= before.files + 2
            && now.threads <= before.threads + 2
            && now.tasks <= before.tasks + 2
            && now.children == 0
    };
    let mut after = before;
    let deadline = Instant::now() + Duration::from_secs(30);
    until("another look", 60, || {
        after = held(&host);
        (flat(&after) || Instant::now() > deadline).then_some(())
    });
    println!("{seconds} s: before {before:?}, after {after:?}");
    assert!(flat(&after), "before {before:?}, after {after:?}");
}

/// Runs the load for so long; reloads are stamped from `first` on.
fn mixed(host: &TestHost, good: &Connection, hostile: &[Connection], lasts: Duration, first: u32) {
    let stop = Arc::new(AtomicBool::new(false));
    let path = |connection: &Connection| format!("{}/defects", connection.hook);
    let honest = aside(&stop, host.anyone(), path(good), &[200]);
    let attacks: Vec<_> = hostile
        .iter()
        .map(|connection| aside(&stop, host.anyone(), path(connection), &[200, 502, 503]))
        .collect();
    let end = Instant::now() + lasts;
    for number in first.. {
        let next = Guest::named("instant").build(number);
        host.install("good", &next);
        host.await_connector("good", "ready", Some(&next.sha256()));
        host.install("broken", &Guest { bytes: format!("no component {number}").into_bytes() });
        // An edit wakes what rests after its failures: the attack goes on.
        for one in hostile {
            let edited =
                host.admin().json("PATCH", &format!("/connections/{}", one.id), &json!({}));
            let _ = edited.expect(200);
        }
        if Instant::now() > end {
            break;
        }
        std::thread::sleep(Duration::from_secs(2)); // the pace of the reloads
    }
    stop.store(true, Ordering::SeqCst);
    let answered = honest.join().expect("every good event was answered 200");
    assert!(u64::from(answered) > lasts.as_secs(), "{answered} good events in {lasts:?}");
    for attack in attacks {
        let ran = attack.join().expect("every hostile event was answered with its problem");
        assert!(u64::from(ran) > lasts.as_secs() / 4, "only {ran} hostile runs in {lasts:?}");
    }
}

fn aside(
    stop: &Arc<AtomicBool>,
    client: Client,
    path: String,
    allowed: &'static [u16],
) -> std::thread::JoinHandle<u32> {
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        let mut answered = 0;
        while !stop.load(Ordering::SeqCst) {
            let answer = client.json("POST", &path, &failed_test());
            assert!(allowed.contains(&answer.status), "{answer:?}");
            answered += u32::from(answer.status != 503); // resting, it did not run
        }
        answered
    })
}

/// What is held once no compiling child is left.
fn settled(host: &TestHost) -> Held {
    until("the children to end", 30, || {
        let now = held(host);
        (now.children == 0).then_some(now)
    })
}
