//! An event: one webhook request and all that came of it, as people look at it afterwards.

use std::fmt;

use jiff::Timestamp;
use uuid::Uuid;

use super::{ConnectionId, DefectId, Effect, Refusal};

/// Names an event in logs, answers and the store; sorts by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub Uuid);

impl EventId {
    /// A fresh id (UUID version 7).
    #[must_use]
    pub fn fresh() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a request was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// Create Defect.
    CreateDefect,
    /// Defect KPIs.
    Kpis,
    /// A liveness probe.
    Probe,
    /// A path under a valid token that means nothing to the host yet.
    Unrecognised,
    /// A request under `/hooks` that reached no connection.
    NoConnection,
    /// The admin's `try`.
    Check,
    /// The host's own search for a defect in doubt.
    Sweep,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::CreateDefect,
        Self::Kpis,
        Self::Probe,
        Self::Unrecognised,
        Self::NoConnection,
        Self::Check,
        Self::Sweep,
    ];

    /// The word in SQL, JSON, CLI and console.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CreateDefect => "create-defect",
            Self::Kpis => "kpis",
            Self::Probe => "probe",
            Self::Unrecognised => "unrecognised",
            Self::NoConnection => "no-connection",
            Self::Check => "check",
            Self::Sweep => "sweep",
        }
    }

    /// The kind of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// The request as it came; credentials are masked before it gets here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Received {
    /// HTTP method.
    pub method: String,
    /// Path below the token (the token itself is never recorded), query included.
    pub path: String,
    /// Headers, for unrecognised requests only.
    pub headers: Vec<(String, String)>,
    /// Body, for unrecognised requests only; cut at 64 KiB.
    pub body: Option<String>,
}

/// How an event ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// One word: `created`, `repeated`, `adopted`, `counted`, `cached`, `alive`, `running`, a
    /// refusal's code, or a bad request's.
    pub code: String,
    /// One line for a person; empty where the word says it all.
    pub detail: String,
}

impl Outcome {
    /// An outcome that needs no more words.
    #[must_use]
    pub fn word(code: &str) -> Self {
        Self { code: code.to_owned(), detail: String::new() }
    }
}

impl From<&Refusal> for Outcome {
    fn from(refusal: &Refusal) -> Self {
        Self { code: refusal.code().to_owned(), detail: refusal.to_string() }
    }
}

/// How loud a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// For the connector's author.
    Debug,
    /// Worth knowing.
    Info,
    /// Something is off.
    Warn,
    /// Something failed.
    Error,
}

impl LogLevel {
    /// The word in WIT, JSON and CLI.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// The level of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Debug, Self::Info, Self::Warn, Self::Error]
            .into_iter()
            .find(|level| level.as_str() == word)
    }
}

/// One line that a guest logged; control characters and secrets are gone from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Milliseconds since the run began.
    pub at_ms: u64,
    /// How loud.
    pub level: LogLevel,
    /// The text.
    pub message: String,
}

/// One request that a run sent, or was refused to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundCall {
    /// Milliseconds since the run began.
    pub at_ms: u64,
    /// HTTP method.
    pub method: String,
    /// Where to, canonical.
    pub origin: String,
    /// Path without its query (a query may carry what nobody should read).
    pub path: String,
    /// What it does to the tracker.
    pub effect: Effect,
    /// The answer's status; absent when none came.
    pub status: Option<u16>,
    /// Milliseconds from connect to the last byte of the answer.
    pub ms: u64,
    /// Bytes of the answer's body, decoded.
    pub bytes: u64,
    /// Why it was refused or failed.
    pub error: Option<String>,
}

/// What a run used of its limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Most bytes of memories and tables at a time.
    pub memory_bytes: u64,
    /// Milliseconds spent polling the guest.
    pub cpu_ms: u64,
    /// Milliseconds from start to end.
    pub run_ms: u64,
    /// Outbound calls.
    pub outbound_calls: u64,
    /// Largest tracker answer, bytes decoded.
    pub response_body_bytes: u64,
    /// Largest outbound body, bytes.
    pub request_body_bytes: u64,
    /// Bytes logged.
    pub log_bytes: u64,
    /// The most handles held, as seen at each tick of computing, each request and the end.
    pub handles: u64,
    /// Turns of computing that the guest took.
    pub turns: u64,
    /// Times that the guest, still busy at a tick, gave its turn to others.
    pub yields: u64,
    /// Ticks of 10 ms that the guest, able to go on, waited for its turns.
    pub waited_ticks: u64,
}

/// What a run leaves behind. An event may cause several (`find`, then `create`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunReport {
    /// The export that was called: `create`, `find`, `count`, `check`, `choices`.
    pub call: String,
    /// How it ended: `ok`, or a refusal's code.
    pub outcome: String,
    /// What went wrong, for people; empty where nothing did.
    pub detail: String,
    /// The connector's version, from its manifest.
    pub connector_version: String,
    /// SHA-256 of the file that ran.
    pub connector_sha256: String,
    /// Guest log, stdout and stderr.
    pub log: Vec<LogLine>,
    /// Requests sent or refused.
    pub calls: Vec<OutboundCall>,
    /// What was used of the limits.
    pub usage: Usage,
}

/// One webhook request and its answer; the runs it caused are kept beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its name; the answer's `Jackfield-Event`.
    pub id: EventId,
    /// Absent where the request reached no connection.
    pub connection: Option<ConnectionId>,
    /// What it was about.
    pub kind: EventKind,
    /// When its request arrived.
    pub received_at: Timestamp,
    /// Milliseconds until its answer.
    pub ms: u64,
    /// The answer's status; absent where nothing was answered (a sweep).
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// The request.
    pub request: Received,
    /// The defect it is about.
    pub defect: Option<DefectId>,
}
