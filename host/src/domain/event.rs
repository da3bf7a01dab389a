//! An event: one webhook request and everything that resulted from it.

use std::fmt;

use jiff::Timestamp;
use uuid::Uuid;

use super::{ConnectionId, DefectId, Effect, Outcome, OutcomeCode, string_enum};

/// The id of an event in logs, answers and the store; ids sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub Uuid);

impl EventId {
    /// A new id (UUID version 7).
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

string_enum! {
    /// What an event is about.
    pub enum EventKind {
        /// Create Defect.
        CreateDefect = "create-defect",
        /// Defect KPIs.
        Kpis = "kpis",
        /// A liveness probe.
        Probe = "probe",
        /// A path under a valid token that the host does not know.
        Unrecognised = "unrecognised",
        /// A request under `/hooks` that matched no connection.
        NoConnection = "no-connection",
        /// The admin's `try`.
        Check = "check",
        /// The host's own search for a defect in doubt.
        Sweep = "sweep",
    }
}

string_enum! {
    /// An export of a connector that a run calls.
    pub enum Call {
        /// `plugin.describe`.
        Describe = "describe",
        /// `plugin.check`.
        Check = "check",
        /// `defects.create`.
        Create = "create",
        /// `defects.find`.
        Find = "find",
        /// `kpis.count`.
        Count = "count",
    }
}

string_enum! {
    /// The level of a log line.
    pub enum LogLevel {
        /// For the connector's author.
        Debug = "debug",
        /// Worth knowing.
        Info = "info",
        /// Something is unexpected.
        Warn = "warn",
        /// Something failed.
        Error = "error",
    }
}

/// The request; its credentials are masked already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Received {
    /// HTTP method.
    pub method: String,
    /// Path below the token (the token itself is never recorded), query included.
    pub path: String,
    /// Headers, of unrecognised requests and of refused creates only.
    pub headers: Vec<(String, String)>,
    /// Body as text, of unrecognised requests and of refused creates only; its first 4 KiB.
    pub body: Option<String>,
}

/// One line that a guest logged; control characters are escaped and secrets redacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Milliseconds since the run began.
    pub at_ms: u64,
    /// Its level.
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
    /// Path without its query, which may carry a secret.
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
    /// Peak of the bytes of all memories and tables together.
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
    /// Peak of the handles held, sampled at each epoch tick, each request and the end.
    pub handles: u64,
    /// Times that the guest was polled.
    pub polls: u64,
    /// Times that the guest, still computing at an epoch tick, yielded to other tasks.
    pub yields: u64,
    /// Epoch ticks of 10 ms that the guest, woken, waited until it was polled.
    pub waited_ticks: u64,
    /// Milliseconds that the run waited for its permit.
    pub permit_ms: u64,
    /// Permits that other runs got while it waited.
    pub permits_before: u64,
}

/// The report of one run. An event may cause several (`find`, then `create`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunReport {
    /// The export that was called.
    pub call: Call,
    /// How it ended: `ok`, or a refusal's code.
    pub outcome: OutcomeCode,
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
    /// Its id; the answer's `Jackfield-Event`.
    pub id: EventId,
    /// Absent where the request matched no connection.
    pub connection: Option<ConnectionId>,
    /// What it is about.
    pub kind: EventKind,
    /// When the request arrived.
    pub received_at: Timestamp,
    /// Milliseconds until the answer.
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
