//! Tests of connectors that several servers share: the order of the decisions, and which files and
//! reports are stored or deleted.

use std::collections::BTreeMap;

use tempfile::tempdir;

use super::*;
use crate::store::ConnectionStore as _;
use crate::store::{Change, ConnectorStore as _, ServerReport, SharedConnector, SharedFile};

/// Returns the content of file `number`. It is so large that it is stored in two parts.
fn content(number: u8) -> Vec<u8> {
    vec![number; (1 << 20) + 7]
}

fn file(name: &str, number: u8) -> SharedFile {
    let (name, sha256) = (name.to_owned(), format!("{number:064}"));
    SharedFile { name, is_script: false, sha256, content: content(number) }
}

/// Shares file `number` as a version of the connector `c`.
async fn share(store: &SqlStore, number: u8, ms: i64) -> i64 {
    store.share_connector(file("c", number), at(ms)).await.unwrap()
}

async fn only_connector(store: &SqlStore) -> SharedConnector {
    let [only] = <[_; 1]>::try_from(store.shared_connectors().await.unwrap()).unwrap();
    only
}

fn version_numbers(connector: &SharedConnector) -> Vec<String> {
    let number = |sha256: &str| sha256.trim_start_matches('0').to_owned();
    connector.versions.iter().map(|it| number(&it.sha256)).collect()
}

#[tokio::test]
async fn the_last_decision_of_any_server_is_valid_for_all_servers_and_they_are_notified() {
    let folder = tempdir().unwrap();
    let (store, other) = (open(&folder).await, open(&folder).await);
    assert_eq!(store.connectors_revision().await.unwrap(), 0);
    let mut changes = other.connector_changes();
    // The listener of the other server connects in the background, so it may miss the first
    // notifications.
    let first = share(&store, 1, 10).await;
    let second = share(&other, 2, 5).await;
    assert!(second > first);
    assert_eq!(share(&store, 2, 20).await, second, "the version is already in use");
    let now = only_connector(&store).await;
    assert_eq!(
        (now.revision, version_numbers(&now)),
        (second, vec!["2".to_owned(), "1".to_owned()])
    );
    assert!(
        now.versions[0].at > now.versions[1].at,
        "times grow although the second server's clock is behind"
    );
    assert_eq!(now.versions[0].bytes, content(2).len() as u64);

    let back = share(&store, 1, 30).await;
    assert_eq!(version_numbers(&only_connector(&other).await), ["1", "2"]);
    let removed = other.remove_connector("c", at(35)).await.unwrap();
    let now = only_connector(&store).await;
    assert_eq!((now.revision, now.removed, now.current()), (removed, true, None));
    assert_eq!(
        version_numbers(&now),
        ["1", "2"],
        "a removed connector keeps its versions for a rollback"
    );
    assert!(removed > back && share(&store, 1, 40).await > removed);
    assert!(
        only_connector(&other)
            .await
            .current()
            .is_some_and(|current| current.sha256 == file("c", 1).sha256)
    );
    assert!(matches!(changes.next().await, Change::Connectors | Change::Missed));
}

#[tokio::test]
async fn concurrent_decisions_get_different_numbers() {
    let folder = tempdir().unwrap();
    let stores = [open(&folder).await, open(&folder).await];
    let decisions = (1..=6).map(|number| share(&stores[usize::from(number) % 2], number, 0));
    let mut revisions = futures_util::future::join_all(decisions).await;
    let last = *revisions.iter().max().unwrap();
    revisions.sort_unstable();
    revisions.dedup();
    assert_eq!(revisions.len(), 6, "two decisions have the same number");
    let [a, b] = [only_connector(&stores[0]).await, only_connector(&stores[1]).await];
    assert_eq!((&a, a.revision), (&b, last));
    assert_eq!(a.versions.len(), 5, "more versions than the maximum are stored");
    assert_eq!(a.versions[0].revision, last);
}

#[tokio::test]
async fn a_stored_file_is_unchanged_and_is_deleted_some_time_after_its_last_use() {
    let folder = tempdir().unwrap();
    let (store, id) = store_with_connection(&folder).await;
    let sha256 = |number: u8| file("c", number).sha256;
    let read = async |number: u8, bytes_max: u64| {
        store.connector_file(&sha256(number), bytes_max).await.unwrap()
    };
    let bytes = content(1).len() as u64;
    for number in 1..=7 {
        share(&store, number, number.into()).await;
    }
    assert_eq!(read(7, bytes).await, Some(content(7)));
    assert_eq!(read(9, bytes).await, None);
    assert_eq!(read(7, bytes - 1).await, None, "a file that is too large is not read");
    store.accept_version(id, &sha256(1)).await.unwrap();
    // A file without a version is not deleted at once, because a server may still be adding its
    // parts.
    let hour = 3_600_000;
    share(&store, 8, hour / 2).await;
    assert!(read(2, bytes).await.is_some());
    share(&store, 9, hour + 100).await;
    assert_eq!(read(1, bytes).await, Some(content(1)), "a connection uses it");
    for number in [2, 3] {
        assert_eq!(read(number, bytes).await, None, "{number}");
    }
    assert!(read(5, bytes).await.is_some(), "a version within the limit");
}

#[tokio::test]
async fn two_connectors_can_have_the_same_file() {
    let folder = tempdir().unwrap();
    let store = open(&folder).await;
    for name in ["b", "a"] {
        store.share_connector(file(name, 1), at(0)).await.unwrap();
    }
    let all = store.shared_connectors().await.unwrap();
    assert_eq!(all.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(number(&store, "SELECT COUNT(*) FROM connector_parts").await, 2);
}

#[tokio::test]
async fn the_report_of_a_server_is_returned_until_it_is_outdated() {
    let folder = tempdir().unwrap();
    let store = open(&folder).await;
    let report = |server: u128, sha256: &str, ms| ServerReport {
        server: Uuid::from_u128(server),
        label: format!("server {server}"),
        at: at(ms),
        connectors: BTreeMap::from([("c".to_owned(), sha256.to_owned())]),
    };
    for loaded in [report(2, "old", 0), report(1, "a", 0), report(2, "b", 10)] {
        store.store_server_report(loaded).await.unwrap();
    }
    let reports = store.server_reports(at(0)).await.unwrap();
    assert_eq!(reports, [report(1, "a", 0), report(2, "b", 10)]);
    assert_eq!(store.server_reports(at(5)).await.unwrap(), [report(2, "b", 10)]);
    store.store_server_report(report(3, "c", 25 * 3_600_000)).await.unwrap();
    assert_eq!(number(&store, "SELECT COUNT(*) FROM loaded_connectors").await, 1);
}
