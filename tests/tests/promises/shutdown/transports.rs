//! Tests the shutdown with clients that use TLS, HTTP/2 or the PROXY protocol. The clients write
//! and read the bytes themselves, so that a test decides which bytes were sent before the signal.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use jackfield_tests::{Connection, Reply, ScriptedServer, Setup, TestHost, failed_test, wait_for};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use super::http2::{
    ACK, ANY_STREAM, DATA, END_STREAM, Frame, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS,
    STATUS_200, client_preface, encode_frame, post_request,
};
use crate::tls::Authority;

/// The header of the PROXY protocol, which names the address of the client.
const PROXY_HEADER: &[u8] = b"PROXY TCP4 203.0.113.9 192.0.2.1 1000 80\r\n";
/// The address from which the proxy connects.
const PROXY_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), 0);

/// How a client sends its requests: with or without TLS, HTTP/2 and a header of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Tls,
    TlsHttp2,
    ProxyHeader,
}

const TRANSPORTS: [Transport; 3] = [Transport::Tls, Transport::TlsHttp2, Transport::ProxyHeader];

struct Fixture {
    host: TestHost,
    connection: Connection,
    tracker: ScriptedServer,
    _authority: Authority,
}

impl Fixture {
    fn start(transport: Transport) -> Self {
        let tracker = ScriptedServer::start(|_| Reply::created(7));
        let (mut host, connection) =
            Setup::new().start_with_guest("good", json!({"url": tracker.url()}));
        let authority = Authority::new();
        authority.issue("one", "subjectAltName = IP:127.0.0.1");
        let config = match transport {
            Transport::Tls | Transport::TlsHttp2 => format!(
                "tls_certificate = {:?}\ntls_key = {:?}",
                authority.file("one.pem"),
                authority.file("one.key")
            ),
            // Only the address of the proxy is trusted. The test also connects from 127.0.0.1,
            // without the header, to find out when the server has started.
            Transport::ProxyHeader => {
                format!("proxy_protocol = true\ntrusted_proxies = [\"{}\"]", PROXY_ADDRESS.ip())
            }
        };
        fs::write(host.folder().join("jackfield.toml"), config).expect("the configuration");
        host.stop();
        host.restart();
        Self { host, connection, tracker, _authority: authority }
    }

    fn address(&self) -> SocketAddr {
        let (_, address) = self.host.url().split_once("://").expect("a URL");
        address.parse().expect("an address")
    }

    fn connect(&self, transport: Transport) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        if transport == Transport::ProxyHeader {
            socket.bind(&PROXY_ADDRESS.into()).expect("an address of this machine");
        }
        socket.connect(&self.address().into()).expect("the server listens");
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
        socket.into()
    }

    /// Opens a TCP connection, and sends what precedes the first request.
    fn open_client(&self, transport: Transport) -> Client {
        Client::new(transport, self.connect(transport), self.connection.create_path())
    }

    /// Waits until the server, which has received the signal, refuses TCP connections.
    fn await_refusal(&self) {
        let address = self.address();
        wait_for("the server to refuse TCP connections", 20, || TcpStream::connect(address).err());
    }

    /// Checks that the server ends without an error, and that the tracker received this number of
    /// writes.
    #[track_caller]
    fn assert_server_ends(mut self, writes: usize) {
        assert_eq!(self.host.stop().code(), Some(0));
        assert_eq!(self.tracker.posts(), writes);
    }
}

struct Client {
    transport: Transport,
    writer: Box<dyn Write>,
    reader: Box<dyn Read>,
    tls: Option<TlsClient>,
    path: String,
    /// The number of clicks so far. With HTTP/2, each click uses a stream of its own.
    click_count: u32,
    /// The last stream in each GOAWAY frame of the server.
    last_streams: Vec<u32>,
}

/// The process `openssl s_client`. Two threads copy bytes between the process and an existing TCP
/// connection to the server.
struct TlsClient {
    process: Child,
    /// The thread that copies the bytes of the server. The result of the thread shows how the TCP
    /// connection to the server ended.
    server_copy: JoinHandle<io::Result<u64>>,
}

impl Client {
    fn new(transport: Transport, stream: TcpStream, path: String) -> Self {
        let (mut writer, reader, tls): (Box<dyn Write>, Box<dyn Read>, _) = match transport {
            Transport::ProxyHeader => (Box::new(other_handle(&stream)), Box::new(stream), None),
            Transport::Tls | Transport::TlsHttp2 => {
                let is_http2 = transport == Transport::TlsHttp2;
                let mut tls = TlsClient::start(stream, if is_http2 { "h2" } else { "http/1.1" });
                let pipes = (tls.process.stdin.take(), tls.process.stdout.take());
                let (writer, reader) = (pipes.0.expect("a pipe"), pipes.1.expect("a pipe"));
                (Box::new(writer), Box::new(reader), Some(tls))
            }
        };
        let first_bytes = match transport {
            Transport::Tls => Vec::new(),
            Transport::TlsHttp2 => client_preface(),
            Transport::ProxyHeader => PROXY_HEADER.to_vec(),
        };
        writer.write_all(&first_bytes).expect("the first bytes are sent");
        Self { transport, writer, reader, tls, path, click_count: 0, last_streams: Vec::new() }
    }

    #[track_caller]
    fn click(&mut self) {
        let (path, body) = (&self.path, failed_test().to_string());
        let bytes = match self.transport {
            Transport::TlsHttp2 => post_request(2 * self.click_count + 1, path, &body),
            Transport::Tls | Transport::ProxyHeader => format!(
                "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes(),
        };
        self.click_count += 1;
        self.writer.write_all(&bytes).expect("the click is sent");
    }

    /// Reads the answer to a click, which must contain the defect.
    #[track_caller]
    fn assert_answered(&mut self) {
        let body = match self.transport {
            Transport::TlsHttp2 => {
                let mut body = Vec::new();
                loop {
                    let frame = self.read_frame().expect("an answer");
                    match frame.kind {
                        HEADERS => assert_eq!(frame.payload.first(), Some(&STATUS_200)),
                        DATA => body.extend(frame.payload),
                        _ => continue,
                    }
                    if frame.flags & END_STREAM != 0 {
                        break body;
                    }
                }
            }
            Transport::Tls | Transport::ProxyHeader => self.read_http1(),
        };
        let answer: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(answer["id"], "7", "{answer}");
    }

    /// Reads an answer in HTTP/1.1, which must have the status 200. Returns its body.
    #[track_caller]
    fn read_http1(&mut self) -> Vec<u8> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.reader.read_exact(&mut byte).expect("an answer");
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("a head").to_lowercase();
        assert!(head.starts_with("http/1.1 200 ok\r\n"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.expect("a length").parse().expect("a number")];
        self.reader.read_exact(&mut body).expect("the body");
        body
    }

    /// Reads the next HTTP/2 frame. Acknowledges SETTINGS and PING, and stores the last stream of
    /// GOAWAY.
    #[track_caller]
    fn read_frame(&mut self) -> io::Result<Frame> {
        let read = Frame::read(&mut self.reader)?;
        match read.kind {
            SETTINGS | PING if read.flags & ACK == 0 => {
                let payload = if read.kind == PING { &read.payload[..] } else { b"" };
                self.writer
                    .write_all(&encode_frame(read.kind, ACK, 0, payload))
                    .expect("the acknowledgement is sent");
            }
            GOAWAY => {
                let (last, error) = (read.payload.get(..4), read.payload.get(4..8));
                assert_eq!(error, Some(&[0; 4][..]), "the server ended with an error");
                let last = last.and_then(|it| it.try_into().ok()).expect("a number");
                self.last_streams.push(u32::from_be_bytes(last));
            }
            RST_STREAM => panic!("a request was reset: {:?}", read.payload),
            _ => {}
        }
        Ok(read)
    }

    /// Waits until the server ends the TCP connection. The server must neither send another answer
    /// nor reset the connection.
    #[track_caller]
    fn assert_ends(&mut self) {
        let ended = match self.transport {
            Transport::TlsHttp2 => loop {
                match self.read_frame() {
                    Ok(frame) => assert_ne!(frame.kind, DATA, "another answer"),
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => break Ok(0),
                    Err(error) => break Err(error),
                }
            },
            Transport::Tls | Transport::ProxyHeader => self.reader.read_to_end(&mut Vec::new()),
        };
        assert_eq!(ended.expect("the end of the TCP connection"), 0, "bytes after the answer");
        if let Some(mut tls) = self.tls.take() {
            let ended = tls.server_copy.join().expect("no panic");
            ended.expect("the server ends the connection without a reset");
            let code = tls.process.wait().expect("openssl ends").code();
            assert_eq!(code, Some(0), "TLS was not ended");
        }
    }
}

impl TlsClient {
    fn start(server: TcpStream, protocol: &str) -> Self {
        let relay = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = relay.local_addr().expect("its address").to_string();
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-alpn", protocol, "-connect", &address]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let process = command.spawn().expect("openssl runs");
        let (client, _) = relay.accept().expect("openssl connects");
        let (mut from_client, mut to_server) = (other_handle(&client), other_handle(&server));
        std::thread::spawn(move || {
            // The copy may fail after the server has ended the connection.
            let _ = io::copy(&mut from_client, &mut to_server);
        });
        let (mut from_server, mut to_client) = (server, client);
        let server_copy = std::thread::spawn(move || {
            let ended = io::copy(&mut from_server, &mut to_client);
            let _ = to_client.shutdown(Shutdown::Both);
            ended
        });
        Self { process, server_copy }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(tls) = &mut self.tls {
            let _ = tls.process.kill();
            let _ = tls.process.wait();
        }
    }
}

fn other_handle(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("another handle")
}

#[test]
fn a_click_in_progress_is_answered_on_each_kind_of_connection() {
    for transport in TRANSPORTS {
        println!("{transport:?}");
        let fixture = Fixture::start(transport);
        let gate = fixture.tracker.hold_requests(|_| true);
        let mut client = fixture.open_client(transport);
        client.click();
        gate.await_held(1);
        fixture.host.terminate();
        fixture.await_refusal();
        gate.open();
        client.assert_answered();
        client.assert_ends();
        fixture.assert_server_ends(1);
    }
}

/// Two clients click after the signal. The first client has received an answer before, but has not
/// read yet that the server ends. The second client has only opened its TCP connection.
#[test]
fn a_click_that_is_sent_after_the_signal_is_answered_on_each_kind_of_connection() {
    for transport in TRANSPORTS {
        println!("{transport:?}");
        let fixture = Fixture::start(transport);
        let mut used = fixture.open_client(transport);
        used.click();
        used.assert_answered();
        let new = fixture.connect(transport);
        fixture.host.terminate();
        let mut new = Client::new(transport, new, fixture.connection.create_path());
        fixture.await_refusal();
        for client in [&mut new, &mut used] {
            client.click();
        }
        for client in [&mut new, &mut used] {
            client.assert_answered();
            client.assert_ends();
        }
        fixture.assert_server_ends(3);
    }
}

#[test]
fn an_http2_client_learns_without_delay_that_the_server_ends() {
    // Try three times: a busy machine may delay HTTP/2 for longer than the server waits for the
    // last requests of HTTP/1.1.
    assert!(
        (0..3).any(|_| http2_ends_before_http1()),
        "HTTP/2 connections ended as late as those of HTTP/1.1"
    );
}

/// Ends a server. Returns whether the HTTP/2 clients learned this before the HTTP/1.1 connection
/// ended.
fn http2_ends_before_http1() -> bool {
    let fixture = Fixture::start(Transport::TlsHttp2);
    let (mut idle, mut http1) =
        (fixture.open_client(Transport::TlsHttp2), fixture.open_client(Transport::Tls));
    for client in [&mut idle, &mut http1] {
        client.click();
        client.assert_answered();
    }
    let gate = fixture.tracker.hold_requests(|_| true);
    let mut busy = fixture.open_client(Transport::TlsHttp2);
    busy.click();
    gate.await_held(1);
    fixture.host.terminate();
    idle.assert_ends();
    while busy.last_streams.len() < 2 {
        busy.read_frame().expect("GOAWAY");
    }
    let is_earlier = !http1.tls.as_ref().expect("TLS").server_copy.is_finished();
    gate.open();
    busy.assert_answered();
    busy.assert_ends();
    http1.assert_ends();
    for client in [idle, busy] {
        assert_eq!(client.last_streams, [ANY_STREAM, 1]);
    }
    fixture.assert_server_ends(3);
    is_earlier
}
