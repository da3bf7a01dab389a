//! Tests the rules for writes: a write is refused after a failed write and after the end of the
//! lease, and the journal learns whether a write contains the marker.

use super::*;
use crate::domain::WriteAnswer;

/// Starts a tracker that answers the requests of each HTTP connection with these statuses, in this
/// order.
async fn tracker_answering(statuses: &'static [&'static str]) -> FakeTracker {
    FakeTracker::scripted(move |_, mut stream, requests| async move {
        for status in statuses {
            requests.read(&mut stream).await;
            stream.write_all(&answer(status, &[], b"{}")).await.unwrap();
        }
    })
    .await
}

#[tokio::test]
async fn after_a_failed_write_no_other_write_of_the_run_is_sent() {
    for (first_status, is_second_allowed) in [
        ("201 Created", true),
        ("202 Accepted", true),
        ("404 Not Found", false),
        ("422 Unprocessable", false),
        ("302 Found", false),
        ("500 Error", false),
    ] {
        let statuses: &'static [&'static str] = Vec::from([first_status, "201 Created"]).leak();
        let tracker = tracker_answering(statuses).await;
        let journal = TestJournal::allowing();
        let run_requests =
            RequestsBuilder::granting(&[&tracker.origin()]).requests_with(journal.permission());
        run_requests.send(post(run_requests.url("/first"), "{}")).await.unwrap();
        let second = run_requests.send(post(run_requests.url("/second"), "{}")).await;
        assert_eq!(second.is_ok(), is_second_allowed, "{first_status}: {second:?}");
        assert_eq!(is_denied(&second), !is_second_allowed, "{first_status}");
        let sent = if is_second_allowed { 2 } else { 1 };
        assert_eq!(tracker.requests().len(), sent, "{first_status}");
    }
}

#[tokio::test]
async fn the_journal_is_told_whether_a_write_contains_the_marker() {
    let marker = marker();
    for (path, header, body, has_marker) in [
        ("/".to_owned(), "", format!("{{\"text\":\"{marker}\"}}"), true),
        (format!("/issues/{marker}"), "", String::new(), true),
        (format!("/issues?key={marker}"), "", String::new(), true),
        ("/".to_owned(), marker.as_str(), String::new(), true),
        ("/".to_owned(), "", "no marker".to_owned(), false),
    ] {
        let tracker = tracker_answering(&["201 Created"]).await;
        let request = with_header(post(tracker.url(&path), body), "x-key", header);
        let journal = TestJournal::allowing();
        let run_requests =
            RequestsBuilder::granting(&[&tracker.origin()]).requests_with(journal.permission());
        run_requests.send(request).await.unwrap();
        let mark = if has_marker { "marked with marker" } else { "marked" };
        assert_eq!(journal.marks(), [mark]);
    }
}

#[tokio::test]
async fn no_write_is_sent_after_the_lease_has_ended() {
    let tracker = tracker_answering(&["201 Created"]).await;
    let journal = TestJournal::allowing();
    journal.is_lease_expired.store(true, Ordering::SeqCst);
    let run_requests =
        RequestsBuilder::granting(&[&tracker.origin()]).requests_with(journal.permission());
    assert!(matches!(
        run_requests.send(post(run_requests.url("/"), "{}")).await,
        Err(HttpError::Unreachable(_))
    ));
    assert_eq!(run_requests.finish().await.1[0].answer, WriteAnswer::NotSent);
    assert_eq!(journal.marks(), ["marked", "unmarked"]);
    assert!(tracker.requests().is_empty());
}
