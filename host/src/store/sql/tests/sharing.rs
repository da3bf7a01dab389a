//! Tests of several servers that share one PostgreSQL database.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tempfile::tempdir;

use super::*;
use crate::domain::{Counts, Decision, DefectId, Event, EventKind, OutcomeCode, ReceivedRequest};
use crate::store::EventStore as _;
use crate::store::{CachedCounts, Change, Changes, CountsClaim, CountsClaimed, CountsLease};
use crate::store::{ConnectionStore as _, CountsStore as _, DefectStore as _};

pub(super) async fn run_sql(folder: &TempDir, sql: &str) {
    let mut connection = PgConnection::connect(&address()).await.unwrap();
    let sql = format!("SET search_path = {}; {sql}", schema(folder));
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn the_start_of_a_server_ends_only_leases_whose_time_has_ended() {
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
    assert_eq!(
        doubt(&again).class,
        WriteClass::Open,
        "the write of the ended lease may have arrived"
    );
    let busy = try_claim(&other, id, &failed_test(2), at(LEASE_MS + 7)).await.unwrap();
    assert!(matches!(busy, Claimed::Busy { .. }), "{busy:?}");
}

#[tokio::test]
async fn the_start_of_a_server_restarts_the_waits_because_the_database_may_have_another_clock() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    fail_after_write(&store, id, WriteClass::Open).await;
    let now = 3_600_000;
    open(&folder).await.recover(at(now), RUN_MS).await.unwrap();
    assert_eq!(doubt(&claim(&store, id, now + 1).await).wait_from, at(now));
}

#[tokio::test]
async fn other_servers_mark_the_events_of_a_crashed_server_as_interrupted() {
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
        request: ReceivedRequest::default(),
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
async fn a_claim_returns_the_defect_that_another_server_has_just_stored() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let other = open(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    mark(&store, &granted, 1).await.unwrap();
    let created = RowEnd::Created(defect("7"));
    store.store_outcome(&granted, &created, &[], event(), at(2)).await.unwrap();
    assert!(matches!(claim(&other, id, 3).await, Claimed::Created { .. }));
    assert!(matches!(claim(&store, id, 3).await, Claimed::Created { .. }));
    other.decide(granted.defect, &Decision::Release, &[], "ann", at(4), RUN_MS).await.unwrap();
    let next = claim(&store, id, 5).await;
    assert!(matches!(next, Claimed::Create { generation: 2, .. }), "{next:?}");
}

#[tokio::test]
async fn only_one_of_many_claims_on_several_servers_may_create() {
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
async fn a_server_with_another_key_or_an_older_schema_cannot_use_the_database() {
    let folder = tempdir().unwrap();
    open(&folder).await.close().await;
    let other = open_with_sealer(&folder, Sealer::fresh()).await.err().unwrap().to_string();
    assert!(other.contains("sealed with another key"), "{other}");
    run_sql(&folder, "UPDATE schema_version SET version = 99").await;
    // `usable_by` is not changed, so this schema can still be used.
    open_with_sealer(&folder, sealer(folder.path())).await.unwrap().close().await;
    run_sql(&folder, "UPDATE schema_version SET usable_by = 99").await;
    let newer = open_with_sealer(&folder, sealer(folder.path())).await.err().unwrap().to_string();
    assert!(newer.contains("written by a newer Jackfield: its schema is 99"), "{newer}");
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
    run_sql(&folder, "UPDATE meta SET value = '1' WHERE name = 'starts'").await;
    let store = open(&folder).await;
    store.recover(at(20), RUN_MS).await.unwrap();
    assert_eq!(store.restored_at(), Some(at(20)));
    let claimed = claim(&store, id, 30).await;
    assert_eq!((doubt(&claimed).class, doubt(&claimed).wait_from), (WriteClass::Open, at(20)));
}

#[tokio::test]
async fn terminated_database_connections_are_opened_again() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    claim(&store, id, 0).await;
    store.connections().await.unwrap();
    let ended = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{}'",
        schema(&folder)
    );
    run_sql(&folder, &ended).await;
    assert_eq!(store.connections().await.unwrap().len(), 1);
    assert!(matches!(claim(&store, id, 1).await, Claimed::Busy { .. }));
}

/// Subscribes to the notifications of `store`. Before it returns, waits until `store` was notified
/// of a new connection that `other` has stored, so that no later notification is lost.
pub(super) async fn subscribe(store: &SqlStore, other: &SqlStore) -> Changes {
    let mut changes = store.subscribe_to_changes();
    loop {
        let probe = stored_connection(&format!("probe {}", Uuid::new_v4()));
        other.create_connection(&probe).await.unwrap();
        let sent = Change::Connection(probe.record.connection.id);
        let heard = async { while changes.next().await != sent {} };
        if tokio::time::timeout(Duration::from_millis(500), heard).await.is_ok() {
            return changes;
        }
    }
}

/// Returns the next change. Fails if none arrives within 10 seconds.
pub(super) async fn next_change(changes: &mut Changes) -> Change {
    tokio::time::timeout(Duration::from_secs(10), changes.next()).await.expect("a change")
}

#[tokio::test]
async fn a_server_is_notified_of_changes_of_other_servers_but_not_of_its_own_changes() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let other = open(&folder).await;
    let mut changes = subscribe(&other, &store).await;
    other.accept_version(id, "own").await.unwrap();
    store.accept_version(id, "11").await.unwrap();
    assert_eq!(next_change(&mut changes).await, Change::Connection(id));
    store.delete_connection(id, false).await.unwrap();
    assert_eq!(next_change(&mut changes).await, Change::Connection(id));
    // A refused change sends no notification.
    let refused = store.accept_version(id, "22").await;
    assert!(matches!(refused, Err(StoreError::NotFound(_))));
    let last = stored_connection("last");
    store.create_connection(&last).await.unwrap();
    assert_eq!(next_change(&mut changes).await, Change::Connection(last.record.connection.id));
}

#[tokio::test]
async fn other_servers_are_notified_of_the_end_of_a_run_only_if_a_claim_waits_for_it() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let other = open(&folder).await;
    let mut changes = subscribe(&other, &store).await;
    let mut awaited: Vec<DefectId> = Vec::new();
    for (number, waits) in [(1, false), (2, true), (3, false), (4, true)] {
        let test = failed_test(number);
        let granted = lease(&try_claim(&store, id, &test, at(0)).await.unwrap());
        if waits {
            let busy = try_claim(&other, id, &test, at(1)).await.unwrap();
            assert!(matches!(busy, Claimed::Busy { defect, .. } if defect == granted.defect));
            awaited.push(granted.defect);
        }
        mark(&store, &granted, 2).await.unwrap();
        store.renew(&granted, at(LEASE_MS)).await.unwrap();
        let created = RowEnd::Created(defect("7"));
        store.store_outcome(&granted, &created, &[], event(), at(3)).await.unwrap();
    }
    for id in awaited {
        assert_eq!(next_change(&mut changes).await, Change::Defect(id));
    }
}

#[tokio::test]
async fn a_server_that_connects_again_is_notified_that_notifications_were_lost() {
    let folder = tempdir().unwrap();
    let (store, _) = store_with_connection(&folder).await;
    let other = open(&folder).await;
    let mut changes = subscribe(&other, &store).await;
    let ended = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{}'",
        schema(&folder)
    );
    run_sql(&folder, &ended).await;
    assert_eq!(next_change(&mut changes).await, Change::Missed);
}

fn counts_at(ms: i64) -> CachedCounts {
    let counts = Counts { open: 1, closed: 0, critical: 0, moderate: 0, critical_link: None };
    CachedCounts { counts, counted_at: at(ms) }
}

/// Claims a lease that ends after 100 ms. Counts of the last 10 ms are fresh.
async fn claim_counts(
    store: &SqlStore,
    lease: &CountsLease,
    revision: u64,
    ms: i64,
) -> CountsClaimed {
    let (now, fresh_since, lease_until) = (at(ms), at(ms - 10), at(ms + 100));
    let claim = CountsClaim { revision, now, fresh_since, lease_until };
    store.claim_counts(lease, claim).await.unwrap()
}

/// Claims the lease on counting a project. Panics if the claim does not return `Count`.
async fn grant_counts(store: &SqlStore, id: ConnectionId, ms: i64) -> CountsLease {
    let lease = CountsLease::new(id, "QA");
    assert_eq!(claim_counts(store, &lease, 1, ms).await, CountsClaimed::Count);
    lease
}

#[tokio::test]
async fn only_one_server_counts_at_a_time_and_all_servers_are_notified_when_it_ends() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let other = open(&folder).await;
    let mut changes = subscribe(&other, &store).await;
    let mut own = subscribe(&store, &other).await;
    let waiting = CountsLease::new(id, "QA");
    let first = grant_counts(&store, id, 0).await;
    assert_eq!(claim_counts(&other, &waiting, 1, 1).await, CountsClaimed::Busy);
    store.renew_counts(&first, at(250)).await.unwrap();
    assert_eq!(claim_counts(&other, &waiting, 1, 249).await, CountsClaimed::Busy);
    grant_counts(&other, id, 250).await;
    assert!(!store.end_counts(&first, Some(counts_at(251))).await.unwrap(), "the lease was lost");
    assert_eq!(store.cached_counts(id, "QA").await.unwrap(), None);

    let second = grant_counts(&store, id, 400).await;
    assert!(store.end_counts(&second, Some(counts_at(401))).await.unwrap());
    for changes in [&mut changes, &mut own] {
        let notified =
            async { while next_change(changes).await != Change::Counts(id, "QA".to_owned()) {} };
        notified.await;
    }
    let fresh = claim_counts(&other, &waiting, 1, 411).await;
    assert_eq!(fresh, CountsClaimed::Fresh(counts_at(401)));
}

#[tokio::test]
async fn a_server_that_has_not_read_an_edit_yet_stores_no_counts() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let other = open(&folder).await;
    let before = grant_counts(&other, id, 0).await;
    let stored = store.connection(id).await.unwrap().unwrap();
    store.update_connection(&stored, false).await.unwrap();
    assert!(!other.end_counts(&before, Some(counts_at(1))).await.unwrap());

    let outdated = grant_counts(&other, id, 2).await;
    let current = CountsLease::new(id, "QA");
    assert_eq!(claim_counts(&store, &current, 2, 3).await, CountsClaimed::Count);
    assert!(!other.end_counts(&outdated, Some(counts_at(4))).await.unwrap());
    assert_eq!(store.cached_counts(id, "QA").await.unwrap(), None);
    assert!(store.end_counts(&current, Some(counts_at(5))).await.unwrap());
    assert_eq!(other.cached_counts(id, "QA").await.unwrap(), Some(counts_at(5)));
}

#[tokio::test]
async fn counts_are_refreshed_after_the_clock_was_set_back() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let other = open(&folder).await;
    let hour = 3_600_000;
    let before = grant_counts(&store, id, hour).await;
    assert!(store.end_counts(&before, Some(counts_at(hour))).await.unwrap());
    // This lease is not ended, as if its server had crashed.
    grant_counts(&store, id, hour + 20).await;

    let now = grant_counts(&other, id, 0).await;
    assert!(other.end_counts(&now, Some(counts_at(1))).await.unwrap());
    assert_eq!(store.cached_counts(id, "QA").await.unwrap(), Some(counts_at(1)));
    let waiting = CountsLease::new(id, "QA");
    let fresh = claim_counts(&store, &waiting, 1, 2).await;
    assert_eq!(fresh, CountsClaimed::Fresh(counts_at(1)));

    for ms in [hour, 2, 1] {
        store.record_counts(id, "recorded", counts_at(ms));
    }
    store.flush().await.unwrap();
    assert_eq!(store.cached_counts(id, "recorded").await.unwrap(), Some(counts_at(2)));
}

#[tokio::test]
async fn an_edit_is_refused_if_another_server_has_edited_the_connection_since() {
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
    let outdated = other.update_connection(&second, false).await;
    assert!(matches!(outdated, Err(StoreError::Conflict(_))), "{outdated:?}");
    let stored = store.connection(id).await.unwrap().unwrap().record.connection;
    assert_eq!((stored.paused, stored.project), (true, None));
}
