//! What an operator's disk does: it fills up, turns read-only, comes back damaged, without its key or
//! from a later version. Nothing is half-made, `/readyz` says what is wrong, and what the disk heals
//! heals the server, without a restart.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use jackfield_tests::{
    Connection, Gate, Guest, Peer, Reply, Response, Setup, TestHost, failed_test, until,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

/// A server whose data folder is a disk of its own, which is small.
struct SmallDisk {
    host: TestHost,
    data: PathBuf,
}

impl SmallDisk {
    fn start(connector: &str) -> Self {
        let mount = r#"mount -t tmpfs -o size=24m tmpfs data && exec "$0" "$@""#;
        let host = Setup::new()
            .config("lease_ms = 3000\nsweep_ms = 500")
            .under(&["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount])
            .plugin(connector, &Guest::named(connector))
            .start();
        let folder = host.folder().join("data");
        let below_root = folder.strip_prefix("/").expect("an absolute path");
        let data =
            Path::new("/proc").join(host.process().to_string()).join("root").join(below_root);
        assert!(data.join("jackfield.db").exists(), "the server's own disk is seen from here");
        Self { host, data }
    }

    /// Takes all that is left of it.
    fn fill(&self) {
        let mut filler = File::create(self.data.join("filler")).expect("a new file");
        let block = [0; 4_096];
        while filler.write_all(&block).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.data.join("filler")).expect("the filler is removed");
    }
}

/// A tracker that creates the issue 42 at each POST, and finds it once it was created.
fn tracker() -> Peer {
    Peer::start(|exchange| Reply::Answer(answer(&exchange.request.method)))
}

fn answer(method: &str) -> Response {
    match method {
        "POST" => Response::json(201, r#"{"issue":{"id":42}}"#),
        _ => Response::json(200, r#"{"issues":[{"id":42}]}"#),
    }
}

fn posts(tracker: &Peer) -> usize {
    tracker.requests_by("POST").len()
}

#[track_caller]
fn await_ready(host: &TestHost) {
    let client = host.anyone();
    until("/readyz to heal by itself", 20, || (client.get("/readyz").status == 200).then_some(()));
}

/// What `/readyz` says is wrong, once what it found last is looked at again.
#[track_caller]
fn not_ready(host: &TestHost) -> String {
    let client = host.anyone();
    until("/readyz to tell of the disk", 10, || {
        let answer = client.get("/readyz");
        (answer.status != 200).then(|| answer.problem(503))
    })
}

/// Repeats the click until it is answered by the defect.
#[track_caller]
fn created(host: &TestHost, connection: &Connection, test: &Value) -> Value {
    until("the repeat to be answered", 60, || {
        let answer = host.create(connection, test);
        assert!([200, 503].contains(&answer.status), "no person is needed: {answer:?}");
        (answer.status == 200).then(|| answer.json())
    })
}

/// With a disk that takes nothing: a create is refused before anything leaves, what is known is
/// answered, the process lives and says what is wrong.
#[track_caller]
fn refuses_and_says(host: &TestHost, connection: &Connection, tracker: &Peer, why: &str) -> Value {
    let test = failed_test();
    let before = posts(tracker);
    let answer = host.create(connection, &test);
    let detail = answer.problem(503);
    assert!(detail.contains(why) && detail.contains("nothing was done"), "{detail}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert_eq!(posts(tracker), before, "a write left that is not journalled");
    let readiness = not_ready(host);
    assert!(readiness.contains(why), "{readiness}");
    assert_eq!(host.anyone().get("/healthz").status, 200, "a full disk kills no process");
    test
}

#[test]
fn a_full_disk_refuses_creates_answers_repeats_and_heals_by_itself() {
    let disk = SmallDisk::start("good");
    let (host, tracker) = (&disk.host, tracker());
    let connection = host.connect("qa", "good", json!({"url": tracker.url()}), json!({}));
    let known = failed_test();
    let defect = host.create(&connection, &known).expect(200);

    disk.fill();
    let refused = refuses_and_says(host, &connection, &tracker, "full");
    assert_eq!(host.create(&connection, &known).expect(200), defect, "a repeat needs no write");

    disk.make_room();
    await_ready(host);
    let made = created(host, &connection, &refused);
    assert_eq!(created(host, &connection, &refused), made, "a repeat");
    assert_eq!(posts(&tracker), 2, "one write for each failed test");
}

#[test]
fn a_full_disk_is_told_with_what_mends_it() {
    let disk = SmallDisk::start("instant");
    let connection = disk.host.connect("qa", "instant", json!({}), json!({}));
    disk.fill();
    let create = disk.host.create(&connection, &failed_test()).problem(503);
    let readiness = not_ready(&disk.host);
    for detail in [create, readiness] {
        assert!(detail.contains("free space"), "nobody is told what to do: {detail}");
    }
}

/// The guest is held while it reads; when it wants to write, `sent` cannot be committed.
#[test]
fn a_disk_that_is_full_when_the_write_is_journalled_lets_no_write_out() {
    let disk = SmallDisk::start("large");
    let (host, tracker, gate) = (&disk.host, tracker(), Gate::default());
    let held = gate.clone();
    tracker.script(move |exchange| {
        if exchange.request.target.starts_with("/users/") {
            held.pass();
        }
        Reply::Answer(answer(&exchange.request.method))
    });
    let settings = json!({"url": tracker.url(), "project": "qa"});
    let connection = host.connect("qa", "large", settings, json!({"api-key": "k3y-of-nobody"}));
    let test = failed_test();
    let click = host.create_aside(&connection, &test);
    gate.await_held(1);
    disk.fill();
    gate.open();
    let answer = click.join().expect("no panic").expect("an answer");
    assert!(answer.problem(503).contains("full"), "{answer:?}");
    assert_eq!(posts(&tracker), 0, "a write left that is not journalled");

    disk.make_room();
    await_ready(host);
    assert_eq!(created(host, &connection, &test)["id"], "42");
    assert_eq!(posts(&tracker), 1);
}

/// The tracker has made the issue and the disk does not take the answer.
#[test]
fn a_disk_that_is_full_when_the_tracker_answers_costs_no_second_issue() {
    let disk = SmallDisk::start("good");
    let (host, tracker, gate) = (&disk.host, tracker(), Gate::default());
    let held = gate.clone();
    tracker.script(move |exchange| {
        if exchange.request.method == "POST" {
            held.pass();
        }
        Reply::Answer(answer(&exchange.request.method))
    });
    let connection = host.connect("qa", "good", json!({"url": tracker.url()}), json!({}));
    let test = failed_test();
    let click = host.create_aside(&connection, &test);
    gate.await_held(1);
    disk.fill();
    gate.open();
    let answer = click.join().expect("no panic").expect("an answer");
    assert!(answer.problem(503).contains("stored"), "answered and not stored: {answer:?}");

    disk.make_room();
    await_ready(host);
    assert_eq!(created(host, &connection, &test)["id"], "42");
    assert_eq!(posts(&tracker), 1, "never a second create");
}

/// A disk that turns read-only under the server, as the kernel does it after an error: each write to
/// the database is answered by EROFS. It ends when this is dropped.
struct ReadOnly(Child);

impl ReadOnly {
    fn make(host: &TestHost) -> Self {
        const WRITES: &str = "pwrite64,pwritev,write,ftruncate,fallocate,fsync,fdatasync";
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-p", &host.process().to_string()]);
        command.args(["-e", &format!("trace={WRITES}")]);
        command.args(["-e", &format!("inject={WRITES}:error=EROFS")]);
        for name in ["jackfield.db", "jackfield.db-wal"] {
            command.arg("-P").arg(host.folder().join("data").join(name));
        }
        let spawned = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut strace = spawned.expect("strace starts (apt-get install strace)");
        let mut lines = BufReader::new(strace.stderr.take().expect("a pipe")).lines();
        let attached = lines.by_ref().map_while(Result::ok).any(|line| line.contains("attached"));
        assert!(attached, "strace cannot watch the server");
        std::thread::spawn(move || lines.for_each(drop));
        Self(strace)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

#[test]
fn a_disk_that_turns_read_only_refuses_creates_answers_repeats_and_heals_by_itself() {
    let host = Setup::new().plugin("good", &Guest::named("good")).start();
    let tracker = tracker();
    let connection = host.connect("qa", "good", json!({"url": tracker.url()}), json!({}));
    let known = failed_test();
    let defect = host.create(&connection, &known).expect(200);

    let read_only = ReadOnly::make(&host);
    let refused = refuses_and_says(&host, &connection, &tracker, "disk I/O error");
    assert_eq!(host.create(&connection, &known).expect(200), defect, "a repeat needs no write");

    drop(read_only);
    await_ready(&host);
    let made = created(&host, &connection, &refused);
    assert_eq!(created(&host, &connection, &refused), made, "a repeat");
    assert_eq!(posts(&tracker), 2, "one write for each failed test");
}

/// A server that has served and was stopped.
fn stopped() -> TestHost {
    let mut host = Setup::new().plugin("instant", &Guest::named("instant")).start();
    let connection = host.connect("qa", "instant", json!({}), json!({}));
    for _ in 0..20 {
        let _ = host.create(&connection, &failed_test()).expect(200);
    }
    assert!(host.stop().success(), "it stops cleanly");
    // All in one file, so that damage to it is damage to what counts.
    with_database(&host, async |database| {
        let checkpoint = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(database);
        checkpoint.await.expect("a checkpoint");
    });
    host
}

#[test]
fn a_clean_stop_leaves_the_whole_database_in_one_file() {
    let mut host = Setup::new().plugin("instant", &Guest::named("instant")).start();
    let connection = host.connect("qa", "instant", json!({}), json!({}));
    let _ = host.create(&connection, &failed_test()).expect(200);
    assert!(host.stop().success(), "it stops cleanly");
    let data = host.folder().join("data");
    let log = fs::metadata(data.join("jackfield.db-wal")).map_or(0, |file| file.len());
    assert_eq!(log, 0, "a copy of jackfield.db alone would miss what lies in its log");
}

/// What lies in the data folder, compiled code aside.
fn files(host: &TestHost) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(host.folder().join("data")).expect("the data folder");
    let paths = entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file());
    paths
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read(&path).expect("a readable file"))
        })
        .collect()
}

/// It does not start, says why in one line with these words, and leaves every file as it was.
#[track_caller]
fn refuses_to_start(host: &mut TestHost, words: &[&str]) {
    let before = files(host);
    let line = host.refuses_to_start();
    for word in words {
        assert!(line.contains(word), "{word:?} is missing: {line}");
    }
    let after = files(host);
    // SQLite may leave an empty log beside a file that it cannot read to its end.
    let new = after.keys().filter(|name| !before.contains_key(*name));
    let new: Vec<_> =
        new.filter(|name| !name.ends_with("-wal") && !name.ends_with("-shm")).collect();
    assert!(new.is_empty(), "files came: {new:?}");
    for (name, bytes) in before {
        assert!(after.get(&name) == Some(&bytes), "{name} was changed");
    }
}

fn overwrite(path: &Path, from: usize, bytes: usize) {
    let mut content = fs::read(path).expect("a readable file");
    assert!(content.len() > from + bytes, "the database is larger than what is damaged");
    content[from..from + bytes].fill(0xa5);
    fs::write(path, content).expect("a written file");
}

/// Does something to a database that no server uses.
fn with_database<T>(host: &TestHost, act: impl AsyncFnOnce(&mut SqliteConnection) -> T) -> T {
    let options = SqliteConnectOptions::new().filename(host.folder().join("data/jackfield.db"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let mut database = options.connect().await.expect("a database");
        let result = act(&mut database).await;
        database.close().await.expect("a closed database");
        result
    })
}

#[test]
fn a_database_whose_first_pages_are_overwritten_is_refused() {
    let mut host = stopped();
    overwrite(&host.folder().join("data/jackfield.db"), 0, 8_192);
    refuses_to_start(&mut host, &["jackfield.db", "damaged", "backup"]);
}

/// The page that holds the defects themselves: the file opens, and what matters is gone.
#[test]
fn a_database_with_a_damaged_page_in_the_middle_is_refused() {
    let mut host = stopped();
    let root = "SELECT rootpage FROM sqlite_master WHERE name = 'defects'";
    let page: i64 = with_database(&host, async |database| {
        sqlx::query_scalar(root).fetch_one(database).await.expect("the table of defects")
    });
    let from = usize::try_from(page - 1).expect("a page") * 4_096;
    overwrite(&host.folder().join("data/jackfield.db"), from, 4_096);
    refuses_to_start(&mut host, &["jackfield.db", "damaged", "backup"]);
}

#[test]
fn a_database_that_ends_too_early_is_refused() {
    let mut host = stopped();
    let file = File::options().write(true).open(host.folder().join("data/jackfield.db"));
    let file = file.expect("the database");
    let half = file.metadata().expect("its size").len() / 2;
    file.set_len(half).expect("a shorter file");
    refuses_to_start(&mut host, &["jackfield.db", "damaged", "backup"]);
}

#[test]
fn a_database_of_a_newer_version_is_refused() {
    let mut host = stopped();
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum,
        execution_time) VALUES (9999, 'later', 1, x'00', 0)";
    with_database(&host, async |database| {
        sqlx::query(later).execute(database).await.expect("a later migration");
    });
    refuses_to_start(&mut host, &["jackfield.db", "newer Jackfield", "backup"]);
}

#[test]
fn a_database_without_its_key_is_refused_and_no_new_key_is_made() {
    let mut host = stopped();
    fs::remove_file(host.folder().join("data/secret-key")).expect("the key is lost");
    refuses_to_start(&mut host, &["secret-key", "missing", "put the file back"]);
    assert!(!host.folder().join("data/secret-key").exists(), "a new key opens nothing");
}

#[test]
fn a_database_with_another_key_is_refused() {
    let mut host = stopped();
    fs::write(host.folder().join("data/secret-key"), "17".repeat(32)).expect("another key");
    refuses_to_start(&mut host, &["jackfield.db", "another key", "give back the key"]);
}

/// What was refused starts again as soon as the operator has done what the line says.
#[test]
fn a_refused_database_serves_again_with_its_key() {
    let mut host = stopped();
    let (key, aside) = (host.folder().join("data/secret-key"), host.folder().join("aside"));
    fs::rename(&key, &aside).expect("the key is lost");
    refuses_to_start(&mut host, &["secret-key"]);
    fs::rename(&aside, &key).expect("the key is found");
    host.start_again();
    let defects = host.admin().get("/defects").expect(200);
    assert_eq!(defects["defects"].as_array().map(Vec::len), Some(20), "{defects}");
}
