//! The writer: shared commits, operations that do not spoil each other, and healing.

use std::sync::Arc;

use tempfile::tempdir;

use super::super::writer::Durability;
use super::*;

#[tokio::test]
async fn many_claims_share_few_commits() {
    let folder = tempdir().unwrap();
    let (store, id) = stocked(&folder).await;
    let store = Arc::new(store);
    let before = store.commits();
    let claims = (0..64).map(|number| {
        let store = Arc::clone(&store);
        async move { try_claim(&store, id, &failed_test(number), at(0)).await }
    });
    for claimed in futures_util::future::join_all(claims).await {
        assert!(matches!(claimed.unwrap(), Claimed::Create { .. }));
    }
    let commits = store.commits() - before;
    assert!(commits <= 16, "{commits} commits for 64 claims");
}

#[tokio::test]
async fn one_click_among_many_gets_the_right_to_create() {
    let folder = tempdir().unwrap();
    let (store, id) = stocked(&folder).await;
    let claims = (0..32).map(|_| claim(&store, id, 0));
    let claims = futures_util::future::join_all(claims).await;
    let granted = claims.iter().filter(|it| matches!(it, Claimed::Create { .. })).count();
    assert_eq!(granted, 1);
}

#[tokio::test]
async fn an_operation_that_fails_leaves_the_others_of_its_batch_alone() {
    let folder = tempdir().unwrap();
    let (store, _) = stocked(&folder).await;
    let (taken, free) = (connection("shop"), connection("bank"));
    let (taken, free) =
        tokio::join!(store.create_connection(&taken), store.create_connection(&free));
    assert!(matches!(taken, Err(StoreError::Conflict(text)) if text.contains("`shop`")));
    free.unwrap();
    assert_eq!(store.connections().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_batch_that_cannot_be_committed_is_answered_so_and_the_next_one_is_written() {
    let folder = tempdir().unwrap();
    let (store, id) = stocked(&folder).await;
    // SQLite ends a transaction by itself like this when the disk is full.
    let broken = store.writer.run(Durability::Durable, |db| {
        Box::pin(async move {
            sqlx::query("ROLLBACK").execute(db).await?;
            Ok(())
        })
    });
    let lost = failed_test(1);
    let (broken, lost) = tokio::join!(broken, try_claim(&store, id, &lost, at(0)));
    assert!(matches!(broken, Err(StoreError::Unusable(_))), "{broken:?}");
    assert!(lost.is_ok() || matches!(lost, Err(StoreError::Unusable(_))));
    store.ready().await.unwrap();
    let other = try_claim(&store, id, &failed_test(2), at(0)).await;
    assert!(matches!(other.unwrap(), Claimed::Create { .. }));
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let folder = tempdir().unwrap();
    let (store, _) = stocked(&folder).await;
    store.close().await;
    let refused = store.ready().await;
    assert!(matches!(refused, Err(StoreError::Unusable(text)) if text.contains("closed")));
}
