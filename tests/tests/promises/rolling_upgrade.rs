//! Servers that share a PostgreSQL are replaced one after another while clicks go on. Each click is
//! answered, and each failed test has one issue.
//!
//! The next version is this one and one more change of the schema, which the test makes as a server
//! does.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use jackfield_tests::{Client, Guest, Postgres, Setup, TestHost, failed_test, wait_for};
use serde_json::{Value, json};

/// Number of threads that click, and of clicks before and after each step of the upgrade.
const CLICKERS: usize = 3;
const CLICKS: usize = 20;
/// A change that only adds, as the next version could make it: with the lock of the store, and with
/// a limit on the time that the others may have to wait.
const CHANGE: &str = "
BEGIN;
SELECT pg_advisory_xact_lock(hashtext('jackfield'), hashtext(current_schema()));
SET LOCAL lock_timeout = '2s';
ALTER TABLE defects ADD COLUMN of_next_version text NOT NULL DEFAULT 'x';
ALTER TABLE events ADD COLUMN of_next_version bigint;
ALTER TABLE connections ADD COLUMN of_next_version boolean NOT NULL DEFAULT FALSE;
CREATE TABLE of_next_version (id uuid PRIMARY KEY);
UPDATE schema_version SET version = version + 1;
COMMIT";

/// Reads a table, as `pg_dump` does, until the statement is cancelled.
const DUMP: &str = "
SET application_name = 'dump';
BEGIN;
LOCK TABLE defects IN ACCESS SHARE MODE;
DO 'BEGIN PERFORM pg_sleep(300); EXCEPTION WHEN query_canceled THEN NULL; END';
COMMIT";
const DUMP_WAITS: &str = "
SELECT pid FROM pg_stat_activity WHERE application_name = 'dump' AND wait_event = 'PgSleep'";

fn server(postgres: &Postgres) -> Setup {
    postgres.replica().plugin("redmine", &Guest::example("redmine"))
}

/// The clicks that go on during the upgrade.
struct Clicks {
    path: String,
    /// The base URLs of the servers, those to try first in front.
    urls: Mutex<Vec<String>>,
    answered: AtomicUsize,
    is_over: AtomicBool,
}

impl Clicks {
    /// Clicks new failed tests until all is over. A click is repeated at another server only if the
    /// first refuses the connection. Returns the tests and their answers.
    fn click(&self) -> Vec<(Value, Value)> {
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

    /// Waits for more clicks, at the servers that are there now.
    fn go_on(&self) {
        let until = self.answered.load(Ordering::Relaxed) + CLICKS;
        wait_for("more clicks", 120, || {
            (self.answered.load(Ordering::Relaxed) >= until).then_some(())
        });
    }

    /// Lets the clicks try this server last.
    fn avoid(&self, host: &TestHost) {
        let mut urls = self.urls.lock().expect("no click panicked");
        urls.rotate_left(1);
        assert_eq!(urls.last().map(String::as_str), Some(host.url()));
    }
}

/// Changes the schema. At the first attempt, a transaction holds a table.
fn change_the_schema(postgres: &Postgres, clicks: &Clicks) {
    thread::scope(|scope| {
        let dump = scope.spawn(|| postgres.query(DUMP));
        let process = wait_for("the lock of the dump", 30, || postgres.query(DUMP_WAITS).pop());
        let refused = postgres.refuses(CHANGE);
        assert!(refused.contains("lock timeout"), "{refused}");
        clicks.go_on();
        postgres.query(&format!("SELECT pg_cancel_backend({process})"));
        dump.join().expect("the dump ends");
    });
    postgres.query(CHANGE);
}

#[test]
fn servers_are_replaced_one_after_another_without_a_lost_click() {
    let postgres = Postgres::start();
    let mut first = server(&postgres).start();
    let redmine = first.connect_to_redmine("qa", "redmine", json!({}));
    let mut second = server(&postgres).start();
    let clicks = Clicks {
        path: redmine.connection.create_path(),
        urls: Mutex::new(vec![first.url().to_owned(), second.url().to_owned()]),
        answered: AtomicUsize::new(0),
        is_over: AtomicBool::new(false),
    };
    let clicked: Vec<_> = thread::scope(|scope| {
        let clickers: Vec<_> = (0..CLICKERS).map(|_| scope.spawn(|| clicks.click())).collect();
        clicks.go_on();
        change_the_schema(&postgres, &clicks);
        clicks.go_on();
        // A server of this version that starts on the newer schema.
        let third = server(&postgres).start();
        clicks.urls.lock().expect("no click panicked").push(third.url().to_owned());
        clicks.go_on();
        assert!(first.stop().success());
        clicks.go_on();
        clicks.avoid(&first);
        assert!(second.stop().success());
        clicks.go_on();
        clicks.is_over.store(true, Ordering::Relaxed);
        clickers.into_iter().flat_map(|it| it.join().expect("no click was lost")).collect()
    });
    let issues = redmine.project.issues();
    assert_eq!(issues.len(), clicked.len());
    for (test, answer) in &clicked {
        let of_test: Vec<_> = issues.iter().filter(|issue| issue.is_of(test)).collect();
        assert!(matches!(of_test[..], [only] if answer["id"] == only.id), "{test}: {of_test:?}");
    }

    // A server of this version may start again, as long as the change only adds.
    first.restart();
    let (test, answer) = &clicked[0];
    assert_eq!(first.create(&redmine.connection, test).expect(200)["id"], answer["id"]);
    postgres.query("UPDATE schema_version SET usable_by = version");
    let refused = second.refuses_to_start();
    assert!(refused.contains("was written by a newer Jackfield"), "{refused}");
}
