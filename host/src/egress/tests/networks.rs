//! Tests the errors of a proxy, and addresses of a tracker or a proxy that do not answer.

use super::*;
use crate::domain::TryStep;

/// Returns a loopback address that does not answer, and a tracker at another address with the same
/// port. The caller must keep the third value: dropping it closes the sockets of the silent
/// address.
async fn silent_address_and_tracker() -> (IpAddr, FakeTracker, impl Sized) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full_listener = socket.listen(1).unwrap();
    let silent = full_listener.local_addr().unwrap();
    let mut queued = Vec::new();
    let connect = || tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(silent));
    while let Ok(stream) = connect().await {
        queued.push(stream.unwrap());
    }
    let address = SocketAddr::from(([127, 0, 0, 2], silent.port()));
    let tracker = FakeTracker::scripted_at(address, |_, mut stream, requests| async move {
        while requests.read(&mut stream).await.is_some() {
            let reply = answer("200 OK", &[("connection", "close")], b"");
            stream.write_all(&reply).await.unwrap();
        }
    })
    .await;
    (silent.ip(), tracker, (full_listener, queued))
}

#[tokio::test]
async fn if_the_first_address_does_not_answer_only_the_first_request_is_delayed() {
    for through_proxy in [false, true] {
        let (silent, tracker, _queue) = silent_address_and_tracker().await;
        let port = tracker.address.port();
        let addresses = [silent.to_string(), tracker.address.ip().to_string()];
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let origin = format!("http://tracker.example:{port}");
        let mut builder = RequestsBuilder::granting(&[&origin]);
        builder.allow_private = true;
        if through_proxy {
            builder = builder.name("proxy.example", &[&addresses]);
            builder.proxy = format!("http://proxy.example:{port}");
        } else {
            builder = builder.name("tracker.example", &[&addresses]);
        }
        let run_requests = builder.read_only_requests();
        let started = Instant::now();
        // If the working address were not remembered, each request would be delayed by a quarter of
        // a second.
        for _ in 0..25 {
            assert_eq!(run_requests.send(get(run_requests.url("/"))).await.unwrap().status, 200);
        }
        let elapsed = started.elapsed();
        assert!(elapsed < Duration::from_secs(6), "through proxy: {through_proxy}: {elapsed:?}");
        assert_eq!(tracker.connections(), 25);
    }
}

#[tokio::test]
async fn the_probe_reports_that_a_proxy_was_used_and_why_the_proxy_failed() {
    let proxy = FakeTracker::answering(|request| {
        let authorized = request.to_lowercase().contains("proxy-authorization: basic dtpw\r\n");
        answer(if authorized { "403 Forbidden" } else { "407 Who" }, &[], b"")
    })
    .await;
    let origin = "https://tracker.example";
    for (user, expected) in [
        ("", "requires a user and password (407)"),
        ("u:q@", "refused the user and password of its variable (407)"),
        ("u:p@", "CONNECT was answered with 403"),
    ] {
        let mut builder = RequestsBuilder::granting(&[origin]);
        builder.proxy = format!("http://{user}{}", proxy.address);
        let steps = builder.egress().probe(&builder.active(), &origin.parse().unwrap()).await;
        assert_eq!(steps[0].note.as_deref(), Some("the proxy resolves the name"));
        let error = steps[1].error.as_deref().unwrap();
        assert_eq!(steps[1].step, TryStep::Connect);
        let prefix = format!("the proxy http://{} (HTTPS_PROXY): ", proxy.address);
        assert!(error.starts_with(&prefix) && error.contains(expected), "{error}");
        // Over plain HTTP, a 403 of the proxy counts as the answer of the tracker.
        let mut builder = RequestsBuilder::granting(&["http://tracker.example"]);
        builder.proxy = format!("http://{user}{}", proxy.address);
        let journal = TestJournal::allowing();
        let sent =
            builder.requests_with(journal.permission()).send(post(builder.url("/"), "{}")).await;
        match sent {
            Ok(answer) => assert_eq!((answer.status, user), (403, "u:p@")),
            Err(error) => assert!(error.to_string().contains(expected), "{error}"),
        }
    }
    let mut builder = RequestsBuilder::granting(&[origin]);
    builder.proxy = "socks5://proxy.example:1080".to_owned();
    let steps = builder.egress().probe(&builder.active(), &origin.parse().unwrap()).await;
    let error = steps.last().unwrap().error.as_deref().unwrap();
    assert!(error.starts_with("HTTPS_PROXY is not the URL of an HTTP proxy"), "{error}");
}
