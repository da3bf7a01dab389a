//! Tests with real sockets and a small router. They never use the handlers of the real server.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Instant;

use arc_swap::ArcSwap;
use axum::routing::post;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::*;
use crate::http::clients::{ClientLimits, mark_known};
use crate::http::listener::Socket;

/// A time-out that is reached only if a test fails.
const LONG_TIMEOUT: Duration = Duration::from_secs(20);
/// A time-out that tests reach on purpose.
const SHORT_TIMEOUT: Duration = Duration::from_millis(200);

/// A running server with a small router.
struct TestServer {
    address: SocketAddr,
    /// The server answers one request for `/held` for each permit.
    permits: Arc<Semaphore>,
    shutdown: CancellationToken,
    server_task: JoinHandle<io::Result<()>>,
}

/// Limits that no test reaches, except the number of open connections.
fn limits(connections_max: usize) -> ClientLimits {
    let limits = ClientLimits::new(connections_max, LONG_TIMEOUT, Vec::new());
    ClientLimits { first_byte: LONG_TIMEOUT, head: LONG_TIMEOUT, ..limits }
}

/// Starts a server with these limits on a free port of the loopback address.
async fn start_server(limits: ClientLimits) -> TestServer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let permits = Arc::new(Semaphore::new(0));
    let handler_permits = Arc::clone(&permits);
    let router = Router::new()
        .route("/", post(async |body: axum::body::Bytes| body))
        .route(
            "/known",
            post(async |request: axum::extract::Request| mark_known(request.extensions())),
        )
        .route("/unread", post(async || "refused"))
        .route("/held", post(async move || handler_permits.acquire().await.unwrap().forget()));
    let socket = Socket::Tcp(listener);
    let listener = Listener { socket, is_passed: false, tls: None, proxy_protocol: false };
    let limits = Arc::new(ArcSwap::from_pointee(limits));
    let shutdown = CancellationToken::new();
    let server_task = tokio::spawn(serve(listener, router, limits, shutdown.clone(), LONG_TIMEOUT));
    TestServer { address, permits, shutdown, server_task }
}

impl TestServer {
    /// Connects and sends a text.
    async fn connect(&self, sent: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        stream
    }

    /// Connects from this client address and sends a text.
    async fn connect_from(&self, address: [u8; 4], sent: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        stream
    }
}

/// A request with these headers and this body, which may be incomplete.
fn request(path: &str, headers: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n{body}")
}

/// A complete request with a body of two bytes.
fn whole_request(path: &str) -> String {
    request(path, "content-length: 2\r\n", "ab")
}

/// Reads the head of the next answer, and returns the status. Returns `None` if the connection was
/// closed without an answer.
async fn read_status(stream: &mut TcpStream) -> Option<u16> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = tokio::time::timeout(LONG_TIMEOUT, stream.read_u8())
            .await
            .expect("the server neither answers nor closes the connection");
        head.push(byte.ok()?);
    }
    std::str::from_utf8(&head).unwrap().split(' ').nth(1)?.parse().ok()
}

#[tokio::test]
async fn a_connection_that_sends_nothing_or_half_a_head_is_closed_after_the_time_out() {
    let first_byte_server =
        start_server(ClientLimits { first_byte: SHORT_TIMEOUT, ..limits(9) }).await;
    let head_server = start_server(ClientLimits { head: SHORT_TIMEOUT, ..limits(9) }).await;
    for (server, sent) in
        [(&first_byte_server, ""), (&head_server, "POST / HTTP/1.1\r\nhost: x\r\n")]
    {
        let (began, mut stream) = (Instant::now(), server.connect(sent).await);
        assert_ne!(read_status(&mut stream).await, Some(200));
        assert!(
            began.elapsed() >= SHORT_TIMEOUT && began.elapsed() < LONG_TIMEOUT / 2,
            "{:?}",
            began.elapsed()
        );
    }
    let mut slow = first_byte_server.connect(&whole_request("/")[..20]).await;
    tokio::time::sleep(2 * SHORT_TIMEOUT).await;
    slow.write_all(&whole_request("/").as_bytes()[20..]).await.unwrap();
    assert_eq!(
        read_status(&mut slow).await,
        Some(200),
        "only the first byte must arrive within the time-out"
    );
}

#[tokio::test]
async fn a_pause_between_requests_may_be_longer_than_the_time_for_a_head() {
    let server = start_server(ClientLimits { head: SHORT_TIMEOUT, ..limits(9) }).await;
    let mut stream = server.connect(&whole_request("/")).await;
    assert_eq!(read_status(&mut stream).await, Some(200));
    assert_eq!(stream.read_u16().await.unwrap(), u16::from_be_bytes(*b"ab"));
    tokio::time::sleep(3 * SHORT_TIMEOUT).await;
    stream.write_all(whole_request("/held").as_bytes()).await.unwrap();
    tokio::time::sleep(2 * SHORT_TIMEOUT).await;
    server.permits.add_permits(1);
    assert_eq!(
        read_status(&mut stream).await,
        Some(200),
        "the time-out for a head does not limit the answer"
    );
    // Send the head of a request byte by byte. The time-out for the head begins with the first
    // byte.
    let began = Instant::now();
    for byte in whole_request("/").as_bytes() {
        tokio::time::sleep(SHORT_TIMEOUT / 4).await;
        if stream.write_all(&[*byte]).await.is_err() || began.elapsed() > LONG_TIMEOUT / 2 {
            break;
        }
    }
    assert_ne!(read_status(&mut stream).await, Some(200));
    assert!(began.elapsed() < LONG_TIMEOUT / 2, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_connection_without_a_next_request_is_closed_after_the_keep_alive_time() {
    let server = start_server(ClientLimits {
        keep_alive: 2 * SHORT_TIMEOUT,
        head: LONG_TIMEOUT,
        ..limits(9)
    })
    .await;
    let mut stream = server.connect(&whole_request("/")).await;
    assert_eq!(read_status(&mut stream).await, Some(200));
    let began = Instant::now();
    assert_eq!(stream.read_u16().await.unwrap(), u16::from_be_bytes(*b"ab"));
    assert_eq!(read_status(&mut stream).await, None);
    assert!(
        began.elapsed() >= SHORT_TIMEOUT && began.elapsed() < LONG_TIMEOUT / 2,
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_full_server_closes_the_longest_idle_connection_of_the_address_with_most() {
    let server = start_server(limits(3)).await;
    let mut oldest = server.connect("").await;
    let mut incomplete = server.connect(&request("/", "content-length: 9\r\n", "half")).await;
    let mut idle = server.connect(&whole_request("/")).await;
    assert_eq!(read_status(&mut idle).await, Some(200));
    let mut open = Vec::new();
    for closed in [&mut oldest, &mut incomplete] {
        let mut new = server.connect(&whole_request("/")).await;
        assert_eq!(read_status(&mut new).await, Some(200));
        assert_eq!(read_status(closed).await, None);
        open.push(new);
    }
}

#[tokio::test]
async fn a_full_server_closes_a_connection_of_the_address_with_the_most_connections() {
    let server = start_server(limits(4)).await;
    let mut other = server.connect_from([127, 0, 0, 2], &whole_request("/")).await;
    assert_eq!(read_status(&mut other).await, Some(200));
    let mut many = Vec::new();
    for _ in 0..9 {
        let mut stream = server.connect(&whole_request("/")).await;
        assert_eq!(read_status(&mut stream).await, Some(200));
        many.push(stream);
    }
    assert_eq!(other.read_u16().await.unwrap(), u16::from_be_bytes(*b"ab"));
    other.write_all(whole_request("/").as_bytes()).await.unwrap();
    assert_eq!(
        read_status(&mut other).await,
        Some(200),
        "the other address has only one connection"
    );
}

#[tokio::test]
async fn a_full_server_never_closes_a_connection_of_an_address_with_fewer_connections() {
    let server = start_server(limits(3)).await;
    let mut busy = [
        server.connect(&whole_request("/held")).await,
        server.connect(&whole_request("/held")).await,
    ];
    let mut other = server.connect_from([127, 0, 0, 2], &whole_request("/")).await;
    assert_eq!(read_status(&mut other).await, Some(200));
    assert_eq!(other.read_u16().await.unwrap(), u16::from_be_bytes(*b"ab"));
    let mut third = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(
        third.read(&mut [0]).await.unwrap_or(0),
        0,
        "the third connection is closed without an answer"
    );
    other.write_all(whole_request("/").as_bytes()).await.unwrap();
    assert_eq!(
        read_status(&mut other).await,
        Some(200),
        "the connection of the other address is still open"
    );
    let mut new = server.connect_from([127, 0, 0, 3], &whole_request("/")).await;
    assert_eq!(
        read_status(&mut new).await,
        Some(200),
        "a new address displaces an idle connection"
    );
    server.permits.add_permits(2);
    for click in &mut busy {
        assert_eq!(read_status(click).await, Some(200));
    }
}

#[tokio::test]
async fn a_connection_of_a_known_client_is_closed_only_if_no_unknown_client_has_one() {
    let server = start_server(limits(3)).await;
    let mut known = Vec::new();
    for _ in 0..2 {
        let mut stream = server.connect(&whole_request("/known")).await;
        assert_eq!(read_status(&mut stream).await, Some(200));
        known.push(stream);
    }
    let mut unknown = Vec::new();
    for _ in 0..9 {
        let mut stream = server.connect(&whole_request("/")).await;
        assert_eq!(read_status(&mut stream).await, Some(200));
        unknown.push(stream);
    }
    for stream in &mut known {
        stream.write_all(whole_request("/known").as_bytes()).await.unwrap();
        assert_eq!(
            read_status(stream).await,
            Some(200),
            "only connections of unknown clients were closed"
        );
    }
    drop(unknown);
    for _ in 0..3 {
        let mut stream = server.connect(&whole_request("/known")).await;
        assert_eq!(read_status(&mut stream).await, Some(200));
        known.push(stream);
    }
    assert_eq!(
        read_status(&mut known[0]).await,
        None,
        "the oldest connection of known clients was closed"
    );
}

#[tokio::test]
async fn a_connection_with_a_request_in_progress_is_never_closed_for_a_new_connection() {
    let server = start_server(limits(2)).await;
    let mut clicks = [
        server.connect(&whole_request("/held")).await,
        server.connect(&whole_request("/held")).await,
    ];
    let mut waiting = server.connect(&whole_request("/")).await;
    server.permits.add_permits(2);
    for click in &mut clicks {
        assert_eq!(read_status(click).await, Some(200));
    }
    assert_eq!(
        read_status(&mut waiting).await,
        Some(200),
        "the new connection was accepted after one of the two became idle"
    );
}

#[tokio::test]
async fn the_limit_of_connections_per_address_counts_only_idle_connections() {
    let server = start_server(ClientLimits { idle_per_address_max: 2, ..limits(9) }).await;
    let mut clicks = Vec::new();
    for _ in 0..4 {
        clicks.push(server.connect(&whole_request("/held")).await);
    }
    let mut idle = Vec::new();
    for _ in 0..3 {
        let mut stream = server.connect(&whole_request("/")).await;
        assert_eq!(read_status(&mut stream).await, Some(200));
        idle.push(stream);
    }
    assert_eq!(read_status(&mut idle[0]).await, None, "the oldest idle connection was closed");
    server.permits.add_permits(4);
    for click in &mut clicks {
        assert_eq!(read_status(click).await, Some(200));
    }
}

#[tokio::test]
async fn the_limit_per_address_applies_to_the_clients_of_a_proxy_and_not_to_the_proxy() {
    let proxies = vec!["127.0.0.1".parse().unwrap()];
    let limits = ClientLimits { idle_per_address_max: 2, trusted_proxies: proxies, ..limits(99) };
    let server = start_server(limits).await;
    let incomplete_request = |client: &str| {
        request("/", &format!("x-forwarded-for: {client}\r\ncontent-length: 4\r\n"), "ab")
    };
    let mut slow = Vec::new();
    for _ in 0..2 {
        slow.push(server.connect(&incomplete_request("203.0.113.9")).await);
    }
    let mut refused = server.connect(&incomplete_request("1.1.1.1, 203.0.113.9")).await;
    // The server may read the requests in any order, so it may refuse any of the three requests.
    let mut refusals = usize::from(read_status_soon(&mut refused).await == Some(429));
    slow.push(refused);
    for stream in &mut slow {
        if refusals == 0 {
            refusals += usize::from(read_status_soon(stream).await == Some(429));
        }
    }
    assert_eq!(refusals, 1, "one of the three requests exceeds the limit of two");
    let mut other = server.connect(&(incomplete_request("203.0.113.10") + "cd")).await;
    assert_eq!(read_status(&mut other).await, Some(200));
}

#[tokio::test]
async fn requests_on_connections_that_existed_before_the_shutdown_are_answered() {
    let server = start_server(limits(99)).await;
    let mut used = server.connect(&whole_request("/")).await;
    assert_eq!(read_status(&mut used).await, Some(200));
    assert_eq!(used.read_u16().await.unwrap(), u16::from_be_bytes(*b"ab"));
    let mut silent = server.connect("").await;
    tokio::time::sleep(SHORT_TIMEOUT).await;
    // The kernel accepts these connections into its queue before the server can accept them.
    let waiting = (0..30).map(|_| {
        let mut stream = std::net::TcpStream::connect(server.address).unwrap();
        stream.write_all(whole_request("/").as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        TcpStream::from_std(stream).unwrap()
    });
    let waiting: Vec<_> = waiting.collect();
    server.shutdown.cancel();
    for mut stream in waiting {
        assert!(read_head(&mut stream).await.contains("connection: close"));
    }
    assert!(
        TcpStream::connect(server.address).await.is_err(),
        "the server does not listen any more"
    );
    for stream in [&mut used, &mut silent] {
        stream.write_all(whole_request("/").as_bytes()).await.unwrap();
        assert!(read_head(stream).await.contains("connection: close"));
    }
    timeout(LONG_TIMEOUT, server.server_task).await.expect("the server ends").unwrap().unwrap();
}

#[tokio::test]
async fn queued_connections_are_answered_at_the_shutdown_unless_the_next_server_gets_the_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    for is_passed in [false, true] {
        let _ = std::fs::remove_file(&path);
        let bound = std::os::unix::net::UnixListener::bind(&path).unwrap();
        bound.set_nonblocking(true).unwrap();
        let kept_socket = is_passed.then(|| bound.try_clone().unwrap());
        let socket = Socket::Unix(UnixListener::from_std(bound).unwrap());
        let listener = Listener { socket, is_passed, tls: None, proxy_protocol: false };
        let router = Router::new().route("/", post(async |body: axum::body::Bytes| body));
        let (limits, shutdown) =
            (ArcSwap::from_pointee(limits(9)).into(), CancellationToken::new());
        let mut waiting = std::os::unix::net::UnixStream::connect(&path).unwrap();
        waiting.write_all(whole_request("/").as_bytes()).unwrap();
        shutdown.cancel();
        serve(listener, router, limits, shutdown, LONG_TIMEOUT).await.unwrap();
        match kept_socket {
            // The connection must still be in the queue, so that the next server can accept it.
            Some(next) => assert!(next.accept().is_ok()),
            None => {
                let mut answer = String::new();
                std::io::Read::read_to_string(&mut waiting, &mut answer).unwrap();
                assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            }
        }
    }
}

#[tokio::test]
async fn the_shutdown_closes_connections_without_a_request_after_the_last_requests_time() {
    let empty = start_server(limits(9)).await;
    let silent = start_server(limits(9)).await;
    let mut connections = [silent.connect("").await, silent.connect(&whole_request("/")).await];
    assert_eq!(read_status(&mut connections[1]).await, Some(200));
    for (server, expected) in [(empty, Duration::ZERO), (silent, LAST_REQUESTS_TIME)] {
        let began = Instant::now();
        server.shutdown.cancel();
        server.server_task.await.unwrap().unwrap();
        let elapsed = began.elapsed();
        assert!(elapsed >= expected && elapsed < expected + LONG_TIMEOUT / 2, "{elapsed:?}");
    }
}

/// Like [`read_status`], but also returns `None` if no answer arrives within [`SHORT_TIMEOUT`].
async fn read_status_soon(stream: &mut TcpStream) -> Option<u16> {
    tokio::time::timeout(SHORT_TIMEOUT, read_status(stream)).await.ok().flatten()
}

/// Reads the head of an answer, and converts it to lower case.
async fn read_head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(bytes).unwrap().to_ascii_lowercase()
}

#[tokio::test]
async fn a_connection_can_be_used_again_after_a_small_body_that_the_handler_did_not_read() {
    let server = start_server(limits(9)).await;
    let mut stream = server.connect(&request("/unread", "content-length: 2\r\n", "")).await;
    // The body arrives in a separate packet.
    stream.write_all(b"{}").await.unwrap();
    let first = read_head(&mut stream).await;
    assert!(first.starts_with("http/1.1 200") && !first.contains("connection: close"), "{first}");
    let mut body = [0; 7];
    stream.read_exact(&mut body).await.unwrap();
    stream.write_all(whole_request("/").as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("http/1.1 200"));
}

#[tokio::test]
async fn an_answer_has_the_header_connection_close_if_the_rest_of_the_body_cannot_be_read() {
    let server = start_server(limits(9)).await;
    for headers in [
        "content-length: 10000000\r\n",
        // The rest of this body never arrives.
        "content-length: 3\r\n",
        "content-length: 2\r\nexpect: 100-continue\r\n",
    ] {
        let mut stream = server.connect(&request("/unread", headers, "")).await;
        let answer = read_head(&mut stream).await;
        assert!(answer.starts_with("http/1.1 200"), "{headers}: {answer}");
        assert!(answer.contains("connection: close"), "{headers}: {answer}");
    }
}

#[tokio::test]
async fn a_client_that_sends_a_large_body_receives_the_answer_that_refuses_it() {
    let server = start_server(limits(9)).await;
    for _ in 0..9 {
        let sent = request("/unread", "content-length: 20000000\r\n", "");
        let mut stream = server.connect(&sent).await;
        // Send the whole body before reading the answer, as a simple client does.
        stream.write_all(&vec![b' '; 20_000_000]).await.unwrap();
        let answer = read_head(&mut stream).await;
        assert!(answer.contains("connection: close"), "{answer}");
    }
}
