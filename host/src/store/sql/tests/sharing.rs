//! Several servers on one database: what a start leaves alone, what one sees of another, and what is
//! refused.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tempfile::tempdir;

use super::*;
use crate::domain::{Counts, Decision, DefectId, Event, EventKind, OutcomeCode, Received};
use crate::store::{CachedCounts, Change, Changes, CountsClaim, CountsClaimed};

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
        let found = store.event(event()).await.unwrap().unwrap().event;
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
    // The newer server has only added something.
    open_with(&folder, sealer(folder.path())).await.unwrap().close().await;
    run(&folder, "UPDATE schema_version SET usable_by = 99").await;
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

/// Subscribes to what a store hears; returns once it listens.
async fn listening(store: &SqlStore, other: &SqlStore) -> Changes {
    let mut changes = store.changes();
    let probe = stored_connection("probe");
    let mut number = 0;
    loop {
        let mut probe = probe.clone();
        probe.record.connection.id = ConnectionId(Uuid::new_v4());
        probe.record.connection.name = format!("probe {number}");
        probe.tokens.clear();
        other.create_connection(&probe).await.unwrap();
        number += 1;
        let sent = Change::Connection(probe.record.connection.id);
        let heard = async { while changes.next().await != sent {} };
        if tokio::time::timeout(Duration::from_millis(500), heard).await.is_ok() {
            return changes;
        }
    }
}

/// The next change, which is told within a moment.
async fn next(changes: &mut Changes) -> Change {
    tokio::time::timeout(Duration::from_secs(10), changes.next()).await.expect("a change")
}

#[tokio::test]
async fn a_server_hears_what_others_change_and_not_what_it_changes_itself() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let other = open(&folder).await;
    let mut changes = listening(&other, &store).await;
    other.accept_version(id, "own").await.unwrap();
    store.accept_version(id, "11").await.unwrap();
    assert_eq!(next(&mut changes).await, Change::Connection(id));
    store.delete_connection(id, false).await.unwrap();
    assert_eq!(next(&mut changes).await, Change::Connection(id));
    // A change that is refused is not told.
    let refused = store.accept_version(id, "22").await;
    assert!(matches!(refused, Err(StoreError::NotFound(_))));
    let last = stored_connection("last");
    store.create_connection(&last).await.unwrap();
    assert_eq!(next(&mut changes).await, Change::Connection(last.record.connection.id));
}

#[tokio::test]
async fn the_end_of_a_run_is_told_only_if_a_claim_waits_for_it() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let other = open(&folder).await;
    let mut changes = listening(&other, &store).await;
    let mut released: Vec<DefectId> = Vec::new();
    for (number, waits) in [(1, false), (2, true), (3, false), (4, true)] {
        let test = failed_test(number);
        let granted = lease(&try_claim(&store, id, &test, at(0)).await.unwrap());
        if waits {
            let busy = try_claim(&other, id, &test, at(1)).await.unwrap();
            assert!(matches!(busy, Claimed::Busy { defect, .. } if defect == granted.defect));
            released.push(granted.defect);
        }
        mark(&store, &granted, 2).await.unwrap();
        store.renew(&granted, at(LEASE_MS)).await.unwrap();
        let created = Verdict::Created(defect("7"));
        store.store_outcome(&granted, &created, &[], event(), at(3)).await.unwrap();
    }
    for id in released {
        assert_eq!(next(&mut changes).await, Change::Defect(id));
    }
}

#[tokio::test]
async fn a_server_that_listens_again_hears_that_it_missed_something() {
    let folder = tempdir().unwrap();
    let (store, _) = store_with_connection(&folder).await;
    let other = open(&folder).await;
    let mut changes = listening(&other, &store).await;
    let ended = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{}'",
        schema(&folder)
    );
    run(&folder, &ended).await;
    assert_eq!(next(&mut changes).await, Change::Missed);
}

#[tokio::test]
async fn of_several_servers_one_counts_at_a_time_and_the_others_hear_of_it() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let other = open(&folder).await;
    let mut changes = listening(&other, &store).await;
    let claim = |now: i64| CountsClaim {
        now: at(now),
        fresh_since: at(now - 10),
        lease_until: at(now + 100),
    };
    let counted = |ms| {
        let counts = Counts { open: 1, closed: 0, critical: 0, moderate: 0, critical_link: None };
        CachedCounts { counts, counted_at: at(ms) }
    };
    let granted =
        async |store: &SqlStore, now| match store.claim_counts(id, "QA", claim(now)).await.unwrap()
        {
            CountsClaimed::Count(lease) => lease,
            other => panic!("no right to count: {other:?}"),
        };
    let first = granted(&store, 0).await;
    let busy = other.claim_counts(id, "QA", claim(1)).await.unwrap();
    assert_eq!(busy, CountsClaimed::Busy);
    granted(&other, 100).await;
    store.end_counts(first, Some(counted(101))).await.unwrap();
    assert_eq!(store.cached_counts(id, "QA").await.unwrap(), None, "the right was lost");

    let second = granted(&store, 300).await;
    store.end_counts(second, Some(counted(301))).await.unwrap();
    assert_eq!(next(&mut changes).await, Change::Counts(id, "QA".to_owned()));
    let fresh = other.claim_counts(id, "QA", claim(311)).await.unwrap();
    assert_eq!(fresh, CountsClaimed::Fresh(counted(301)));

    let third = granted(&other, 312).await;
    let stored = store.connection(id).await.unwrap().unwrap();
    store.update_connection(&stored, false).await.unwrap();
    other.end_counts(third, Some(counted(313))).await.unwrap();
    assert_eq!(store.cached_counts(id, "QA").await.unwrap(), Some(counted(301)));
}

#[tokio::test]
async fn an_edit_that_another_server_has_overtaken_is_refused() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let other = open(&folder).await;
    let (mut first, mut second) = (
        store.connection(id).await.unwrap().unwrap(),
        other.connection(id).await.unwrap().unwrap(),
    );
    first.record.connection.paused = true;
    store.update_connection(&first, false).await.unwrap();
    second.record.connection.project = Some("QA".to_owned());
    let overtaken = other.update_connection(&second, false).await;
    assert!(matches!(overtaken, Err(StoreError::Conflict(_))), "{overtaken:?}");
    let stored = store.connection(id).await.unwrap().unwrap().record.connection;
    assert_eq!((stored.paused, stored.project), (true, None));
}
