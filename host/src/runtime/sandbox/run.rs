//! What a run is given, and what it ends with.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::{
    Call, EventStart, OutcomeCode, Refusal, RunReport, RunTimes, Usage, WriteRecord, microseconds,
};
use crate::egress::ActiveConnection;
use crate::runtime::component::Connector;
use crate::telemetry::TraceParent;

/// The input of one run: connector and connection, how it is ended early, and how its times and its
/// requests belong to an event.
pub struct Run {
    /// The version of the connector that runs.
    pub connector: Arc<Connector>,
    /// The connection for which the connector runs.
    pub active: Arc<ActiveConnection>,
    /// Ends the guest early; its writes in progress still run to their end.
    pub stop: CancellationToken,
    /// The instant from which the times of its report are measured.
    pub(super) times_from: Instant,
    /// The trace that its requests to the tracker name.
    pub(super) trace: Option<TraceParent>,
}

impl Run {
    /// A run that belongs to no event.
    #[must_use]
    pub fn new(connector: Arc<Connector>, active: Arc<ActiveConnection>) -> Self {
        let (stop, times_from) = (CancellationToken::new(), Instant::now());
        Self { connector, active, stop, times_from, trace: None }
    }

    /// A run of an event. Its requests name `trace` if the connection says so.
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
    /// Every write, whatever the guest returned.
    pub writes: Vec<WriteRecord>,
}

/// The end of a run of a connector that does not export the interface.
pub(super) fn unsupported<T>(run: &Run, call: Call, interface: &str) -> RunEnd<T> {
    let why = format!("`{}` does not export `{interface}`", run.connector.name());
    not_run(run, call, Instant::now(), Refusal::Unsupported(why.into()))
}

/// The end of a run that did not start.
pub(super) fn not_run<T>(run: &Run, call: Call, asked_at: Instant, refusal: Refusal) -> RunEnd<T> {
    let outcome = Err(refusal);
    let us = |at: Instant| microseconds(at.saturating_duration_since(run.times_from));
    let (asked_us, ended_us) = (us(asked_at), us(Instant::now()));
    let times = RunTimes { asked_us, started_us: None, called_us: None, ended_us };
    let report = empty_report(&run.connector, call, times, &outcome);
    RunEnd { outcome, report, writes: Vec::new() }
}

/// The report of a run without log, calls and usage.
pub(super) fn empty_report<T>(
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
