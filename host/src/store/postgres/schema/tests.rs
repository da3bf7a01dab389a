//! Changes of the schema while other servers use the database.

use std::sync::Arc;

use tempfile::tempdir;
use url::Url;
use uuid::Uuid;

use super::super::{PostgresSettings, address};
use super::*;

const ADDED: Migration =
    Migration { sql: "ALTER TABLE defects ADD COLUMN added bigint", only_adds: true };
const REMOVED: Migration =
    Migration { sql: "ALTER TABLE defects DROP COLUMN added", only_adds: false };

/// Connects to a schema of the database that `cargo xtask test` starts.
fn session(schema: &str) -> Session {
    let url = std::env::var("TEST_POSTGRES").expect("TEST_POSTGRES: run `cargo xtask test`");
    let mut url: Url = url.parse().unwrap();
    url.query_pairs_mut()
        .append_pair("options[search_path]", schema)
        .append_pair("application_name", schema);
    let (statement, connect) = (Duration::from_secs(10), Duration::from_secs(10));
    let settings = PostgresSettings { url, password: None, connections_max: 3, statement, connect };
    let session = Session::new(address(&settings).unwrap(), Arc::default()).unwrap();
    session.connect().unwrap();
    session
}

/// Waits until one of the connections waits for a lock.
fn await_waiting(session: &Session, schema: &str) {
    let db: &dyn Database = session;
    let sql = "SELECT count(*) FROM pg_stat_activity
               WHERE application_name = ? AND wait_event_type = 'Lock'";
    while db.only::<i64>(sql, params![schema]).unwrap() == 0 {
        thread::yield_now();
    }
}

#[test]
fn servers_go_on_with_a_schema_to_which_was_only_added() {
    let after = |only_adds: &[bool]| {
        let migration = |only_adds| Migration { sql: "", only_adds };
        oldest_user(&only_adds.iter().copied().map(migration).collect::<Vec<_>>())
    };
    assert_eq!(after(&[false]), 1);
    assert_eq!(after(&[false, true]), 1);
    assert_eq!(after(&[false, true, true]), 1);
    assert_eq!(after(&[false, true, false]), 3);
}

#[test]
fn a_change_that_only_adds_waits_for_a_dump_without_stopping_the_servers() {
    let folder = tempdir().unwrap();
    let sealer = Sealer::open(None, &folder.path().join("key")).unwrap();
    let schema = format!("test_{}", Uuid::new_v4().simple());
    let old = session(&schema);
    old.simple(&format!("CREATE SCHEMA {schema}")).unwrap();
    prepare_with(&old, &sealer, &MIGRATIONS).unwrap();
    let first = (MIGRATIONS.len(), oldest_user(&MIGRATIONS));
    let added = [&MIGRATIONS[..], &[ADDED]].concat();

    // A lock as that of `pg_dump`, for 20 seconds at most.
    let dump = session(&schema);
    dump.simple("SET idle_in_transaction_session_timeout = 20000").unwrap();
    dump.simple("BEGIN; LOCK TABLE defects IN ACCESS SHARE MODE").unwrap();
    thread::scope(|scope| {
        let update = scope.spawn(|| prepare_with(&session(&schema), &sealer, &added));
        await_waiting(&old, &schema);
        old.simple(&format!("BEGIN; {LOCK}")).unwrap();
        old.simple("COMMIT").unwrap();
        assert_eq!(stored_version(&old).unwrap(), first);
        dump.simple("ROLLBACK").unwrap();
        update.join().unwrap().unwrap();
    });
    assert_eq!(stored_version(&old).unwrap(), (added.len(), first.1));
    prepare_with(&old, &sealer, &MIGRATIONS).unwrap();

    let removed = [&added[..], &[REMOVED]].concat();
    prepare_with(&old, &sealer, &removed).unwrap();
    assert_eq!(stored_version(&old).unwrap(), (removed.len(), removed.len()));
    let refused = prepare_with(&old, &sealer, &added).unwrap_err().to_string();
    assert!(refused.contains("was written by a newer Jackfield"), "{refused}");
}
