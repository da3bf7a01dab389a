//! Tests reads: their redirects, the HTTP connections that they reuse, and responses that are
//! encoded, exceed a limit or do not arrive.

use super::*;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use std::io::Write;

fn redirect(status: &str, location: &str) -> Vec<u8> {
    answer(status, &[("location", location)], b"")
}

#[tokio::test]
async fn each_redirect_is_checked_like_a_request() {
    let other = FakeTracker::answering(|_| answer("200 OK", &[], b"other")).await;
    let other_url = other.url("/other");
    let tracker = FakeTracker::answering(move |request| match request.split(' ').nth(1).unwrap() {
        "/same" => redirect("302 Found", "/here?a"),
        "/other" => redirect("307 Moved", &other_url),
        "/away" => redirect("301 Moved", "http://elsewhere.example/"),
        "/metadata" => redirect("301 Moved", "http://169.254.169.254/"),
        "/file" => redirect("301 Moved", "file:///etc/passwd"),
        "/loop" => redirect("302 Found", "/loop"),
        "/echo" => redirect("302 Found", &format!("{other_url}?s3cr3t-key")),
        _ => answer("200 OK", &[], b"here"),
    })
    .await;
    let place = SecretPlace::Header { name: "x-api-key".into(), prefix: String::new() };
    let builder = RequestsBuilder::granting(&[&tracker.origin(), &other.origin()]).secret(
        "key",
        "s3cr3t-key",
        &tracker.origin(),
        place,
    );
    let run_requests = builder.read_only_requests();
    let request_with_headers =
        |path| with_header(with_header(get(tracker.url(path)), "cookie", "a=b"), "accept", "x/y");
    assert_eq!(run_requests.send(request_with_headers("/same")).await.unwrap().body, "here");
    let received = tracker.requests().pop().unwrap();
    assert!(received.starts_with("GET /here?a ") && received.contains("x-api-key: s3cr3t-key\r\n"));
    assert!(received.contains("cookie: a=b\r\n"));
    assert_eq!(run_requests.send(request_with_headers("/other")).await.unwrap().body, "other");
    let received = other.requests().pop().unwrap();
    assert!(!received.contains("s3cr3t") && !received.contains("cookie"), "{received}");
    assert!(received.contains("accept: x/y\r\n"), "{received}");
    for path in ["/away", "/metadata", "/loop", "/echo"] {
        assert!(is_denied(&run_requests.send(get(tracker.url(path))).await), "{path}");
    }
    assert!(matches!(
        run_requests.send(get(tracker.url("/file"))).await,
        Err(HttpError::Invalid(_))
    ));
    assert_eq!(other.requests().len(), 1);
}

#[tokio::test]
async fn the_status_of_a_redirect_decides_whether_a_post_becomes_a_get() {
    let tracker = FakeTracker::answering(|request| match request.split(' ').nth(1).unwrap() {
        "/302" => redirect("302 Found", "/done"),
        "/303" => redirect("303 See Other", "/done"),
        "/307" => redirect("307 Moved", "/done"),
        _ => answer("200 OK", &[], b""),
    })
    .await;
    let run_requests = RequestsBuilder::granting(&[&tracker.origin()]).read_only_requests();
    for path in ["/302", "/303"] {
        run_requests.send(with_effect(post(tracker.url(path), "q"), Effect::Read)).await.unwrap();
        assert!(tracker.requests().pop().unwrap().starts_with("GET /done "), "{path}");
    }
    let put = OutboundRequest { method: http::Method::PUT, ..post(tracker.url("/302"), "q") };
    run_requests.send(with_effect(put, Effect::Read)).await.unwrap();
    assert!(tracker.requests().pop().unwrap().starts_with("PUT /done "), "only POST becomes GET");
    run_requests.send(with_effect(post(tracker.url("/307"), "q"), Effect::Read)).await.unwrap();
    let received = tracker.requests().pop().unwrap();
    assert!(received.starts_with("POST /done ") && received.ends_with("\r\n\r\nq"), "{received}");
    // The host does not follow the redirect of a preparation, for example of a login.
    let login = with_effect(post(tracker.url("/303"), "q"), Effect::Prepare);
    let answer = run_requests.send(login).await.unwrap();
    assert_eq!(answer.status, 303);
}

#[tokio::test]
async fn an_http_connection_is_reused_within_one_connection_of_jackfield_only() {
    let tracker = FakeTracker::answering(|_| answer("200 OK", &[], b"x")).await;
    let builder = RequestsBuilder::granting(&[&tracker.origin()]);
    let active = builder.active();
    for _ in 0..3 {
        builder.requests_of(&active, Permission::Reads).send(get(builder.url("/"))).await.unwrap();
    }
    assert_eq!(tracker.connections(), 1);
    builder.read_only_requests().send(get(builder.url("/"))).await.unwrap();
    assert_eq!(tracker.connections(), 2, "another connection of Jackfield has its own");
}

#[tokio::test]
async fn a_read_on_a_reused_connection_that_was_closed_is_sent_once_more() {
    let tracker = FakeTracker::scripted(|number, mut stream, requests| async move {
        while requests.read(&mut stream).await.is_some() {
            if number == 0 && requests.0.lock().unwrap().len() == 2 {
                return reset(stream);
            }
            stream.write_all(&answer("200 OK", &[], b"x")).await.unwrap();
        }
    })
    .await;
    let run_requests = RequestsBuilder::granting(&[&tracker.origin()]).read_only_requests();
    run_requests.send(get(run_requests.url("/1"))).await.unwrap();
    assert_eq!(run_requests.send(get(run_requests.url("/2"))).await.unwrap().body, "x");
    assert_eq!(tracker.connections(), 2);
    assert_eq!(tracker.requests().len(), 3);
}

#[tokio::test]
async fn a_read_on_a_new_connection_is_sent_once() {
    let tracker = FakeTracker::scripted(|_, mut stream, requests| async move {
        requests.read(&mut stream).await;
        reset(stream);
    })
    .await;
    let run_requests = RequestsBuilder::granting(&[&tracker.origin()]).read_only_requests();
    assert!(matches!(
        run_requests.send(get(run_requests.url("/"))).await,
        Err(HttpError::Interrupted(_))
    ));
    assert_eq!(tracker.connections(), 1);
}

#[tokio::test]
async fn only_a_read_uses_a_connection_that_was_idle_for_a_second() {
    let tracker = FakeTracker::answering(|_| answer("200 OK", &[], b"x")).await;
    let builder = RequestsBuilder::granting(&[&tracker.origin()]);
    let origin = tracker.origin().parse().unwrap();
    for (effect, idle_ms, may_use) in [
        (Effect::Write, 500, true),
        (Effect::Write, 1000, false),
        (Effect::Prepare, 1000, false),
        (Effect::Read, 29_000, true),
        (Effect::Read, 30_000, false),
    ] {
        let active = builder.active();
        builder.requests_of(&active, Permission::Reads).send(get(builder.url("/"))).await.unwrap();
        let later = Instant::now() + Duration::from_millis(idle_ms);
        let connection = active.pool.take(&origin, effect, later);
        assert_eq!(connection.is_some(), may_use, "{effect:?} after {idle_ms} ms");
    }
}

#[tokio::test]
async fn an_endless_response_body_is_refused_at_the_limit() {
    for head in ["", "transfer-encoding: chunked\r\n"] {
        let tracker = FakeTracker::scripted(move |_, mut stream, requests| async move {
            requests.read(&mut stream).await;
            let head = format!("HTTP/1.1 200 OK\r\n{head}\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            while stream.write_all(b"4\r\nmore\r\n").await.is_ok() {}
        })
        .await;
        let mut builder = RequestsBuilder::granting(&[&tracker.origin()]);
        builder.limits.response_body_bytes = 100_000;
        let error = builder.read_only_requests().send(get(builder.url("/"))).await.unwrap_err();
        assert!(matches!(&error, HttpError::Limit(why) if why.contains("= 100000")), "{error}");
    }
}

#[tokio::test]
async fn endless_response_headers_are_refused_at_the_limit() {
    for line in ["x: y\r\n".to_owned(), format!("{}: y\r\n", "x".repeat(1000))] {
        let tracker = FakeTracker::scripted(move |_, mut stream, requests| {
            let line = line.clone();
            async move {
                requests.read(&mut stream).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
                while stream.write_all(line.as_bytes()).await.is_ok() {}
            }
        })
        .await;
        let run_requests = RequestsBuilder::granting(&[&tracker.origin()]).read_only_requests();
        assert!(matches!(
            run_requests.send(get(run_requests.url("/"))).await,
            Err(HttpError::Limit(_))
        ));
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn read_encoded(
    encoding: &'static str,
    body: Vec<u8>,
) -> Result<OutboundResponse, HttpError> {
    let tracker =
        FakeTracker::answering(move |_| answer("200 OK", &[("Content-Encoding", encoding)], &body))
            .await;
    let mut builder = RequestsBuilder::granting(&[&tracker.origin()]);
    builder.limits.response_body_bytes = 1_000_000;
    builder.read_only_requests().send(get(builder.url("/"))).await
}

#[tokio::test]
async fn compressed_responses_are_decoded() {
    let body = b"{\"a\":1}".repeat(10_000);
    for (encoding, bytes) in [
        ("gzip", gzip(&body)),
        ("x-gzip", [gzip(&body[..100]), gzip(&body[100..])].concat()),
        ("deflate", zlib(&body)),
        ("Deflate", deflate(&body)),
        ("identity", body.clone()),
    ] {
        let answer = read_encoded(encoding, bytes).await.unwrap();
        assert_eq!(answer.body, body, "{encoding}");
        assert_eq!(header_value(&answer, "content-encoding"), None);
        assert_eq!(header_value(&answer, "content-length"), Some("70000"));
    }
}

/// In the first request, the outer `gzip` is decoded to 50 MB, and the inner `gzip` to 2 bytes.
#[tokio::test]
async fn the_decoded_bytes_of_each_content_encoding_are_limited() {
    let inner = [gzip(b"{}"), vec![0; 50_000_000]].concat();
    assert!(matches!(read_encoded("gzip, gzip", gzip(&inner)).await, Err(HttpError::Limit(_))));
    let three = gzip(&gzip(&gzip(b"{}")));
    assert_eq!(read_encoded("gzip, gzip, gzip", three.clone()).await.unwrap().body, b"{}");
    let four = read_encoded("gzip, gzip, gzip, gzip", three).await;
    assert!(matches!(four, Err(HttpError::Interrupted(_))));
}

#[tokio::test]
async fn decompression_bombs_truncated_data_and_unknown_encodings_are_refused() {
    let bomb = gzip(&vec![0; 50_000_000]);
    assert!(bomb.len() < 100_000);
    assert!(matches!(read_encoded("gzip", bomb).await, Err(HttpError::Limit(_))));
    let compressed = gzip(&b"abc".repeat(1000));
    let truncated = compressed[..compressed.len() / 2].to_vec();
    assert!(matches!(read_encoded("gzip", truncated).await, Err(HttpError::Interrupted(_))));
    assert!(matches!(read_encoded("br", vec![1, 2, 3]).await, Err(HttpError::Interrupted(_))));
}

#[tokio::test]
async fn a_read_without_an_answer_is_interrupted_at_the_deadline() {
    let tracker = FakeTracker::scripted(|_, stream, _| async move {
        read_to_end(stream).await;
    })
    .await;
    let mut builder = RequestsBuilder::granting(&[&tracker.origin()]);
    builder.run_time = Duration::from_millis(200);
    let run_requests = builder.read_only_requests();
    assert!(matches!(
        run_requests.send(get(run_requests.url("/"))).await,
        Err(HttpError::Interrupted(_))
    ));
}

#[tokio::test]
async fn a_read_in_progress_is_interrupted_when_the_server_ends_all_exchanges() {
    let arrived = Arc::new(Semaphore::new(0));
    let arrived_for_tracker = Arc::clone(&arrived);
    let tracker = FakeTracker::scripted(move |_, mut stream, requests| {
        let arrived_for_tracker = Arc::clone(&arrived_for_tracker);
        async move {
            requests.read(&mut stream).await;
            arrived_for_tracker.add_permits(1);
            read_to_end(stream).await;
        }
    })
    .await;
    let run_requests = RequestsBuilder::granting(&[&tracker.origin()]).read_only_requests();
    let (reader, url) = (Arc::clone(&run_requests), tracker.url("/"));
    let reading = tokio::spawn(async move { reader.send(get(url)).await });
    arrived.acquire().await.unwrap().forget();
    run_requests.egress.closed_at.send_replace(Some(Instant::now()));
    let ended = tokio::time::timeout(Duration::from_secs(20), reading).await;
    assert!(matches!(ended.unwrap().unwrap(), Err(HttpError::Interrupted(_))));
}
