//! A connector is replaced while it serves: every request is answered, by a whole version, and never by
//! one older than was ready when the request came.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jackfield_tests::{
    Client, Connection, Gate, Guest, Peer, Reply, Response, Setup, TestHost, failed_test, until,
};
use serde_json::{Value, json};

fn build(number: u32) -> Guest {
    Guest::named("instant").build(number)
}

fn host() -> (TestHost, Connection) {
    let host = Setup::new().config("rescan_ms = 300").plugin("c", &build(1)).start();
    let connection = host.connect("qa", "c", json!({}), json!({}));
    (host, connection)
}

fn number_in(defect: &Value) -> u32 {
    let name = defect["name"].as_str().expect("a name");
    name.strip_prefix("build ").and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{defect}"))
}

/// Requests at a steady rate from eight threads, until told to stop. Each answer must be a defect made
/// by a version no older than `ready` was when its request left.
struct Load {
    served: Arc<Mutex<BTreeMap<u32, u32>>>,
    ready: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

const THREADS: u32 = 8;

impl Load {
    fn start(host: &TestHost, connection: &Connection, per_second: u32, ready: u32) -> Self {
        let (served, ready) =
            (Arc::<Mutex<BTreeMap<_, _>>>::default(), Arc::new(AtomicU32::new(ready)));
        let stop = Arc::new(AtomicBool::new(false));
        let pause = Duration::from_secs(1) * THREADS / per_second;
        let path = format!("{}/defects", connection.hook);
        let threads = (0..THREADS).map(|n| {
            let (served, ready, stop) =
                (Arc::clone(&served), Arc::clone(&ready), Arc::clone(&stop));
            let (client, path) = (host.anyone(), path.clone());
            let mut due = Instant::now() + pause * n / THREADS;
            std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    due += pause;
                    one_request(&client, &path, &ready, &served);
                }
            })
        });
        let threads = threads.collect();
        Self { served, ready, stop, threads }
    }

    /// Waits until a version has served.
    fn await_served(&self, number: u32) {
        until(&format!("build {number} to serve"), 30, || {
            self.assert_alive();
            self.served.lock().expect("no thread failed").contains_key(&number).then_some(())
        });
    }

    fn assert_alive(&self) {
        assert!(!self.threads.iter().any(std::thread::JoinHandle::is_finished), "a request failed");
    }

    /// Ends the load and returns how many answers each version gave.
    fn end(self) -> BTreeMap<u32, u32> {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().expect("every request was answered by a version recent enough");
        }
        let served = self.served.lock().expect("no thread failed");
        served.clone()
    }
}

fn one_request(client: &Client, path: &str, ready: &AtomicU32, served: &Mutex<BTreeMap<u32, u32>>) {
    let at_least = ready.load(Ordering::SeqCst);
    let number = number_in(&client.json("POST", path, &failed_test()).expect(200));
    assert!(number >= at_least, "build {number} served after build {at_least} was ready");
    *served.lock().expect("no thread failed").entry(number).or_default() += 1;
}

#[test]
fn a_hundred_builds_under_two_hundred_requests_a_second() {
    let (host, connection) = host();
    let load = Load::start(&host, &connection, 200, 1);
    load.await_served(1);
    let start = Instant::now();
    for number in 2..=101 {
        let next = build(number);
        host.install("c", &next);
        host.await_connector("c", "ready", Some(&next.sha256()));
        load.ready.store(number, Ordering::SeqCst);
        load.await_served(number);
    }
    let seconds = start.elapsed().as_secs_f64();
    let served = load.end();
    let answers = served.values().sum::<u32>();
    println!("{answers} answers in {seconds:.1} s, of {} builds", served.len());
    assert_eq!(served.len(), 101, "each build served");
    assert!(f64::from(answers) / seconds > 150.0, "the load was not kept up");
}

#[test]
fn a_file_may_be_written_over_in_pieces_swapped_by_rename_or_by_symlink() {
    use std::io::Write;
    let (host, connection) = host();
    let load = Load::start(&host, &connection, 100, 1);
    load.await_served(1);
    let replaced = |number: u32, guest: &Guest| {
        host.await_connector("c", "ready", Some(&guest.sha256()));
        load.ready.store(number, Ordering::SeqCst);
        load.await_served(number);
    };

    let pieces = build(2);
    let mut file = fs::File::create(host.plugin("c")).expect("written over");
    for piece in pieces.bytes.chunks(8_192) {
        file.write_all(piece).expect("a piece");
        file.sync_all().expect("on disk");
        std::thread::sleep(Duration::from_millis(60)); // a slow copy is the fault under test
    }
    drop(file);
    replaced(2, &pieces);

    let renamed = build(3);
    host.install("c", &renamed);
    replaced(3, &renamed);

    let (linked, swapped) = (build(4), build(5));
    for (name, guest) in [("four", &linked), ("five", &swapped)] {
        fs::write(host.folder().join(name), &guest.bytes).expect("a new file");
        symlink(host.folder().join(name), host.folder().join("link")).expect("a link");
        fs::rename(host.folder().join("link"), host.plugin("c")).expect("a swap");
        let number = if name == "four" { 4 } else { 5 };
        replaced(number, guest);
    }

    // What the link points to changes; the plugins folder itself hears nothing of it.
    let unheard = build(6);
    fs::write(host.folder().join("six"), &unheard.bytes).expect("a new file");
    fs::rename(host.folder().join("six"), host.folder().join("five")).expect("a swap");
    replaced(6, &unheard);
    assert_eq!(load.end().keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_run_under_way_finishes_on_the_version_it_began_with() {
    let host = Setup::new().plugin("c", &Guest::named("good").build(1)).start();
    let gate = Gate::default();
    let held = gate.clone();
    let tracker = Peer::start(move |_| {
        held.pass();
        Reply::Answer(Response::json(201, r#"{"issue":{"id":1}}"#))
    });
    let connection = host.connect("qa", "c", json!({"url": tracker.url()}), json!({}));
    let first = host.create_aside(&connection, &failed_test());
    gate.await_held(1);
    let next = Guest::named("good").build(2);
    host.install("c", &next);
    host.await_connector("c", "ready", Some(&next.sha256()));
    gate.open();
    let answer = first.join().expect("no panic").expect("an answer");
    assert_eq!(number_in(&answer.expect(200)), 1);
    assert_eq!(number_in(&host.create(&connection, &failed_test()).expect(200)), 2);
}

#[test]
fn a_corrupt_file_leaves_the_last_good_one_serving() {
    let (host, connection) = host();
    let good = build(1).sha256();
    for bytes in [Vec::new(), b"no component".to_vec(), build(9).bytes[..20_000].to_vec()] {
        host.install("c", &Guest { bytes });
        let shown = host.await_connector("c", "broken", Some(&good));
        assert!(shown["error"].as_str().is_some_and(|why| !why.is_empty()), "{shown}");
        assert_eq!(number_in(&host.create(&connection, &failed_test()).expect(200)), 1);
        host.install("c", &build(1));
        host.await_connector("c", "ready", Some(&good));
    }
}

#[test]
fn a_removed_file_is_told_and_putting_it_back_heals() {
    let (host, connection) = host();
    fs::remove_file(host.plugin("c")).expect("removed");
    let answer = until("the removal to show", 20, || {
        let answer = host.create(&connection, &failed_test());
        (answer.status != 200).then_some(answer)
    });
    let detail = answer.problem(503);
    assert!(detail.contains("c.wasm") && detail.contains("plugins"), "{detail}");
    assert!(answer.header("retry-after").is_some());
    let shown = || host.admin().get("/connections/qa").expect(200)["status"].clone();
    assert_eq!(shown(), "no-connector");
    host.install("c", &build(2));
    host.await_connector("c", "ready", Some(&build(2).sha256()));
    assert_eq!(number_in(&host.create(&connection, &failed_test()).expect(200)), 2);
}

#[test]
fn a_known_build_is_back_at_once_after_a_restart() {
    let (mut host, connection) = host();
    let code = |host: &TestHost| -> BTreeMap<_, _> {
        let folder = fs::read_dir(host.folder().join("data/compiled")).expect("compiled code");
        let about = |entry: fs::DirEntry| {
            let about = entry.metadata().expect("a file");
            (entry.path(), (about.ino(), about.mtime_nsec()))
        };
        folder.map(|entry| about(entry.expect("an entry"))).collect()
    };
    assert_eq!(number_in(&host.create(&connection, &failed_test()).expect(200)), 1);
    let before = code(&host);
    assert!(before.keys().any(|path| path.extension().is_some_and(|kind| kind == "cwasm")));
    host.start_again();
    host.await_connector("c", "ready", Some(&build(1).sha256()));
    assert_eq!(number_in(&host.create(&connection, &failed_test()).expect(200)), 1);
    assert_eq!(code(&host), before, "nothing was compiled again");
}
