//! 2,000 slow or hostile clients beside 100 known senders: every request of a known sender is
//! answered at its first attempt, no connection of a known sender is closed for a stranger, and no
//! stranger gets a permit for a run.

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

const HOSTILE: usize = 2_000;
const KNOWN: usize = 100;
/// Requests of each known sender while the hostile clients are there.
const REQUESTS: usize = 8;
/// How long a hostile client keeps a connection that the server does not close.
const HOLD: Duration = Duration::from_secs(5);
/// The pause of a hostile client between two connections: the test must not be about the speed of
/// this machine.
const PAUSE: Duration = Duration::from_secs(3);

/// Connects from an address of this machine, 127.0.`network`.`number`.
async fn connect(server: SocketAddr, network: u8, number: usize) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().expect("a socket");
    let last = u8::try_from(number % 250 + 1).expect("below 251");
    socket.bind(SocketAddr::from(([127, 0, network, last], 0))).expect("a loopback address");
    socket.connect(server).await.ok()
}

fn request(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
}

/// Reads one answer; `None` if the connection ends before.
async fn answer(stream: &mut TcpStream) -> Option<(u16, String)> {
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

/// One connection of a hostile client, of one of ten kinds.
async fn misbehave(mut stream: TcpStream, kind: usize) -> std::io::Result<()> {
    let unknown = request("/hooks/unknown/defects", "", "{}");
    let login = request("/api/v1/connections", "authorization: Bearer guessed-guessed\r\n", "{}");
    match kind % 10 {
        0 => {}
        1 => stream.write_all(&unknown.as_bytes()[..30]).await?,
        2 => stream.write_all(&unknown.as_bytes()[..unknown.len() - 1]).await?,
        3 => {
            for _ in 0..10 {
                stream.write_all(unknown.as_bytes()).await?;
                if answer(&mut stream).await.is_none() {
                    return Ok(());
                }
            }
        }
        // Many answers that the client never reads.
        4 => stream.write_all(unknown.repeat(50).as_bytes()).await?,
        5 => stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await?,
        // HTTP/2: the preface, its settings, then nothing.
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
                let _ = answer(&mut stream).await;
            }
        }
        _ => return Ok(()),
    }
    // Until the server closes the connection.
    let _ = tokio::time::timeout(HOLD, stream.read_to_end(&mut Vec::new())).await;
    Ok(())
}

/// Sends a create. `None` if it was answered with the defect; otherwise what happened instead.
async fn create(stream: &mut TcpStream, path: &str) -> Option<String> {
    let text = request(path, "content-type: application/json\r\n", &failed_test().to_string());
    if let Err(error) = stream.write_all(text.as_bytes()).await {
        return Some(format!("it was not sent: {error}"));
    }
    match answer(stream).await {
        Some((200, _)) => None,
        Some((status, body)) => Some(format!("{status} {body}")),
        None => Some("the connection ended".to_owned()),
    }
}

/// While the server is too busy to accept, the kernel keeps the connections, and drops none.
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
fn hostile_clients_take_nothing_from_known_senders() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum.map_or(Some(8_192), |it| Some(it.min(8_192))), maximum };
    setrlimit(Resource::Nofile, raised).expect("descriptors for the test's own connections");
    let few = "ulimit -n 512; exec \"$0\" \"$@\"";
    let setup = Setup::new().config("[limits]\ncreate_answer_ms = 110000");
    let (host, connection) = setup.run_under(&["sh", "-c", few]).start_with("instant", json!({}));
    let server: SocketAddr = host.url().trim_start_matches("http://").parse().expect("an address");
    let path: Arc<str> = connection.create_path().into();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let hostile_connections = Arc::new(AtomicUsize::new(0));
    runtime.block_on(async {
        // Half of the known senders keep their connection, the others make one for each request.
        let mut kept = Vec::new();
        for number in 0..KNOWN / 2 {
            let mut stream = connect(server, 3, number).await.expect("a connection");
            assert_eq!(create(&mut stream, &path).await, None, "without hostile clients");
            kept.push(stream);
        }
        let mut hostile = JoinSet::new();
        for kind in 0..HOSTILE {
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
        while hostile_connections.load(Ordering::Relaxed) < HOSTILE {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut known: JoinSet<Vec<String>> = JoinSet::new();
        for mut stream in kept {
            let path = Arc::clone(&path);
            known.spawn(async move {
                let mut failures = Vec::new();
                for _ in 0..REQUESTS {
                    failures.extend(create(&mut stream, &path).await);
                }
                failures
            });
        }
        for number in KNOWN / 2..KNOWN {
            let path = Arc::clone(&path);
            known.spawn(async move {
                let mut failures = Vec::new();
                for _ in 0..REQUESTS {
                    match connect(server, 3, number).await {
                        Some(mut stream) => failures.extend(create(&mut stream, &path).await),
                        None => failures.push("no connection".to_owned()),
                    }
                }
                failures
            });
        }
        let failures: Vec<_> = known.join_all().await.into_iter().flatten().collect();
        assert!(failures.is_empty(), "{failures:?}");
        hostile.abort_all();
    });
    let expected = KNOWN * REQUESTS + KNOWN / 2;
    let (mut runs, mut cursor) = (0, String::new());
    loop {
        let page = host.admin().get(&format!("/events?limit=200{cursor}")).expect(200);
        let events = page["events"].as_array().expect("events");
        let created = |event: &&Value| event["outcome"] == "created";
        runs += events.iter().filter(created).count();
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(runs, expected, "each request of a known sender made one run");
    assert!(host.open_files() < 512, "{} files are open", host.open_files());
}
