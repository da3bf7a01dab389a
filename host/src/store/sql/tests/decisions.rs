//! Tests of people's decisions about a defect. Also tests that unresolved defects of a connection
//! prevent some changes of the connection.

use tempfile::tempdir;

use super::*;
use crate::domain::{DecidedDoubt, Decision, DefectState};
use crate::store::ConnectionStore as _;
use crate::store::DefectStore as _;

#[tokio::test]
async fn the_index_delay_begins_again_when_a_person_decides() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    for (number, decision) in [(1, Decision::Retry), (2, Decision::GiveUp)] {
        let test = failed_test(number);
        let granted = lease(&try_claim(&store, id, &test, at(0)).await.unwrap());
        mark(&store, &granted, 1).await.unwrap();
        // The run stored no outcome, so its write may have lasted as long as a run may last.
        let decided = store.decide(granted.defect, &decision, &[], "ann", at(LEASE_MS + 1), RUN_MS);
        decided.await.unwrap();
        let claimed = try_claim(&store, id, &test, at(LEASE_MS + 2)).await.unwrap();
        assert_eq!(doubt(&claimed).wait_from, at(1 + 120_000), "{decision:?}");
        store.give_back(&lease(&claimed)).await.unwrap();
        let late = 10 * LEASE_MS;
        if decision == Decision::Retry {
            store.decide(granted.defect, &decision, &[], "ann", at(late), RUN_MS).await.unwrap();
            let claimed = try_claim(&store, id, &test, at(late + 1)).await.unwrap();
            assert_eq!(doubt(&claimed).wait_from, at(late));
        }
    }
}

#[tokio::test]
async fn people_resolve_a_defect_in_doubt_and_release_a_resolved_one() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    mark(&store, &granted, 1).await.unwrap();
    let row = granted.defect;
    let busy = store.decide(row, &Decision::Retry, &[], "ann", at(2), RUN_MS).await;
    assert!(
        matches!(busy, Err(StoreError::Conflict(text)) if text.contains("a run is working on this defect"))
    );
    store
        .store_outcome(&granted, &failed_after_write(WriteClass::Open, 2), &[], event(), at(2))
        .await
        .unwrap();
    let refused = store.decide(row, &Decision::Release, &[], "ann", at(3), RUN_MS).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))));

    store.decide(row, &Decision::Retry, &[], "ann", at(3), RUN_MS).await.unwrap();
    let retried = claim(&store, id, 4).await;
    assert_eq!(doubt(&retried).decision, Some(DecidedDoubt::Retry));
    let retried = lease(&retried);
    store.move_back_to_intent(&retried, None, at(4)).await.unwrap();
    let again = store.move_back_to_intent(&retried, None, at(4)).await;
    assert!(matches!(again, Err(StoreError::Fenced)), "a decision to retry allows only one create");
    mark(&store, &retried, 5).await.unwrap();
    store
        .store_outcome(&retried, &failed_after_write(WriteClass::Open, 6), &[], event(), at(6))
        .await
        .unwrap();
    let searching = claim(&store, id, 6).await;
    assert_eq!(doubt(&searching).decision, None);
    store.give_back(&lease(&searching)).await.unwrap();
    store.decide(row, &Decision::Adopt(defect("7")), &[], "bob", at(7), RUN_MS).await.unwrap();
    assert!(matches!(claim(&store, id, 8).await, Claimed::Created { .. }));
    let released = store.decide(row, &Decision::Release, &[], "bob", at(9), RUN_MS).await.unwrap();
    let decided: Vec<_> = released
        .decisions
        .iter()
        .map(|(_, who, decision)| (who.as_str(), decision.as_str()))
        .collect();
    assert_eq!(decided, [("ann", "retry"), ("bob", "adopt"), ("bob", "release")]);
    assert!(store.decide(row, &Decision::Release, &[], "bob", at(9), RUN_MS).await.is_err());

    let next = claim(&store, id, 10).await;
    assert!(matches!(next, Claimed::Create { generation: 2, .. }));
    assert_ne!(lease(&next).defect, row);
}

#[tokio::test]
async fn after_a_give_up_the_next_claim_searches_once_more() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = fail_after_write(&store, id, WriteClass::Acknowledged).await;
    let record =
        store.decide(granted.defect, &Decision::GiveUp, &[], "ann", at(3), RUN_MS).await.unwrap();
    assert_eq!(record.state, DefectState::Failed);
    let claimed = claim(&store, id, 4).await;
    assert_eq!(doubt(&claimed).decision, Some(DecidedDoubt::GiveUp));
    store.move_back_to_intent(&lease(&claimed), None, at(4)).await.unwrap();
    mark(&store, &lease(&claimed), 5).await.unwrap();
    let refused = failed_after_write(WriteClass::Refused, 6);
    store.store_outcome(&lease(&claimed), &refused, &[], event(), at(6)).await.unwrap();
    assert_eq!(
        doubt(&claim(&store, id, 7).await).class,
        WriteClass::Refused,
        "after `give-up`, the earlier write counts as refused"
    );
}

#[tokio::test]
async fn a_person_adopts_a_defect_for_a_failed_row() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = fail_after_write(&store, id, WriteClass::Refused).await;
    store
        .decide(granted.defect, &Decision::Adopt(defect("7")), &[], "ann", at(3), RUN_MS)
        .await
        .unwrap();
    assert!(matches!(claim(&store, id, 4).await, Claimed::Created { .. }));
    let controls = store.control_defects(id, &write(at(1)).snapshot, at(2)).await.unwrap();
    assert_eq!(controls, [], "an adopted defect cannot show that a search works");
}

#[tokio::test]
async fn a_connection_with_unresolved_creates_can_be_deleted_or_get_other_origins_only_by_force() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    let mut edited = store.connections().await.unwrap().remove(0);
    edited.record.connection.grants.origins.push("https://mirror.example".parse().unwrap());
    store.update_connection(&edited, false).await.unwrap();
    edited.record.connection.grants.origins.remove(0);
    edited.record.revision += 1;
    let moved = store.update_connection(&edited, false).await;
    assert!(matches!(moved, Err(StoreError::Conflict(_))), "{moved:?}");
    mark(&store, &granted, 1).await.unwrap();
    store
        .store_outcome(&granted, &failed_after_write(WriteClass::Open, 2), &[], event(), at(2))
        .await
        .unwrap();
    let moved = store.update_connection(&edited, false).await;
    assert!(matches!(moved, Err(StoreError::Conflict(_))), "{moved:?}");
    store.update_connection(&edited, true).await.unwrap();
    assert!(matches!(store.delete_connection(id, false).await, Err(StoreError::Conflict(_))));
    store.delete_connection(id, true).await.unwrap();
    assert!(matches!(mark(&store, &granted, 1).await, Err(StoreError::Fenced)));
    let unknown = try_claim(&store, id, &failed_test(1), at(2)).await;
    assert!(matches!(unknown, Err(StoreError::NotFound("connection"))));
}

#[tokio::test]
async fn an_origin_can_be_changed_after_an_unclear_write() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    fail_after_write(&store, id, WriteClass::Unclear).await;
    let mut edited = store.connections().await.unwrap().remove(0);
    edited.record.connection.grants.origins.clear();
    store.update_connection(&edited, false).await.unwrap();
}
