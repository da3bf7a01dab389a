//! Tests of migrations while other servers use the database.

use std::sync::Arc;

use tempfile::tempdir;
use url::Url;
use uuid::Uuid;

use super::super::{PostgresSettings, connection_address};
use super::*;

const ADD_COLUMN: Migration =
    Migration { sql: "ALTER TABLE defects ADD COLUMN added bigint", is_additive: true };
const DROP_COLUMN: Migration =
    Migration { sql: "ALTER TABLE defects DROP COLUMN added", is_additive: false };

/// Connects to a schema of the PostgreSQL server that `cargo xtask test` starts.
fn connect_to_schema(schema: &str) -> Session {
    let url = std::env::var("TEST_POSTGRES").expect("TEST_POSTGRES: run `cargo xtask test`");
    let mut url: Url = url.parse().unwrap();
    url.query_pairs_mut()
        .append_pair("options[search_path]", schema)
        .append_pair("application_name", schema);
    let settings = PostgresSettings {
        url,
        password: None,
        connections_max: 3,
        statement_timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(10),
    };
    let session = Session::new(connection_address(&settings).unwrap(), Arc::default()).unwrap();
    session.connect().unwrap();
    session
}

fn wait_until_a_session_waits_for_a_lock(session: &Session, schema: &str) {
    let db: &dyn Database = session;
    let sql = "SELECT count(*) FROM pg_stat_activity
               WHERE application_name = ? AND wait_event_type = 'Lock'";
    while db.required_row::<i64>(sql, params![schema]).unwrap() == 0 {
        thread::yield_now();
    }
}

#[test]
fn older_servers_can_use_the_schema_after_additive_migrations() {
    let oldest = |are_additive: &[bool]| {
        let migration = |is_additive| Migration { sql: "", is_additive };
        oldest_compatible_version(&are_additive.iter().copied().map(migration).collect::<Vec<_>>())
    };
    assert_eq!(oldest(&[false]), 1);
    assert_eq!(oldest(&[false, true]), 1);
    assert_eq!(oldest(&[false, true, true]), 1);
    assert_eq!(oldest(&[false, true, false]), 3);
}

#[test]
fn an_additive_migration_that_waits_for_pg_dump_does_not_block_other_servers() {
    let folder = tempdir().unwrap();
    let sealer = Sealer::load_or_create(None, &folder.path().join("key")).unwrap();
    let schema = format!("test_{}", Uuid::new_v4().simple());
    let old = connect_to_schema(&schema);
    old.execute_sql(&format!("CREATE SCHEMA {schema}")).unwrap();
    prepare_with(&old, &sealer, &MIGRATIONS).unwrap();
    let first = (MIGRATIONS.len(), oldest_compatible_version(&MIGRATIONS));
    let added = [&MIGRATIONS[..], &[ADD_COLUMN]].concat();

    // Takes the lock that `pg_dump` takes. PostgreSQL ends this session after 20 seconds.
    let dump = connect_to_schema(&schema);
    dump.execute_sql("SET idle_in_transaction_session_timeout = 20000").unwrap();
    dump.execute_sql("BEGIN; LOCK TABLE defects IN ACCESS SHARE MODE").unwrap();
    thread::scope(|scope| {
        let update = scope.spawn(|| prepare_with(&connect_to_schema(&schema), &sealer, &added));
        wait_until_a_session_waits_for_a_lock(&old, &schema);
        old.execute_sql(&format!("BEGIN; {TAKE_STORE_LOCK}")).unwrap();
        old.execute_sql("COMMIT").unwrap();
        assert_eq!(stored_version(&old).unwrap(), first);
        dump.execute_sql("ROLLBACK").unwrap();
        update.join().unwrap().unwrap();
    });
    assert_eq!(stored_version(&old).unwrap(), (added.len(), first.1));
    prepare_with(&old, &sealer, &MIGRATIONS).unwrap();

    let removed = [&added[..], &[DROP_COLUMN]].concat();
    prepare_with(&old, &sealer, &removed).unwrap();
    assert_eq!(stored_version(&old).unwrap(), (removed.len(), removed.len()));
    let refused = prepare_with(&old, &sealer, &added).unwrap_err().to_string();
    assert!(refused.contains("was written by a newer Jackfield"), "{refused}");
}
