//! The input and the result of one run.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::{
    Call, EventStart, OutcomeCode, Refusal, RunReport, RunTimes, Usage, WriteRecord, microseconds,
};
use crate::egress::ActiveConnection;
use crate::runtime::component::Connector;
use crate::telemetry::TraceParent;

/// The input of one run: the connector, the connection, the signal that stops the run early, and
/// the event to which its times and its trace belong.
pub struct Run {
    /// The version of the connector that runs.
    pub connector: Arc<Connector>,
    /// The connection for which the connector runs.
    pub active: Arc<ActiveConnection>,
    /// Stops the guest early when it is cancelled; writes in progress are still completed.
    pub stop: CancellationToken,
    /// The instant from which the times in the run's report are measured.
    pub(super) times_from: Instant,
    /// The trace that the run's requests to the tracker name in the header `traceparent`.
    pub(super) trace: Option<TraceParent>,
}

impl Run {
    /// The input of a run that belongs to no event.
    #[must_use]
    pub fn new(connector: Arc<Connector>, active: Arc<ActiveConnection>) -> Self {
        let (stop, times_from) = (CancellationToken::new(), Instant::now());
        Self { connector, active, stop, times_from, trace: None }
    }

    /// The input of a run for an event. The run's requests name `trace` if the connection's
    /// `trace_context` is true.
    #[must_use]
    pub fn of_event(
        connector: Arc<Connector>,
        active: Arc<ActiveConnection>,
        event: EventStart,
        trace: impl FnOnce() -> TraceParent,
    ) -> Self {
        let (stop, times_from) = (CancellationToken::new(), Instant::from_std(event.arrived));
        let trace = active.connection.trace_context.then(trace);
        Self { connector, active, stop, times_from, trace }
    }
}

/// The outcome of a run, its report and its writes.
#[derive(Debug)]
pub struct RunEnd<T> {
    /// The value that the guest returned, or the reason why there is no value.
    pub outcome: Result<T, Refusal>,
    /// The details of the run that its event stores.
    pub report: RunReport,
    /// Every write of the run, also if the run failed.
    pub writes: Vec<WriteRecord>,
}

/// The result of a call to an interface that the connector does not export.
pub(super) fn unsupported<T>(run: &Run, call: Call, interface: &str) -> RunEnd<T> {
    let why = format!("`{}` does not export `{interface}`", run.connector.name());
    refused_run(run, call, Instant::now(), Refusal::Unsupported(why.into()))
}

/// The result of a run that was refused before it started.
pub(super) fn refused_run<T>(
    run: &Run,
    call: Call,
    requested_at: Instant,
    refusal: Refusal,
) -> RunEnd<T> {
    let outcome = Err(refusal);
    let since_event_us = |at: Instant| microseconds(at.saturating_duration_since(run.times_from));
    let (asked_us, ended_us) = (since_event_us(requested_at), since_event_us(Instant::now()));
    let times = RunTimes { asked_us, started_us: None, called_us: None, ended_us };
    let report = report_without_details(&run.connector, call, times, &outcome);
    RunEnd { outcome, report, writes: Vec::new() }
}

/// The report of a run, without its log, its outbound calls and its usage.
pub(super) fn report_without_details<T>(
    connector: &Connector,
    call: Call,
    times: RunTimes,
    outcome: &Result<T, Refusal>,
) -> RunReport {
    RunReport {
        call,
        outcome: outcome.as_ref().map_or_else(Refusal::code, |_| OutcomeCode::Ok),
        detail: outcome.as_ref().err().map(ToString::to_string).unwrap_or_default(),
        setting: outcome.as_ref().err().and_then(Refusal::setting).map(str::to_owned),
        connector_version: connector.manifest().version.to_string(),
        connector_sha256: connector.sha256().to_owned(),
        log: Vec::new(),
        calls: Vec::new(),
        usage: Usage::default(),
        times: Some(times),
        recording: None,
    }
}
