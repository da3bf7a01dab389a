//! Tests of recurrences and of follow-up steps.

use tempfile::tempdir;

use super::*;
use crate::domain::{
    Decision, DefectId, FollowUp, FollowUpEnd, FollowUpKind, FollowUpState, Recurrence, SearchEnd,
};
use crate::store::DueDefect;
use crate::store::{DefectStore as _, FollowUpStore as _};

/// Claims failed test `number` at the instant `ms` as a possible recurrence. This is the claim for
/// a connection whose policy is not `new`.
async fn recurring_claim(
    store: &SqlStore,
    connection: ConnectionId,
    number: u128,
    ms: i64,
) -> Claimed {
    let claim = Claim {
        connection,
        test: failed_test(number),
        event: event(),
        now: at(ms),
        lease_until: at(ms + LEASE_MS),
        run_ms: RUN_MS,
        awaited_fence: None,
        rows_in_work_if_recurrence: Some(Vec::new()),
    };
    store.claim(claim).await.unwrap()
}

fn recurrence(claimed: Claimed) -> Recurrence {
    match claimed {
        Claimed::Recurs(recurrence) => *recurrence,
        other => panic!("not a recurrence: {other:?}"),
    }
}

async fn end_run(store: &SqlStore, lease: &Lease, verdict: &RowEnd, ms: i64) {
    store.store_outcome(lease, verdict, &[], event(), at(ms)).await.unwrap();
}

/// Stores defect 7 for failed test 1. Stores failed test 2 as its recurrence, with a comment as the
/// next step. Returns the row of failed test 2.
async fn row_with_due_comment(store: &SqlStore, connection: ConnectionId) -> DefectId {
    let first = lease(&recurring_claim(store, connection, 1, 0).await);
    mark(store, &first, 1).await.unwrap();
    end_run(store, &first, &RowEnd::Created(defect("7")), 2).await;
    let again = recurrence(recurring_claim(store, connection, 2, 3).await);
    let verdict = RowEnd::Recurs { defect: again.defect, original: again.original };
    let steps = [FollowUpKind::Comment];
    store.store_outcome(&again.lease, &verdict, &steps, event(), at(4)).await.unwrap();
    again.lease.defect
}

async fn claim_first_step(store: &SqlStore, id: DefectId, ms: i64) -> Option<(Lease, FollowUp)> {
    let claimed = store.claim_follow_ups(id, at(ms), at(ms + LEASE_MS), RUN_MS).await.unwrap();
    claimed.map(|due| (due.lease, due.steps[0].clone()))
}

async fn mark_step(store: &SqlStore, lease: &Lease, step: &FollowUp, ms: i64) {
    store.mark_follow_up(lease, step, true, at(ms + LEASE_MS), at(ms)).await.unwrap();
}

#[tokio::test]
async fn a_later_failure_waits_for_the_first_one_and_then_gets_its_defect() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let first = lease(&recurring_claim(&store, id, 1, 0).await);
    assert_eq!(recurring_claim(&store, id, 2, 1).await, Claimed::WaitsForFirst(first.defect));
    // A claim that cannot be a recurrence does not wait.
    let alone = try_claim(&store, id, &failed_test(3), at(1)).await.unwrap();
    end_run(&store, &lease(&alone), &failed_after_write(WriteClass::Refused, 1), 1).await;
    mark(&store, &first, 2).await.unwrap();
    end_run(&store, &first, &failed_after_write(WriteClass::Open, 3), 3).await;
    assert_eq!(
        recurring_claim(&store, id, 2, 4).await,
        Claimed::WaitsForFirst(first.defect),
        "in doubt"
    );
    let searched = lease(&recurring_claim(&store, id, 1, 5).await);
    end_run(&store, &searched, &RowEnd::Found(defect("7")), 6).await;
    let again = recurrence(recurring_claim(&store, id, 2, 7).await);
    assert_eq!((again.original, again.defect.key.as_str()), (first.defect, "7"));
    assert_eq!(again.snapshot.as_ref().map(|snapshot| snapshot.settings.as_str()), Some("{}"));
    let verdict = RowEnd::Recurs { defect: again.defect, original: again.original };
    end_run(&store, &again.lease, &verdict, 8).await;
    let record = store.defect(again.lease.defect).await.unwrap().unwrap();
    assert_eq!(record.recurrence_of, Some(first.defect));
    let third = recurrence(recurring_claim(&store, id, 4, 9).await);
    assert_eq!(third.original, first.defect, "the original is the first failure");
}

#[tokio::test]
async fn after_a_defect_is_closed_only_one_failure_may_create_another_defect() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let first = lease(&recurring_claim(&store, id, 1, 0).await);
    end_run(&store, &first, &RowEnd::Created(defect("7")), 1).await;
    let second = recurrence(recurring_claim(&store, id, 2, 2).await);
    let third = recurrence(recurring_claim(&store, id, 3, 2).await);
    assert!(store.allow_create_anew(&third.lease, third.latest, &[], at(3)).await.unwrap());
    assert!(!store.allow_create_anew(&second.lease, second.latest, &[], at(3)).await.unwrap());
    end_run(&store, &third.lease, &RowEnd::Created(defect("8")), 4).await;
    assert!(
        !store.allow_create_anew(&second.lease, second.latest, &[], at(5)).await.unwrap(),
        "another failure has a newer defect"
    );
    store.give_back(&second.lease).await.unwrap();
    let again = recurrence(recurring_claim(&store, id, 2, 6).await);
    assert_eq!((again.latest, again.defect.key.as_str()), (third.lease.defect, "8"));
}

#[tokio::test]
async fn a_failure_does_not_wait_for_an_earlier_one_that_needs_a_person() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let first = lease(&recurring_claim(&store, id, 1, 0).await);
    mark(&store, &first, 1).await.unwrap();
    end_run(&store, &first, &failed_after_write(WriteClass::Acknowledged, 2), 2).await;
    let searched = lease(&recurring_claim(&store, id, 1, 3).await);
    let person = SearchEnd::NeedsPerson("it is not found".to_owned());
    store.end_search(&searched, person, at(4)).await.unwrap();
    assert!(matches!(recurring_claim(&store, id, 2, 5).await, Claimed::Create { .. }));
}

#[tokio::test]
async fn a_failed_test_may_be_a_recurrence_when_its_doubt_ends_without_a_defect() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let second = lease(&recurring_claim(&store, id, 2, 0).await);
    mark(&store, &second, 1).await.unwrap();
    end_run(&store, &second, &failed_after_write(WriteClass::Refused, 2), 2).await;
    let first = lease(&recurring_claim(&store, id, 1, 3).await);
    let searched = lease(&recurring_claim(&store, id, 2, 4).await);
    let waits = store.move_back_to_intent(&searched, Some(&[]), at(5)).await.unwrap();
    assert_eq!(waits, Claimed::WaitsForFirst(first.defect));
    mark(&store, &first, 6).await.unwrap();
    end_run(&store, &first, &RowEnd::Created(defect("7")), 7).await;
    let again = recurrence(store.move_back_to_intent(&searched, Some(&[]), at(8)).await.unwrap());
    assert_eq!(again.original, first.defect);
}

#[tokio::test]
async fn a_step_is_tried_again_after_a_pause_until_it_is_done() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let row = row_with_due_comment(&store, id).await;
    let due = store.due_follow_ups(at(5), Vec::new(), DUE_LIMITS).await.unwrap();
    assert_eq!(due, [DueDefect { id: row, connection: id }]);
    assert_eq!(store.due_follow_ups(at(5), vec![row], DUE_LIMITS).await.unwrap(), []);
    let (lease, step) = claim_first_step(&store, row, 5).await.unwrap();
    assert_eq!((step.kind, step.tries, &step.doubt), (FollowUpKind::Comment, 1, &None));
    assert_eq!(claim_first_step(&store, row, 6).await, None, "the row is leased");
    let again = FollowUpEnd::Again { sent: None, at: None, reason: "it is down".to_owned() };
    store.end_follow_up(&lease, &step, again, at(7)).await.unwrap();
    store.give_back(&lease).await.unwrap();
    assert_eq!(claim_first_step(&store, row, 15_000).await, None, "the pause has not ended");
    let (lease, step) = claim_first_step(&store, row, 15_005).await.unwrap();
    assert_eq!(step.tries, 2);
    store.end_follow_up(&lease, &step, FollowUpEnd::Done, at(15_006)).await.unwrap();
    store.give_back(&lease).await.unwrap();
    let done = store.defect(row).await.unwrap().unwrap().follow_ups;
    assert_eq!((done[0].state, done[0].next_at), (FollowUpState::Done, None));
    assert_eq!(store.due_follow_ups(at(99_999_999), Vec::new(), DUE_LIMITS).await.unwrap(), []);
}

#[tokio::test]
async fn after_a_crash_a_write_without_a_stored_outcome_has_the_class_open() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let row = row_with_due_comment(&store, id).await;
    let (lease, step) = claim_first_step(&store, row, 5).await.unwrap();
    mark_step(&store, &lease, &step, 6).await;
    store.close().await;
    let store = open(&folder).await;
    let start = LEASE_MS + 7;
    store.recover(at(start), RUN_MS).await.unwrap();
    let late = FollowUpEnd::Done;
    assert!(matches!(
        store.end_follow_up(&lease, &step, late, at(start + 1)).await,
        Err(StoreError::Fenced)
    ));
    let (_, step) = claim_first_step(&store, row, start + 15_000).await.unwrap();
    let doubt = step.doubt.expect("a doubt about the write");
    assert_eq!(doubt.class, WriteClass::Open);
    assert!(doubt.wait_from >= at(6 + i64::try_from(RUN_MS).unwrap()), "{doubt:?}");
}

#[tokio::test]
async fn a_write_that_was_marked_but_not_sent_causes_no_doubt() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let row = row_with_due_comment(&store, id).await;
    let (lease, step) = claim_first_step(&store, row, 5).await.unwrap();
    mark_step(&store, &lease, &step, 6).await;
    store.unmark_follow_up(&lease, &step).await.unwrap();
    store.give_back(&lease).await.unwrap();
    let (lease, step) = claim_first_step(&store, row, 15_007).await.unwrap();
    assert_eq!(step.doubt, None);
    let ended = at(15_007 + LEASE_MS);
    let late = store.mark_follow_up(&lease, &step, true, at(99_999), ended).await;
    assert!(matches!(late, Err(StoreError::Fenced)), "the lease has ended");
}

#[tokio::test]
async fn steps_are_returned_in_the_order_of_their_kinds_and_missing_attachments_become_steps() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let first = lease(&recurring_claim(&store, id, 1, 0).await);
    let steps = [FollowUpKind::ListAttachments, FollowUpKind::Reopen];
    let created = RowEnd::Created(defect("7"));
    store.store_outcome(&first, &created, &steps, event(), at(1)).await.unwrap();
    let due = store.claim_follow_ups(first.defect, at(2), at(9), RUN_MS).await.unwrap().unwrap();
    let order: Vec<_> = due.steps.iter().map(|step| step.kind).collect();
    assert_eq!(order, [FollowUpKind::Reopen, FollowUpKind::ListAttachments]);
    let missing = FollowUpEnd::Missing(vec!["b.png".to_owned(), "a.txt".to_owned()]);
    store.end_follow_up(&due.lease, &due.steps[0], FollowUpEnd::Done, at(3)).await.unwrap();
    store.end_follow_up(&due.lease, &due.steps[1], missing, at(3)).await.unwrap();
    store.give_back(&due.lease).await.unwrap();
    let due = store.claim_follow_ups(first.defect, at(4), at(9), RUN_MS).await.unwrap().unwrap();
    let names: Vec<_> = due.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["a.txt", "b.png"]);
}

#[tokio::test]
async fn a_comment_waits_until_the_defect_is_open_again_but_attachments_do_not() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let first = lease(&recurring_claim(&store, id, 1, 0).await);
    let steps = [FollowUpKind::Reopen, FollowUpKind::Comment, FollowUpKind::ListAttachments];
    let created = RowEnd::Created(defect("7"));
    store.store_outcome(&first, &created, &steps, event(), at(1)).await.unwrap();
    let row = first.defect;
    let due = store.claim_follow_ups(row, at(2), at(9), RUN_MS).await.unwrap().unwrap();
    assert_eq!(due.steps.len(), 3);
    let later =
        FollowUpEnd::Again { sent: None, at: Some(at(90_000)), reason: "it is down".to_owned() };
    store.end_follow_up(&due.lease, &due.steps[0], later, at(3)).await.unwrap();
    store.give_back(&due.lease).await.unwrap();
    let due = store.claim_follow_ups(row, at(20_000), at(20_009), RUN_MS).await.unwrap().unwrap();
    let steps: Vec<_> = due.steps.iter().map(|step| step.kind).collect();
    assert_eq!(steps, [FollowUpKind::ListAttachments]);
    store.end_follow_up(&due.lease, &due.steps[0], FollowUpEnd::Done, at(20_001)).await.unwrap();
    store.give_back(&due.lease).await.unwrap();
    assert_eq!(store.due_follow_ups(at(89_000), Vec::new(), DUE_LIMITS).await.unwrap(), []);
    let due = store.claim_follow_ups(row, at(90_001), at(90_009), RUN_MS).await.unwrap().unwrap();
    assert_eq!((due.steps.len(), due.steps[0].tries, due.steps[1].tries), (2, 2, 1));
}

#[tokio::test]
async fn a_failure_waits_for_a_row_of_this_process_even_if_the_lease_seems_to_have_ended() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let first = lease(&recurring_claim(&store, id, 1, 0).await);
    let claim = Claim {
        connection: id,
        test: failed_test(2),
        event: event(),
        now: at(99_999_999),
        lease_until: at(99_999_999 + LEASE_MS),
        run_ms: RUN_MS,
        awaited_fence: None,
        rows_in_work_if_recurrence: Some(vec![first.defect]),
    };
    let claimed = store.claim(claim.clone()).await.unwrap();
    assert_eq!(claimed, Claimed::WaitsForFirst(first.defect));
    let no_rows_in_work = Claim { rows_in_work_if_recurrence: Some(Vec::new()), ..claim };
    let claimed = store.claim(no_rows_in_work).await.unwrap();
    assert!(matches!(claimed, Claimed::Create { .. }));
}

#[tokio::test]
async fn after_the_original_defect_is_released_the_next_failure_may_create_a_defect() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let row = row_with_due_comment(&store, id).await;
    let original = store.defect(row).await.unwrap().unwrap().recurrence_of.unwrap();
    store.decide(original, &Decision::Release, &[], "ann", at(9), RUN_MS).await.unwrap();
    // A run leases the row for its comment, and other failures do not wait for this run.
    assert!(claim_first_step(&store, row, 10).await.is_some());
    assert!(matches!(recurring_claim(&store, id, 3, 11).await, Claimed::Create { .. }));
}
