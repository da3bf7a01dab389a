//! 2,000 slow or hostile clients connect at the same time as 100 known senders, which send Create
//! Defect requests with a valid webhook token. The server answers every request of a known sender
//! at its first attempt, closes no TCP connection of a known sender, and runs no guest for a
//! hostile client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jackfield_tests::{Setup, failed_test};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

const HOSTILE_CLIENTS: usize = 2_000;
const KNOWN_SENDERS: usize = 100;
/// The number of requests of each known sender while the hostile clients are connected.
const REQUESTS_PER_SENDER: usize = 8;
/// The longest time that a hostile client waits for the server to close the TCP connection.
const KEEP_OPEN: Duration = Duration::from_secs(5);
/// The pause of a hostile client between two TCP connections. Without this pause, the result of the
/// test would depend on the speed of the machine.
const PAUSE: Duration = Duration::from_secs(3);

/// Connects from a loopback address, which depends on `network` and `number`.
async fn connect(server: SocketAddr, network: u8, number: usize) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().expect("a socket");
    let last = u8::try_from(number % 250 + 1).expect("below 251");
    socket.bind(SocketAddr::from(([127, 0, network, last], 0))).expect("a loopback address");
    socket.connect(server).await.ok()
}

fn post_request_text(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
}

/// Reads one answer. Returns `None` if the TCP connection ends before the answer is complete, or if
/// the answer has no status or no `Content-Length`.
async fn read_answer(stream: &mut TcpStream) -> Option<(u16, String)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.split("content-length: ").nth(1)?.split('\r').next()?.parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((status, String::from_utf8_lossy(&body).into_owned()))
}

/// Uses a TCP connection in one of ten hostile ways. The last digit of `kind` selects the way.
async fn misbehave(mut stream: TcpStream, kind: usize) -> std::io::Result<()> {
    let unknown = post_request_text("/hooks/unknown/defects", "", "{}");
    let login =
        post_request_text("/api/v1/connections", "authorization: Bearer guessed-guessed\r\n", "{}");
    match kind % 10 {
        0 => {}
        1 => stream.write_all(&unknown.as_bytes()[..30]).await?,
        2 => stream.write_all(&unknown.as_bytes()[..unknown.len() - 1]).await?,
        3 => {
            for _ in 0..10 {
                stream.write_all(unknown.as_bytes()).await?;
                if read_answer(&mut stream).await.is_none() {
                    return Ok(());
                }
            }
        }
        // The client requests many answers, and never reads them.
        4 => {
            stream.write_all(unknown.repeat(50).as_bytes()).await?;
            tokio::time::sleep(KEEP_OPEN).await;
            return Ok(());
        }
        5 => stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await?,
        // The client sends the preface and the settings of HTTP/2, and then nothing.
        6 => stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?,
        7 => {
            for byte in unknown.as_bytes() {
                stream.write_all(&[*byte]).await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        8 => {
            for _ in 0..5 {
                stream.write_all(login.as_bytes()).await?;
                let _ = read_answer(&mut stream).await;
            }
        }
        _ => return Ok(()),
    }
    let _ = tokio::time::timeout(KEEP_OPEN, stream.read_to_end(&mut Vec::new())).await;
    Ok(())
}

/// Sends a Create Defect request. Returns `None` if the answer is a defect, and otherwise a
/// description of the failure.
async fn send_create(stream: &mut TcpStream, path: &str) -> Option<String> {
    let text =
        post_request_text(path, "content-type: application/json\r\n", &failed_test().to_string());
    if let Err(error) = stream.write_all(text.as_bytes()).await {
        return Some(format!("it was not sent: {error}"));
    }
    match read_answer(stream).await {
        Some((200, _)) => None,
        Some((status, body)) => Some(format!("{status} {body}")),
        None => Some("the TCP connection ended".to_owned()),
    }
}

/// While SIGSTOP suspends the server, the kernel queues 500 TCP connections for it.
#[test]
fn a_busy_server_loses_no_connection() {
    let host = Setup::new().start();
    let server: SocketAddr = host.url().trim_start_matches("http://").parse().expect("an address");
    let id = rustix::process::Pid::from_raw(host.process_id().cast_signed()).expect("a process");
    kill_process(id, Signal::STOP).expect("the server is stopped");
    let connect = || std::net::TcpStream::connect_timeout(&server, Duration::from_secs(5));
    let connections: Result<Vec<_>, _> = (0..500).map(|_| connect()).collect();
    kill_process(id, Signal::CONT).expect("the server goes on");
    connections.expect("each connection waits for the server");
}

#[test]
fn hostile_clients_do_not_affect_known_senders() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised_limit =
        Rlimit { current: maximum.map_or(Some(8_192), |limit| Some(limit.min(8_192))), maximum };
    setrlimit(Resource::Nofile, raised_limit).expect("descriptors for the test's own connections");
    let with_few_files = "ulimit -n 512; exec \"$0\" \"$@\"";
    let setup = Setup::new().config("[limits]\ncreate_answer_ms = 110000");
    let (host, connection) =
        setup.run_under(&["sh", "-c", with_few_files]).start_with_guest("instant", json!({}));
    let server: SocketAddr = host.url().trim_start_matches("http://").parse().expect("an address");
    let path: Arc<str> = connection.create_path().into();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let hostile_connections = Arc::new(AtomicUsize::new(0));
    runtime.block_on(async {
        // Half of the known senders keep their TCP connection. The others open a new TCP connection
        // for each request.
        let mut kept_connections = Vec::new();
        for number in 0..KNOWN_SENDERS / 2 {
            let mut stream = connect(server, 3, number).await.expect("a connection");
            assert_eq!(
                send_create(&mut stream, &path).await,
                None,
                "a create failed before the hostile clients connected"
            );
            kept_connections.push(stream);
        }
        let mut hostile = JoinSet::new();
        for kind in 0..HOSTILE_CLIENTS {
            let count = Arc::clone(&hostile_connections);
            hostile.spawn(async move {
                loop {
                    if let Some(stream) = connect(server, 2, kind / 50).await {
                        count.fetch_add(1, Ordering::Relaxed);
                        let _ = misbehave(stream, kind).await;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
        while hostile_connections.load(Ordering::Relaxed) < HOSTILE_CLIENTS {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut known: JoinSet<Vec<String>> = JoinSet::new();
        for mut stream in kept_connections {
            let path = Arc::clone(&path);
            known.spawn(async move {
                let mut failures = Vec::new();
                for _ in 0..REQUESTS_PER_SENDER {
                    failures.extend(send_create(&mut stream, &path).await);
                }
                failures
            });
        }
        for number in KNOWN_SENDERS / 2..KNOWN_SENDERS {
            let path = Arc::clone(&path);
            known.spawn(async move {
                let mut failures = Vec::new();
                for _ in 0..REQUESTS_PER_SENDER {
                    match connect(server, 3, number).await {
                        Some(mut stream) => failures.extend(send_create(&mut stream, &path).await),
                        None => failures.push("no TCP connection".to_owned()),
                    }
                }
                failures
            });
        }
        let failures: Vec<_> = known.join_all().await.into_iter().flatten().collect();
        assert!(failures.is_empty(), "{failures:?}");
        hostile.abort_all();
    });
    let expected = KNOWN_SENDERS * REQUESTS_PER_SENDER + KNOWN_SENDERS / 2;
    let (mut runs, mut cursor) = (0, String::new());
    loop {
        let page = host.admin().get(&format!("/events?limit=200{cursor}")).expect(200);
        let events = page["events"].as_array().expect("events");
        let is_created = |event: &&Value| event["outcome"] == "created";
        runs += events.iter().filter(is_created).count();
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(runs, expected, "the number of runs is not the number of requests of known senders");
    assert!(host.open_files() < 512, "{} files are open", host.open_files());
}
