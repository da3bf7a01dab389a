//! What the tests of egress stand on: a run's session, a tracker of a few lines on loopback, a
//! journal with a gate.

mod reads;
mod requests;
mod secrets;
mod tls;
mod writes;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use hyper_util::client::proxy::matcher::Matcher;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use uuid::Uuid;

use super::address::Resolver;
use super::{Egress, HttpError, OutboundRequest, OutboundResponse, Permission, Session, trust};
use crate::connector::Access;
use crate::domain::{
    Connection, ConnectionId, Effect, Grants, Journal, Limits, NotJournalled, SecretGrant,
    SecretPlace, Settings, SystemClock,
};
use crate::secret::Secret;

/// A run in the making.
pub(in crate::connector) struct Bench {
    pub(in crate::connector) grants: Grants,
    pub(in crate::connector) secrets: BTreeMap<String, Secret>,
    pub(in crate::connector) allow_private: bool,
    pub(in crate::connector) limits: Limits,
    pub(in crate::connector) names: HashMap<String, Vec<Vec<IpAddr>>>,
    /// Empty: none.
    pub(in crate::connector) proxy: String,
    pub(in crate::connector) extra_ca: Option<std::path::PathBuf>,
    pub(in crate::connector) run: Duration,
}

impl Bench {
    /// A connection that grants these origins.
    pub(in crate::connector) fn granting(origins: &[&str]) -> Self {
        let origins = origins.iter().map(|origin| origin.parse().unwrap()).collect();
        Self {
            grants: Grants { origins, ..Grants::default() },
            secrets: BTreeMap::new(),
            allow_private: false,
            limits: Limits::default(),
            names: HashMap::new(),
            proxy: String::new(),
            extra_ca: None,
            run: Duration::from_secs(60),
        }
    }

    /// With a secret, its place and its origin.
    pub(in crate::connector) fn secret(
        mut self,
        name: &str,
        value: &str,
        origin: &str,
        place: SecretPlace,
    ) -> Self {
        let grant = SecretGrant { origin: origin.parse().unwrap(), place };
        self.grants.secrets.insert(name.to_owned(), grant);
        self.secrets.insert(name.to_owned(), Secret::new(value.to_owned()));
        self
    }

    /// With a name that resolves to one list of addresses after the other, the last for ever.
    pub(in crate::connector) fn name(mut self, name: &str, answers: &[&[&str]]) -> Self {
        let parse = |list: &&[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect();
        self.names.insert(name.to_owned(), answers.iter().map(parse).collect());
        self
    }

    pub(in crate::connector) fn access(&self) -> Arc<Access> {
        let connection = Connection {
            id: ConnectionId(Uuid::nil()),
            name: "test".to_owned(),
            connector: "test".parse().unwrap(),
            settings: Settings::new(),
            secrets_set: Vec::new(),
            grants: self.grants.clone(),
            accepted_sha256: None,
            project: None,
            allow_private: self.allow_private,
            paused: false,
            token_tail: String::new(),
            created_at: jiff::Timestamp::UNIX_EPOCH,
            last_success_at: None,
            last_error: None,
        };
        Arc::new(Access::new(connection, self.secrets.clone()))
    }

    pub(in crate::connector) fn egress(&self) -> Arc<Egress> {
        Arc::new(Egress {
            tls: trust::client_config(self.extra_ca.as_deref()).unwrap(),
            resolver: Box::new(Names(Mutex::new(self.names.clone()))),
            proxies: Matcher::builder().all(self.proxy.clone()).build(),
        })
    }

    pub(in crate::connector) fn session(&self, permission: Permission) -> Arc<Session> {
        self.session_of(&self.access(), permission)
    }

    /// Another run of the same connection.
    pub(in crate::connector) fn session_of(
        &self,
        access: &Arc<Access>,
        permission: Permission,
    ) -> Arc<Session> {
        let deadline = Instant::now() + self.run;
        let clock = Arc::new(SystemClock);
        let (egress, access, meter) = (self.egress(), Arc::clone(access), Arc::default());
        Session::new(egress, access, permission, self.limits, clock, deadline, meter)
    }

    /// A run that may read.
    pub(in crate::connector) fn reading(&self) -> Arc<Session> {
        self.session(Permission::Reads)
    }
}

struct Names(Mutex<HashMap<String, Vec<Vec<IpAddr>>>>);

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        if name == "localhost" {
            return Ok(vec![IpAddr::from([127, 0, 0, 1])]);
        }
        let mut names = self.0.lock().unwrap();
        let answers = names.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        let first = answers.first().cloned().unwrap_or_default();
        if answers.len() > 1 {
            answers.remove(0);
        }
        Ok(first)
    }
}

/// A tracker on loopback.
pub(in crate::connector) struct Tracker {
    pub(in crate::connector) address: SocketAddr,
    /// Connections accepted.
    pub(in crate::connector) connections: Arc<AtomicUsize>,
    /// Requests, head and body.
    pub(in crate::connector) requests: Arc<Mutex<Vec<String>>>,
}

impl Tracker {
    /// Gives each connection, numbered from 0, to a script.
    pub(in crate::connector) async fn scripted<F, Fut>(script: F) -> Self
    where
        F: Fn(usize, TcpStream, Requests) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, requests) = (Arc::<AtomicUsize>::default(), Requests::default());
        let (counted, kept) = (Arc::clone(&connections), requests.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(script(number, stream, kept.clone()));
            }
        });
        Self { address, connections, requests: requests.0 }
    }

    /// Answers every request on kept connections.
    pub(in crate::connector) async fn answering(
        answer: impl Fn(&str) -> Vec<u8> + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::scripted(move |_, mut stream, requests| {
            let answer = answer.clone();
            async move {
                while let Some(request) = requests.read(&mut stream).await {
                    stream.write_all(&answer(&request)).await.unwrap();
                }
            }
        })
        .await
    }

    pub(in crate::connector) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(in crate::connector) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(in crate::connector) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(in crate::connector) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// The requests that a tracker saw.
#[derive(Clone, Default)]
pub(in crate::connector) struct Requests(Arc<Mutex<Vec<String>>>);

impl Requests {
    /// Reads one request; `None` at the end of the stream.
    pub(in crate::connector) async fn read(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Option<String> {
        let request = read_request(stream).await?;
        self.0.lock().unwrap().push(request.clone());
        Some(request)
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&bytes).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    bytes.extend(body);
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// A whole answer.
pub(in crate::connector) fn answer(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// Ends a connection so that the other side sees a reset.
pub(in crate::connector) fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}

/// Reads to the end, whatever comes.
pub(in crate::connector) async fn drain(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    rest
}

pub(in crate::connector) fn get(url: impl Into<String>) -> OutboundRequest {
    OutboundRequest {
        method: Method::GET,
        effect: None,
        url: url.into(),
        headers: Vec::new(),
        body: Bytes::new(),
    }
}

pub(in crate::connector) fn post(
    url: impl Into<String>,
    body: impl Into<Bytes>,
) -> OutboundRequest {
    OutboundRequest { method: Method::POST, body: body.into(), ..get(url) }
}

pub(in crate::connector) fn with(
    mut request: OutboundRequest,
    name: &str,
    value: &str,
) -> OutboundRequest {
    request.headers.push((name.to_owned(), value.to_owned()));
    request
}

pub(in crate::connector) fn marked(request: OutboundRequest, effect: Effect) -> OutboundRequest {
    OutboundRequest { effect: Some(effect), ..request }
}

pub(in crate::connector) fn header<'a>(
    answer: &'a OutboundResponse,
    name: &str,
) -> Option<&'a str> {
    answer.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

pub(in crate::connector) fn is_denied(result: &Result<OutboundResponse, HttpError>) -> bool {
    matches!(result, Err(HttpError::Denied(_)))
}

/// A journal that lets a write out when its gate opens, and remembers.
pub(in crate::connector) struct Gate {
    pub(in crate::connector) open: Semaphore,
    pub(in crate::connector) asked: Semaphore,
    pub(in crate::connector) refuses: AtomicBool,
    pub(in crate::connector) moves: Mutex<Vec<&'static str>>,
}

impl Gate {
    pub(in crate::connector) fn open() -> Arc<Self> {
        let gate = Self::shut();
        gate.open.add_permits(100);
        gate
    }

    pub(in crate::connector) fn shut() -> Arc<Self> {
        Arc::new(Self {
            open: Semaphore::new(0),
            asked: Semaphore::new(0),
            refuses: AtomicBool::new(false),
            moves: Mutex::default(),
        })
    }

    pub(in crate::connector) fn moves(&self) -> Vec<&'static str> {
        self.moves.lock().unwrap().clone()
    }

    pub(in crate::connector) fn permission(self: &Arc<Self>) -> Permission {
        Permission::Writes(Arc::clone(self) as Arc<dyn Journal>)
    }
}

#[async_trait]
impl Journal for Gate {
    async fn sent(&self) -> Result<(), NotJournalled> {
        self.asked.add_permits(1);
        self.open.acquire().await.unwrap().forget();
        if self.refuses.load(Ordering::SeqCst) {
            return Err(NotJournalled("the lease was lost".to_owned()));
        }
        self.moves.lock().unwrap().push("sent");
        Ok(())
    }

    async fn unsent(&self) {
        self.moves.lock().unwrap().push("unsent");
    }
}
