//! An HTTP/1.1 server. A function of the test, the script, answers each request. The server can be
//! a fake tracker, or a proxy that loses, delays or changes requests and answers.

use std::io::{BufReader, ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Gate;
use crate::wire::{Request, Response};

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The answer of a script to a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Send a complete answer. The TCP connection stays open unless the client asks to close it.
    Answer(Response),
    /// Send these bytes, then close the TCP connection.
    Raw(Vec<u8>),
    /// Send these bytes, then reset the TCP connection.
    Reset(Vec<u8>),
    /// Send these bytes, then more blocks of 64 KiB until the client closes the TCP connection.
    Endless(Vec<u8>),
}

impl Reply {
    /// Returns a complete answer with this body.
    #[must_use]
    pub fn new(status: u16, body: impl AsRef<[u8]>) -> Self {
        Self::Answer(Response::new(status, body))
    }

    /// Returns a complete answer with this JSON body.
    #[must_use]
    pub fn json(status: u16, body: &str) -> Self {
        Self::Answer(Response::json(status, body))
    }

    /// Returns the answer of a tracker that has created the issue `id`.
    #[must_use]
    pub fn created(id: u32) -> Self {
        Self::json(201, &format!(r#"{{"issue":{{"id":{id}}}}}"#))
    }

    /// Returns the reply that resets the TCP connection without an answer.
    #[must_use]
    pub fn reset() -> Self {
        Self::Reset(Vec::new())
    }
}

/// The argument of a script: a request, with functions that forward it to the upstream server.
pub struct Exchange<'a> {
    /// The request that the script answers.
    pub request: &'a Request,
    /// The address of the client.
    pub client: IpAddr,
    server: &'a SharedServer,
}

impl Exchange<'_> {
    /// Forwards the request to the upstream server and returns the bytes of its answer.
    #[must_use]
    pub fn forward(&self) -> Vec<u8> {
        let upstream = self.server.upstream.as_deref().expect("this server is not a proxy");
        let answer = self.request.forward(upstream).expect("the upstream server answers");
        self.server.lock().forwarded_count += 1;
        answer
    }

    /// Forwards the request and returns the answer. The TCP connection to the client is closed
    /// afterwards.
    #[must_use]
    pub fn pass(&self) -> Reply {
        Reply::Raw(self.forward())
    }

    /// Like [`Self::pass`], but the TCP connection stays open unless the client asks to close it.
    #[must_use]
    pub fn pass_and_keep_open(&self) -> Reply {
        Reply::Answer(Response::read(&self.forward()).expect("the upstream server speaks HTTP"))
    }
}

/// A script for a proxy that loses each POST: the upstream server never receives it, and the
/// client's TCP connection is reset. All other requests are forwarded.
#[must_use]
pub fn lose_writes(exchange: &Exchange<'_>) -> Reply {
    if exchange.request.is_post() { Reply::reset() } else { exchange.pass() }
}

type Script = Arc<dyn Fn(&Exchange<'_>) -> Reply + Send + Sync>;

/// A running scripted server. When this value is dropped, the server closes its port. Requests on
/// TCP connections that are open then are still answered.
pub struct ScriptedServer {
    address: SocketAddr,
    server: Arc<SharedServer>,
}

struct SharedServer {
    /// The `host:port` to which a proxy forwards requests; `None` if this server is not a proxy.
    upstream: Option<String>,
    state: Mutex<ServerState>,
}

struct ServerState {
    script: Script,
    requests: Vec<Request>,
    forwarded_count: usize,
    tcp_connection_count: usize,
    truncated_count: usize,
    /// Whether the [`ScriptedServer`] was dropped, so that its listening thread must end.
    is_closed: bool,
}

impl ScriptedServer {
    /// Starts a server that answers each request by `script`.
    #[must_use]
    pub fn start(script: impl Fn(&Exchange<'_>) -> Reply + Send + Sync + 'static) -> Self {
        Self::serve(ANY_PORT, None, Arc::new(script))
    }

    /// Starts a server that listens on this address and answers each request by `script`.
    #[must_use]
    pub fn start_at(
        address: SocketAddr,
        script: impl Fn(&Exchange<'_>) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::serve(address, None, Arc::new(script))
    }

    /// Starts a proxy to the server at `upstream` (`host:port`). It forwards every request until a
    /// test sets another script.
    #[must_use]
    pub fn proxy_to(upstream: &str) -> Self {
        Self::proxy_at(ANY_PORT, upstream)
    }

    /// Like [`Self::proxy_to`], but the proxy listens on this address.
    #[must_use]
    pub fn proxy_at(address: SocketAddr, upstream: &str) -> Self {
        let pass = |exchange: &Exchange<'_>| exchange.pass();
        Self::serve(address, Some(upstream.to_owned()), Arc::new(pass))
    }

    fn serve(address: SocketAddr, upstream: Option<String>, script: Script) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("the listener has an address");
        let state = ServerState {
            script,
            requests: Vec::new(),
            forwarded_count: 0,
            tcp_connection_count: 0,
            truncated_count: 0,
            is_closed: false,
        };
        let server = Arc::new(SharedServer { upstream, state: Mutex::new(state) });
        let shared = Arc::clone(&server);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if shared.lock().is_closed {
                    return;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || drop(serve_connection(&shared, stream)));
            }
        });
        Self { address, server }
    }

    /// Returns the base URL, `http://ADDRESS:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the address on which the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces the script that answers requests.
    pub fn set_script(&self, script: impl Fn(&Exchange<'_>) -> Reply + Send + Sync + 'static) {
        self.server.lock().script = Arc::new(script);
    }

    /// Makes the server forward every request.
    pub fn forward_all(&self) {
        self.set_script(|exchange| exchange.pass());
    }

    /// Makes the server hold each request for which `is_held` returns true, until the returned gate
    /// opens.
    #[must_use]
    pub fn hold_requests(
        &self,
        is_held: impl Fn(&Request) -> bool + Send + Sync + 'static,
    ) -> Gate {
        let (gate, script) = (Gate::default(), Arc::clone(&self.server.lock().script));
        let script_gate = gate.clone();
        self.set_script(move |exchange| {
            if is_held(exchange.request) {
                script_gate.hold();
            }
            script(exchange)
        });
        gate
    }

    /// Makes the server hold the answer to each request for which `is_held` returns true, until the
    /// returned gate opens. The upstream server of a proxy has then already executed the request.
    #[must_use]
    pub fn hold_answers(&self, is_held: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Gate {
        let (gate, script) = (Gate::default(), Arc::clone(&self.server.lock().script));
        let script_gate = gate.clone();
        self.set_script(move |exchange| {
            let reply = script(exchange);
            if is_held(exchange.request) {
                script_gate.hold();
            }
            reply
        });
        gate
    }

    /// Returns all received requests, in the order of their arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.server.lock().requests.clone()
    }

    /// Returns the last received request.
    #[must_use]
    #[track_caller]
    pub fn last_request(&self) -> Request {
        self.server.lock().requests.last().cloned().expect("the server received a request")
    }

    /// Returns the number of POST requests that the server has received.
    #[must_use]
    pub fn posts(&self) -> usize {
        self.server.lock().requests.iter().filter(|request| request.is_post()).count()
    }

    /// Returns the number of requests that the upstream server has answered.
    #[must_use]
    pub fn forwarded(&self) -> usize {
        self.server.lock().forwarded_count
    }

    /// Returns the number of TCP connections on which the server has received a request.
    #[must_use]
    pub fn tcp_connections(&self) -> usize {
        self.server.lock().tcp_connection_count
    }

    /// Returns how many TCP connections a client reset, or closed within a body of known length.
    #[must_use]
    pub fn truncated_connections(&self) -> usize {
        self.server.lock().truncated_count
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.server.lock().is_closed = true;
        let _ = TcpStream::connect(self.address);
    }
}

impl SharedServer {
    fn lock(&self) -> MutexGuard<'_, ServerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve_connection(server: &SharedServer, stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let client = stream.peer_addr()?.ip();
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let mut is_first = true;
    loop {
        let request = match Request::read(&mut reader) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(error) => {
                server.lock().truncated_count += usize::from(is_truncated(&error));
                return Err(error);
            }
        };
        let script = {
            let mut state = server.lock();
            state.tcp_connection_count += usize::from(std::mem::take(&mut is_first));
            state.requests.push(request.clone());
            Arc::clone(&state.script)
        };
        match script(&Exchange { request: &request, client, server }) {
            Reply::Answer(response) => {
                writer.write_all(&response.bytes())?;
                if request.header("connection").is_some_and(|value| value == "close") {
                    return writer.shutdown(Shutdown::Both);
                }
            }
            Reply::Raw(bytes) => {
                writer.write_all(&bytes)?;
                return writer.shutdown(Shutdown::Both);
            }
            Reply::Reset(bytes) => {
                writer.write_all(&bytes)?;
                socket2::SockRef::from(&writer).set_linger(Some(Duration::ZERO))?;
                return Ok(());
            }
            Reply::Endless(bytes) => {
                writer.write_all(&bytes)?;
                loop {
                    writer.write_all(&[b'x'; 65_536])?;
                }
            }
        }
    }
}

/// Returns whether the client reset the TCP connection, or closed it within a body of known length.
fn is_truncated(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset)
}

/// Returns a URL with a port on which no server listens.
#[must_use]
pub fn unreachable_url() -> String {
    let listener = TcpListener::bind(ANY_PORT).expect("a free port");
    format!("http://{}", listener.local_addr().expect("the listener has an address"))
}
