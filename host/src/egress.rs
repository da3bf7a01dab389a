//! Egress: sends every HTTP request of every guest, whether the guest uses the interface `http` of
//! the contract or `wasi:http`.
//!
//! The steps of a request, in the order of `send.rs`: add a call to the record, authorize, insert
//! secrets, resolve, connect, journal, send, complete the call in the record, redact. Never sends a
//! write twice, and never shows a secret to a guest.

mod active;
mod answer;
mod authorize;
mod body;
mod cookies;
mod credentials;
mod decode;
mod exchange;
mod inflate;
mod pool;
mod probe;
mod query;
mod read;
mod record;
mod secrets;
mod send;
mod spool;
mod tape;
mod test_manager;
mod token;

#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::task::TaskTracker;

use crate::cpu_time::Meter;
use crate::domain::{
    Clock, Effect, Journal, Limits, Origin, OutboundCall, Usage, WriteRecord, is_recording,
};
use crate::memory::{Account, Charge, MemoryFull};
use crate::redact::TextKind;
use crate::telemetry::TraceParent;
use crate::transport::{ConnectError, Dialer, OwnAddresses, TrustError, client_config};

use cookies::Cookies;
use record::{Call, Record};
use spool::{RunSpool, Spool};

pub use active::ActiveConnection;
pub(crate) use authorize::{CheckedRequest, URL_BYTES_MAX, body_too_large};
pub(crate) use body::Body;
pub use tape::{
    Comparison, InvalidExchange, NoAnswer, Recorder, Recording, RecordingError, Replay, Reply,
    SentRequest, Tape, TapeError, TapedAnswer, TapedRequest, write_recording,
};
pub(crate) use token::TokenError;

#[cfg(fuzzing)]
pub(crate) use authorize::parse_target;
#[cfg(fuzzing)]
pub(crate) use exchange::path_and_query;
#[cfg(fuzzing)]
pub(crate) use secrets::check_placeholders;
#[cfg(fuzzing)]
pub(crate) use secrets::with_secrets;

/// How long [`RunRequests::finish`] waits after the deadline of requests: exchanges that end at the
/// deadline need a moment to record their result.
const FINISH_GRACE: Duration = Duration::from_secs(2);

/// How long running exchanges may continue after [`Egress::close`].
const CLOSE_GRACE: Duration = Duration::from_secs(5);

/// What all runs use to send requests: trust anchors, resolver, proxies, and the folder for large
/// bodies.
pub struct Egress {
    dialer: Dialer,
    spool: Arc<Spool>,
    own_server: OwnServer,
    /// Records exchanges, or answers requests from a recording. Only `jackfield invoke` and
    /// `jackfield test` set it.
    tape: Option<Tape>,
    /// The time at which all exchanges end because the server shuts down; `None` before the
    /// shutdown. A run may continue after this time.
    closed_at: watch::Sender<Option<Instant>>,
}

/// What egress must protect of this server. No request of a connection may go to one of these
/// addresses or set one of these headers.
#[derive(Debug, Clone, Default)]
pub struct OwnServer {
    /// The addresses on which this server listens.
    pub addresses: OwnAddresses,
    /// The names of the headers by which this server recognises a reverse proxy in front of it and
    /// the people whom that proxy signs in. The headers that every reverse proxy sets are refused
    /// anyway.
    pub headers: Vec<String>,
}

impl From<ConnectError> for HttpError {
    fn from(error: ConnectError) -> Self {
        if error.is_forbidden() {
            Self::Denied(error.to_string())
        } else {
            Self::Unreachable(format!("{} failed: {error}", error.step()))
        }
    }
}

/// Which requests a run may send.
#[derive(Clone)]
pub(crate) enum Permission {
    /// The run may send no request (`describe`).
    Nothing,
    /// The run may send reads and preparations (`find`, `count`, `check`, and the searches of
    /// `follow-up`).
    Reads,
    /// The run may also send writes. Each write is committed to this journal before it is sent
    /// (`create`, and `comment`, `reopen` and `attach` of `follow-up`).
    Writes(Arc<dyn Journal>),
}

/// The accounts to which the host charges the work that it does for a run.
#[derive(Clone)]
pub(crate) struct RunAccounts {
    pub(crate) meter: Arc<Meter>,
    pub(crate) memory: Arc<Account>,
}

/// The requests of one run.
pub(crate) struct RunRequests {
    egress: Arc<Egress>,
    active: Arc<ActiveConnection>,
    permission: Permission,
    limits: Limits,
    /// All requests of the run end at this time. The run itself may end later.
    request_deadline: Instant,
    meter: Arc<Meter>,
    memory: Arc<Account>,
    spool: Arc<RunSpool>,
    record: Arc<Record>,
    cookies: Arc<Cookies>,
    /// The trace that the header `traceparent` of each request names.
    trace: OnceLock<TraceParent>,
    /// Records the exchanges of this run, or answers its requests from a recording.
    tape: Option<Tape>,
    /// Locked during a write, because the journal tracks one write at a time.
    write_lock: Arc<Mutex<()>>,
    /// Writes that [`RunRequests::finish`] waits for.
    writes: TaskTracker,
}

/// A request as the guest made it. Nothing in it is checked yet.
#[derive(Debug, Clone)]
pub(crate) struct OutboundRequest {
    pub(crate) method: Method,
    /// What the request may change in the tracker. If it is absent, GET, HEAD and OPTIONS are
    /// reads, and all other methods are writes.
    pub(crate) effect: Option<Effect>,
    /// An absolute URL.
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

/// A complete response, decoded and redacted.
#[derive(Debug)]
pub(crate) struct OutboundResponse {
    pub(crate) status: u16,
    /// The URL that answered. After redirects, it is the last one.
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
    /// The charge for the memory that the response uses.
    pub(crate) charge: Charge,
}

/// The reason why a request has no response. The cases are those of `http-error` in the WIT.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("denied: {0}")]
    Denied(String),
    /// `denied`, because the connection does not grant this origin.
    #[error("denied: {}", not_granted_message(.0))]
    NotGranted(Origin),
    #[error("limit: {0}")]
    Limit(String),
    #[error("unreachable: {0}")]
    Unreachable(String),
    #[error("interrupted: {0}")]
    Interrupted(String),
    #[error("invalid: {0}")]
    Invalid(String),
}

impl HttpError {
    /// Returns the case of this error in the WIT, and its text.
    pub(crate) fn into_parts(self) -> (NoAnswer, String) {
        match self {
            Self::Denied(text) => (NoAnswer::Denied, text),
            Self::NotGranted(origin) => (NoAnswer::Denied, not_granted_message(&origin)),
            Self::Limit(text) => (NoAnswer::Limit, text),
            Self::Unreachable(text) => (NoAnswer::Unreachable, text),
            Self::Interrupted(text) => (NoAnswer::Interrupted, text),
            Self::Invalid(text) => (NoAnswer::Invalid, text),
        }
    }

    fn from_case(case: NoAnswer, text: String) -> Self {
        match case {
            NoAnswer::Denied => Self::Denied(text),
            NoAnswer::Limit => Self::Limit(text),
            NoAnswer::Unreachable => Self::Unreachable(text),
            NoAnswer::Interrupted => Self::Interrupted(text),
            NoAnswer::Invalid => Self::Invalid(text),
        }
    }
}

fn not_granted_message(origin: &Origin) -> String {
    format!("the connection does not grant {origin}; check the URLs in its settings")
}

impl Egress {
    /// Reads the system's trust store and `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`, once. Large
    /// bodies are stored in `spool_folder` and may use `spool_bytes_max` bytes together.
    /// `own_server` is the server that this process runs.
    ///
    /// # Errors
    /// The file of extra trust anchors cannot be used.
    pub fn new(
        extra_ca_file: Option<&Path>,
        spool_folder: PathBuf,
        spool_bytes_max: u64,
        own_server: OwnServer,
    ) -> Result<Self, TrustError> {
        let dialer = Dialer::from_env(client_config(extra_ca_file)?, own_server.addresses.clone());
        Ok(Self::with_dialer(dialer, Spool::new(spool_folder, spool_bytes_max), own_server))
    }

    fn with_dialer(dialer: Dialer, spool: Arc<Spool>, own_server: OwnServer) -> Self {
        Self { dialer, spool, own_server, tape: None, closed_at: watch::Sender::new(None) }
    }

    /// Makes all runs use this tape, which records the exchanges or answers requests from a
    /// recording.
    #[must_use]
    pub fn with_tape(self, tape: Tape) -> Self {
        Self { tape: Some(tape), ..self }
    }

    /// Shuts egress down: ends every exchange, and every attempt to connect, after a short time.
    pub(crate) fn close(&self) {
        self.closed_at.send_replace(Some(Instant::now() + CLOSE_GRACE));
    }
}

impl From<MemoryFull> for HttpError {
    fn from(full: MemoryFull) -> Self {
        Self::Limit(full.to_string())
    }
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress").finish_non_exhaustive()
    }
}

impl RunRequests {
    /// Makes the sender of a run's requests. All requests end by `request_deadline`.
    pub(crate) fn new(
        egress: Arc<Egress>,
        active: Arc<ActiveConnection>,
        permission: Permission,
        limits: Limits,
        clock: Arc<dyn Clock>,
        request_deadline: Instant,
        accounts: RunAccounts,
    ) -> Arc<Self> {
        let RunAccounts { meter, memory } = accounts;
        let spool = RunSpool::new(&egress.spool);
        let cookies = Arc::new(Cookies::new());
        let record_until = active.connection.record_until;
        let record_until = record_until.filter(|until| is_recording(Some(*until), clock.now()));
        let tape_in_memory =
            || record_until.map(|until| Tape::Record(Arc::new(Recorder::in_memory_until(until))));
        let tape = active.tape.clone().or_else(|| egress.tape.clone()).or_else(tape_in_memory);
        let secret_sources = (Arc::clone(&active), Arc::clone(&cookies));
        let record = Record::new(secret_sources, clock, limits.outbound_calls, request_deadline);
        Arc::new(Self {
            egress,
            active,
            permission,
            limits,
            request_deadline,
            meter,
            memory,
            spool,
            record: Arc::new(record),
            cookies,
            trace: OnceLock::new(),
            tape,
            write_lock: Arc::default(),
            writes: TaskTracker::new(),
        })
    }

    /// From now on, the requests of the run have the header `traceparent`, each with a span of its
    /// own in this trace.
    pub(crate) fn continue_trace(&self, trace: TraceParent) {
        let _ = self.trace.set(trace);
    }

    /// Adds the header `traceparent` to a request, and its span to the record, if the requests of
    /// this run continue a trace.
    fn add_trace(&self, outbound: &mut CheckedRequest, call: &Call) {
        let Some(trace) = self.trace.get().map(TraceParent::child) else { return };
        outbound.traceparent = HeaderValue::try_from(trace.to_string()).ok();
        call.record_span(trace.span);
    }

    /// Runs `work` until the deadline of the run's requests, or until the server ends all
    /// exchanges; `None` if it did not finish.
    async fn until_deadline<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let (deadline, mut closed_at) = (self.request_deadline, self.egress.closed_at.subscribe());
        let closing = async move {
            let closed_at = closed_at.wait_for(Option::is_some).await.ok().and_then(|at| *at);
            sleep_until(closed_at.unwrap_or(deadline)).await;
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = sleep_until(deadline) => None,
            () = closing => None,
        }
    }

    /// Whether a recording answers the requests, so that no connection is made.
    fn is_replay(&self) -> bool {
        matches!(self.tape, Some(Tape::Replay(_)))
    }

    /// Removes every secret and cookie, in every form in which a tracker may echo it, from a text
    /// that the guest returned and that people read.
    pub(crate) fn redact(&self, text: String) -> String {
        self.cookies.redact(self.redact_as(TextKind::ForPeople, text))
    }

    /// Removes every secret from a text that the guest returned. Does not remove cookies, because
    /// the value of a cookie may also be a part of a link.
    pub(crate) fn redact_as(&self, kind: TextKind, text: String) -> String {
        self.active.credentials.redactor.load().redact(kind, text)
    }

    /// Prevents new writes, waits for the writes in progress until shortly after the deadline, and
    /// returns the record.
    pub(crate) async fn finish(&self) -> (Vec<OutboundCall>, Vec<WriteRecord>) {
        self.record.close();
        self.writes.close();
        if !self.writes.is_empty() {
            // A write that runs longer than `FINISH_GRACE` is recorded as "still under way".
            let _ = timeout_at(self.request_deadline + FINISH_GRACE, self.writes.wait()).await;
        }
        self.record.snapshot()
    }

    /// Removes and returns the exchanges that were recorded for the event, with the reason why some
    /// are missing. `None` if the connection does not record its runs.
    pub(crate) fn take_recording(&self) -> Option<(Vec<String>, Option<String>)> {
        match &self.tape {
            Some(Tape::Record(recorder)) => recorder.take(),
            _ => None,
        }
    }

    /// Whether a request began before the deadline of the run's requests and was not complete then.
    pub(crate) fn missed_request_deadline(&self) -> bool {
        self.record.missed_request_deadline()
    }

    /// Whether only the host may set this header.
    pub(crate) fn is_reserved_header(&self, name: &str) -> bool {
        let own_headers = &self.egress.own_server.headers;
        authorize::is_reserved_header(name, &self.active.connection, own_headers)
    }

    /// The connection that this run uses.
    pub(crate) fn active(&self) -> &Arc<ActiveConnection> {
        &self.active
    }

    /// The meter of this run's CPU time. The host's work for its requests is charged to it.
    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// The account to which this run's memory is charged.
    pub(crate) fn memory(&self) -> &Arc<Account> {
        &self.memory
    }

    /// The limits of this run.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Sets in `usage` how much of the limits that egress enforces was used.
    pub(crate) fn fill_usage(&self, usage: &mut Usage) {
        self.record.fill_usage(usage);
    }
}
