//! Types of `/events`: the requests that were received, their answers, and the runs that they
//! caused.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{
    self, Call, Effect, EventKind, LogLevel, OutcomeCode, TimedStepKind, printable,
};

use super::{EnumString, Time};

/// The query of `GET /events`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EventQuery {
    /// Only events from this instant on, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub since: Option<Timestamp>,
    /// Only events before this instant, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub until: Option<Timestamp>,
    /// Only events of this connection, by id or name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// Only events of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<EnumString<EventKind>>,
    /// Only events with this outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<EnumString<OutcomeCode>>,
    /// Only events that match this text: the id of an event, the id or the key of a defect, the id
    /// of a test case, the link of a failed test in Test Manager, or words in the error of an
    /// event. A word has three characters or more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// The `next` of the previous page; absent for the first page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Uuid>,
    /// Number of rows in a page, 1 to 200; absent: 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// The answer to `GET /events`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct EventList {
    /// The events of this page, newest first.
    pub events: Vec<Event>,
    /// The cursor of the next page; absent at the end.
    pub next: Option<Uuid>,
}

/// The answer to `GET /events/{id}`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct EventWithRuns {
    /// The event itself, without its runs.
    #[serde(flatten)]
    pub event: Event,
    /// What the host did for the event outside its runs, in order. Only the first steps and the
    /// last step are stored.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// The runs that the event caused, in order.
    pub runs: Vec<Run>,
}

/// One step of the host's work on an event.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// The kind of step: `claim` reserves the row of the failed test, `store` writes the outcome to
    /// it.
    pub step: EnumString<TimedStepKind>,
    /// Microseconds from the arrival of the request to the beginning of the step.
    pub at_us: u64,
    /// The duration of the step, microseconds.
    pub us: u64,
}

/// When the parts of a run began, in microseconds from the arrival of the request.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub struct RunTimes {
    /// The time at which the run requested its permit.
    pub asked_us: u64,
    /// The time at which the run received its permit and began to make its instance. `at_ms` and
    /// `run_ms` are measured from this time. Absent if the run received no permit.
    pub started_us: Option<u64>,
    /// The time at which the export was called; absent if no instance could be made.
    pub called_us: Option<u64>,
    /// The time at which the run ended.
    pub ended_us: u64,
}

/// One webhook request and its answer, one `try`, or one piece of background work.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// The id; every answer to a webhook repeats it in the header `Jackfield-Event`.
    pub id: Uuid,
    /// The connection's id; absent if the request matched no connection.
    pub connection: Option<Uuid>,
    /// The name of the connection; absent if the request matched no connection.
    pub connection_name: Option<String>,
    /// The kind of request, or of background work.
    pub kind: EnumString<EventKind>,
    /// The time at which the request arrived.
    pub received_at: Time,
    /// Milliseconds from the arrival of the request until the answer.
    pub ms: u64,
    /// The answer's status; absent if there was no answer.
    pub status: Option<u16>,
    /// The result, as a code; events can be filtered by it.
    pub outcome: EnumString<OutcomeCode>,
    /// A description of the outcome in one line; empty if the code is sufficient.
    pub detail: String,
    /// The defect that the event is about.
    pub defect: Option<Uuid>,
    /// The request, masked; empty for background work.
    pub request: Request,
}

/// The request of an event; credentials are masked.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    /// The method of the HTTP request.
    pub method: String,
    /// The path below the token.
    pub path: String,
    /// The headers. They are stored only for unrecognised requests, refused creates, refused
    /// senders, and probes of connections that require a credential.
    pub headers: Vec<Header>,
    /// The body as text. It is stored only for unrecognised requests, refused creates, refused
    /// senders, and probes of connections that require a credential.
    pub body: Option<String>,
}

/// One header of a request.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Header {
    /// The header's name, in lower case.
    pub name: String,
    /// The value; masked if it is a credential.
    pub value: String,
}

/// One call into a guest, with its log and requests.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// The exported function that was called.
    pub call: EnumString<Call>,
    /// The result of the run, as a code.
    pub outcome: EnumString<OutcomeCode>,
    /// The error of the run; empty if the run succeeded.
    pub detail: String,
    /// The setting to change, if the connector named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
    /// The connector's version, from its manifest.
    pub connector_version: String,
    /// SHA-256 of the file that ran.
    pub connector_sha256: String,
    /// The lines of the guest's log, stdout and stderr, with secrets masked.
    pub log: Vec<LogLine>,
    /// The requests that the run sent, and those that the host refused to send.
    pub calls: Vec<OutboundCall>,
    /// How much of each limit the run used.
    pub usage: Usage,
    /// When the parts of the run began; absent if an earlier version of the server stored the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<RunTimes>,
}

/// One line of a guest's log.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// Milliseconds from the start of the run.
    pub at_ms: u64,
    /// The level that the guest chose; stdout counts as `info`, stderr as `warn`.
    pub level: EnumString<LogLevel>,
    /// The text of the line, with secrets masked.
    pub message: String,
}

/// One request that a run sent, or that the host refused to send.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct OutboundCall {
    /// Milliseconds from the start of the run to the request. Negative if the host sent the request
    /// before the run, to select the settings for the run.
    pub at_ms: i64,
    /// The method of the HTTP request.
    pub method: String,
    /// The origin that the request was sent to.
    pub origin: String,
    /// The path, without its query.
    pub path: String,
    /// The query without secrets; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The effect of the request on the tracker: read, prepare or write.
    pub effect: EnumString<Effect>,
    /// The answer's status; absent if no answer came.
    pub status: Option<u16>,
    /// Milliseconds from the beginning of the connection to the last byte of the answer.
    pub ms: u64,
    /// The size of the answer's decompressed body, bytes.
    pub bytes: u64,
    /// The error of a request that was refused or failed; absent if an answer came.
    pub error: Option<String>,
}

/// How much of each limit a run used.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "each is a limit's config key, or explained at domain::Usage")]
pub struct Usage {
    pub memory_bytes: u64,
    pub cpu_ms: u64,
    pub run_ms: u64,
    pub outbound_calls: u64,
    pub response_body_bytes: u64,
    pub request_body_bytes: u64,
    pub log_bytes: u64,
    pub handles: u64,
    pub polls: u64,
    pub yields: u64,
    pub waited_ticks: u64,
    pub permit_ms: u64,
    pub permits_before: u64,
}

impl Event {
    /// Converts an event of the store and adds the name of its connection.
    #[must_use]
    pub fn new(event: &domain::Event, connection_name: Option<String>) -> Self {
        let request = &event.request;
        let headers = request.headers.iter().cloned();
        Self {
            id: event.id.0,
            connection: event.connection.map(|id| id.0),
            connection_name,
            kind: EnumString(event.kind),
            received_at: Time(event.received_at),
            ms: event.ms,
            status: event.status,
            outcome: EnumString(event.outcome.code),
            detail: printable(&event.outcome.detail),
            defect: event.defect.map(|id| id.0),
            request: Request {
                method: request.method.clone(),
                path: request.path.clone(),
                headers: headers.map(|(name, value)| Header { name, value }).collect(),
                body: request.body.clone(),
            },
        }
    }
}

impl From<domain::RunReport> for Run {
    fn from(run: domain::RunReport) -> Self {
        Self {
            call: EnumString(run.call),
            outcome: EnumString(run.outcome),
            detail: printable(&run.detail),
            setting: run.setting.as_deref().map(printable),
            connector_version: run.connector_version,
            connector_sha256: run.connector_sha256,
            log: run.log.into_iter().map(LogLine::from).collect(),
            calls: run.calls.into_iter().map(OutboundCall::from).collect(),
            usage: run.usage.into(),
            times: run.times.map(RunTimes::from),
        }
    }
}

impl From<domain::TimedStep> for Step {
    fn from(domain::TimedStep { kind, at_us, us }: domain::TimedStep) -> Self {
        Self { step: EnumString(kind), at_us: at_us.into(), us: us.into() }
    }
}

impl From<domain::RunTimes> for RunTimes {
    fn from(times: domain::RunTimes) -> Self {
        let domain::RunTimes { asked_us, started_us, called_us, ended_us } = times;
        Self { asked_us, started_us, called_us, ended_us }
    }
}

impl From<domain::LogLine> for LogLine {
    fn from(line: domain::LogLine) -> Self {
        Self { at_ms: line.at_ms, level: EnumString(line.level), message: line.message }
    }
}

impl From<domain::OutboundCall> for OutboundCall {
    fn from(call: domain::OutboundCall) -> Self {
        Self {
            at_ms: call.at_ms,
            method: call.method,
            origin: call.origin,
            path: call.path,
            query: call.query.as_deref().map(printable),
            effect: EnumString(call.effect),
            status: call.status,
            ms: call.ms,
            bytes: call.bytes,
            error: call.error,
        }
    }
}

impl From<domain::Usage> for Usage {
    fn from(usage: domain::Usage) -> Self {
        Self {
            memory_bytes: usage.memory_bytes,
            cpu_ms: usage.cpu_ms,
            run_ms: usage.run_ms,
            outbound_calls: usage.outbound_calls,
            response_body_bytes: usage.response_body_bytes,
            request_body_bytes: usage.request_body_bytes,
            log_bytes: usage.log_bytes,
            handles: usage.handles,
            polls: usage.polls,
            yields: usage.yields,
            waited_ticks: usage.waited_ticks,
            permit_ms: usage.permit_ms,
            permits_before: usage.permits_before,
        }
    }
}
