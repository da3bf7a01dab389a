//! An event: one webhook request, background task or `try`, and everything that resulted from it.
//! This file never stores an event.

use std::fmt;

use jiff::Timestamp;
use uuid::Uuid;

use super::{
    ConnectionId, DefectId, Effect, Outcome, OutcomeCode, RunRecording, RunTimes, string_enum,
};

/// The id of an event. Ids sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub Uuid);

impl EventId {
    /// Makes a new id (UUID version 7).
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
    /// The request or task that caused an event.
    pub enum EventKind {
        /// A Create Defect request.
        CreateDefect = "create-defect",
        /// A Defect KPIs request.
        Kpis = "kpis",
        /// A request that only tests whether the server answers.
        Probe = "probe",
        /// A request with a valid token, but with a method or path that the host does not know.
        Unrecognised = "unrecognised",
        /// A request below `/hooks` that matched no connection.
        NoConnection = "no-connection",
        /// The run of `check` in a person's `try` of a connection.
        Check = "check",
        /// A background search for a defect in doubt, or for a second record of a created defect.
        Sweep = "sweep",
        /// Follow-up steps of a created defect: opening it again, comments and attachments.
        FollowUp = "follow-up",
    }
}

string_enum! {
    /// The export of a connector that a run calls.
    pub enum Call {
        /// `plugin.describe` returns the connector's manifest.
        Describe = "describe",
        /// `plugin.check` tests the settings and the tracker.
        Check = "check",
        /// `plugin.choices` lists the possible values of a setting.
        Choices = "choices",
        /// `defects.create` creates a defect.
        Create = "create",
        /// `defects.find` searches for defects with a marker.
        Find = "find",
        /// `kpis.count` counts the defects of a project.
        Count = "count",
        /// `follow-up.state` returns the current state of a defect.
        State = "state",
        /// `follow-up.comment` adds a comment to a defect.
        Comment = "comment",
        /// `follow-up.find-comment` searches for a comment with a marker.
        FindComment = "find-comment",
        /// `follow-up.reopen` opens a closed defect again.
        Reopen = "reopen",
        /// `follow-up.attach` adds an attachment to a defect.
        Attach = "attach",
        /// `follow-up.attached` lists the attachments of a defect.
        Attached = "attached",
    }
}

string_enum! {
    /// The severity of a log line.
    pub enum LogLevel {
        /// Details for the connector's author.
        Debug = "debug",
        /// A normal step that an admin may want to know.
        Info = "info",
        /// Something unexpected, which did not stop the work.
        Warn = "warn",
        /// A failure of the work.
        Error = "error",
    }
}

/// The request of an event, with masked credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReceivedRequest {
    /// The HTTP method of the request.
    pub method: String,
    /// The path below the segment of the token, with the masked query. If the request matched no
    /// connection, long segments are replaced, and the query is left out.
    pub path: String,
    /// The headers; empty if they are not stored.
    pub headers: Vec<(String, String)>,
    /// The beginning of the body as text; stored only together with the headers.
    pub body: Option<String>,
}

/// One line of a run's log; control characters are escaped and secrets redacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Milliseconds since the run began.
    pub at_ms: u64,
    /// The severity of the line.
    pub level: LogLevel,
    /// The logged text.
    pub message: String,
}

/// One request that the guest or the host sent for a run, or that the host refused to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundCall {
    /// When the request began, in milliseconds since the run began; negative if the host sent the
    /// request before the run.
    pub at_ms: i64,
    /// The HTTP method of the request.
    pub method: String,
    /// The origin of the request's address, in canonical form; empty if it is not known.
    pub origin: String,
    /// The path without its query.
    pub path: String,
    /// The query without secrets.
    pub query: Option<String>,
    /// The effect that the request may have in the tracker: read, prepare or write.
    pub effect: Effect,
    /// The answer's status; absent if no complete answer came.
    pub status: Option<u16>,
    /// Milliseconds from the beginning of the request to its end.
    pub ms: u64,
    /// Bytes of the answer's body, decoded.
    pub bytes: u64,
    /// The reason why the request was refused or failed; absent otherwise.
    pub error: Option<String>,
    /// The span id in the header `traceparent` of the request; not stored.
    pub span: Option<u64>,
}

/// The resources that a run used, and how long it waited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Peak memory of the run, bytes: its linear memories and tables, and data that the host stores
    /// for it, such as bodies.
    pub memory_bytes: u64,
    /// CPU time of the run, milliseconds.
    pub cpu_ms: u64,
    /// Milliseconds from the start of the run to its end.
    pub run_ms: u64,
    /// Number of outbound requests, including refused requests, but without those to Test Manager;
    /// at most the limit.
    pub outbound_calls: u64,
    /// Size of the largest body of a tracker's answer after decoding, bytes.
    pub response_body_bytes: u64,
    /// Size of the largest body of a request, bytes.
    pub request_body_bytes: u64,
    /// Size of the log, stdout and stderr together, bytes.
    pub log_bytes: u64,
    /// Highest number of resource handles of the guest at the times when the host counted them.
    pub handles: u64,
    /// Number of polls of the guest.
    pub polls: u64,
    /// How often the guest computed for so long that an epoch tick made it yield to other tasks.
    pub yields: u64,
    /// The sum of the times from a wake-up of the guest to its next poll, in epoch ticks of 10 ms.
    pub waited_ticks: u64,
    /// Milliseconds that the run waited for its permit.
    pub permit_ms: u64,
    /// Number of permits that other waiting runs got while this run waited.
    pub permits_before: u64,
}

/// The report of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunReport {
    /// The export that was called.
    pub call: Call,
    /// The result of the run: `ok`, or the code of a refusal.
    pub outcome: OutcomeCode,
    /// A description of the failure, for people; empty if the run succeeded.
    pub detail: String,
    /// The setting to change, if the connector named one.
    pub setting: Option<String>,
    /// The connector's version, from its manifest.
    pub connector_version: String,
    /// SHA-256 of the file that ran.
    pub connector_sha256: String,
    /// The lines of the guest's log, stdout and stderr, and the gaps of the report.
    pub log: Vec<LogLine>,
    /// The requests that the guest or the host sent for the run, or that the host refused to send.
    pub calls: Vec<OutboundCall>,
    /// The resources that the run used.
    pub usage: Usage,
    /// When the phases of the run began; absent if an earlier version of Jackfield stored the run.
    pub times: Option<RunTimes>,
    /// The requests and answers with their bodies; absent unless the connection records them.
    pub recording: Option<RunRecording>,
}

/// One event, without its runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The id, which the answer repeats in the header `Jackfield-Event`.
    pub id: EventId,
    /// The connection that the event belongs to; absent if the request matched none.
    pub connection: Option<ConnectionId>,
    /// The request or task that caused the event.
    pub kind: EventKind,
    /// The time when the request arrived or the task began.
    pub received_at: Timestamp,
    /// Milliseconds from the request to its answer, or from the beginning of the task to its end.
    pub ms: u64,
    /// The status of the answer; absent if the event has no answer.
    pub status: Option<u16>,
    /// How the event ended, or that it is still running, as a code and a detail.
    pub outcome: Outcome,
    /// The request; empty if a task caused the event.
    pub request: ReceivedRequest,
    /// The defect that the event is about.
    pub defect: Option<DefectId>,
}
