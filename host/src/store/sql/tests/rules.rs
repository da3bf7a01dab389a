//! Tests of claims, and of what a run may store in the row that it leases.

use tempfile::tempdir;

use super::*;
use crate::domain::{Decision, DefectState, FollowUpKind, Marker, OutcomeCode};
use crate::store::DefectStore as _;

#[tokio::test]
async fn a_repeat_returns_the_created_defect_without_a_commit() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let first = claim(&store, id, 0).await;
    let granted = lease(&first);
    let marker = Marker::derive(id, &failed_test(1), 1);
    let expected = Claimed::Create { lease: granted.clone(), marker, generation: 1 };
    assert_eq!(first, expected);
    assert!(matches!(claim(&store, id, 1).await, Claimed::Busy { fence: 1, .. }));

    mark(&store, &granted, 2).await.unwrap();
    store
        .store_outcome(&granted, &RowEnd::Created(defect("7")), &[], event(), at(3))
        .await
        .unwrap();
    let record = store.defect(granted.defect).await.unwrap().unwrap();
    assert_eq!((record.state, record.leased_until), (DefectState::Created, None));
    assert_eq!((record.sent_at, record.event), (Some(at(2)), Some(event())));
    let again = Claimed::Created { id: granted.defect, defect: defect("7") };
    assert_eq!(claim(&store, id, 4).await, again);
    let (commits, created) = (store.commits(), Some((granted.defect, defect("7"))));
    let cached = created.clone().filter(|_| CACHES_DEFECTS);
    assert_eq!(store.cached_defect(id, &failed_test(1)), cached, "the claim caches the defect");
    assert_eq!(store.created_defect(id, &failed_test(1)).await.unwrap(), created);
    assert_eq!(store.commits(), commits, "a repeat only reads");
    store.decide(granted.defect, &Decision::Release, &[], "me", at(5), RUN_MS).await.unwrap();
    assert_eq!(store.cached_defect(id, &failed_test(1)), None, "the defect was released");
    assert_eq!(store.created_defect(id, &failed_test(1)).await.unwrap(), None);
}

#[tokio::test]
async fn a_run_may_store_the_same_defect_twice_but_no_other_outcome() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    mark(&store, &granted, 1).await.unwrap();
    let created = RowEnd::Created(defect("7\0"));
    let steps = [FollowUpKind::Attach];
    for ms in [2, 3] {
        store.store_outcome(&granted, &created, &steps, event(), at(ms)).await.unwrap();
    }
    let record = store.defect(granted.defect).await.unwrap().unwrap();
    assert_eq!(record.follow_ups.len(), 1, "the steps are added once");
    for other in [RowEnd::Created(defect("8")), failed_after_write(WriteClass::Open, 4)] {
        let stored = store.store_outcome(&granted, &other, &[], event(), at(4)).await;
        assert!(matches!(stored, Err(StoreError::Fenced)), "{other:?}");
    }
}

#[tokio::test]
async fn a_defect_with_any_character_in_its_texts_is_stored() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    let odd = defect("7\0 \\u0000 \u{1f41b}");
    let created = RowEnd::Created(odd.clone());
    store.store_outcome(&granted, &created, &[], event(), at(3)).await.unwrap();
    let again = Claimed::Created { id: granted.defect, defect: odd };
    assert_eq!(claim(&store, id, 4).await, again);
}

#[tokio::test]
async fn a_claim_may_create_after_a_run_without_a_write_and_must_search_after_a_run_with_a_write() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    let refusal = Refusal::Rejected("no such project".to_owned().into());
    let nothing_sent = RowEnd::NotCreated(NotCreated::nothing_sent(refusal));
    store.store_outcome(&granted, &nothing_sent, &[], event(), at(2)).await.unwrap();
    let again = claim(&store, id, 3).await;
    assert!(matches!(&again, Claimed::Create { generation: 1, .. }));
    let again = lease(&again);
    assert_eq!((again.defect, again.fence), (granted.defect, 2));

    mark(&store, &again, 4).await.unwrap();
    store
        .store_outcome(&again, &failed_after_write(WriteClass::Refused, 5), &[], event(), at(5))
        .await
        .unwrap();
    let record = store.defect(granted.defect).await.unwrap().unwrap();
    assert_eq!((record.state, record.class), (DefectState::Failed, Some(WriteClass::Refused)));
    assert!(record.reason.unwrap().contains("no such project"));
    assert_eq!(doubt(&claim(&store, id, 6).await).class, WriteClass::Refused);
}

#[tokio::test]
async fn the_row_stores_the_worst_class_the_latest_end_and_the_number_of_writes() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let mut granted = lease(&claim(&store, id, 0).await);
    for (class, worst, ms) in [
        (WriteClass::Unclear, WriteClass::Unclear, 10),
        (WriteClass::Open, WriteClass::Open, 20),
        (WriteClass::Refused, WriteClass::Open, 30),
    ] {
        mark(&store, &granted, ms).await.unwrap();
        store
            .store_outcome(&granted, &failed_after_write(class, ms), &[], event(), at(ms))
            .await
            .unwrap();
        let claimed = claim(&store, id, ms).await;
        assert_eq!((doubt(&claimed).class, doubt(&claimed).wait_from), (worst, at(ms)));
        assert!(!doubt(&claimed).has_ended && doubt(&claimed).has_marker);
        granted = lease(&claimed);
        store.move_back_to_intent(&granted, None, at(ms)).await.unwrap();
    }
    let record = store.defect(granted.defect).await.unwrap().unwrap();
    assert_eq!((record.writes, record.state), (3, DefectState::Intent));
    store.give_back(&granted).await.unwrap();
    let after_a_crash = claim(&store, id, 40).await;
    assert_eq!(
        doubt(&after_a_crash).class,
        WriteClass::Open,
        "after writes, a row in `intent` requires a search"
    );
}

#[tokio::test]
async fn the_row_stores_whether_the_first_write_of_a_run_contained_the_marker() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    let unmarked = JournaledWrite { has_marker: false, ..write(at(1)) };
    store.mark_sending(&granted, unmarked, at(1)).await.unwrap();
    mark(&store, &granted, 2).await.unwrap();
    store
        .store_outcome(&granted, &failed_after_write(WriteClass::Open, 3), &[], event(), at(3))
        .await
        .unwrap();
    assert!(!doubt(&claim(&store, id, 4).await).has_marker);
}

#[tokio::test]
async fn a_claim_that_waited_for_a_run_gets_the_outcome_of_that_run() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    let Claimed::Busy { fence, .. } = claim(&store, id, 1).await else {
        panic!("the row is not busy")
    };
    mark(&store, &granted, 2).await.unwrap();
    store
        .store_outcome(&granted, &failed_after_write(WriteClass::Refused, 3), &[], event(), at(3))
        .await
        .unwrap();
    let claim = Claim {
        connection: id,
        test: failed_test(1),
        event: event(),
        now: at(4),
        lease_until: at(5),
        run_ms: RUN_MS,
        awaited_fence: Some(fence),
        rows_in_work_if_recurrence: None,
    };
    match store.claim(claim).await.unwrap() {
        Claimed::Ended { code, detail } => {
            assert_eq!(code, OutcomeCode::Rejected);
            assert!(detail.contains("no such project"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn after_a_crash_a_row_in_intent_allows_a_create_and_a_row_in_sent_requires_a_search() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let first = lease(&claim(&store, id, 0).await);
    let second = lease(&claim(&store, id, LEASE_MS).await);
    assert!(matches!(mark(&store, &first, LEASE_MS).await, Err(StoreError::Fenced)));
    assert!(matches!(store.renew(&first, at(999_999)).await, Err(StoreError::Fenced)));

    let sent_at = LEASE_MS + 5;
    mark(&store, &second, sent_at).await.unwrap();
    let claimed = claim(&store, id, 3 * LEASE_MS).await;
    let third = lease(&claimed);
    assert_eq!(doubt(&claimed).wait_from, at(sent_at + 120_000));
    assert_eq!((doubt(&claimed).class, third.fence), (WriteClass::Open, 3));
    // A lease for a search does not allow a write.
    assert!(matches!(mark(&store, &third, 3 * LEASE_MS).await, Err(StoreError::Fenced)));
    for stale in [&first, &second] {
        let stored = store
            .store_outcome(
                stale,
                &failed_after_write(WriteClass::Refused, 1),
                &[],
                event(),
                at(100_000),
            )
            .await;
        assert!(matches!(stored, Err(StoreError::Fenced)));
    }
    let known = RowEnd::Created(defect("1"));
    let stored = store.store_outcome(&second, &known, &[], event(), at(100_000)).await;
    assert!(matches!(stored, Err(StoreError::Fenced)), "another run has leased the row");
    store.give_back(&third).await.unwrap();
    store.store_outcome(&second, &known, &[], event(), at(100_001)).await.unwrap();
    assert!(matches!(claim(&store, id, 100_002).await, Claimed::Created { .. }));
}

#[tokio::test]
async fn a_lease_that_ended_allows_no_write_even_if_no_other_run_claimed_the_row() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    assert!(matches!(mark(&store, &granted, LEASE_MS).await, Err(StoreError::Fenced)));
    store.renew(&granted, at(2 * LEASE_MS)).await.unwrap();
    mark(&store, &granted, LEASE_MS).await.unwrap();
}

#[tokio::test]
async fn writes_that_were_not_sent_are_unmarked_one_by_one() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    mark(&store, &granted, 1).await.unwrap();
    mark(&store, &granted, 2).await.unwrap();
    for expected in [DefectState::Sent, DefectState::Intent] {
        store.unmark_sending(&granted, at(3)).await.unwrap();
        assert_eq!(store.defect(granted.defect).await.unwrap().unwrap().state, expected);
    }
    assert!(matches!(store.unmark_sending(&granted, at(4)).await, Err(StoreError::Fenced)));
    assert_eq!(store.defect(granted.defect).await.unwrap().unwrap().writes, 0);
}
