//! Tests of the threads that write and read: shared commits, concurrent claims, failures, panics,
//! and a closed store.

use std::sync::Arc;

use tempfile::tempdir;

use super::*;
use crate::store::ConnectionStore as _;
use crate::store::sql::writer::Durability;

#[tokio::test]
async fn concurrent_claims_share_commits() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let store = Arc::new(store);
    // Keep the writing thread busy until all claims are queued.
    let (release, released) = std::sync::mpsc::channel();
    let busy = store.writer.run(Durability::Lazy, move |_| {
        released.recv().unwrap();
        Ok(())
    });
    let claims = (0..64).map(|number| {
        let store = Arc::clone(&store);
        async move { try_claim(&store, id, &failed_test(number), at(0)).await }
    });
    let claims = futures_util::future::join_all(claims);
    let queued = async {
        while store.queue_lengths().operations < 65 {
            tokio::task::yield_now().await;
        }
        release.send(()).unwrap();
        store.commits()
    };
    let (busy, claims, before) = tokio::join!(busy, claims, queued);
    busy.unwrap();
    for claimed in claims {
        assert!(matches!(claimed.unwrap(), Claimed::Create { .. }));
    }
    let commits = store.commits() - before;
    assert!(commits <= 16, "{commits} commits for 64 claims");
}

#[tokio::test]
async fn only_one_of_many_concurrent_claims_may_create() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let claims = (0..32).map(|_| claim(&store, id, 0));
    let claims = futures_util::future::join_all(claims).await;
    let granted = claims.iter().filter(|it| matches!(it, Claimed::Create { .. })).count();
    assert_eq!(granted, 1);
}

#[tokio::test]
async fn a_failed_operation_does_not_affect_the_other_operations_of_its_batch() {
    let folder = tempdir().unwrap();
    let (store, _) = store_with_connection(&folder).await;
    let (same_name, new_name) = (stored_connection("shop"), stored_connection("bank"));
    let (refused, created) =
        tokio::join!(store.create_connection(&same_name), store.create_connection(&new_name));
    assert!(matches!(refused, Err(StoreError::Conflict(text)) if text.contains("`shop`")));
    created.unwrap();
    assert_eq!(store.connections().await.unwrap().len(), 2);
}

#[tokio::test]
async fn after_a_failed_commit_the_callers_get_an_error_and_the_next_batch_is_written() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    // The operation ends the transaction, as SQLite does for example when the disk is full.
    let broken = store
        .writer
        .run(Durability::Durable, |db| Ok(db.change("ROLLBACK", params![]).map(drop)?));
    let lost = failed_test(1);
    let (broken, lost) = tokio::join!(broken, try_claim(&store, id, &lost, at(0)));
    assert!(matches!(broken, Err(StoreError::Database(_))), "{broken:?}");
    assert!(lost.is_ok() || matches!(lost, Err(StoreError::Database(_))));
    store.check_writable().await.unwrap();
    let other = try_claim(&store, id, &failed_test(2), at(0)).await;
    assert!(matches!(other.unwrap(), Claimed::Create { .. }));
}

#[tokio::test]
async fn after_a_panic_the_caller_gets_an_error_and_the_store_continues() {
    let folder = tempdir().unwrap();
    let (store, _) = store_with_connection(&folder).await;
    // Run more panicking reads than there are reading threads.
    for _ in 0..9 {
        let read = store.readers.run(|_| -> Result<(), StoreError> { panic!("of the test") });
        assert!(read.await.unwrap_err().to_string().contains("see its log"));
    }
    let write = store
        .writer
        .run(Durability::Durable, |_| -> Result<(), StoreError> { panic!("of the test") });
    assert!(write.await.is_err());
    store.check_writable().await.unwrap();
    assert_eq!(store.connections().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_closed_store_reports_that_it_is_closed() {
    let folder = tempdir().unwrap();
    let (store, _) = store_with_connection(&folder).await;
    store.close().await;
    let refused = store.check_writable().await;
    assert!(matches!(refused, Err(StoreError::Unusable(text)) if text.contains("closed")));
}
