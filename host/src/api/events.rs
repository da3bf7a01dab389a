//! Types of `/events`, which lists webhook requests, tries and background work, with their outcomes
//! and runs.

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
    /// Only events at or after this instant, in the format of RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub since: Option<Timestamp>,
    /// Only events before this instant, in the format of RFC 3339.
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
    /// of a test case, the link of a failed test in Test Manager, or words in the `detail` of an
    /// event. Words of fewer than three characters are not found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// The value of `next` in the previous page; absent for the first page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Uuid>,
    /// The maximum number of events in a page, 1 to 200; 50 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// The answer to `GET /events`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct EventList {
    /// The events of this page, newest first.
    pub events: Vec<Event>,
    /// The `cursor` that requests the next page; `null` in the last page.
    pub next: Option<Uuid>,
}

/// The answer to `GET /events/{id}`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct EventWithRuns {
    /// The event itself, without its runs.
    #[serde(flatten)]
    pub event: Event,
    /// The steps of the host's own work on the event, in order. They do not include the runs. Of
    /// many steps, only the first ones and the last one are stored.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// The runs that the event caused, in order.
    pub runs: Vec<Run>,
}

/// One step of the host's work on an event.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// The kind of step. `claim` reserves the row of the failed test; `store` writes the outcome to
    /// the row.
    pub step: EnumString<TimedStepKind>,
    /// The time from the event's `received_at` to the beginning of the step, microseconds.
    pub at_us: u64,
    /// The duration of the step, microseconds.
    pub us: u64,
}

/// The times of a run, in microseconds from the event's `received_at`. For a run without an event,
/// such as a replay, they are measured from the time at which the host prepared the run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub struct RunTimes {
    /// The time at which the run requested its permit.
    pub requested_us: u64,
    /// The time at which the run received its permit and began to make its instance; `null` if it
    /// received no permit. `at_ms` in `log` and `calls`, and `run_ms`, are measured from this time.
    pub started_us: Option<u64>,
    /// The time at which the host called the connector's export; `null` if the run has no instance.
    pub called_us: Option<u64>,
    /// The time at which the run ended.
    pub ended_us: u64,
}

/// One webhook request and its answer, one `try`, or one piece of background work.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// The id of the event. Every answer to a webhook contains this id in the header
    /// `Jackfield-Event`.
    pub id: Uuid,
    /// The id of the connection; `null` if the request matched no connection.
    pub connection: Option<Uuid>,
    /// The name of the connection; `null` if there is none, or it is being deleted.
    pub connection_name: Option<String>,
    /// The kind of request, or of background work.
    pub kind: EnumString<EventKind>,
    /// The time at which the request arrived or the work began.
    pub received_at: Time,
    /// The time from `received_at` to the answer or to the end of the work, milliseconds.
    pub ms: u64,
    /// The HTTP status of the answer; `null` if there was no answer.
    pub status: Option<u16>,
    /// The result of the event, as a code. A query can select events by this code.
    pub outcome: EnumString<OutcomeCode>,
    /// A description of the outcome in one line; empty if `outcome` is sufficient.
    pub detail: String,
    /// The id of the defect that the event is about; `null` if there is none.
    pub defect: Option<Uuid>,
    /// The request, with masked credentials; empty for a `try` and for background work.
    pub request: Request,
}

/// The request of an event; credentials are masked.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    /// The method of the HTTP request.
    pub method: String,
    /// The path after the token of the webhook URL, with the masked query.
    pub path: String,
    /// The headers. They are stored only for unrecognised requests, for refused Create Defect
    /// requests, for requests of refused senders, and for probes of connections that require a
    /// credential.
    pub headers: Vec<Header>,
    /// The beginning of the body as text. It is stored for the same requests as the headers. `null`
    /// if it is not stored, or if the account has the role `viewer`.
    pub body: Option<String>,
}

/// One header of a request.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Header {
    /// The header's name, in lower case.
    pub name: String,
    /// The header's value; masked if it may be a credential.
    pub value: String,
}

/// One run: a call into a guest, with its log and its requests.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// The connector's export that the host called.
    pub call: EnumString<Call>,
    /// The result of the run, as a code.
    pub outcome: EnumString<OutcomeCode>,
    /// The error of the run; empty if the run succeeded.
    pub detail: String,
    /// The name of the setting to change; absent if the connector named no setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
    /// The connector's version, from its manifest.
    pub connector_version: String,
    /// SHA-256 of the connector's file.
    pub connector_sha256: String,
    /// The lines of the guest's log, stdout and stderr, with secrets masked; before them, the
    /// host's lines about routing rules.
    pub log: Vec<LogLine>,
    /// The outbound HTTP requests of the run, including those that the host refused to send, except
    /// requests above the limit `outbound_calls`.
    pub calls: Vec<OutboundCall>,
    /// The resources that the run used.
    pub usage: Usage,
    /// The times of the run; absent if an earlier version of the server stored the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<RunTimes>,
}

/// One line of a run's log.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// The time from the start of the run to the log line, milliseconds.
    pub at_ms: u64,
    /// The level of the line. Lines on stdout have the level `info`, lines on stderr `warn`.
    pub level: EnumString<LogLevel>,
    /// The text of the line, with secrets masked.
    pub message: String,
}

/// One outbound HTTP request of a run, which the host sent or refused to send.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct OutboundCall {
    /// The time from the start of the run to the request, milliseconds. It is negative if the host
    /// sent the request to Test Manager before the run, to evaluate the routing rules.
    pub at_ms: i64,
    /// The method of the HTTP request.
    pub method: String,
    /// The origin in the URL of the request.
    pub origin: String,
    /// The path of the request, without the query.
    pub path: String,
    /// The query of the request, without secrets; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The effect that the request may have in the tracker: read, prepare or write.
    pub effect: EnumString<Effect>,
    /// The HTTP status of the answer; `null` if no complete answer came.
    pub status: Option<u16>,
    /// The time from the beginning of the request to its end, milliseconds.
    pub ms: u64,
    /// The size of the answer's body after decompression, bytes.
    pub bytes: u64,
    /// The reason why the request was refused or failed; `null` if a complete answer came.
    pub error: Option<String>,
}

/// The resources that a run used. A member that has the name of a limit's configuration key shows
/// how much of that limit the run used.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// The peak memory of the run, bytes: the linear memories and tables of the guest, and the
    /// bodies that the host stored for the run.
    pub memory_bytes: u64,
    /// The CPU time of the run, milliseconds.
    pub cpu_ms: u64,
    /// The time from the start of the run to its end, milliseconds.
    pub run_ms: u64,
    /// The number of requests of the run, including those that were refused; at most the limit.
    pub outbound_calls: u64,
    /// The size of the largest body of an answer of the tracker after decompression, bytes.
    pub response_body_bytes: u64,
    /// The size of the largest body of a request to the tracker, bytes.
    pub request_body_bytes: u64,
    /// The size of the guest's log, including stdout and stderr, bytes.
    pub log_bytes: u64,
    /// The peak number of the guest's resource handles. The host counts the handles at each epoch
    /// tick of 10 ms, at each request and at the end of the run.
    pub handles: u64,
    /// The number of polls of the guest: how often the host started or continued it.
    pub polls: u64,
    /// The number of times that the guest computed for so long that it had to yield to other tasks.
    pub yields: u64,
    /// The sum of the times from a wake-up of the guest to its next poll, in epoch ticks of 10 ms.
    pub waited_ticks: u64,
    /// The time for which the run waited for its permit, milliseconds.
    pub permit_ms: u64,
    /// The number of permits that other runs received while this run waited.
    pub permits_before: u64,
}

impl Event {
    /// Converts an event of the store, and adds the name of its connection.
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
    fn from(domain::TimedStep { kind, at_us, duration_us }: domain::TimedStep) -> Self {
        Self { step: EnumString(kind), at_us: at_us.into(), us: duration_us.into() }
    }
}

impl From<domain::RunTimes> for RunTimes {
    fn from(times: domain::RunTimes) -> Self {
        let domain::RunTimes { requested_us, started_us, called_us, ended_us } = times;
        Self { requested_us, started_us, called_us, ended_us }
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
