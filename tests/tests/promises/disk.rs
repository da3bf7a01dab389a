//! A disk that becomes full or read-only while the server runs. `/readyz` reports the problem, and
//! the server recovers without a restart. Then repeated clicks return the defects, and no second
//! defect is created.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use jackfield_tests::{
    Connection, Reply, Request, ScriptedServer, Setup, Strace, TestHost, failed_test, wait_for,
};
use serde_json::{Value, json};

/// A server whose data folder is a separate, small disk.
struct SmallDisk {
    host: TestHost,
    /// The data folder, by a path that this test can open.
    data_path: PathBuf,
}

impl SmallDisk {
    /// A new file system of 24 MiB is the data folder.
    fn start(guest: &str) -> Self {
        let mount = r#"mount -t tmpfs -o size=24m,mode=700 tmpfs data && exec "$0" "$@""#;
        let host = Setup::new()
            .config("lease_ms = 3000\nsweep_ms = 500")
            .run_under(&["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount])
            .guests([guest])
            .start();
        let folder = host.data_folder();
        let below_root = folder.strip_prefix("/").expect("an absolute path");
        let process = host.process_id().to_string();
        let data_path = Path::new("/proc").join(process).join("root").join(below_root);
        assert!(data_path.join("jackfield.db").exists(), "the test cannot see the server's disk");
        Self { host, data_path }
    }

    fn fill(&self) {
        let mut filler = File::create(self.data_path.join("filler")).expect("a new file");
        let block = [0; 4_096];
        while filler.write_all(&block).is_ok() {}
    }

    fn free_space(&self) {
        fs::remove_file(self.data_path.join("filler")).expect("the filler is removed");
    }
}

fn start_tracker() -> ScriptedServer {
    ScriptedServer::start(|exchange| {
        if exchange.request.is_post() {
            Reply::created(42)
        } else {
            Reply::json(200, r#"{"issues":[{"id":42}]}"#)
        }
    })
}

#[track_caller]
fn await_not_ready(host: &TestHost) -> String {
    host.await_readiness(503).problem(503, "store-unavailable")
}

#[track_caller]
fn await_created(host: &TestHost, connection: &Connection, test: &Value) -> Value {
    wait_for("the defect", 60, || {
        let answer = host.create(connection, test);
        assert!(
            [200, 503].contains(&answer.status),
            "the answer is neither the defect nor a temporary problem: {answer:?}"
        );
        (answer.status == 200).then(|| answer.json())
    })
}

/// Checks that the server refuses a create, sends no write to the tracker, and is not ready.
/// Returns the failed test of the refused create.
#[track_caller]
fn assert_refuses_creates(
    host: &TestHost,
    connection: &Connection,
    tracker: &ScriptedServer,
    reason: &str,
) -> Value {
    let test = failed_test();
    let before = tracker.posts();
    let answer = host.create(connection, &test);
    let detail = answer.problem(503, "store-unavailable");
    assert!(detail.contains(reason), "{detail}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert_eq!(tracker.posts(), before, "a write was sent without a journal entry");
    let readiness = await_not_ready(host);
    assert!(readiness.contains(reason), "{readiness}");
    assert_eq!(
        host.anonymous().get("/healthz").status,
        200,
        "the process does not answer /healthz"
    );
    test
}

#[test]
fn while_the_disk_is_full_creates_are_refused_and_repeats_are_answered() {
    let disk = SmallDisk::start("good");
    let (host, tracker) = (&disk.host, start_tracker());
    let connection = host.add_connection("qa", "good", json!({"url": tracker.url()}), json!({}));
    let created = failed_test();
    let defect = host.create(&connection, &created).expect(200);

    disk.fill();
    let refused = assert_refuses_creates(host, &connection, &tracker, "full");
    assert_eq!(
        host.create(&connection, &created).expect(200),
        defect,
        "the repeat of a created defect has another answer"
    );

    disk.free_space();
    host.await_readiness(200);
    let defect = await_created(host, &connection, &refused);
    assert_eq!(await_created(host, &connection, &refused), defect, "a repeat has another answer");
    assert_eq!(tracker.posts(), 2, "there is not exactly one write per failed test");
}

#[test]
fn the_problem_of_a_full_disk_says_what_to_do() {
    let disk = SmallDisk::start("instant");
    let connection = disk.host.add_connection("qa", "instant", json!({}), json!({}));
    disk.fill();
    let create = disk.host.create(&connection, &failed_test()).problem(503, "store-unavailable");
    let readiness = await_not_ready(&disk.host);
    for detail in [create, readiness] {
        assert!(detail.contains("space"), "{detail}");
    }
}

/// The disk becomes full between a read and a write of the guest, so the server cannot commit the
/// state `sent`.
#[test]
fn a_write_is_not_sent_if_the_disk_is_full_when_it_is_journaled() {
    let disk = SmallDisk::start("large");
    let (host, tracker) = (&disk.host, start_tracker());
    let gate = tracker.hold_requests(|request| request.target.starts_with("/users/"));
    let settings = json!({"url": tracker.url(), "project": "qa"});
    let connection = host.add_connection("qa", "large", settings, json!({"api-key": "any-k3y"}));
    let test = failed_test();
    let click = host.create_in_background(&connection, &test);
    gate.await_held(1);
    disk.fill();
    gate.open();
    let detail = click.answer().problem(503, "store-unavailable");
    assert!(detail.contains("full"), "{detail}");
    assert_eq!(tracker.posts(), 0, "a write was sent without a journal entry");

    disk.free_space();
    host.await_readiness(200);
    assert_eq!(await_created(host, &connection, &test)["id"], "42");
    assert_eq!(tracker.posts(), 1);
}

/// The answer to the click is the defect, although the server cannot store it on the full disk.
#[test]
fn no_defect_is_lost_if_the_disk_is_full_when_the_tracker_answers() {
    let disk = SmallDisk::start("good");
    let (host, tracker) = (&disk.host, start_tracker());
    let gate = tracker.hold_requests(Request::is_post);
    let connection = host.add_connection("qa", "good", json!({"url": tracker.url()}), json!({}));
    let test = failed_test();
    let click = host.create_in_background(&connection, &test);
    gate.await_held(1);
    disk.fill();
    gate.open();
    assert_eq!(click.answer().expect(200)["id"], "42");

    disk.free_space();
    host.await_readiness(200);
    wait_for("the defect to be stored", 20, || {
        let defects = host.admin().get("/defects").expect(200);
        (defects["defects"][0]["state"] == "created").then_some(())
    });
    assert_eq!(host.create(&connection, &test).expect(200)["id"], "42");
    assert_eq!(tracker.posts(), 1, "a second create was sent");
    let adopted = host.admin().get("/events?outcome=adopted").expect(200);
    assert_eq!(adopted["events"], json!([]), "the defect was adopted by a search: {adopted}");
}

#[test]
fn while_the_disk_is_read_only_creates_are_refused_and_repeats_are_answered() {
    let tracker = start_tracker();
    let (host, connection) = Setup::new().start_with_guest("good", json!({"url": tracker.url()}));
    let created = failed_test();
    let defect = host.create(&connection, &created).expect(200);

    let files = ["jackfield.db", "jackfield.db-wal"].map(|name| host.data(name));
    let read_only = Strace::make_read_only(host.process_id(), &files);
    let refused = assert_refuses_creates(&host, &connection, &tracker, "disk I/O error");
    assert_eq!(
        host.create(&connection, &created).expect(200),
        defect,
        "the repeat of a created defect has another answer"
    );

    drop(read_only);
    host.await_readiness(200);
    let defect = await_created(&host, &connection, &refused);
    assert_eq!(await_created(&host, &connection, &refused), defect, "a repeat has another answer");
    assert_eq!(tracker.posts(), 2, "there is not exactly one write per failed test");
}
