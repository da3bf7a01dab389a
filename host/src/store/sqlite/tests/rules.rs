//! One failed test, one defect: each rule of the row's life.

use tempfile::tempdir;

use super::*;
use crate::domain::{Decision, DefectState, Marker, Refusal, Verdict};

fn in_doubt(ms: i64) -> Verdict {
    Verdict::InDoubt { reason: "no answer".to_owned(), write_ended_at: at(ms) }
}

#[tokio::test]
async fn a_created_defect_is_answered_again_without_a_commit() {
    let folder = tempdir().unwrap();
    let (store, id) = stocked(&folder).await;
    let first = claim(&store, id, 0).await;
    let held = lease(&first);
    let marker = Marker::derive(id, &failed_test(1), 1);
    let expected = Claimed::Create { lease: held.clone(), marker, generation: 1 };
    assert_eq!(first, expected);
    assert_eq!(claim(&store, id, 1).await, Claimed::Busy { until: at(LEASE_MS) });

    store.sent(&held, at(2)).await.unwrap();
    store.settle(&held, &Verdict::Created(defect("7")), event(), at(3)).await.unwrap();
    let record = store.defect(held.defect).await.unwrap().unwrap();
    assert_eq!((record.state, record.leased_until), (DefectState::Created, None));
    assert_eq!((record.sent_at, record.event), (Some(at(2)), Some(event())));
    let again = Claimed::Created { id: held.defect, defect: defect("7") };
    assert_eq!(claim(&store, id, 4).await, again);
    let commits = store.commits();
    for _ in 0..2 {
        let known = store.known_defect(id, &failed_test(1)).await.unwrap();
        assert_eq!(known, Some((held.defect, defect("7"))));
    }
    assert_eq!(store.commits(), commits, "a repeat only reads");
    store.decide(held.defect, &Decision::Release, "me", at(5)).await.unwrap();
    let known = store.known_defect(id, &failed_test(1)).await.unwrap();
    assert_eq!(known, None, "what was released is not answered from memory");
}

#[tokio::test]
async fn what_failed_runs_again_in_its_generation() {
    let folder = tempdir().unwrap();
    let (store, id) = stocked(&folder).await;
    let held = lease(&claim(&store, id, 0).await);
    store.sent(&held, at(1)).await.unwrap();
    let verdict = Verdict::Failed(Refusal::Rejected("no such project".to_owned()));
    store.settle(&held, &verdict, event(), at(2)).await.unwrap();
    let record = store.defect(held.defect).await.unwrap().unwrap();
    assert!(record.reason.unwrap().contains("no such project"));
    let again = claim(&store, id, 3).await;
    assert!(matches!(&again, Claimed::Create { generation: 1, .. }));
    assert_eq!((lease(&again).defect, lease(&again).fence), (held.defect, 2));
}

#[tokio::test]
async fn a_dead_intent_runs_again_and_a_dead_sent_is_looked_for() {
    let folder = tempdir().unwrap();
    let (store, id) = stocked(&folder).await;
    let dead = lease(&claim(&store, id, 0).await);
    let second = lease(&claim(&store, id, LEASE_MS).await);
    assert!(matches!(store.sent(&dead, at(LEASE_MS)).await, Err(StoreError::Fenced)));
    assert!(matches!(store.renew(&dead, at(999_999)).await, Err(StoreError::Fenced)));

    let sent_at = LEASE_MS + 5;
    store.sent(&second, at(sent_at)).await.unwrap();
    let looked = claim(&store, id, 3 * LEASE_MS).await;
    let Claimed::Find { write_ended_at, lease: third, .. } = looked else { panic!("{looked:?}") };
    assert_eq!(write_ended_at, at(sent_at + 120_000));
    assert_eq!(third.fence, 3);
    for stale in [&dead, &second] {
        let settled =
            store.settle(stale, &Verdict::Created(defect("1")), event(), at(100_000)).await;
        assert!(matches!(settled, Err(StoreError::Fenced)));
    }
    // The right to look is no right to write.
    assert!(matches!(store.sent(&third, at(3 * LEASE_MS)).await, Err(StoreError::Fenced)));
}

#[tokio::test]
async fn a_lease_that_ended_lets_no_write_out_even_where_nobody_took_it() {
    let folder = tempdir().unwrap();
    let (store, id) = stocked(&folder).await;
    let held = lease(&claim(&store, id, 0).await);
    assert!(matches!(store.sent(&held, at(LEASE_MS)).await, Err(StoreError::Fenced)));
    store.renew(&held, at(2 * LEASE_MS)).await.unwrap();
    store.sent(&held, at(LEASE_MS)).await.unwrap();
}

#[tokio::test]
async fn writes_that_never_left_are_taken_back_one_by_one() {
    let folder = tempdir().unwrap();
    let (store, id) = stocked(&folder).await;
    let held = lease(&claim(&store, id, 0).await);
    store.sent(&held, at(1)).await.unwrap();
    store.sent(&held, at(2)).await.unwrap();
    for expected in [DefectState::Sent, DefectState::Intent] {
        store.unsent(&held, at(3)).await.unwrap();
        assert_eq!(store.defect(held.defect).await.unwrap().unwrap().state, expected);
    }
    assert!(matches!(store.unsent(&held, at(4)).await, Err(StoreError::Fenced)));
}

#[tokio::test]
async fn looks_for_a_doubt_come_later_each_time_and_a_hit_adopts_it() {
    let folder = tempdir().unwrap();
    let (store, id) = stocked(&folder).await;
    let held = lease(&claim(&store, id, 0).await);
    store.sent(&held, at(1)).await.unwrap();
    store.settle(&held, &in_doubt(2), event(), at(2)).await.unwrap();
    let runner = RunnerId(Uuid::from_u128(3));
    let mut now = 2;
    for wait in [15_000, 15_000, 30_000, 60_000] {
        assert_eq!(store.due_doubts(at(now + wait - 1), RUN_MS, 9).await.unwrap(), []);
        now += wait;
        assert_eq!(store.due_doubts(at(now), RUN_MS, 9).await.unwrap().len(), 1);
        let found = store.claim_doubtful(held.defect, runner, at(now), at(now + 10)).await.unwrap();
        let found = lease(&found.unwrap());
        let second = store.claim_doubtful(held.defect, runner, at(now), at(now + 10)).await;
        assert_eq!(second.unwrap(), None);
        store.settle(&found, &Verdict::Unchanged, event(), at(now)).await.unwrap();
    }
    let found = lease(&claim(&store, id, now).await);
    store.settle(&found, &Verdict::Created(defect("7")), event(), at(now)).await.unwrap();
    assert!(matches!(claim(&store, id, now).await, Claimed::Created { .. }));
}

#[tokio::test]
async fn a_start_voids_the_leases_of_the_dead() {
    let folder = tempdir().unwrap();
    let (store, id) = stocked(&folder).await;
    let intent = lease(&claim(&store, id, 0).await);
    let written = try_claim(&store, id, &failed_test(2), at(0)).await.unwrap();
    store.sent(&lease(&written), at(5)).await.unwrap();
    store.close().await;

    let store = open(&folder).await;
    store.recover(at(10), RUN_MS).await.unwrap();
    assert!(matches!(claim(&store, id, 10).await, Claimed::Create { .. }));
    assert!(matches!(store.sent(&intent, at(10)).await, Err(StoreError::Fenced)));
    let due = store.due_doubts(at(10), RUN_MS, 9).await.unwrap();
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].write_ended_at, Some(at(5 + 120_000)));
}

#[tokio::test]
async fn people_settle_what_is_in_doubt_and_release_what_is_settled() {
    let folder = tempdir().unwrap();
    let (store, id) = stocked(&folder).await;
    let held = lease(&claim(&store, id, 0).await);
    store.sent(&held, at(1)).await.unwrap();
    let row = held.defect;
    let busy = store.decide(row, &Decision::Retry, "ann", at(2)).await;
    assert!(matches!(busy, Err(StoreError::Conflict(text)) if text.contains("holds it")));
    store.settle(&held, &in_doubt(2), event(), at(2)).await.unwrap();
    let early = store.decide(row, &Decision::Release, "ann", at(3)).await;
    assert!(matches!(early, Err(StoreError::Conflict(_))));

    store.decide(row, &Decision::Retry, "ann", at(3)).await.unwrap();
    let retried = claim(&store, id, 4).await;
    assert!(matches!(retried, Claimed::Find { retry: true, .. }), "still in doubt: {retried:?}");
    let retried = lease(&retried);
    store.create_after_all(&retried, at(4)).await.unwrap();
    let again = store.create_after_all(&retried, at(4)).await;
    assert!(matches!(again, Err(StoreError::Fenced)), "once for each retry");
    store.sent(&retried, at(5)).await.unwrap();
    store.settle(&retried, &in_doubt(6), event(), at(6)).await.unwrap();
    assert!(matches!(claim(&store, id, 6).await, Claimed::Find { retry: false, .. }));
    store.recover(at(6), RUN_MS).await.unwrap();
    store.decide(row, &Decision::Adopt(defect("7")), "bob", at(7)).await.unwrap();
    assert!(matches!(claim(&store, id, 8).await, Claimed::Created { .. }));
    let released = store.decide(row, &Decision::Release, "bob", at(9)).await.unwrap();
    let decided: Vec<_> =
        released.decisions.iter().map(|(_, who, what)| (who.as_str(), what.as_str())).collect();
    assert_eq!(decided, [("ann", "retry"), ("bob", "adopt"), ("bob", "release")]);
    assert!(store.decide(row, &Decision::Release, "bob", at(9)).await.is_err());

    let next = claim(&store, id, 10).await;
    assert!(matches!(next, Claimed::Create { generation: 2, .. }));
    assert_ne!(lease(&next).defect, row);
}

#[tokio::test]
async fn giving_up_lets_the_next_click_run_again() {
    let folder = tempdir().unwrap();
    let (store, id) = stocked(&folder).await;
    let held = lease(&claim(&store, id, 0).await);
    store.sent(&held, at(1)).await.unwrap();
    store.settle(&held, &in_doubt(2), event(), at(2)).await.unwrap();
    let record = store.decide(held.defect, &Decision::GiveUp, "ann", at(3)).await.unwrap();
    assert_eq!(record.state, DefectState::Failed);
    assert!(matches!(claim(&store, id, 4).await, Claimed::Create { generation: 1, .. }));
    let late = store.settle(&held, &Verdict::Created(defect("1")), event(), at(5)).await;
    assert!(matches!(late, Err(StoreError::Fenced)));
}

#[tokio::test]
async fn a_connection_with_open_creates_goes_or_moves_only_by_force() {
    let folder = tempdir().unwrap();
    let (store, id) = stocked(&folder).await;
    let held = lease(&claim(&store, id, 0).await);
    let mut edited = store.connections().await.unwrap().remove(0);
    edited.connection.grants.origins.push("https://mirror.example".parse().unwrap());
    store.update_connection(&edited, false).await.unwrap();
    edited.connection.grants.origins.remove(0);
    let moved = store.update_connection(&edited, false).await;
    assert!(matches!(moved, Err(StoreError::Conflict(_))), "{moved:?}");
    store.update_connection(&edited, true).await.unwrap();
    assert!(matches!(store.delete_connection(id, false).await, Err(StoreError::Conflict(_))));
    store.delete_connection(id, true).await.unwrap();
    assert!(matches!(store.sent(&held, at(1)).await, Err(StoreError::Fenced)));
    let unknown = try_claim(&store, id, &failed_test(1), at(2)).await;
    assert!(matches!(unknown, Err(StoreError::NotFound("connection"))));
}
