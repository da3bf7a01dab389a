//! Tests of how rows change after a start of a server, a change of the clock, the loss of a run,
//! and the restoration of a database.

use tempfile::tempdir;

use super::*;
use crate::domain::Decision;
use crate::store::DefectStore as _;
use crate::store::sql::meta;
use crate::store::sql::writer::Durability;

#[tokio::test]
async fn the_start_of_a_server_ends_all_leases_and_restarts_the_waits() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let intent = lease(&claim(&store, id, 0).await);
    let written = try_claim(&store, id, &failed_test(2), at(0)).await.unwrap();
    mark(&store, &lease(&written), 5).await.unwrap();
    let answered = lease(&try_claim(&store, id, &failed_test(3), at(0)).await.unwrap());
    mark(&store, &answered, 5).await.unwrap();
    store
        .store_outcome(&answered, &failed_after_write(WriteClass::Open, 6), &[], event(), at(6))
        .await
        .unwrap();
    store.close().await;

    let store = open(&folder).await;
    let now = 900_000;
    store.recover(at(now), RUN_MS).await.unwrap();
    assert!(matches!(claim(&store, id, now).await, Claimed::Create { .. }));
    assert!(matches!(mark(&store, &intent, now).await, Err(StoreError::Fenced)));
    assert_eq!(store.due_searches(at(now), RUN_MS, Vec::new(), DUE_LIMITS).await.unwrap().len(), 2);
    for number in [2, 3] {
        let claimed = try_claim(&store, id, &failed_test(number), at(now)).await.unwrap();
        assert_eq!(
            doubt(&claimed).wait_from,
            at(now),
            "the waits restart, because the clock may have been changed"
        );
    }
    store.restart_waits(at(now + 7), RUN_MS).await.unwrap();
    let claimed = try_claim(&store, id, &failed_test(3), at(now + LEASE_MS)).await.unwrap();
    assert_eq!(doubt(&claimed).wait_from, at(now + 7));
}

#[tokio::test]
async fn after_a_change_of_the_clock_the_waits_of_all_rows_with_writes_begin_again() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let sent = lease(&claim(&store, id, 0).await);
    mark(&store, &sent, 1).await.unwrap();
    let given_up = lease(&try_claim(&store, id, &failed_test(2), at(0)).await.unwrap());
    mark(&store, &given_up, 1).await.unwrap();
    store
        .store_outcome(&given_up, &failed_after_write(WriteClass::Unclear, 2), &[], event(), at(2))
        .await
        .unwrap();
    store.decide(given_up.defect, &Decision::GiveUp, &[], "ann", at(3), RUN_MS).await.unwrap();

    let now = 9_000_000;
    store.restart_waits(at(now), RUN_MS).await.unwrap();
    let claimed = try_claim(&store, id, &failed_test(2), at(now)).await.unwrap();
    assert_eq!(doubt(&claimed).wait_from, at(now));
    let claimed = claim(&store, id, now).await;
    assert_eq!(doubt(&claimed).wait_from, at(now + 120_000));
}

#[tokio::test]
async fn a_lost_run_does_not_change_the_class_of_an_acknowledged_write_to_open() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    fail_after_write(&store, id, WriteClass::Acknowledged).await;
    let retried = lease(&claim(&store, id, 3).await);
    store.move_back_to_intent(&retried, None, at(3)).await.unwrap();
    mark(&store, &retried, 4).await.unwrap();
    let lost = claim(&store, id, 4 * LEASE_MS).await;
    assert_eq!(doubt(&lost).class, WriteClass::Acknowledged);
}

#[tokio::test]
async fn a_restored_database_puts_unknown_failed_tests_in_doubt() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    store.recover(at(0), RUN_MS).await.unwrap();
    assert_eq!(store.restored_at(), None);
    store.close().await;
    let database = folder.path().join("jackfield.db");
    let backup = std::fs::read(&database).unwrap();
    let store = open(&folder).await;
    store.recover(at(10), RUN_MS).await.unwrap();
    assert_eq!(store.restored_at(), None, "the database did not fall behind");
    store.close().await;

    std::fs::write(&database, backup).unwrap();
    let store = open(&folder).await;
    store.recover(at(20), RUN_MS).await.unwrap();
    assert_eq!(store.restored_at(), Some(at(20)));
    let claimed = claim(&store, id, 30).await;
    assert_eq!((doubt(&claimed).class, doubt(&claimed).wait_from), (WriteClass::Open, at(20)));
    store.close().await;
    let store = open(&folder).await;
    store.recover(at(40), RUN_MS).await.unwrap();
    assert_eq!(store.restored_at(), Some(at(20)), "the mark is still stored");
}

#[tokio::test]
async fn a_database_that_an_operator_marked_counts_as_restored_even_with_a_new_data_folder() {
    let folder = tempdir().unwrap();
    let (store, _) = store_with_connection(&folder).await;
    store.recover(at(0), RUN_MS).await.unwrap();
    // The operator stores the number -1, as docs/postgresql.md says. A server that has no file with
    // a count of starts uses the count 0, which is larger.
    let mark = |db: &dyn Database| meta::write(db, "starts", b"-1".to_vec());
    store.writer.run(Durability::Durable, mark).await.unwrap();
    store.close().await;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_some_and(|it| it == "starts") {
            std::fs::remove_file(file).unwrap();
        }
    }
    let store = open(&folder).await;
    store.recover(at(10), RUN_MS).await.unwrap();
    assert_eq!(store.restored_at(), Some(at(10)));
}

#[tokio::test]
async fn a_restored_database_puts_rows_without_a_defect_in_doubt() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    store.recover(at(0), RUN_MS).await.unwrap();
    let intent = lease(&claim(&store, id, 1).await);
    store.give_back(&intent).await.unwrap();
    let created = lease(&try_claim(&store, id, &failed_test(2), at(1)).await.unwrap());
    mark(&store, &created, 2).await.unwrap();
    store
        .store_outcome(&created, &RowEnd::Created(defect("7")), &[], event(), at(3))
        .await
        .unwrap();
    store.decide(created.defect, &Decision::Release, &[], "ann", at(4), RUN_MS).await.unwrap();
    store.close().await;
    let database = folder.path().join("jackfield.db");
    let backup = std::fs::read(&database).unwrap();
    let store = open(&folder).await;
    store.recover(at(10), RUN_MS).await.unwrap();
    store.close().await;
    std::fs::write(&database, backup).unwrap();

    let store = open(&folder).await;
    store.recover(at(20), RUN_MS).await.unwrap();
    for number in [1, 2] {
        let claimed = try_claim(&store, id, &failed_test(number), at(30)).await.unwrap();
        assert_eq!(doubt(&claimed).class, WriteClass::Open, "{number}");
        assert_eq!(doubt(&claimed).wait_from, at(20), "{number}");
    }
}
