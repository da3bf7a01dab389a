//! Several servers on one database: what a start leaves alone, what one sees of another, and what is
//! refused.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tempfile::tempdir;

use super::*;
use crate::domain::{Decision, Event, EventKind, OutcomeCode, Received};

/// Runs SQL in the schema of a test.
async fn run(folder: &TempDir, sql: &str) {
    let mut connection = PgConnection::connect(&address()).await.unwrap();
    let sql = format!("SET search_path = {}; {sql}", schema(folder));
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_start_voids_only_the_leases_that_have_ended() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let ended = lease(&claim(&store, id, 0).await);
    mark(&store, &ended, 1).await.unwrap();
    let live = lease(&try_claim(&store, id, &failed_test(2), at(LEASE_MS)).await.unwrap());
    mark(&store, &live, LEASE_MS).await.unwrap();

    let other = open(&folder).await;
    other.recover(at(LEASE_MS + 5), RUN_MS).await.unwrap();
    mark(&store, &live, LEASE_MS + 6).await.unwrap();
    assert!(matches!(mark(&store, &ended, LEASE_MS + 6).await, Err(StoreError::Fenced)));
    let again = claim(&other, id, LEASE_MS + 7).await;
    assert_eq!(doubt(&again).class, WriteClass::Open, "its write may have arrived");
    let busy = try_claim(&other, id, &failed_test(2), at(LEASE_MS + 7)).await.unwrap();
    assert!(matches!(busy, Claimed::Busy { .. }), "{busy:?}");
}

#[tokio::test]
async fn a_start_begins_the_waits_again_because_the_database_may_have_another_clock() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    mark(&store, &granted, 1).await.unwrap();
    store.store_outcome(&granted, &left(WriteClass::Open, 2), &[], event(), at(2)).await.unwrap();
    let now = 3_600_000;
    open(&folder).await.recover(at(now), RUN_MS).await.unwrap();
    assert_eq!(doubt(&claim(&store, id, now + 1).await).wait_from, at(now));
}

#[tokio::test]
async fn the_events_of_a_dead_server_are_ended_by_the_others() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let running = Event {
        id: event(),
        connection: Some(id),
        kind: EventKind::CreateDefect,
        received_at: at(0),
        ms: 0,
        status: None,
        outcome: OutcomeCode::Running.into(),
        request: Received::default(),
        defect: None,
    };
    store.record_event(running);
    store.flush().await.unwrap();
    let after_ms = i64::try_from(RUN_MS).unwrap();
    for (now, outcome) in
        [(after_ms - 1, OutcomeCode::Running), (after_ms, OutcomeCode::Interrupted)]
    {
        store.due_searches(at(now), RUN_MS, Vec::new(), DUE_LIMITS).await.unwrap();
        let (found, _) = store.event(event()).await.unwrap().unwrap();
        assert_eq!(found.outcome.code, outcome);
    }
}

#[tokio::test]
async fn a_server_sees_at_once_what_another_has_done() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let other = open(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    mark(&store, &granted, 1).await.unwrap();
    let created = Verdict::Created(defect("7"));
    store.store_outcome(&granted, &created, &[], event(), at(2)).await.unwrap();
    assert!(matches!(claim(&other, id, 3).await, Claimed::Created { .. }));
    assert!(matches!(claim(&store, id, 3).await, Claimed::Created { .. }));
    other.decide(granted.defect, &Decision::Release, &[], "ann", at(4), RUN_MS).await.unwrap();
    let next = claim(&store, id, 5).await;
    assert!(matches!(next, Claimed::Create { generation: 2, .. }), "{next:?}");
}

#[tokio::test]
async fn one_of_the_claims_of_several_servers_may_create() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let others = [open(&folder).await, open(&folder).await];
    let stores = [&store, &others[0], &others[1]];
    let claims = (0..30).map(|number| claim(stores[number % 3], id, 0));
    let claims = futures_util::future::join_all(claims).await;
    let granted = claims.iter().filter(|it| matches!(it, Claimed::Create { .. })).count();
    assert_eq!(granted, 1);
}

#[tokio::test]
async fn another_key_and_a_newer_schema_are_refused() {
    let folder = tempdir().unwrap();
    open(&folder).await.close().await;
    let other = open_with(&folder, Sealer::fresh()).await.err().unwrap().to_string();
    assert!(other.contains("sealed with another key"), "{other}");
    run(&folder, "UPDATE schema_version SET version = 99").await;
    let newer = open_with(&folder, sealer(folder.path())).await.err().unwrap().to_string();
    assert!(newer.contains("written by a newer Jackfield (its schema is 99)"), "{newer}");
}

#[tokio::test]
async fn a_restored_database_puts_unknown_failed_tests_in_doubt() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    for now in [0, 10] {
        store.recover(at(now), RUN_MS).await.unwrap();
    }
    store.close().await;
    // An older state of the database has a lower count of starts.
    run(&folder, "UPDATE meta SET value = '1' WHERE name = 'starts'").await;
    let store = open(&folder).await;
    store.recover(at(20), RUN_MS).await.unwrap();
    assert_eq!(store.restored_at(), Some(at(20)));
    let claimed = claim(&store, id, 30).await;
    assert_eq!((doubt(&claimed).class, doubt(&claimed).wait_from), (WriteClass::Open, at(20)));
}

#[tokio::test]
async fn ended_connections_are_opened_again() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    claim(&store, id, 0).await;
    store.connections().await.unwrap();
    let ended = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{}'",
        schema(&folder)
    );
    run(&folder, &ended).await;
    assert_eq!(store.connections().await.unwrap().len(), 1);
    assert!(matches!(claim(&store, id, 1).await, Claimed::Busy { .. }));
}
