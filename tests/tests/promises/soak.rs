//! A good guest and several hostile guests run under load, and the good connector is replaced about
//! every two seconds. At the end, the server's memory, file descriptors, threads and tasks have not
//! clearly increased, and the server has no child process. The good connector has answered every
//! event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jackfield_tests::{
    Client, Connection, Guest, Reply, ScriptedServer, Setup, TestHost, failed_test, soak_times,
    wait_for,
};
use serde_json::json;

/// The guests that try to use too much of a resource, such as CPU time or memory.
const HOSTILE_GUESTS: [&str; 9] = [
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

#[derive(Debug, Clone, Copy)]
struct Resources {
    resident_bytes: u64,
    /// Open file descriptors.
    files: usize,
    threads: usize,
    /// Tasks of the async runtime.
    tasks: u64,
    children: usize,
}

impl Resources {
    fn read(host: &TestHost) -> Self {
        Self {
            resident_bytes: host.resident_bytes(),
            files: host.open_files(),
            threads: host.threads(),
            tasks: host.tasks(),
            children: host.children(),
        }
    }

    /// Waits until no child process compiles a connector. Then returns what the server uses.
    fn read_without_children(host: &TestHost) -> Self {
        wait_for("the child processes to end", 30, || {
            let now = Self::read(host);
            (now.children == 0).then_some(now)
        })
    }

    fn have_not_grown_since(&self, before: &Self) -> bool {
        self.resident_bytes <= before.resident_bytes + before.resident_bytes / 10
            && self.files <= before.files + 2
            && self.threads <= before.threads + 2
            && self.tasks <= before.tasks + 2
            && self.children == 0
    }
}

#[test]
fn a_long_mixed_load_leaks_no_resources() {
    let (warm_up_time, measured_time) = soak_times();
    let setup =
        Setup::new().config("[limits]\ncpu_ms = 200").plugin("good", &Guest::named("instant"));
    let host = setup.guests(HOSTILE_GUESTS).start();
    let good = host.add_connection("good", "good", json!({}), json!({}));
    let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
    let endless = ScriptedServer::start(|_| Reply::Endless(head.to_vec()));
    let hostile = HOSTILE_GUESTS.map(|name| {
        let settings = match name {
            "calls" => {
                let target = endless.url() + "/x";
                json!({"url": endless.url(), "target": target, "via": "wasi:http"})
            }
            "endless-body" | "many-bodies" | "many-calls" => json!({"url": endless.url()}),
            _ => json!({}),
        };
        host.add_connection(name, name, settings, json!({}))
    });

    // The first load fills all caches, so it is not measured.
    run_mixed_load(&host, &good, &hostile, warm_up_time, 0);
    let before = Resources::read_without_children(&host);
    run_mixed_load(&host, &good, &hostile, measured_time, 1_000);
    let mut after = before;
    let deadline = Instant::now() + Duration::from_secs(30);
    wait_for("the resources to be released", 60, || {
        after = Resources::read(&host);
        (after.have_not_grown_since(&before) || Instant::now() > deadline).then_some(())
    });
    println!("{} s: before {before:?}, after {after:?}", measured_time.as_secs());
    assert!(after.have_not_grown_since(&before), "before {before:?}, after {after:?}");
}

/// Runs the load for this time. The build numbers of the good connector begin with `first_build`.
fn run_mixed_load(
    host: &TestHost,
    good: &Connection,
    hostile: &[Connection],
    time: Duration,
    first_build: u32,
) {
    let stop = Arc::new(AtomicBool::new(false));
    let good_load = start_load(&stop, host.anonymous(), good, &[200]);
    let hostile_loads: Vec<_> = hostile
        .iter()
        .map(|connection| start_load(&stop, host.anonymous(), connection, &[200, 502, 503]))
        .collect();
    let end = Instant::now() + time;
    for number in first_build.. {
        host.replace("good", &Guest::named("instant").with_build(number));
        host.install("broken", &Guest { bytes: format!("no component {number}").into_bytes() });
        // An edit closes an open circuit breaker, so the hostile guests run again.
        for connection in hostile {
            let path = format!("/connections/{}", connection.id);
            host.admin().json("PATCH", &path, &json!({})).assert_status(200);
        }
        if Instant::now() > end {
            break;
        }
        std::thread::sleep(Duration::from_secs(2)); // the pace of the reloads
    }
    stop.store(true, Ordering::SeqCst);
    let answered = good_load.join().expect("every good event was answered 200");
    assert!(u64::from(answered) > time.as_secs(), "{answered} good events in {time:?}");
    for (attack, name) in hostile_loads.into_iter().zip(HOSTILE_GUESTS) {
        let ran = attack.join().expect("every hostile event was answered with its problem");
        // This minimum is low, because runs that compute up to their CPU limit share the cores with
        // all other runs.
        assert!(u64::from(ran) > time.as_secs() / 10, "{name}: only {ran} runs in {time:?}");
    }
}

/// Starts a thread that sends one event after another until `stop` is set. The thread returns the
/// number of runs.
fn start_load(
    stop: &Arc<AtomicBool>,
    client: Client,
    connection: &Connection,
    allowed_statuses: &'static [u16],
) -> std::thread::JoinHandle<u32> {
    let (stop, path) = (Arc::clone(stop), connection.create_path());
    std::thread::spawn(move || {
        let mut runs = 0;
        while !stop.load(Ordering::SeqCst) {
            let answer = client.json("POST", &path, &failed_test());
            assert!(allowed_statuses.contains(&answer.status), "{answer:?}");
            // While the circuit breaker is open, the answer is 503 and the guest does not run.
            runs += u32::from(answer.status != 503);
        }
        runs
    })
}
