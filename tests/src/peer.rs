//! A server on loopback whose every answer is scripted: a tracker of its own, or one put in front of a
//! real tracker to break the way there and back.

use std::io::{BufReader, ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::wire::{Request, Response};

const PATIENCE: Duration = Duration::from_secs(60);
/// Any free port.
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What a script makes of a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A proper answer; the connection stays open.
    Answer(Response),
    /// These bytes, then the end of the connection.
    Raw(Vec<u8>),
    /// These bytes, then a reset.
    Reset(Vec<u8>),
    /// These bytes, one every so many milliseconds, then the end.
    Drip(Vec<u8>, u64),
    /// These bytes, and then the last 64 KiB block over and over for as long as anybody listens.
    Endless(Vec<u8>),
}

/// One request in the hands of a script.
pub struct Exchange<'a> {
    /// Counts from 1 over all connections of this peer.
    pub number: usize,
    /// The request.
    pub request: &'a Request,
    inner: &'a Inner,
}

impl Exchange<'_> {
    /// Hands the request to the server behind and returns its answer.
    ///
    /// # Panics
    /// When this peer stands in front of nothing, or that server does not answer.
    #[must_use]
    pub fn forward(&self) -> Vec<u8> {
        let upstream = self.inner.upstream.as_deref().expect("this peer has no server behind it");
        let answer = self.request.forward(upstream).expect("the server behind answers");
        self.inner.change(|state| state.forwarded += 1);
        answer
    }

    /// The same as an answer of this peer's own, after which the connection stays open.
    ///
    /// # Panics
    /// As [`Self::forward`].
    #[must_use]
    pub fn answer(&self) -> Response {
        Response::read(&self.forward()).expect("an answer of the server behind")
    }

    /// Hands the request on and the answer back.
    #[must_use]
    pub fn pass(&self) -> Reply {
        Reply::Raw(self.forward())
    }
}

type Script = Arc<dyn Fn(&Exchange<'_>) -> Reply + Send + Sync>;

/// The scripted server. It ends when it is dropped; from then on its port refuses.
pub struct Peer {
    address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    upstream: Option<String>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    script: Script,
    requests: Vec<Request>,
    forwarded: usize,
    connections: usize,
    broken: usize,
    closed: bool,
}

impl Peer {
    /// A server of its own.
    #[must_use]
    pub fn start(script: impl Fn(&Exchange<'_>) -> Reply + Send + Sync + 'static) -> Self {
        Self::serve(LOOPBACK, None, Arc::new(script))
    }

    /// A server of its own at this address.
    #[must_use]
    pub fn at(
        address: SocketAddr,
        script: impl Fn(&Exchange<'_>) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::serve(address, None, Arc::new(script))
    }

    /// A server in front of another (`host:port`); passes everything until told otherwise.
    #[must_use]
    pub fn before(upstream: &str) -> Self {
        let pass = |exchange: &Exchange<'_>| exchange.pass();
        Self::serve(LOOPBACK, Some(upstream.to_owned()), Arc::new(pass))
    }

    /// An address at which nobody listens.
    #[must_use]
    pub fn nobody() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        format!("http://{}", listener.local_addr().expect("its address"))
    }

    fn serve(address: SocketAddr, upstream: Option<String>, script: Script) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("its address");
        let state = State {
            script,
            requests: Vec::new(),
            forwarded: 0,
            connections: 0,
            broken: 0,
            closed: false,
        };
        let inner = Arc::new(Inner { upstream, state: Mutex::new(state), changed: Condvar::new() });
        let shared = Arc::clone(&inner);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if shared.lock().closed {
                    return;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || drop(converse(&shared, stream)));
            }
        });
        Self { address, inner }
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on answers like this.
    pub fn script(&self, script: impl Fn(&Exchange<'_>) -> Reply + Send + Sync + 'static) {
        self.inner.change(|state| state.script = Arc::new(script));
    }

    /// From now on passes everything.
    pub fn heal(&self) {
        self.script(|exchange| exchange.pass());
    }

    /// Every request so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.inner.lock().requests.clone()
    }

    /// The requests so far that came by this method.
    #[must_use]
    pub fn requests_by(&self, method: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.method == method).collect()
    }

    /// How many requests were handed on and answered behind.
    #[must_use]
    pub fn forwarded(&self) -> usize {
        self.inner.lock().forwarded
    }

    /// How many connections carried a request.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.inner.lock().connections
    }

    /// How many requests began and never came whole.
    #[must_use]
    pub fn broken(&self) -> usize {
        self.inner.lock().broken
    }

    /// Waits until so many requests came.
    ///
    /// # Panics
    /// After a minute.
    #[track_caller]
    pub fn await_requests(&self, count: usize) {
        self.inner.wait("requests", |state| state.requests.len() >= count);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.inner.change(|state| state.closed = true);
        let _ = TcpStream::connect(self.address);
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.lock());
        self.changed.notify_all();
        changed
    }

    #[track_caller]
    fn wait(&self, what: &str, met: impl Fn(&State) -> bool) {
        let (state, timeout) = self
            .changed
            .wait_timeout_while(self.lock(), PATIENCE, |state| !met(state))
            .unwrap_or_else(PoisonError::into_inner);
        let seen = state.requests.len();
        drop(state);
        assert!(!timeout.timed_out(), "waited in vain for {what}; {seen} requests came");
    }
}

fn converse(inner: &Inner, stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut out = stream.try_clone()?;
    let mut from = BufReader::new(stream);
    let mut first = true;
    loop {
        let request = match Request::read(&mut from) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(error) => {
                inner.change(|state| state.broken += usize::from(is_half(&error)));
                return Err(error);
            }
        };
        let (number, script) = inner.change(|state| {
            state.connections += usize::from(std::mem::take(&mut first));
            state.requests.push(request.clone());
            (state.requests.len(), Arc::clone(&state.script))
        });
        match script(&Exchange { number, request: &request, inner }) {
            Reply::Answer(response) => {
                out.write_all(&response.bytes())?;
                if request.header("connection").is_some_and(|word| word == "close") {
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
            Reply::Drip(bytes, pause_ms) => {
                for byte in bytes {
                    out.write_all(&[byte])?;
                    std::thread::sleep(Duration::from_millis(pause_ms));
                }
                return out.shutdown(Shutdown::Both);
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

/// Whether a request began and its sender went away before its end.
fn is_half(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset)
}

/// Holds scripts until it is opened, and tells how many are held.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<(usize, bool)>, Condvar)>);

impl Gate {
    /// Blocks the script until [`Self::open`] (or a minute has passed).
    pub fn pass(&self) {
        let (lock, changed) = &*self.0;
        let mut state = lock.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 += 1;
        changed.notify_all();
        drop(changed.wait_timeout_while(state, PATIENCE, |(_, open)| !*open));
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        let (lock, changed) = &*self.0;
        lock.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        changed.notify_all();
    }

    /// Waits until so many scripts have arrived at it.
    ///
    /// # Panics
    /// After a minute.
    #[track_caller]
    pub fn await_held(&self, count: usize) {
        let (lock, changed) = &*self.0;
        let state = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, timeout) = changed
            .wait_timeout_while(state, PATIENCE, |(held, _)| *held < count)
            .unwrap_or_else(PoisonError::into_inner);
        let held = state.0;
        drop(state);
        assert!(!timeout.timed_out(), "waited in vain for {count} held requests; {held} came");
    }
}
