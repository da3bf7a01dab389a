//! A connector is replaced while requests arrive. One complete version answers each request. This
//! version is never older than the version that was ready when the request was sent.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jackfield_tests::{
    Client, Connection, Guest, Reply, ScriptedServer, Setup, TestHost, failed_test, rounds,
    wait_for,
};
use serde_json::{Value, json};

fn guest_with_build(number: u32) -> Guest {
    Guest::named("instant").with_build(number)
}

fn start_host() -> (TestHost, Connection) {
    let host = Setup::new().config("rescan_ms = 300").plugin("c", &guest_with_build(1)).start();
    let connection = host.add_connection("qa", "c", json!({}), json!({}));
    (host, connection)
}

fn build_number(defect: &Value) -> u32 {
    let name = defect["name"].as_str().expect("a name");
    name.strip_prefix("build ").and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{defect}"))
}

/// Threads that send requests at a steady rate until they are stopped. Each answer must be a defect
/// of a build that is at least as new as `newest_ready` was when the request was sent.
struct Load {
    /// The number of answers by build.
    answer_counts: Arc<Mutex<BTreeMap<u32, u32>>>,
    /// The newest build that is ready.
    newest_ready: Arc<AtomicU32>,
    should_stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

const LOAD_THREADS: u32 = 8;

impl Load {
    fn start(host: &TestHost, connection: &Connection, per_second: u32, newest_ready: u32) -> Self {
        let (answer_counts, newest_ready) =
            (Arc::<Mutex<BTreeMap<_, _>>>::default(), Arc::new(AtomicU32::new(newest_ready)));
        let should_stop = Arc::new(AtomicBool::new(false));
        let pause = Duration::from_secs(1) * LOAD_THREADS / per_second;
        let path = connection.create_path();
        let threads = (0..LOAD_THREADS).map(|thread| {
            let (answer_counts, newest_ready, should_stop) =
                (Arc::clone(&answer_counts), Arc::clone(&newest_ready), Arc::clone(&should_stop));
            let (client, path) = (host.anonymous(), path.clone());
            let mut next_send = Instant::now() + pause * thread / LOAD_THREADS;
            std::thread::spawn(move || {
                while !should_stop.load(Ordering::SeqCst) {
                    std::thread::sleep(next_send.saturating_duration_since(Instant::now()));
                    next_send += pause;
                    send_request(&client, &path, &newest_ready, &answer_counts);
                }
            })
        });
        let threads = threads.collect();
        Self { answer_counts, newest_ready, should_stop, threads }
    }

    fn await_served(&self, number: u32) {
        wait_for(&format!("build {number} to serve"), 30, || {
            self.assert_no_failure();
            self.answer_counts.lock().expect("no thread failed").contains_key(&number).then_some(())
        });
    }

    fn assert_no_failure(&self) {
        assert!(!self.threads.iter().any(std::thread::JoinHandle::is_finished), "a request failed");
    }

    /// Returns the number of answers by build.
    fn stop(self) -> BTreeMap<u32, u32> {
        self.should_stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().expect("every request was answered by a build that is new enough");
        }
        let answer_counts = self.answer_counts.lock().expect("no thread failed");
        answer_counts.clone()
    }
}

fn send_request(
    client: &Client,
    path: &str,
    newest_ready: &AtomicU32,
    answer_counts: &Mutex<BTreeMap<u32, u32>>,
) {
    let oldest_allowed = newest_ready.load(Ordering::SeqCst);
    let number = build_number(&client.json("POST", path, &failed_test()).expect(200));
    assert!(
        number >= oldest_allowed,
        "build {number} served after build {oldest_allowed} was ready"
    );
    *answer_counts.lock().expect("no thread failed").entry(number).or_default() += 1;
}

#[test]
fn each_new_build_serves_under_a_load_of_two_hundred_requests_a_second() {
    let (host, connection) = start_host();
    let load = Load::start(&host, &connection, 200, 1);
    load.await_served(1);
    let start = Instant::now();
    let last_build = 1 + rounds();
    for number in 2..=last_build {
        host.replace("c", &guest_with_build(number));
        load.newest_ready.store(number, Ordering::SeqCst);
        load.await_served(number);
    }
    let seconds = start.elapsed().as_secs_f64();
    let answers_by_build = load.stop();
    let count = answers_by_build.values().sum::<u32>();
    println!("{count} answers in {seconds:.1} s, of {} builds", answers_by_build.len());
    assert_eq!(answers_by_build.len(), last_build as usize, "not every build served a request");
    assert!(f64::from(count) / seconds > 150.0, "the load sent too few requests");
}

#[test]
fn a_file_can_be_replaced_in_pieces_by_rename_or_by_symlink() {
    use std::io::Write;
    let (host, connection) = start_host();
    let load = Load::start(&host, &connection, 100, 1);
    load.await_served(1);
    let await_serving = |number: u32, guest: &Guest| {
        host.await_connector("c", "ready", Some(&guest.sha256()));
        load.newest_ready.store(number, Ordering::SeqCst);
        load.await_served(number);
    };

    let written_in_pieces = guest_with_build(2);
    let mut file = fs::File::create(host.plugin("c")).expect("the file is truncated");
    for piece in written_in_pieces.bytes.chunks(8_192) {
        file.write_all(piece).expect("a piece is written");
        file.sync_all().expect("the piece is synced");
        std::thread::sleep(Duration::from_millis(60)); // the file must be written slowly
    }
    drop(file);
    await_serving(2, &written_in_pieces);

    let renamed = guest_with_build(3);
    host.install("c", &renamed);
    await_serving(3, &renamed);

    let (linked, swapped) = (guest_with_build(4), guest_with_build(5));
    for (name, guest) in [("four", &linked), ("five", &swapped)] {
        fs::write(host.folder().join(name), &guest.bytes).expect("a new file");
        symlink(host.folder().join(name), host.folder().join("link")).expect("a link");
        fs::rename(host.folder().join("link"), host.plugin("c")).expect("the link is replaced");
        let number = if name == "four" { 4 } else { 5 };
        await_serving(number, guest);
    }

    // Only the target of the link changes, outside the plugins folder, so no notification arrives
    // and the periodic scan must find the change.
    let rescanned = guest_with_build(6);
    fs::write(host.folder().join("six"), &rescanned.bytes).expect("a new file");
    fs::rename(host.folder().join("six"), host.folder().join("five"))
        .expect("the link is replaced");
    await_serving(6, &rescanned);
    assert_eq!(load.stop().keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_run_in_progress_finishes_on_the_version_that_it_started_with() {
    let host = Setup::new().plugin("c", &Guest::named("good").with_build(1)).start();
    let tracker = ScriptedServer::start(|_| Reply::created(1));
    let gate = tracker.hold_requests(|_| true);
    let connection = host.add_connection("qa", "c", json!({"url": tracker.url()}), json!({}));
    let click = host.create_in_background(&connection, &failed_test());
    gate.await_held(1);
    host.replace("c", &Guest::named("good").with_build(2));
    gate.open();
    assert_eq!(build_number(&click.answer().expect(200)), 1);
    assert_eq!(build_number(&host.create(&connection, &failed_test()).expect(200)), 2);
}

#[test]
fn a_corrupt_file_never_replaces_the_last_usable_version() {
    let (host, connection) = start_host();
    let good_sha256 = guest_with_build(1).sha256();
    for bytes in
        [Vec::new(), b"not a component".to_vec(), guest_with_build(9).bytes[..20_000].to_vec()]
    {
        host.install("c", &Guest { bytes });
        let connector = host.await_connector("c", "broken", Some(&good_sha256));
        let error = connector["error"].as_str().unwrap_or_default();
        assert!(!error.is_empty(), "{connector}");
        assert_eq!(build_number(&host.create(&connection, &failed_test()).expect(200)), 1);
        host.replace("c", &guest_with_build(1));
    }
}

#[test]
fn a_corrupt_file_and_the_version_in_use_are_both_shown() {
    let (mut host, connection) = start_host();
    let good_sha256 = guest_with_build(1).sha256();
    wait_for("the version to be kept", 30, || {
        let connector = host.admin().get("/connectors/c").expect(200);
        connector["versions"].as_array().is_some_and(|it| !it.is_empty()).then_some(())
    });
    let (_, report) = host.run_cli(&["doctor"]);
    let connectors_line = |report: &str| {
        let line = report.lines().find(|line| line.contains(" connectors "));
        line.unwrap_or_default().to_owned()
    };
    assert!(connectors_line(&report).starts_with("ok"), "{report}");
    assert!(report.contains("the server runs the installed version"), "{report}");
    host.install("c", &Guest { bytes: b"not a component".to_vec() });
    host.await_connector("c", "broken", Some(&good_sha256));
    for restarts in 0..2 {
        if restarts > 0 {
            host.restart();
            host.await_connector("c", "broken", Some(&good_sha256));
        }
        for arguments in [&["connectors", "list"][..], &["connectors", "show", "c"]] {
            let (_, printed) = host.run_cli(arguments);
            let expected = ["1.0.1 is in use; the newest file cannot be used", &good_sha256];
            assert!(expected.iter().all(|text| printed.contains(text)), "{restarts}: {printed}");
        }
        let (_, report) = host.run_cli(&["doctor"]);
        let expected = ["warn", "c: 1.0.1 stays in use", "connectors rollback"];
        assert!(
            expected.iter().all(|text| connectors_line(&report).contains(text)),
            "{restarts}: {report}"
        );
        assert_eq!(build_number(&host.create(&connection, &failed_test()).expect(200)), 1);
        let new_connection =
            host.add_connection(&format!("new-{restarts}"), "c", json!({}), json!({}));
        assert_eq!(build_number(&host.create(&new_connection, &failed_test()).expect(200)), 1);
    }
}

/// The new version serves at once, because it needs no consent.
#[test]
fn a_version_that_fails_in_each_run_is_reported_until_a_run_succeeds() {
    let guest = |build| Guest::named("traps-on-demand").with_build(build);
    let tracker = ScriptedServer::start(|_| Reply::new(200, "good"));
    let host = Setup::new().plugin("c", &guest(1)).start();
    let connection = host.add_connection("qa", "c", json!({"url": tracker.url()}), json!({}));
    host.create(&connection, &failed_test()).assert_status(200);
    let printed_details = || host.run_cli(&["connectors", "show", "c"]).1;
    assert!(!printed_details().contains("has failed"), "{}", printed_details());
    tracker.set_script(|_| Reply::new(200, "bad"));
    host.create(&connection, &failed_test()).assert_problem(502, "connector-fault");
    assert!(
        !printed_details().contains("has failed"),
        "one of two runs succeeded: {}",
        printed_details()
    );

    host.replace("c", &guest(3));
    for _ in 0..2 {
        host.create(&connection, &failed_test()).assert_problem(502, "connector-fault");
    }
    let (_, printed_list) = host.run_cli(&["connectors", "list"]);
    for text in [printed_details(), printed_list] {
        let expected = "this version has failed 2 of 2 runs since it was loaded";
        assert!(text.contains(expected) && text.contains("connectors rollback c"), "{text}");
    }
    let log = host.output();
    let line = log.lines().find(|line| line.contains("has failed 1 of 1 runs"));
    assert!(line.is_some_and(|line| line.contains("the tracker said bad")), "{log}");
    tracker.set_script(|_| Reply::new(200, "good"));
    host.create(&connection, &failed_test()).assert_status(200);
    assert!(!printed_details().contains("has failed"), "{}", printed_details());
}

#[test]
fn a_removed_connector_is_reported_and_serves_again_when_it_is_back() {
    let (host, connection) = start_host();
    fs::remove_file(host.plugin("c")).expect("the file is removed");
    let answer = wait_for("the removal to take effect", 20, || {
        let answer = host.create(&connection, &failed_test());
        (answer.status != 200).then_some(answer)
    });
    let detail = answer.problem(503, "connector-unavailable");
    assert!(detail.contains("c.wasm") && detail.contains("plugins"), "{detail}");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(host.connection("qa")["status"], "connector-unavailable");
    host.replace("c", &guest_with_build(2));
    assert_eq!(build_number(&host.create(&connection, &failed_test()).expect(200)), 2);
}

#[test]
fn a_restart_does_not_compile_a_connector_again() {
    let (mut host, connection) = start_host();
    let compiled_files = |host: &TestHost| -> BTreeMap<_, _> {
        let folder = fs::read_dir(host.data("compiled")).expect("compiled code");
        let identity = |entry: fs::DirEntry| {
            let metadata = entry.metadata().expect("a file");
            (entry.path(), (metadata.ino(), metadata.mtime_nsec()))
        };
        folder.map(|entry| identity(entry.expect("an entry"))).collect()
    };
    assert_eq!(build_number(&host.create(&connection, &failed_test()).expect(200)), 1);
    let files_before = compiled_files(&host);
    assert!(files_before.keys().any(|path| path.extension().is_some_and(|kind| kind == "cwasm")));
    host.restart();
    host.await_connector("c", "ready", Some(&guest_with_build(1).sha256()));
    assert_eq!(build_number(&host.create(&connection, &failed_test()).expect(200)), 1);
    assert_eq!(
        compiled_files(&host),
        files_before,
        "a file in the folder of compiled code was written again"
    );
}

/// After a power cut, a file of compiled code may contain zeros although it was renamed into place.
#[test]
fn compiled_code_that_was_changed_is_compiled_again() {
    let (mut host, connection) = start_host();
    let damages: [fn(&mut Vec<u8>); 3] =
        [|code| zero_the_middle(code), |code| flip_one_bit(code), Vec::clear];
    for damage in damages {
        assert!(host.stop().success());
        let mut damaged_files = 0;
        for entry in fs::read_dir(host.data("compiled")).expect("the folder of compiled code") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|kind| kind == "cwasm") {
                let mut code = fs::read(&path).expect("compiled code");
                damage(&mut code);
                fs::write(&path, code).expect("the code is damaged");
                damaged_files += 1;
            }
        }
        assert_eq!(damaged_files, 1);
        host.restart();
        host.await_connector("c", "ready", Some(&guest_with_build(1).sha256()));
        let defect = host.create(&connection, &failed_test()).expect(200);
        assert_eq!(build_number(&defect), 1);
    }
}

fn zero_the_middle(code: &mut [u8]) {
    let (from, to) = (code.len() / 4, code.len() * 3 / 4);
    code[from..to].fill(0);
}

fn flip_one_bit(code: &mut [u8]) {
    let middle = code.len() / 2;
    code[middle] ^= 1;
}
