//! Servers that share a PostgreSQL database are replaced one after another while clicks go on. Each
//! click is answered, and each failed test has one issue.
//!
//! The test has no binary of a next version, and changes the schema itself.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use jackfield_tests::{Client, Guest, Postgres, Setup, TestHost, failed_test, wait_for};
use serde_json::{Value, json};

const CLICK_THREADS: usize = 3;
/// How many clicks must be answered before the next step of the upgrade.
const CLICKS_PER_STEP: usize = 20;
/// Changes the schema as a next version could. The change only adds columns and tables.
const SCHEMA_CHANGE_SQL: &str = "
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
const DUMP_SQL: &str = "
SET application_name = 'dump';
BEGIN;
LOCK TABLE defects IN ACCESS SHARE MODE;
DO 'BEGIN PERFORM pg_sleep(300); EXCEPTION WHEN query_canceled THEN NULL; END';
COMMIT";
/// Finds the process of `DUMP_SQL`, as soon as this process has the lock.
const DUMP_PROCESS_SQL: &str = "
SELECT pid FROM pg_stat_activity WHERE application_name = 'dump' AND wait_event = 'PgSleep'";

fn server_setup(postgres: &Postgres) -> Setup {
    postgres.server_setup().plugin("redmine", &Guest::example("redmine"))
}

struct Clicks {
    path: String,
    /// The base URLs of the servers, in the order in which a click tries them.
    urls: Mutex<Vec<String>>,
    answer_count: AtomicUsize,
    is_upgrade_over: AtomicBool,
}

impl Clicks {
    /// A click is sent to the next server only if a server refuses the client connection. Returns
    /// the failed tests and the answers to their clicks.
    fn click_until_over(&self) -> Vec<(Value, Value)> {
        let mut clicked = Vec::new();
        while !self.is_upgrade_over.load(Ordering::Relaxed) {
            let test = failed_test();
            let urls = self.urls.lock().expect("no click panicked").clone();
            let answer = urls.iter().find_map(|url| {
                let sent = Client::new(url, &[]).send_or_be_refused(&self.path, &test);
                sent.unwrap_or_else(|error| panic!("a click was lost at {url}: {error:?}"))
            });
            let answer = answer.expect("one of the servers accepts the client connection");
            clicked.push((test, answer.expect(200)));
            self.answer_count.fetch_add(1, Ordering::Relaxed);
        }
        clicked
    }

    fn await_more_answers(&self) {
        let expected = self.answer_count.load(Ordering::Relaxed) + CLICKS_PER_STEP;
        wait_for("more clicks", 120, || {
            (self.answer_count.load(Ordering::Relaxed) >= expected).then_some(())
        });
    }

    fn try_last(&self, host: &TestHost) {
        let mut urls = self.urls.lock().expect("no click panicked");
        urls.rotate_left(1);
        assert_eq!(urls.last().map(String::as_str), Some(host.url()));
    }
}

/// The first attempt fails, because another transaction has a lock on a table.
fn change_schema(postgres: &Postgres, clicks: &Clicks) {
    thread::scope(|scope| {
        let dump = scope.spawn(|| postgres.query(DUMP_SQL));
        let process =
            wait_for("the lock of the dump", 30, || postgres.query(DUMP_PROCESS_SQL).pop());
        let refused = postgres.refuses(SCHEMA_CHANGE_SQL);
        assert!(refused.contains("lock timeout"), "{refused}");
        clicks.await_more_answers();
        postgres.query(&format!("SELECT pg_cancel_backend({process})"));
        dump.join().expect("the dump ends");
    });
    postgres.query(SCHEMA_CHANGE_SQL);
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
        answer_count: AtomicUsize::new(0),
        is_upgrade_over: AtomicBool::new(false),
    };
    let clicked: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..CLICK_THREADS).map(|_| scope.spawn(|| clicks.click_until_over())).collect();
        clicks.await_more_answers();
        change_schema(&postgres, &clicks);
        clicks.await_more_answers();
        // A server of this version can start with the newer schema.
        let third = server_setup(&postgres).start();
        clicks.urls.lock().expect("no click panicked").push(third.url().to_owned());
        clicks.await_more_answers();
        assert!(first.stop().success());
        clicks.await_more_answers();
        clicks.try_last(&first);
        assert!(second.stop().success());
        clicks.await_more_answers();
        clicks.is_upgrade_over.store(true, Ordering::Relaxed);
        threads.into_iter().flat_map(|it| it.join().expect("no click was lost")).collect()
    });
    let issues = redmine.project.issues();
    assert_eq!(issues.len(), clicked.len());
    for (test, answer) in &clicked {
        let of_test: Vec<_> = issues.iter().filter(|issue| issue.is_about(test)).collect();
        assert!(matches!(of_test[..], [only] if answer["id"] == only.id), "{test}: {of_test:?}");
    }

    // A server of this version can start again, because the schema change only adds.
    first.restart();
    let (test, answer) = &clicked[0];
    assert_eq!(first.create(&redmine.connection, test).expect(200)["id"], answer["id"]);
    postgres.query("UPDATE schema_version SET usable_by = version");
    let refused = second.start_refusal();
    assert!(refused.contains("was written by a newer Jackfield"), "{refused}");
}
