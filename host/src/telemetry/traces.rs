//! Exports the OpenTelemetry spans of each event that is sampled: one for the event, one for each
//! step, and several for each run.
//!
//! The id of an event is the id of its trace, unless the sender of the request named a trace. A
//! log, a body or a query is never exported. The exported reason of a failure may quote an answer,
//! in which secrets are redacted.

mod client;
mod export;

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use uuid::Uuid;

use crate::domain::{
    Connection, Event, EventId, EventKind, EventStart, OutboundCall, OutcomeCode, RunReport,
    StringEnum as _, TimedStep, after,
};

use super::TraceParent;
use super::trace_parent::fresh_span_id;

use export::Exporter;

pub use export::{TraceError, TraceSettings};

/// This many bits at the end of an event's id decide whether its trace is exported, unless the
/// sender of the request decides. These bits are random.
const SAMPLE_BITS: u32 = 32;

/// An event, and the trace that the sender of its request named.
pub(super) type EventAndSender = (EventStart, Option<TraceParent>);

/// Makes the traces of events, and exports them.
#[derive(Debug)]
pub struct Traces {
    exporter: Exporter,
    /// Of the traces that no sender named, the share that is exported, from 0 to 1.
    sample_ratio: f64,
}

/// The ids of the trace of one event.
#[derive(Debug, Clone, Copy)]
struct EventTrace {
    trace: u128,
    /// The id of the span for the whole event.
    root: u64,
    /// The id of the sender's span, the parent of `root`.
    sender: Option<u64>,
}

impl Traces {
    /// Starts the thread that exports spans.
    ///
    /// # Errors
    /// The settings cannot be used.
    pub fn start(settings: TraceSettings) -> Result<Self, TraceError> {
        let sample_ratio = settings.sample_ratio;
        let exporter = Exporter::start(settings)?;
        Ok(Self { exporter, sample_ratio })
    }

    /// Exports a step of an event as a span.
    pub fn export_step(&self, event: EventAndSender, step: TimedStep) {
        let Some(trace) = self.exported_trace_of_start(event) else { return };
        let (start, end) = (event.0.time_at(step.at_us.into()), event.0.time_at(step.end_us()));
        self.exporter.send(trace.child(SpanKind::Internal, step.kind.as_str(), start, end));
    }

    /// Exports the spans of a run that has ended.
    pub fn export_run(&self, connection: &Connection, event: EventAndSender, report: &RunReport) {
        let (Some(trace), Some(times)) = (self.exported_trace_of_start(event), report.times) else {
            return;
        };
        let RunReport { usage, outcome, .. } = report;
        let at = |us| event.0.time_at(us);
        let started_us = times.started_us.unwrap_or(times.ended_us);
        let (start, end) = (at(started_us), at(times.ended_us));
        self.exporter.send(trace.child(SpanKind::Internal, "queue", at(times.requested_us), start));
        let name = format!("guest {}", report.call);
        let mut run = trace.child(SpanKind::Internal, name, start, end);
        let id = run.span_context.span_id();
        run.attributes = vec![
            KeyValue::new("jackfield.connection", connection.name.clone()),
            KeyValue::new("jackfield.connector", connection.connector.to_string()),
            KeyValue::new("jackfield.connector.version", report.connector_version.clone()),
            KeyValue::new("jackfield.outcome", outcome.to_string()),
            KeyValue::new("jackfield.cpu_ms", to_i64(usage.cpu_ms)),
            KeyValue::new("jackfield.memory_bytes", to_i64(usage.memory_bytes)),
            KeyValue::new("jackfield.permit_ms", to_i64(usage.permit_ms)),
        ];
        run.status = span_status((*outcome != OutcomeCode::Ok).then_some(&report.detail));
        self.exporter.send(run);
        if let Some(called_us) = times.called_us {
            let mut instance = trace.child(SpanKind::Internal, "instantiate", start, at(called_us));
            instance.parent_span_id = id;
            self.exporter.send(instance);
        }
        for call in &report.calls {
            let start = start.saturating_add(SignedDuration::from_millis(call.at_ms));
            let start = start.unwrap_or(Timestamp::MAX);
            let end = after(start, call.ms);
            let ids = (call.span.unwrap_or_else(fresh_span_id), id);
            let mut span = trace.span(ids, SpanKind::Client, span_name(call), start, end);
            span.attributes = vec![
                KeyValue::new("http.request.method", call.method.clone()),
                KeyValue::new("url.full", format!("{}{}", call.origin, call.path)),
                KeyValue::new("jackfield.effect", call.effect.to_string()),
            ];
            span.attributes.extend(call.status.map(status_code_attribute));
            span.status = span_status(call.error.as_ref());
            self.exporter.send(span);
        }
    }

    /// Exports the span of an event that has ended.
    pub fn export_event(&self, event: &Event, sender: Option<TraceParent>) {
        let Some(trace) = self.exported_trace(event.id, sender) else { return };
        let end = after(event.received_at, event.ms);
        let kind = if event.status.is_some() { SpanKind::Server } else { SpanKind::Internal };
        let ids = (trace.root, trace.sender.map_or(SpanId::INVALID, SpanId::from));
        let mut root = trace.span(ids, kind, event.kind.as_str(), event.received_at, end);
        root.parent_span_is_remote = trace.sender.is_some();
        root.attributes = vec![
            KeyValue::new("jackfield.event", event.id.to_string()),
            KeyValue::new("jackfield.outcome", event.outcome.code.to_string()),
        ];
        let connection = event.connection;
        let connection =
            connection.map(|id| KeyValue::new("jackfield.connection.id", id.to_string()));
        root.attributes.extend(connection);
        root.attributes.extend(event.status.map(status_code_attribute));
        let is_error = event.status.map_or_else(
            || !event.outcome.code.is_success() && event.kind != EventKind::Check,
            |status| status >= 400,
        );
        root.status = span_status(is_error.then_some(&event.outcome.detail));
        self.exporter.send(root);
    }

    /// Exports the queued spans, and ends the exporting thread. Waits at most a few seconds.
    pub fn stop(&self) {
        self.exporter.stop();
    }

    pub(crate) fn exports(&self, event: EventId, sender: Option<TraceParent>) -> bool {
        self.exported_trace(event, sender).is_some()
    }

    /// The same as [`Self::exported_trace`], for an event that may not have ended.
    fn exported_trace_of_start(&self, (event, sender): EventAndSender) -> Option<EventTrace> {
        self.exported_trace(event.id, sender)
    }

    /// Returns the trace of an event if it is exported. If the sender named a trace, the sender
    /// decides this.
    fn exported_trace(&self, event: EventId, sender: Option<TraceParent>) -> Option<EventTrace> {
        let (id, root) = (event.0.as_u128(), low_bits(event.0));
        match sender {
            Some(sender) if sender.is_sampled => {
                Some(EventTrace { trace: sender.trace, root, sender: Some(sender.span) })
            }
            Some(_) => None,
            None => is_sampled(event, self.sample_ratio).then_some(EventTrace {
                trace: id,
                root,
                sender: None,
            }),
        }
    }
}

impl EventTrace {
    /// Makes a span whose parent is the span of the whole event.
    fn child(
        &self,
        kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
        start: Timestamp,
        end: Timestamp,
    ) -> SpanData {
        self.span((fresh_span_id(), self.root.into()), kind, name, start, end)
    }

    fn span(
        &self,
        (id, parent_span_id): (u64, SpanId),
        span_kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
        start: Timestamp,
        end: Timestamp,
    ) -> SpanData {
        let (trace, id, flags) = (self.trace.into(), id.into(), TraceFlags::SAMPLED);
        let scope = InstrumentationScope::builder("jackfield");
        SpanData {
            span_context: SpanContext::new(trace, id, flags, false, TraceState::NONE),
            parent_span_id,
            parent_span_is_remote: false,
            span_kind,
            name: name.into(),
            start_time: start.into(),
            end_time: end.into(),
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: scope.with_version(env!("CARGO_PKG_VERSION")).build(),
        }
    }
}

/// For one ratio, the result depends only on the id of the event, so it is the same for all spans
/// of the event.
fn is_sampled(event: EventId, ratio: f64) -> bool {
    let bits = low_bits(event.0) & ((1 << SAMPLE_BITS) - 1);
    (bits as f64) < ratio * (1_u64 << SAMPLE_BITS) as f64
}

fn low_bits(id: Uuid) -> u64 {
    id.as_u64_pair().1
}

fn span_status(error: Option<&String>) -> Status {
    error.map_or(Status::Unset, |why| Status::error(why.clone()))
}

fn status_code_attribute(status: u16) -> KeyValue {
    KeyValue::new("http.response.status_code", i64::from(status))
}

fn to_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Returns the name of a request's span: its method, or `HTTP` if the method is not common.
fn span_name(call: &OutboundCall) -> &'static str {
    let common_methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    common_methods.into_iter().find(|method| *method == call.method).unwrap_or("HTTP")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_exported_traces_is_near_the_ratio() {
        let sampled_count =
            |ratio: f64| (0..10_000).filter(|_| is_sampled(EventId::fresh(), ratio)).count();
        assert_eq!((sampled_count(0.0), sampled_count(1.0)), (0, 10_000));
        assert!((1_500..3_500).contains(&sampled_count(0.25)));
    }
}
