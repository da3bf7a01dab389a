//! Servers that share a PostgreSQL are replaced one after another while clicks go on. Each click is
//! answered, and each failed test has one issue.
//!
//! The test has no binary of a next version. It makes the schema change of a next version itself,
//! in the same way as a server does.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use jackfield_tests::{Client, Guest, Postgres, Setup, TestHost, failed_test, wait_for};
use serde_json::{Value, json};

/// Number of threads that click.
const CLICK_THREADS: usize = 3;
/// Number of clicks before and after each step of the upgrade.
const CLICKS_PER_STEP: usize = 20;
/// A schema change that a next version could make, which only adds columns and tables. It takes the
/// lock of the store, and waits for locks of other servers for at most two seconds.
const SCHEMA_CHANGE: &str = "
BEGIN;
SELECT pg_advisory_xact_lock(hashtext('jackfield'), hashtext(current_schema()));
SET LOCAL lock_timeout = '2s';
ALTER TABLE defects ADD COLUMN of_next_version text NOT NULL DEFAULT 'x';
ALTER TABLE events ADD COLUMN of_next_version bigint;
ALTER TABLE connections ADD COLUMN of_next_version boolean NOT NULL DEFAULT FALSE;
CREATE TABLE of_next_version (id uuid PRIMARY KEY);
UPDATE schema_version SET version = version + 1;
COMMIT";

/// Keeps the lock that `pg_dump` takes on a table, until the statement is cancelled.
const DUMP: &str = "
SET application_name = 'dump';
BEGIN;
LOCK TABLE defects IN ACCESS SHARE MODE;
DO 'BEGIN PERFORM pg_sleep(300); EXCEPTION WHEN query_canceled THEN NULL; END';
COMMIT";
/// Finds the process of `DUMP`, once it has the lock.
const DUMP_PROCESS: &str = "
SELECT pid FROM pg_stat_activity WHERE application_name = 'dump' AND wait_event = 'PgSleep'";

fn server_setup(postgres: &Postgres) -> Setup {
    postgres.server_setup().plugin("redmine", &Guest::example("redmine"))
}

/// The clicks that go on during the upgrade, and the servers that they use.
struct Clicks {
    path: String,
    /// The base URLs of the servers, in the order in which a click tries them.
    urls: Mutex<Vec<String>>,
    answered: AtomicUsize,
    is_over: AtomicBool,
}

impl Clicks {
    /// Clicks new failed tests until the upgrade is over. A click is repeated at the next server
    /// only if a server refuses the connection. Returns the tests and their answers.
    fn click_until_over(&self) -> Vec<(Value, Value)> {
        let mut clicked = Vec::new();
        while !self.is_over.load(Ordering::Relaxed) {
            let test = failed_test();
            let urls = self.urls.lock().expect("no click panicked").clone();
            let answer = urls.iter().find_map(|url| {
                let sent = Client::new(url, &[]).send_or_be_refused(&self.path, &test);
                sent.unwrap_or_else(|error| panic!("a click was lost at {url}: {error:?}"))
            });
            let answer = answer.expect("one of the servers accepts connections");
            clicked.push((test, answer.expect(200)));
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        clicked
    }

    /// Waits until more clicks were answered by the servers that run now.
    fn await_more(&self) {
        let expected = self.answered.load(Ordering::Relaxed) + CLICKS_PER_STEP;
        wait_for("more clicks", 120, || {
            (self.answered.load(Ordering::Relaxed) >= expected).then_some(())
        });
    }

    /// Makes the clicks try this server last.
    fn try_last(&self, host: &TestHost) {
        let mut urls = self.urls.lock().expect("no click panicked");
        urls.rotate_left(1);
        assert_eq!(urls.last().map(String::as_str), Some(host.url()));
    }
}

/// Changes the schema. The first attempt fails, because another transaction has a lock on a table.
fn change_schema(postgres: &Postgres, clicks: &Clicks) {
    thread::scope(|scope| {
        let dump = scope.spawn(|| postgres.query(DUMP));
        let process = wait_for("the lock of the dump", 30, || postgres.query(DUMP_PROCESS).pop());
        let refused = postgres.refuses(SCHEMA_CHANGE);
        assert!(refused.contains("lock timeout"), "{refused}");
        clicks.await_more();
        postgres.query(&format!("SELECT pg_cancel_backend({process})"));
        dump.join().expect("the dump ends");
    });
    postgres.query(SCHEMA_CHANGE);
}

#[test]
fn servers_are_replaced_one_after_another_without_a_lost_click() {
    let postgres = Postgres::start();
    let mut first = server_setup(&postgres).start();
    let redmine = first.add_redmine_connection("qa", "redmine", json!({}));
    let mut second = server_setup(&postgres).start();
    let clicks = Clicks {
        path: redmine.connection.create_path(),
        urls: Mutex::new(vec![first.url().to_owned(), second.url().to_owned()]),
        answered: AtomicUsize::new(0),
        is_over: AtomicBool::new(false),
    };
    let clicked: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..CLICK_THREADS).map(|_| scope.spawn(|| clicks.click_until_over())).collect();
        clicks.await_more();
        change_schema(&postgres, &clicks);
        clicks.await_more();
        // A server of this version can start with the newer schema.
        let third = server_setup(&postgres).start();
        clicks.urls.lock().expect("no click panicked").push(third.url().to_owned());
        clicks.await_more();
        assert!(first.stop().success());
        clicks.await_more();
        clicks.try_last(&first);
        assert!(second.stop().success());
        clicks.await_more();
        clicks.is_over.store(true, Ordering::Relaxed);
        threads.into_iter().flat_map(|it| it.join().expect("no click was lost")).collect()
    });
    let issues = redmine.project.issues();
    assert_eq!(issues.len(), clicked.len());
    for (test, answer) in &clicked {
        let of_test: Vec<_> = issues.iter().filter(|issue| issue.is_of(test)).collect();
        assert!(matches!(of_test[..], [only] if answer["id"] == only.id), "{test}: {of_test:?}");
    }

    // A server of this version can start again, because the schema change only adds.
    first.restart();
    let (test, answer) = &clicked[0];
    assert_eq!(first.create(&redmine.connection, test).expect(200)["id"], answer["id"]);
    postgres.query("UPDATE schema_version SET usable_by = version");
    let refused = second.refuses_to_start();
    assert!(refused.contains("was written by a newer Jackfield"), "{refused}");
}
