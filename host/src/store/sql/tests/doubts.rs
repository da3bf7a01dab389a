//! Tests of searches for defects in doubt: when a search is due, how a search ends, and which known
//! defects show that a search works.

use tempfile::tempdir;

use super::*;
use crate::domain::{DefectState, Marker, SearchEnd};
use crate::store::DefectStore as _;
use crate::store::DoubtCounts;

#[tokio::test]
async fn the_wait_between_searches_doubles_and_a_found_defect_ends_the_searches() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = fail_after_write(&store, id, WriteClass::Open).await;
    let due = async |ms, open| store.due_searches(at(ms), RUN_MS, open, DUE_LIMITS).await.unwrap();
    let mut now = 2;
    for wait in [15_000, 15_000, 30_000, 60_000] {
        assert_eq!(due(now + wait - 1, Vec::new()).await, []);
        now += wait;
        assert_eq!(due(now, Vec::new()).await.len(), 1);
        assert_eq!(due(now, vec![granted.defect]).await, [], "this process works on the row");
        let claim = || store.claim_search(granted.defect, at(now), at(now + 10));
        let found = claim().await.unwrap().unwrap();
        assert_eq!(claim().await.unwrap(), None);
        store.give_back(&found.lease).await.unwrap();
    }
    let found = lease(&claim(&store, id, now).await);
    store.store_outcome(&found, &RowEnd::Found(defect("7")), &[], event(), at(now)).await.unwrap();
    assert!(matches!(claim(&store, id, now).await, Claimed::Created { .. }));
    assert_eq!(due(now + 99_000_000, Vec::new()).await, []);
}

#[tokio::test]
async fn a_search_ends_the_doubt_or_needs_a_person() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let granted = fail_after_write(&store, id, WriteClass::Open).await;
    let search = lease(&claim(&store, id, 3).await);
    let person = SearchEnd::NeedsPerson("no search finds it".to_owned());
    store.end_search(&search, person, at(4)).await.unwrap();
    let record = store.defect(granted.defect).await.unwrap().unwrap();
    assert_eq!(record.needs_person.as_deref(), Some("no search finds it"));
    let counts = DoubtCounts { connection: id, in_doubt: 1, need_person: 1 };
    assert_eq!(store.count_doubts().await.unwrap(), [counts]);
    assert_eq!(store.due_searches(at(99_999), RUN_MS, Vec::new(), DUE_LIMITS).await.unwrap(), []);

    let search = lease(&claim(&store, id, 5).await);
    store.end_search(&search, SearchEnd::DoubtEnded, at(6)).await.unwrap();
    let record = store.defect(granted.defect).await.unwrap().unwrap();
    assert_eq!((record.state, record.needs_person), (DefectState::Failed, None));
    let counts = DoubtCounts { in_doubt: 0, need_person: 0, ..counts };
    assert_eq!(store.count_doubts().await.unwrap(), [counts]);
    let claimed = claim(&store, id, 7).await;
    assert!(doubt(&claimed).has_ended && doubt(&claimed).class == WriteClass::Open);
}

#[tokio::test]
async fn after_a_defect_in_doubt_is_created_one_search_looks_for_a_second_record() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    fail_after_write(&store, id, WriteClass::Unclear).await;
    let search = lease(&claim(&store, id, 3).await);
    store.move_back_to_intent(&search, None, at(3)).await.unwrap();
    mark(&store, &search, 4).await.unwrap();
    store.store_outcome(&search, &RowEnd::Created(defect("7")), &[], event(), at(5)).await.unwrap();
    let due = store.due_searches(at(20_000), RUN_MS, Vec::new(), DUE_LIMITS).await.unwrap();
    assert_eq!(due.len(), 1);
    let found = store.claim_search(due[0].id, at(20_000), at(20_010)).await.unwrap();
    let found = found.unwrap();
    assert_eq!(found.created.as_deref(), Some("7"));
    store.end_search(&found.lease, SearchEnd::SearchAt(None), at(20_001)).await.unwrap();
    assert_eq!(
        store.due_searches(at(9_999_999), RUN_MS, Vec::new(), DUE_LIMITS).await.unwrap(),
        []
    );
    assert!(matches!(claim(&store, id, 20_002).await, Claimed::Created { .. }));
}

#[tokio::test]
async fn a_search_is_checked_with_the_newest_defects_that_were_created_in_the_same_way() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    for number in 1..=5_u8 {
        let test = failed_test(u128::from(number));
        let granted = lease(&try_claim(&store, id, &test, at(0)).await.unwrap());
        let mut write = write(at(1));
        write.has_marker = number != 4;
        match number {
            3 => "other".clone_into(&mut write.snapshot.settings),
            2 => "11".clone_into(&mut write.snapshot.connector_sha256),
            _ => {}
        }
        store.mark_sending(&granted, write, at(1)).await.unwrap();
        let created = RowEnd::Created(defect(&number.to_string()));
        store.store_outcome(&granted, &created, &[], event(), at(2)).await.unwrap();
    }
    let too_new = store.control_defects(id, &write(at(1)).snapshot, at(1)).await.unwrap();
    assert_eq!(too_new, [], "the tracker's search may not find them yet");
    let controls = store.control_defects(id, &write(at(1)).snapshot, at(2)).await.unwrap();
    let keys: Vec<_> = controls.iter().map(|control| control.key.as_str()).collect();
    assert_eq!(keys, ["5", "1"]);
    assert_eq!(controls[0].marker, Marker::derive(id, &failed_test(5), 1));
}
