//! Tests what a refusal over HTTP/2 proves about a write, the fallback from HTTP/2 to HTTP/1.1, and
//! TLS streams that end without `close_notify`.

use super::tls::{Authority, authority};
use super::*;
use crate::domain::WriteAnswer;
use tokio_rustls::server::TlsStream;

const CREATED_RESPONSE: &[u8] = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}";
/// Error codes of HTTP/2 (RFC 9113, section 7).
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const HTTP_1_1_REQUIRED: u32 = 13;

/// Returns an HTTP/2 frame with a payload of less than 256 bytes.
fn frame(frame_type: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, frame_type, 0][..], &stream.to_be_bytes(), payload].concat()
}

fn reset_frame(code: u32) -> Vec<u8> {
    frame(3, 1, &code.to_be_bytes())
}

fn go_away_frame(last_stream: u32, code: u32) -> Vec<u8> {
    frame(7, 0, &[last_stream.to_be_bytes(), code.to_be_bytes()].concat())
}

/// Answers the first request of an HTTP/2 connection with these frames, and then closes the
/// connection.
async fn answer_with_frames(stream: &mut TlsStream<TcpStream>, frames: &[u8]) -> Option<()> {
    stream.write_all(&frame(4, 0, &[])).await.ok()?;
    stream.read_exact(&mut [0; 24]).await.ok()?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        stream.read_exact(&mut vec![0; length]).await.ok()?;
        if head[3] == 1 {
            stream.write_all(frames).await.ok()?;
            return stream.shutdown().await.ok();
        }
    }
}

/// Starts a tracker that refuses each HTTP/2 request with these frames. The tracker answers each
/// HTTP/1.1 request with 201.
async fn tracker_that_refuses_http2(authority: &Authority, frames: Vec<u8>) -> FakeTracker {
    let acceptor = authority.acceptor.clone();
    FakeTracker::scripted(move |_, stream, requests| {
        let (acceptor, frames) = (acceptor.clone(), frames.clone());
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                requests.0.lock().unwrap().push("HTTP/2".to_owned());
                answer_with_frames(&mut stream, &frames).await;
                return;
            }
            while requests.read(&mut stream).await.is_some() {
                stream.write_all(CREATED_RESPONSE).await.unwrap();
            }
        }
    })
    .await
}

fn builder(authority: &Authority, tracker: &FakeTracker) -> RequestsBuilder {
    let origin = format!("https://localhost:{}", tracker.address.port());
    let mut builder = RequestsBuilder::granting(&[&origin]);
    builder.extra_ca = Some(authority.pem_file.path().to_owned());
    builder
}

#[tokio::test]
async fn a_write_counts_as_not_sent_if_the_refusal_proves_that_it_was_not_processed() {
    for (frames, is_unprocessed) in [
        (reset_frame(REFUSED_STREAM), true),
        (go_away_frame(0, 0), true),
        (go_away_frame(0, CANCEL), true),
        (go_away_frame(1, 0), false),
        (go_away_frame(1, REFUSED_STREAM), false),
        (reset_frame(CANCEL), false),
    ] {
        let authority = authority(&[b"h2"]);
        let tracker = tracker_that_refuses_http2(&authority, frames.clone()).await;
        let journal = TestJournal::allowing();
        let run_requests = builder(&authority, &tracker).requests_with(journal.permission());
        assert!(run_requests.send(post(run_requests.url("/issues"), "{}")).await.is_err());
        let (_, writes) = run_requests.finish().await;
        let recorded = &writes[0].answer;
        assert_eq!(*recorded == WriteAnswer::NotSent, is_unprocessed, "{frames:?}: {recorded:?}");
        assert_eq!(journal.marks() == ["marked", "unmarked"], is_unprocessed, "{frames:?}");
        assert_eq!(tracker.requests(), ["HTTP/2"], "{frames:?}: a write is sent once");
    }
}

#[tokio::test]
async fn a_read_that_the_tracker_did_not_process_is_sent_again() {
    let authority = authority(&[b"h2"]);
    let tracker = tracker_that_refuses_http2(&authority, reset_frame(REFUSED_STREAM)).await;
    let run_requests = builder(&authority, &tracker).read_only_requests();
    assert!(matches!(
        run_requests.send(get(run_requests.url("/"))).await,
        Err(HttpError::Unreachable(_))
    ));
    assert_eq!(tracker.requests(), ["HTTP/2"; 3]);
}

#[tokio::test]
async fn a_tracker_that_requires_http1_gets_http1_requests() {
    for frames in [reset_frame(HTTP_1_1_REQUIRED), go_away_frame(0, HTTP_1_1_REQUIRED)] {
        let authority = authority(&[b"h2", b"http/1.1"]);
        let tracker = tracker_that_refuses_http2(&authority, frames).await;
        let (builder, journal) = (builder(&authority, &tracker), TestJournal::allowing());
        let active = builder.active();
        let run_requests = builder.requests_of(&active, journal.permission());
        assert_eq!(
            run_requests.send(post(run_requests.url("/issues"), "{}")).await.unwrap().status,
            201
        );
        let (_, writes) = run_requests.finish().await;
        assert_eq!(writes[0].answer, WriteAnswer::Status(201));
        assert_eq!(journal.marks(), ["marked"]);
        // Other runs of the connection use HTTP/1.1 too.
        builder.requests_of(&active, Permission::Reads).send(get(builder.url("/"))).await.unwrap();
        let is_http1: Vec<_> =
            tracker.requests().iter().map(|request| request.contains("HTTP/1.1")).collect();
        assert_eq!(is_http1, [false, true, true]);
    }
}

#[tokio::test]
async fn a_connection_of_jackfield_can_be_limited_to_http1() {
    let authority = authority(&[b"h2", b"http/1.1"]);
    let tracker = tracker_that_refuses_http2(&authority, reset_frame(CANCEL)).await;
    let mut builder = builder(&authority, &tracker);
    builder.http1_only = true;
    let run_requests = builder.requests_with(TestJournal::allowing().permission());
    assert_eq!(
        run_requests.send(post(run_requests.url("/issues"), "{}")).await.unwrap().status,
        201
    );
    assert_eq!(tracker.connections(), 1);
}

/// The server closes the TCP connection without `close_notify`.
#[tokio::test]
async fn a_tls_stream_may_end_without_close_notify_if_the_body_is_complete() {
    let authority = authority(&[]);
    for (answer, is_complete) in [
        ("HTTP/1.1 200 OK\r\n\r\n{}", true),
        ("HTTP/1.0 200 OK\r\n\r\n{}", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}", false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n", false),
        ("HTTP/1.1 200 OK\r\ncontent-le", false),
    ] {
        let acceptor = authority.acceptor.clone();
        let tracker = FakeTracker::scripted(move |_, stream, requests| {
            let acceptor = acceptor.clone();
            async move {
                let mut stream = acceptor.accept(stream).await.unwrap();
                requests.read(&mut stream).await;
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
                let (tcp, _) = stream.into_inner();
                drop(tcp);
            }
        })
        .await;
        let run_requests =
            builder(&authority, &tracker).requests_with(TestJournal::allowing().permission());
        let received = run_requests.send(post(run_requests.url("/"), "{}")).await;
        let (_, writes) = run_requests.finish().await;
        let is_broken = matches!(writes[0].answer, WriteAnswer::Broken(_));
        assert_eq!(received.is_ok(), is_complete, "{answer:?}: {received:?}");
        assert_eq!(is_broken, !is_complete, "{answer:?}: {writes:?}");
    }
}
