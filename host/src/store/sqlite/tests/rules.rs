//! One failed test, one defect: the rules of the row, one by one.

use tempfile::tempdir;

use super::*;
use crate::domain::{Decision, DefectState, Marker, Refusal, Verdict};

fn in_doubt(ms: i64) -> Verdict {
    Verdict::InDoubt { reason: "no answer".to_owned(), write_ended_at: at(ms) }
}

#[tokio::test]
async fn a_repeat_returns_the_created_defect_without_a_commit() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let first = claim(&store, id, 0).await;
    let granted = lease(&first);
    let marker = Marker::derive(id, &failed_test(1), 1);
    let expected = Claimed::Create { lease: granted.clone(), marker, generation: 1 };
    assert_eq!(first, expected);
    assert_eq!(claim(&store, id, 1).await, Claimed::Busy);

    store.mark_sending(&granted, at(2)).await.unwrap();
    store.store_outcome(&granted, &Verdict::Created(defect("7")), event(), at(3)).await.unwrap();
    let record = store.defect(granted.defect).await.unwrap().unwrap();
    assert_eq!((record.state, record.leased_until), (DefectState::Created, None));
    assert_eq!((record.sent_at, record.event), (Some(at(2)), Some(event())));
    let again = Claimed::Created { id: granted.defect, defect: defect("7") };
    assert_eq!(claim(&store, id, 4).await, again);
    let commits = store.commits();
    for _ in 0..2 {
        let known = store.created_defect(id, &failed_test(1)).await.unwrap();
        assert_eq!(known, Some((granted.defect, defect("7"))));
    }
    assert_eq!(store.commits(), commits, "a repeat only reads");
    store.decide(granted.defect, &Decision::Release, "me", at(5)).await.unwrap();
    let known = store.created_defect(id, &failed_test(1)).await.unwrap();
    assert_eq!(known, None, "a released defect is not in the cache");
}

#[tokio::test]
async fn a_failed_row_may_create_again_in_its_generation() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    store.mark_sending(&granted, at(1)).await.unwrap();
    let verdict = Verdict::Failed(Refusal::Rejected("no such project".to_owned()));
    store.store_outcome(&granted, &verdict, event(), at(2)).await.unwrap();
    let record = store.defect(granted.defect).await.unwrap().unwrap();
    assert!(record.reason.unwrap().contains("no such project"));
    let again = claim(&store, id, 3).await;
    assert!(matches!(&again, Claimed::Create { generation: 1, .. }));
    assert_eq!((lease(&again).defect, lease(&again).fence), (granted.defect, 2));
}

#[tokio::test]
async fn after_a_crash_intent_may_create_again_and_sent_is_searched_for() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let first = lease(&claim(&store, id, 0).await);
    let second = lease(&claim(&store, id, LEASE_MS).await);
    assert!(matches!(store.mark_sending(&first, at(LEASE_MS)).await, Err(StoreError::Fenced)));
    assert!(matches!(store.renew(&first, at(999_999)).await, Err(StoreError::Fenced)));

    let sent_at = LEASE_MS + 5;
    store.mark_sending(&second, at(sent_at)).await.unwrap();
    let claimed = claim(&store, id, 3 * LEASE_MS).await;
    let Claimed::Find { write_ended_at, lease: third, .. } = claimed else { panic!("{claimed:?}") };
    assert_eq!(write_ended_at, at(sent_at + 120_000));
    assert_eq!(third.fence, 3);
    for stale in [&first, &second] {
        let stored =
            store.store_outcome(stale, &Verdict::Created(defect("1")), event(), at(100_000)).await;
        assert!(matches!(stored, Err(StoreError::Fenced)));
    }
    // A lease to search does not allow a write.
    assert!(matches!(store.mark_sending(&third, at(3 * LEASE_MS)).await, Err(StoreError::Fenced)));
}

#[tokio::test]
async fn a_lease_that_ended_allows_no_write_even_if_no_other_runner_claimed_it() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    assert!(matches!(store.mark_sending(&granted, at(LEASE_MS)).await, Err(StoreError::Fenced)));
    store.renew(&granted, at(2 * LEASE_MS)).await.unwrap();
    store.mark_sending(&granted, at(LEASE_MS)).await.unwrap();
}

#[tokio::test]
async fn writes_that_did_not_leave_are_unmarked_one_by_one() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    store.mark_sending(&granted, at(1)).await.unwrap();
    store.mark_sending(&granted, at(2)).await.unwrap();
    for expected in [DefectState::Sent, DefectState::Intent] {
        store.unmark(&granted, at(3)).await.unwrap();
        assert_eq!(store.defect(granted.defect).await.unwrap().unwrap().state, expected);
    }
    assert!(matches!(store.unmark(&granted, at(4)).await, Err(StoreError::Fenced)));
}

#[tokio::test]
async fn the_wait_between_searches_doubles_and_a_hit_adopts_the_defect() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    store.mark_sending(&granted, at(1)).await.unwrap();
    store.store_outcome(&granted, &in_doubt(2), event(), at(2)).await.unwrap();
    let runner = RunnerId(Uuid::from_u128(3));
    let mut now = 2;
    for wait in [15_000, 15_000, 30_000, 60_000] {
        assert_eq!(store.due_doubts(at(now + wait - 1), RUN_MS, 9).await.unwrap(), []);
        now += wait;
        assert_eq!(store.due_doubts(at(now), RUN_MS, 9).await.unwrap().len(), 1);
        let found =
            store.claim_doubtful(granted.defect, runner, at(now), at(now + 10)).await.unwrap();
        let found = lease(&found.unwrap());
        let second = store.claim_doubtful(granted.defect, runner, at(now), at(now + 10)).await;
        assert_eq!(second.unwrap(), None);
        store.release(&found).await.unwrap();
    }
    let found = lease(&claim(&store, id, now).await);
    store.store_outcome(&found, &Verdict::Created(defect("7")), event(), at(now)).await.unwrap();
    assert!(matches!(claim(&store, id, now).await, Claimed::Created { .. }));
}

#[tokio::test]
async fn a_start_voids_the_leases_of_dead_processes() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let intent = lease(&claim(&store, id, 0).await);
    let written = try_claim(&store, id, &failed_test(2), at(0)).await.unwrap();
    store.mark_sending(&lease(&written), at(5)).await.unwrap();
    store.close().await;

    let store = open(&folder).await;
    store.recover(at(10), RUN_MS).await.unwrap();
    assert!(matches!(claim(&store, id, 10).await, Claimed::Create { .. }));
    assert!(matches!(store.mark_sending(&intent, at(10)).await, Err(StoreError::Fenced)));
    let due = store.due_doubts(at(10), RUN_MS, 9).await.unwrap();
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].write_ended_at, Some(at(5 + 120_000)));
}

#[tokio::test]
async fn people_resolve_a_defect_in_doubt_and_release_a_resolved_one() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    store.mark_sending(&granted, at(1)).await.unwrap();
    let row = granted.defect;
    let busy = store.decide(row, &Decision::Retry, "ann", at(2)).await;
    assert!(
        matches!(busy, Err(StoreError::Conflict(text)) if text.contains("a run holds this defect"))
    );
    store.store_outcome(&granted, &in_doubt(2), event(), at(2)).await.unwrap();
    let early = store.decide(row, &Decision::Release, "ann", at(3)).await;
    assert!(matches!(early, Err(StoreError::Conflict(_))));

    store.decide(row, &Decision::Retry, "ann", at(3)).await.unwrap();
    let retried = claim(&store, id, 4).await;
    assert!(matches!(retried, Claimed::Find { retry: true, .. }), "still in doubt: {retried:?}");
    let retried = lease(&retried);
    store.back_to_intent(&retried, at(4)).await.unwrap();
    let again = store.back_to_intent(&retried, at(4)).await;
    assert!(matches!(again, Err(StoreError::Fenced)), "once for each retry");
    store.mark_sending(&retried, at(5)).await.unwrap();
    store.store_outcome(&retried, &in_doubt(6), event(), at(6)).await.unwrap();
    assert!(matches!(claim(&store, id, 6).await, Claimed::Find { retry: false, .. }));
    store.recover(at(6), RUN_MS).await.unwrap();
    store.decide(row, &Decision::Adopt(defect("7")), "bob", at(7)).await.unwrap();
    assert!(matches!(claim(&store, id, 8).await, Claimed::Created { .. }));
    let released = store.decide(row, &Decision::Release, "bob", at(9)).await.unwrap();
    let decided: Vec<_> = released
        .decisions
        .iter()
        .map(|(_, who, decision)| (who.as_str(), decision.as_str()))
        .collect();
    assert_eq!(decided, [("ann", "retry"), ("bob", "adopt"), ("bob", "release")]);
    assert!(store.decide(row, &Decision::Release, "bob", at(9)).await.is_err());

    let next = claim(&store, id, 10).await;
    assert!(matches!(next, Claimed::Create { generation: 2, .. }));
    assert_ne!(lease(&next).defect, row);
}

#[tokio::test]
async fn after_a_give_up_the_next_claim_may_create() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    store.mark_sending(&granted, at(1)).await.unwrap();
    store.store_outcome(&granted, &in_doubt(2), event(), at(2)).await.unwrap();
    let record = store.decide(granted.defect, &Decision::GiveUp, "ann", at(3)).await.unwrap();
    assert_eq!(record.state, DefectState::Failed);
    assert!(matches!(claim(&store, id, 4).await, Claimed::Create { generation: 1, .. }));
    let late = store.store_outcome(&granted, &Verdict::Created(defect("1")), event(), at(5)).await;
    assert!(matches!(late, Err(StoreError::Fenced)));
}

#[tokio::test]
async fn a_connection_with_unresolved_creates_is_moved_or_deleted_only_by_force() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    let mut edited = store.connections().await.unwrap().remove(0);
    edited.record.connection.grants.origins.push("https://mirror.example".parse().unwrap());
    store.update_connection(&edited, false).await.unwrap();
    edited.record.connection.grants.origins.remove(0);
    let moved = store.update_connection(&edited, false).await;
    assert!(matches!(moved, Err(StoreError::Conflict(_))), "{moved:?}");
    store.update_connection(&edited, true).await.unwrap();
    assert!(matches!(store.delete_connection(id, false).await, Err(StoreError::Conflict(_))));
    store.delete_connection(id, true).await.unwrap();
    assert!(matches!(store.mark_sending(&granted, at(1)).await, Err(StoreError::Fenced)));
    let unknown = try_claim(&store, id, &failed_test(1), at(2)).await;
    assert!(matches!(unknown, Err(StoreError::NotFound("connection"))));
}
