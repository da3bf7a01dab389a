//! An HTTP/1.1 server on loopback whose answers a test scripts. It is a fake tracker, or a proxy
//! in front of a real tracker that loses, delays or damages what passes through it.

use std::io::{BufReader, ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Gate;
use crate::wire::{Request, Response};

/// An address of loopback with any free port.
const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The action by which a script answers a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Sends a complete answer, and keeps the connection open.
    Answer(Response),
    /// Sends these bytes, then closes the connection.
    Raw(Vec<u8>),
    /// Sends these bytes, then resets the connection.
    Reset(Vec<u8>),
    /// Sends these bytes, then blocks of 64 KiB until the client closes the connection.
    Endless(Vec<u8>),
}

impl Reply {
    /// Makes a complete answer with this body.
    #[must_use]
    pub fn new(status: u16, body: impl AsRef<[u8]>) -> Self {
        Self::Answer(Response::new(status, body))
    }

    /// Makes a complete answer with this JSON body.
    #[must_use]
    pub fn json(status: u16, body: &str) -> Self {
        Self::Answer(Response::json(status, body))
    }

    /// Makes the answer of a tracker that created the issue `id`.
    #[must_use]
    pub fn created(id: u32) -> Self {
        Self::json(201, &format!(r#"{{"issue":{{"id":{id}}}}}"#))
    }

    /// Resets the connection without an answer.
    #[must_use]
    pub fn reset() -> Self {
        Self::Reset(Vec::new())
    }
}

/// The argument of a script: one request, and the way to forward it.
pub struct Exchange<'a> {
    /// The request that the script answers.
    pub request: &'a Request,
    /// The address of the client.
    pub client: IpAddr,
    inner: &'a Inner,
}

impl Exchange<'_> {
    /// Forwards the request to the upstream server and returns the bytes of its answer.
    ///
    /// # Panics
    /// If this server is not a proxy, or the upstream server does not answer.
    #[must_use]
    pub fn forward(&self) -> Vec<u8> {
        let upstream = self.inner.upstream.as_deref().expect("this server is not a proxy");
        let answer = self.request.forward(upstream).expect("the upstream server answers");
        self.inner.lock().forwarded += 1;
        answer
    }

    /// Forwards the request and returns the answer; the connection is closed afterwards.
    ///
    /// # Panics
    /// As for [`Self::forward`].
    #[must_use]
    pub fn pass(&self) -> Reply {
        Reply::Raw(self.forward())
    }

    /// Forwards the request and returns the answer; the connection stays open.
    ///
    /// # Panics
    /// As for [`Self::forward`].
    #[must_use]
    pub fn pass_and_keep_open(&self) -> Reply {
        Reply::Answer(Response::read(&self.forward()).expect("the upstream server speaks HTTP"))
    }
}

/// Answers as a proxy that loses each POST: the upstream server never receives it, and the client's
/// connection is reset. All other requests pass.
#[must_use]
pub fn lose_writes(exchange: &Exchange<'_>) -> Reply {
    if exchange.request.is_post() { Reply::reset() } else { exchange.pass() }
}

type Script = Arc<dyn Fn(&Exchange<'_>) -> Reply + Send + Sync>;

/// A scripted server. Dropping it stops the server; then its port refuses connections.
pub struct ScriptedServer {
    address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    upstream: Option<String>,
    state: Mutex<State>,
}

struct State {
    script: Script,
    requests: Vec<Request>,
    forwarded: usize,
    connections: usize,
    truncated: usize,
    closed: bool,
}

impl ScriptedServer {
    /// Starts a server that answers each request by `script`.
    #[must_use]
    pub fn start(script: impl Fn(&Exchange<'_>) -> Reply + Send + Sync + 'static) -> Self {
        Self::serve(ANY_PORT, None, Arc::new(script))
    }

    /// Starts a server that answers each request by `script`, at this address.
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

    /// As [`Self::proxy_to`], at this address.
    #[must_use]
    pub fn proxy_at(address: SocketAddr, upstream: &str) -> Self {
        let pass = |exchange: &Exchange<'_>| exchange.pass();
        Self::serve(address, Some(upstream.to_owned()), Arc::new(pass))
    }

    fn serve(address: SocketAddr, upstream: Option<String>, script: Script) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("the listener has an address");
        let state = State {
            script,
            requests: Vec::new(),
            forwarded: 0,
            connections: 0,
            truncated: 0,
            closed: false,
        };
        let inner = Arc::new(Inner { upstream, state: Mutex::new(state) });
        let shared = Arc::clone(&inner);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if shared.lock().closed {
                    return;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || drop(serve_connection(&shared, stream)));
            }
        });
        Self { address, inner }
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

    /// From now on, answers each request by `script`.
    pub fn set_script(&self, script: impl Fn(&Exchange<'_>) -> Reply + Send + Sync + 'static) {
        self.inner.lock().script = Arc::new(script);
    }

    /// From now on, forwards every request.
    pub fn forward_all(&self) {
        self.set_script(|exchange| exchange.pass());
    }

    /// From now on, holds each request that `which` selects at the returned gate, before the
    /// script answers it.
    #[must_use]
    pub fn hold_requests(&self, which: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Gate {
        let (gate, script) = (Gate::default(), Arc::clone(&self.inner.lock().script));
        let held = gate.clone();
        self.set_script(move |exchange| {
            if which(exchange.request) {
                held.hold();
            }
            script(exchange)
        });
        gate
    }

    /// From now on, holds each answer to a request that `which` selects at the returned gate,
    /// after the script produced it. With a proxy, the upstream server has executed the request by
    /// then.
    #[must_use]
    pub fn hold_answers(&self, which: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Gate {
        let (gate, script) = (Gate::default(), Arc::clone(&self.inner.lock().script));
        let held = gate.clone();
        self.set_script(move |exchange| {
            let reply = script(exchange);
            if which(exchange.request) {
                held.hold();
            }
            reply
        });
        gate
    }

    /// Returns all requests so far, in the order received.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.inner.lock().requests.clone()
    }

    /// Returns the last request.
    ///
    /// # Panics
    /// If there was no request.
    #[must_use]
    #[track_caller]
    pub fn last_request(&self) -> Request {
        self.inner.lock().requests.last().cloned().expect("the server received a request")
    }

    /// Returns how many POSTs the server has received.
    #[must_use]
    pub fn posts(&self) -> usize {
        self.inner.lock().requests.iter().filter(|request| request.is_post()).count()
    }

    /// Returns how many requests were forwarded and answered by the upstream server.
    #[must_use]
    pub fn forwarded(&self) -> usize {
        self.inner.lock().forwarded
    }

    /// Returns how many connections carried a request.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.inner.lock().connections
    }

    /// Returns how many requests ended before they were complete.
    #[must_use]
    pub fn truncated_requests(&self) -> usize {
        self.inner.lock().truncated
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.inner.lock().closed = true;
        let _ = TcpStream::connect(self.address);
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers the requests of one connection by the current script.
fn serve_connection(inner: &Inner, stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let client = stream.peer_addr()?.ip();
    let mut out = stream.try_clone()?;
    let mut from = BufReader::new(stream);
    let mut first = true;
    loop {
        let request = match Request::read(&mut from) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(error) => {
                inner.lock().truncated += usize::from(is_truncated(&error));
                return Err(error);
            }
        };
        let script = {
            let mut state = inner.lock();
            state.connections += usize::from(std::mem::take(&mut first));
            state.requests.push(request.clone());
            Arc::clone(&state.script)
        };
        match script(&Exchange { request: &request, client, inner }) {
            Reply::Answer(response) => {
                out.write_all(&response.bytes())?;
                if request.header("connection").is_some_and(|value| value == "close") {
                    return out.shutdown(Shutdown::Both);
                }
            }
            Reply::Raw(bytes) => {
                out.write_all(&bytes)?;
                return out.shutdown(Shutdown::Both);
            }
            Reply::Reset(bytes) => {
                out.write_all(&bytes)?;
                socket2::SockRef::from(&out).set_linger(Some(Duration::ZERO))?;
                return Ok(());
            }
            Reply::Endless(bytes) => {
                out.write_all(&bytes)?;
                loop {
                    out.write_all(&[b'x'; 65_536])?;
                }
            }
        }
    }
}

/// Returns whether the client closed the connection in the middle of a request.
fn is_truncated(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset)
}

/// Returns a URL at whose address no server listens.
#[must_use]
pub fn unreachable_url() -> String {
    let listener = TcpListener::bind(ANY_PORT).expect("a free port");
    format!("http://{}", listener.local_addr().expect("the listener has an address"))
}
