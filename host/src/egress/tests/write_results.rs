//! Tests what the record of a run states about a write if its exchange succeeds or fails in
//! different ways.

use super::*;
use crate::domain::{WriteAnswer, WriteRecord};

/// Sends one write to a tracker that runs this script. Returns the result, the answer in the
/// record, and the tracker.
async fn send_write<F, Fut>(
    script: F,
) -> (Result<OutboundResponse, HttpError>, WriteAnswer, FakeTracker)
where
    F: Fn(usize, TcpStream, RequestLog) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let tracker = FakeTracker::scripted(script).await;
    let mut builder = RequestsBuilder::granting(&[&tracker.origin()]);
    builder.limits.response_body_bytes = 1000;
    let journal = TestJournal::allowing();
    let run_requests = builder.requests_with(journal.permission());
    let answer = run_requests.send(post(run_requests.url("/issues.json"), "{}")).await;
    let (_, writes) = run_requests.finish().await;
    let [WriteRecord { answer: recorded, request_line, .. }] =
        <[WriteRecord; 1]>::try_from(writes).unwrap();
    assert_eq!(request_line, format!("POST {}/issues.json", tracker.origin()));
    let is_unmarked = journal.marks() == ["marked", "unmarked"];
    assert_eq!(is_unmarked, recorded == WriteAnswer::NotSent, "{:?}", journal.marks());
    (answer, recorded, tracker)
}

/// Sends one write to a tracker that responds with these bytes and then closes the connection.
async fn send_write_answered_with(
    bytes: &'static [u8],
) -> (Result<OutboundResponse, HttpError>, WriteAnswer) {
    let (answer, recorded, tracker) = send_write(move |_, mut stream, requests| async move {
        requests.read(&mut stream).await;
        stream.write_all(bytes).await.unwrap();
    })
    .await;
    assert_eq!(tracker.connections(), 1, "a write is sent once");
    (answer, recorded)
}

#[tokio::test]
async fn a_complete_response_is_recorded_with_its_status() {
    for (bytes, status) in [
        (&b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}"[..], 201),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n", 201),
        (b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n", 302),
        (b"HTTP/1.1 422 No\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 422),
        (b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", 500),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\nbytes", 101),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200),
    ] {
        let (answer, recorded) = send_write_answered_with(bytes).await;
        assert_eq!(recorded, WriteAnswer::Status(status));
        assert_eq!(answer.unwrap().status, status);
    }
}

#[tokio::test]
async fn an_incomplete_response_leaves_the_write_in_doubt() {
    for bytes in [
        &b"HTTP/1.1 201 Created\r\ncontent-length: 10\r\n\r\n{}"[..],
        b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n",
        b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\nnonsense",
        b"HTTP/1.1 201 Created\r\ncontent-",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"no HTTP at all\r\n\r\n",
        b"",
    ] {
        let (answer, recorded) = send_write_answered_with(bytes).await;
        assert!(matches!(recorded, WriteAnswer::Broken(_)), "{recorded:?}");
        assert!(matches!(answer, Err(HttpError::Interrupted(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn the_head_of_a_4xx_response_proves_that_the_write_was_refused() {
    let (answer, recorded) =
        send_write_answered_with(b"HTTP/1.1 422 No\r\ncontent-length: 10\r\n\r\n{}").await;
    assert_eq!(recorded, WriteAnswer::Status(422));
    assert!(matches!(answer, Err(HttpError::Interrupted(_))));
}

#[tokio::test]
async fn a_response_over_the_limit_leaves_the_write_in_doubt() {
    let (answer, recorded, _) = send_write(|_, mut stream, requests| async move {
        requests.read(&mut stream).await;
        let _ = stream.write_all(&super::answer("201 Created", &[], &[b'x'; 1001])).await;
        read_to_end(stream).await;
    })
    .await;
    assert!(matches!(recorded, WriteAnswer::Broken(why) if why.contains("answered 201")));
    assert!(matches!(answer, Err(HttpError::Limit(_))));
}

#[tokio::test]
async fn a_connection_reset_leaves_the_write_in_doubt_unless_nothing_was_sent() {
    let (answer, recorded, tracker) = send_write(|_, mut stream, requests| async move {
        requests.read(&mut stream).await;
        reset(stream);
    })
    .await;
    assert!(matches!(recorded, WriteAnswer::Broken(_)) && answer.is_err());
    assert_eq!(tracker.connections(), 1);
    // The tracker reads a part of the request and then resets the connection.
    let (_, recorded, _) = send_write(|_, mut stream, _| async move {
        stream.read_exact(&mut [0; 20]).await.unwrap();
        reset(stream);
    })
    .await;
    assert!(matches!(recorded, WriteAnswer::Broken(_)));
    // The tracker resets the connection before it reads the request. Depending on the timing, the
    // request is sent or not, but the record and the journal must state the same.
    let (answer, recorded, _) = send_write(|_, stream, _| async move { reset(stream) }).await;
    assert!(!matches!(recorded, WriteAnswer::Status(_)) && answer.is_err());
}
