//! One failed test, one defect: the rules of the row, one by one.

use tempfile::tempdir;

use super::*;
use crate::domain::{DecidedDoubt, Decision, DefectState, Marker, OutcomeCode, SearchEnd};

#[tokio::test]
async fn a_repeat_returns_the_created_defect_without_a_commit() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let first = claim(&store, id, 0).await;
    let granted = lease(&first);
    let marker = Marker::derive(id, &failed_test(1), 1);
    let expected = Claimed::Create { lease: granted.clone(), marker, generation: 1 };
    assert_eq!(first, expected);
    assert_eq!(claim(&store, id, 1).await, Claimed::Busy { fence: 1 });

    mark(&store, &granted, 2).await.unwrap();
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
    store.decide(granted.defect, &Decision::Release, "me", at(5), RUN_MS).await.unwrap();
    let known = store.created_defect(id, &failed_test(1)).await.unwrap();
    assert_eq!(known, None, "a released defect is not in the cache");
}

#[tokio::test]
async fn a_run_without_a_write_may_run_again_and_one_with_a_write_is_searched_for() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    let refusal = Refusal::Rejected("no such project".to_owned());
    let nothing_left = Verdict::NotCreated { refusal, left: None };
    store.store_outcome(&granted, &nothing_left, event(), at(2)).await.unwrap();
    let again = claim(&store, id, 3).await;
    assert!(matches!(&again, Claimed::Create { generation: 1, .. }));
    let again = lease(&again);
    assert_eq!((again.defect, again.fence), (granted.defect, 2));

    mark(&store, &again, 4).await.unwrap();
    store.store_outcome(&again, &left(WriteClass::Refused, 5), event(), at(5)).await.unwrap();
    let record = store.defect(granted.defect).await.unwrap().unwrap();
    assert_eq!((record.state, record.class), (DefectState::Failed, Some(WriteClass::Refused)));
    assert!(record.reason.unwrap().contains("no such project"));
    assert_eq!(doubt(&claim(&store, id, 6).await).class, WriteClass::Refused);
}

#[tokio::test]
async fn the_row_keeps_the_worst_class_the_latest_end_and_the_number_of_writes() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let mut granted = lease(&claim(&store, id, 0).await);
    for (class, worst, ms) in [
        (WriteClass::Unclear, WriteClass::Unclear, 10),
        (WriteClass::Open, WriteClass::Open, 20),
        (WriteClass::Refused, WriteClass::Open, 30),
    ] {
        mark(&store, &granted, ms).await.unwrap();
        store.store_outcome(&granted, &left(class, ms), event(), at(ms)).await.unwrap();
        let claimed = claim(&store, id, ms).await;
        assert_eq!((doubt(&claimed).class, doubt(&claimed).wait_from), (worst, at(ms)));
        assert!(!doubt(&claimed).settled && doubt(&claimed).has_marker);
        granted = lease(&claimed);
        store.back_to_intent(&granted, at(ms)).await.unwrap();
    }
    let record = store.defect(granted.defect).await.unwrap().unwrap();
    assert_eq!((record.writes, record.state), (3, DefectState::Intent));
    store.release(&granted).await.unwrap();
    let after_a_crash = claim(&store, id, 40).await;
    assert_eq!(doubt(&after_a_crash).class, WriteClass::Open, "an intent after writes is searched");
}

#[tokio::test]
async fn a_first_write_without_the_marker_is_remembered() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    let unmarked = JournaledWrite { has_marker: false, ..write(at(1)) };
    store.mark_sending(&granted, unmarked, at(1)).await.unwrap();
    mark(&store, &granted, 2).await.unwrap();
    store.store_outcome(&granted, &left(WriteClass::Open, 3), event(), at(3)).await.unwrap();
    assert!(!doubt(&claim(&store, id, 4).await).has_marker);
}

#[tokio::test]
async fn a_claim_that_waited_for_a_run_gets_what_it_came_to() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    let Claimed::Busy { fence } = claim(&store, id, 1).await else { panic!("it is not busy") };
    mark(&store, &granted, 2).await.unwrap();
    store.store_outcome(&granted, &left(WriteClass::Refused, 3), event(), at(3)).await.unwrap();
    let test = failed_test(1);
    let claim = Claim {
        connection: id,
        test: &test,
        event: event(),
        runner: RunnerId(Uuid::from_u128(9)),
        now: at(4),
        lease_until: at(5),
        run_ms: RUN_MS,
        waited_for: Some(fence),
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
async fn after_a_crash_intent_may_create_again_and_sent_is_searched_for() {
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
    // A lease to search does not allow a write.
    assert!(matches!(mark(&store, &third, 3 * LEASE_MS).await, Err(StoreError::Fenced)));
    for stale in [&first, &second] {
        let stored =
            store.store_outcome(stale, &left(WriteClass::Refused, 1), event(), at(100_000)).await;
        assert!(matches!(stored, Err(StoreError::Fenced)));
    }
    let known = Verdict::Created(defect("1"));
    let stored = store.store_outcome(&second, &known, event(), at(100_000)).await;
    assert!(matches!(stored, Err(StoreError::Fenced)), "another run holds the row");
    store.release(&third).await.unwrap();
    store.store_outcome(&second, &known, event(), at(100_001)).await.unwrap();
    assert!(matches!(claim(&store, id, 100_002).await, Claimed::Created { .. }));
}

#[tokio::test]
async fn a_lease_that_ended_allows_no_write_even_if_no_other_runner_claimed_it() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    assert!(matches!(mark(&store, &granted, LEASE_MS).await, Err(StoreError::Fenced)));
    store.renew(&granted, at(2 * LEASE_MS)).await.unwrap();
    mark(&store, &granted, LEASE_MS).await.unwrap();
}

#[tokio::test]
async fn writes_that_did_not_leave_are_unmarked_one_by_one() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    mark(&store, &granted, 1).await.unwrap();
    mark(&store, &granted, 2).await.unwrap();
    for expected in [DefectState::Sent, DefectState::Intent] {
        store.unmark(&granted, at(3)).await.unwrap();
        assert_eq!(store.defect(granted.defect).await.unwrap().unwrap().state, expected);
    }
    assert!(matches!(store.unmark(&granted, at(4)).await, Err(StoreError::Fenced)));
    assert_eq!(store.defect(granted.defect).await.unwrap().unwrap().writes, 0);
}

#[tokio::test]
async fn the_wait_between_searches_doubles_and_a_hit_adopts_the_defect() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    mark(&store, &granted, 1).await.unwrap();
    store.store_outcome(&granted, &left(WriteClass::Open, 2), event(), at(2)).await.unwrap();
    let runner = RunnerId(Uuid::from_u128(3));
    let due = async |ms, open| store.due_searches(at(ms), RUN_MS, open, (9, 9)).await.unwrap();
    let mut now = 2;
    for wait in [15_000, 15_000, 30_000, 60_000] {
        assert_eq!(due(now + wait - 1, Vec::new()).await, []);
        now += wait;
        assert_eq!(due(now, Vec::new()).await.len(), 1);
        assert_eq!(due(now, vec![granted.defect]).await, [], "this process has it open");
        let claim = || store.claim_search(granted.defect, runner, at(now), at(now + 10));
        let found = claim().await.unwrap().unwrap();
        assert_eq!(claim().await.unwrap(), None);
        store.release(&found.lease).await.unwrap();
    }
    let found = lease(&claim(&store, id, now).await);
    store.store_outcome(&found, &Verdict::Found(defect("7")), event(), at(now)).await.unwrap();
    assert!(matches!(claim(&store, id, now).await, Claimed::Created { .. }));
    assert_eq!(due(now + 99_000_000, Vec::new()).await, []);
}

#[tokio::test]
async fn a_search_ends_the_doubt_or_needs_a_person() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    mark(&store, &granted, 1).await.unwrap();
    store.store_outcome(&granted, &left(WriteClass::Open, 2), event(), at(2)).await.unwrap();
    let search = lease(&claim(&store, id, 3).await);
    let person = SearchEnd::NeedsPerson("no search finds it".to_owned());
    store.end_search(&search, person, at(4)).await.unwrap();
    let record = store.defect(granted.defect).await.unwrap().unwrap();
    assert_eq!(record.needs_person.as_deref(), Some("no search finds it"));
    assert_eq!(store.due_searches(at(99_999), RUN_MS, Vec::new(), (9, 9)).await.unwrap(), []);

    let search = lease(&claim(&store, id, 5).await);
    store.end_search(&search, SearchEnd::Settled, at(6)).await.unwrap();
    let record = store.defect(granted.defect).await.unwrap().unwrap();
    assert_eq!((record.state, record.needs_person), (DefectState::Failed, None));
    let claimed = claim(&store, id, 7).await;
    assert!(doubt(&claimed).settled && doubt(&claimed).class == WriteClass::Open);
}

#[tokio::test]
async fn after_a_create_that_followed_a_doubt_a_second_record_is_searched_for_once() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    mark(&store, &granted, 1).await.unwrap();
    store.store_outcome(&granted, &left(WriteClass::Unclear, 2), event(), at(2)).await.unwrap();
    let search = lease(&claim(&store, id, 3).await);
    store.back_to_intent(&search, at(3)).await.unwrap();
    mark(&store, &search, 4).await.unwrap();
    store.store_outcome(&search, &Verdict::Created(defect("7")), event(), at(5)).await.unwrap();
    let due = store.due_searches(at(20_000), RUN_MS, Vec::new(), (9, 9)).await.unwrap();
    assert_eq!(due.len(), 1);
    let runner = RunnerId(Uuid::from_u128(3));
    let found = store.claim_search(due[0].id, runner, at(20_000), at(20_010)).await.unwrap();
    let found = found.unwrap();
    assert_eq!(found.created.as_deref(), Some("7"));
    store.end_search(&found.lease, SearchEnd::SearchAt(None), at(20_001)).await.unwrap();
    assert_eq!(store.due_searches(at(9_999_999), RUN_MS, Vec::new(), (9, 9)).await.unwrap(), []);
    assert!(matches!(claim(&store, id, 20_002).await, Claimed::Created { .. }));
}

#[tokio::test]
async fn a_search_is_tested_with_the_newest_defects_that_were_made_the_same_way() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    for number in 1..=5_u8 {
        let test = failed_test(u128::from(number));
        let granted = lease(&try_claim(&store, id, &test, at(0)).await.unwrap());
        let mut write = write(at(1));
        write.has_marker = number != 4;
        match number {
            3 => "other".clone_into(&mut write.seen.settings),
            2 => "11".clone_into(&mut write.seen.connector_sha256),
            _ => {}
        }
        store.mark_sending(&granted, write, at(1)).await.unwrap();
        let created = Verdict::Created(defect(&number.to_string()));
        store.store_outcome(&granted, &created, event(), at(2)).await.unwrap();
    }
    let too_new = store.controls(id, &write(at(1)).seen, at(1)).await.unwrap();
    assert_eq!(too_new, [], "the tracker's search may not find them yet");
    let controls = store.controls(id, &write(at(1)).seen, at(2)).await.unwrap();
    let keys: Vec<_> = controls.iter().map(|control| control.key.as_str()).collect();
    assert_eq!(keys, ["5", "1"]);
    assert_eq!(controls[0].marker, Marker::derive(id, &failed_test(5), 1));
}

#[tokio::test]
async fn a_start_voids_the_leases_of_dead_processes_and_begins_the_waits_again() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let intent = lease(&claim(&store, id, 0).await);
    let written = try_claim(&store, id, &failed_test(2), at(0)).await.unwrap();
    mark(&store, &lease(&written), 5).await.unwrap();
    let answered = lease(&try_claim(&store, id, &failed_test(3), at(0)).await.unwrap());
    mark(&store, &answered, 5).await.unwrap();
    store.store_outcome(&answered, &left(WriteClass::Open, 6), event(), at(6)).await.unwrap();
    store.close().await;

    let store = open(&folder).await;
    let now = 900_000;
    store.recover(at(now), RUN_MS).await.unwrap();
    assert!(matches!(claim(&store, id, now).await, Claimed::Create { .. }));
    assert!(matches!(mark(&store, &intent, now).await, Err(StoreError::Fenced)));
    assert_eq!(store.due_searches(at(now), RUN_MS, Vec::new(), (9, 9)).await.unwrap().len(), 2);
    for number in [2, 3] {
        let claimed = try_claim(&store, id, &failed_test(number), at(now)).await.unwrap();
        assert_eq!(doubt(&claimed).wait_from, at(now), "the clock may have been set meanwhile");
    }
    store.restart_waits(at(now + 7), RUN_MS).await.unwrap();
    let claimed = try_claim(&store, id, &failed_test(3), at(now + LEASE_MS)).await.unwrap();
    assert_eq!(doubt(&claimed).wait_from, at(now + 7));
}

#[tokio::test]
async fn a_step_of_the_clock_begins_the_waits_again_also_of_writes_in_progress_and_given_up_rows() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let sent = lease(&claim(&store, id, 0).await);
    mark(&store, &sent, 1).await.unwrap();
    let given_up = lease(&try_claim(&store, id, &failed_test(2), at(0)).await.unwrap());
    mark(&store, &given_up, 1).await.unwrap();
    store.store_outcome(&given_up, &left(WriteClass::Unclear, 2), event(), at(2)).await.unwrap();
    store.decide(given_up.defect, &Decision::GiveUp, "ann", at(3), RUN_MS).await.unwrap();

    let now = 9_000_000;
    store.restart_waits(at(now), RUN_MS).await.unwrap();
    let claimed = try_claim(&store, id, &failed_test(2), at(now)).await.unwrap();
    assert_eq!(doubt(&claimed).wait_from, at(now));
    let claimed = claim(&store, id, now).await;
    assert_eq!(doubt(&claimed).wait_from, at(now + 120_000));
}

#[tokio::test]
async fn a_lost_run_does_not_make_an_acknowledged_write_an_open_one() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    mark(&store, &granted, 1).await.unwrap();
    store
        .store_outcome(&granted, &left(WriteClass::Acknowledged, 2), event(), at(2))
        .await
        .unwrap();
    let retried = lease(&claim(&store, id, 3).await);
    store.back_to_intent(&retried, at(3)).await.unwrap();
    mark(&store, &retried, 4).await.unwrap();
    let lost = claim(&store, id, 4 * LEASE_MS).await;
    assert_eq!(doubt(&lost).class, WriteClass::Acknowledged);
}

#[tokio::test]
async fn the_index_delay_counts_from_a_decision() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    for (number, decision) in [(1, Decision::Retry), (2, Decision::GiveUp)] {
        let test = failed_test(number);
        let granted = lease(&try_claim(&store, id, &test, at(0)).await.unwrap());
        mark(&store, &granted, 1).await.unwrap();
        // The run stored nothing: its write may go on until the run's maximum.
        let decided = store.decide(granted.defect, &decision, "ann", at(LEASE_MS + 1), RUN_MS);
        decided.await.unwrap();
        let claimed = try_claim(&store, id, &test, at(LEASE_MS + 2)).await.unwrap();
        assert_eq!(doubt(&claimed).wait_from, at(1 + 120_000), "{decision:?}");
        store.release(&lease(&claimed)).await.unwrap();
        let late = 10 * LEASE_MS;
        if decision == Decision::Retry {
            store.decide(granted.defect, &decision, "ann", at(late), RUN_MS).await.unwrap();
            let claimed = try_claim(&store, id, &test, at(late + 1)).await.unwrap();
            assert_eq!(doubt(&claimed).wait_from, at(late));
        }
    }
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
    assert_eq!(store.restored_at(), None, "a start like any other");
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
    assert_eq!(store.restored_at(), Some(at(20)), "the mark stays");
}

#[tokio::test]
async fn a_restored_database_puts_rows_without_a_defect_in_doubt() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    store.recover(at(0), RUN_MS).await.unwrap();
    let intent = lease(&claim(&store, id, 1).await);
    store.release(&intent).await.unwrap();
    let created = lease(&try_claim(&store, id, &failed_test(2), at(1)).await.unwrap());
    mark(&store, &created, 2).await.unwrap();
    store.store_outcome(&created, &Verdict::Created(defect("7")), event(), at(3)).await.unwrap();
    store.decide(created.defect, &Decision::Release, "ann", at(4), RUN_MS).await.unwrap();
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

#[tokio::test]
async fn people_resolve_a_defect_in_doubt_and_release_a_resolved_one() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    mark(&store, &granted, 1).await.unwrap();
    let row = granted.defect;
    let busy = store.decide(row, &Decision::Retry, "ann", at(2), RUN_MS).await;
    assert!(
        matches!(busy, Err(StoreError::Conflict(text)) if text.contains("a run holds this defect"))
    );
    store.store_outcome(&granted, &left(WriteClass::Open, 2), event(), at(2)).await.unwrap();
    let early = store.decide(row, &Decision::Release, "ann", at(3), RUN_MS).await;
    assert!(matches!(early, Err(StoreError::Conflict(_))));

    store.decide(row, &Decision::Retry, "ann", at(3), RUN_MS).await.unwrap();
    let retried = claim(&store, id, 4).await;
    assert_eq!(doubt(&retried).decided, Some(DecidedDoubt::Retry));
    let retried = lease(&retried);
    store.back_to_intent(&retried, at(4)).await.unwrap();
    let again = store.back_to_intent(&retried, at(4)).await;
    assert!(matches!(again, Err(StoreError::Fenced)), "once for each retry");
    mark(&store, &retried, 5).await.unwrap();
    store.store_outcome(&retried, &left(WriteClass::Open, 6), event(), at(6)).await.unwrap();
    assert_eq!(doubt(&claim(&store, id, 6).await).decided, None);
    store.recover(at(6), RUN_MS).await.unwrap();
    store.decide(row, &Decision::Adopt(defect("7")), "bob", at(7), RUN_MS).await.unwrap();
    assert!(matches!(claim(&store, id, 8).await, Claimed::Created { .. }));
    let released = store.decide(row, &Decision::Release, "bob", at(9), RUN_MS).await.unwrap();
    let decided: Vec<_> = released
        .decisions
        .iter()
        .map(|(_, who, decision)| (who.as_str(), decision.as_str()))
        .collect();
    assert_eq!(decided, [("ann", "retry"), ("bob", "adopt"), ("bob", "release")]);
    assert!(store.decide(row, &Decision::Release, "bob", at(9), RUN_MS).await.is_err());

    let next = claim(&store, id, 10).await;
    assert!(matches!(next, Claimed::Create { generation: 2, .. }));
    assert_ne!(lease(&next).defect, row);
}

#[tokio::test]
async fn after_a_give_up_the_next_claim_searches_once_more() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    mark(&store, &granted, 1).await.unwrap();
    store
        .store_outcome(&granted, &left(WriteClass::Acknowledged, 2), event(), at(2))
        .await
        .unwrap();
    let record =
        store.decide(granted.defect, &Decision::GiveUp, "ann", at(3), RUN_MS).await.unwrap();
    assert_eq!(record.state, DefectState::Failed);
    let claimed = claim(&store, id, 4).await;
    assert_eq!(doubt(&claimed).decided, Some(DecidedDoubt::GiveUp));
    store.back_to_intent(&lease(&claimed), at(4)).await.unwrap();
    mark(&store, &lease(&claimed), 5).await.unwrap();
    let refused = left(WriteClass::Refused, 6);
    store.store_outcome(&lease(&claimed), &refused, event(), at(6)).await.unwrap();
    assert_eq!(
        doubt(&claim(&store, id, 7).await).class,
        WriteClass::Refused,
        "it counts as refused"
    );
}

#[tokio::test]
async fn a_person_adopts_a_defect_for_a_failed_row() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    mark(&store, &granted, 1).await.unwrap();
    store.store_outcome(&granted, &left(WriteClass::Refused, 2), event(), at(2)).await.unwrap();
    store
        .decide(granted.defect, &Decision::Adopt(defect("7")), "ann", at(3), RUN_MS)
        .await
        .unwrap();
    assert!(matches!(claim(&store, id, 4).await, Claimed::Created { .. }));
    let controls = store.controls(id, &write(at(1)).seen, at(2)).await.unwrap();
    assert_eq!(controls, [], "its record may not contain the marker");
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
    mark(&store, &granted, 1).await.unwrap();
    store.store_outcome(&granted, &left(WriteClass::Open, 2), event(), at(2)).await.unwrap();
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
async fn an_unclear_write_does_not_keep_an_origin_from_being_changed() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = lease(&claim(&store, id, 0).await);
    mark(&store, &granted, 1).await.unwrap();
    store.store_outcome(&granted, &left(WriteClass::Unclear, 2), event(), at(2)).await.unwrap();
    let mut edited = store.connections().await.unwrap().remove(0);
    edited.record.connection.grants.origins.clear();
    store.update_connection(&edited, false).await.unwrap();
}
