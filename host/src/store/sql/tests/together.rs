//! Further tests of several servers that share one PostgreSQL database; see `sharing.rs`.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tempfile::tempdir;

use super::sharing::{next_change, run_sql, subscribe};
use super::*;
use crate::domain::{Event, EventKind, OutcomeCode, ReceivedRequest};
use crate::store::Change;
use crate::store::DefectStore as _;
use crate::store::{ConnectionStore as _, EventStore as _};

fn finished_event(
    connection: ConnectionId,
    received_ms: i64,
    outcome: OutcomeCode,
    status: u16,
) -> Event {
    Event {
        id: EventId::fresh(),
        connection: Some(connection),
        kind: EventKind::CreateDefect,
        received_at: at(received_ms),
        ms: 0,
        status: Some(status),
        outcome: outcome.into(),
        request: ReceivedRequest::default(),
        defect: None,
    }
}

/// Waits until exactly `connections` database connections of the test wait for a lock.
async fn await_lock_waits(folder: &TempDir, connections: i64) {
    let mut observer = PgConnection::connect(&address()).await.unwrap();
    let sql = "SELECT count(*) FROM pg_stat_activity
               WHERE application_name = $1 AND wait_event_type = 'Lock'";
    let waiting = async {
        loop {
            let count = sqlx::query_scalar::<_, i64>(sql).bind(schema(folder));
            if count.fetch_one(&mut observer).await.unwrap() == connections {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .expect("the connections wait for locks");
}

#[tokio::test]
async fn two_servers_that_write_their_histories_do_not_deadlock() {
    let folder = tempdir().unwrap();
    let (store, shop) = store_with_connection(&folder).await;
    let bank = stored_connection("bank");
    store.create_connection(&bank).await.unwrap();
    let other = open(&folder).await;
    let ids = [shop, bank.record.connection.id];
    let mut holder = PgConnection::connect(&address()).await.unwrap();
    let hold = format!("BEGIN; SELECT 1 FROM {}.connections FOR NO KEY UPDATE", schema(&folder));
    // A single round could pass by chance: even if the servers did not sort the rows, both would
    // change the two rows in the same order in half of the rounds.
    for round in 0..8 {
        holder.execute(sqlx::raw_sql(AssertSqlSafe(hold.clone()))).await.unwrap();
        for id in ids {
            store.record_event(finished_event(id, round, OutcomeCode::Created, 200));
            other.record_event(finished_event(id, round, OutcomeCode::Rejected, 502));
        }
        await_lock_waits(&folder, 2).await;
        holder.execute("ROLLBACK").await.unwrap();
        let (flushed, other_flushed) = tokio::join!(store.flush(), other.flush());
        flushed.and(other_flushed).unwrap();
        for id in ids {
            let stored = store.connection(id).await.unwrap().unwrap().record;
            let failed_at = stored.last_error.map(|(at, _)| at);
            assert_eq!((stored.last_success_at, failed_at), (Some(at(round)), Some(at(round))));
        }
    }
}

#[tokio::test]
async fn a_running_server_that_connects_again_refuses_the_schema_of_a_newer_version() {
    let folder = tempdir().unwrap();
    let (store, _) = store_with_connection(&folder).await;
    store.connections().await.unwrap();
    run_sql(&folder, "UPDATE schema_version SET version = 99, usable_by = 99").await;
    store.check_writable().await.unwrap();
    let ended = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{}'",
        schema(&folder)
    );
    run_sql(&folder, &ended).await;
    let refused = [store.check_writable().await.err(), store.connections().await.err()];
    for why in refused.map(|it| it.expect("a refusal").to_string()) {
        assert!(why.contains("was written by a newer Jackfield: its schema is 99"), "{why}");
    }
}

#[tokio::test]
async fn a_claim_that_must_wait_for_another_failure_after_its_search_is_notified() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let other = open(&folder).await;
    let mut changes = subscribe(&other, &store).await;
    let claim = async |store: &SqlStore, number, ms| {
        let claim = Claim {
            connection: id,
            test: failed_test(number),
            event: event(),
            now: at(ms),
            lease_until: at(ms + LEASE_MS),
            run_ms: RUN_MS,
            awaited_fence: None,
            rows_in_work_if_recurrence: Some(Vec::new()),
        };
        lease(&store.claim(claim).await.unwrap())
    };
    let second = claim(&other, 2, 0).await;
    mark(&other, &second, 1).await.unwrap();
    let refused = failed_after_write(WriteClass::Refused, 2);
    other.store_outcome(&second, &refused, &[], event(), at(2)).await.unwrap();
    let first = claim(&store, 1, 3).await;
    let searched = claim(&other, 2, 4).await;
    let waits = other.move_back_to_intent(&searched, Some(&[]), at(5)).await.unwrap();
    assert_eq!(waits, Claimed::WaitsForFirst(first.defect));
    mark(&store, &first, 6).await.unwrap();
    let created = RowEnd::Created(defect("7"));
    store.store_outcome(&first, &created, &[], event(), at(7)).await.unwrap();
    assert_eq!(next_change(&mut changes).await, Change::Defect(first.defect));
}
