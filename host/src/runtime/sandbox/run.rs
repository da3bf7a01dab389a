//! Executes one run from its permit to its [`RunReport`]: waits for the permit, calls the guest in
//! a new instance, and makes the report. Never stores the report.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cpu_time::Metered;
use crate::domain::{
    Call, Connection, EventStart, Limits, OutcomeCode, Refusal, RunReport, RunTimes, Usage,
    WriteRecord, microseconds,
};
use crate::egress::{ActiveConnection, Permission};
use crate::memory::{Account, MemoryFull, MemoryOwner};
use crate::redact::TextKind;
use crate::runtime::answer_json::AnswerJson;
use crate::runtime::bindings::{self, Redact, model};
use crate::runtime::call_input::CallInput;
use crate::runtime::component::{Connector, LoadedComponent};
use crate::runtime::execution::{Execution, FinishedRun, StopSignals};
use crate::runtime::guest::ImportData;
use crate::runtime::instance::{CallResult, GuestInstance, new_store};
use crate::runtime::permits::{Lane, Permit, PermitRequest};
use crate::runtime::poll_permits::PermittedPolls;
use crate::runtime::test_report::TestReport;
use crate::telemetry::TraceParent;

use super::Sandbox;

/// A call of `prepare`, or of a function of `plugin`, waits at most this long for its permit.
pub(super) const PLUGIN_PERMIT_WAIT: Duration = Duration::from_secs(5);

/// The input of one run.
pub struct RunInput {
    /// The version of the connector that runs.
    pub connector: Arc<Connector>,
    /// The connection for which the connector runs.
    pub active: Arc<ActiveConnection>,
    /// Cancelling this token stops the guest, but not a write in progress.
    pub stop: CancellationToken,
    /// The instant from which the times in the run's report are measured.
    pub(super) times_from: Instant,
    /// The trace that the run's requests continue in the header `traceparent`, if there is one.
    pub(super) trace: Option<TraceParent>,
}

impl RunInput {
    /// Creates the input of a run that does not belong to an event.
    #[must_use]
    pub fn new(connector: Arc<Connector>, active: Arc<ActiveConnection>) -> Self {
        let (stop, times_from) = (CancellationToken::new(), Instant::now());
        Self { connector, active, stop, times_from, trace: None }
    }

    /// Creates the input of a run for an event. If the connection's `trace_context` is true, the
    /// run's requests continue `trace`.
    #[must_use]
    pub fn for_event(
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
    /// The report of the run.
    pub report: RunReport,
    /// All writes of the run, even if the run failed.
    pub writes: Vec<WriteRecord>,
}

pub(super) struct ExportCall<'a> {
    pub(super) call_input: CallInput<'a>,
    pub(super) permission: Permission,
    pub(super) test_report: Option<Arc<TestReport>>,
}

impl<'a> ExportCall<'a> {
    pub(super) fn read_only(call_input: CallInput<'a>) -> Self {
        Self { call_input, permission: Permission::Reads, test_report: None }
    }
}

/// Everything that a run needs after it has got its permit.
pub(super) struct ExecutionInput<'a> {
    pub(super) loaded: &'a LoadedComponent,
    pub(super) limits: Limits,
    pub(super) active: Arc<ActiveConnection>,
    pub(super) permission: Permission,
    pub(super) trace: Option<TraceParent>,
    pub(super) stop: StopSignals<'a>,
    pub(super) lane: Lane,
    pub(super) memory: Arc<Account>,
    pub(super) import_data: ImportData,
}

impl Sandbox {
    pub(super) async fn run<A, T: AnswerJson, F: Future<Output = CallResult<A>>>(
        &self,
        run: RunInput,
        export_call: ExportCall<'_>,
        call_guest: impl FnOnce(GuestInstance) -> F,
        convert: impl FnOnce(A, Redact<'_>) -> Result<T, Refusal>,
    ) -> RunEnd<T> {
        let ExportCall { call_input, permission, test_report } = export_call;
        let (connector, requested_at) = (&run.connector, Instant::now());
        let (permit, memory) = match self.acquire_permit_and_account(&run, call_input.call).await {
            Ok(admitted) => admitted,
            Err(refusal) => return refuse_run(&run, call_input.call, requested_at, refusal),
        };
        let base_addresses = connector.manifest().addresses(&run.active.connection.settings);
        let script = connector.loaded().script_of_run(connector.name());
        let input = ExecutionInput {
            loaded: connector.loaded(),
            limits: *connector.limits(),
            active: Arc::clone(&run.active),
            permission,
            trace: run.trace,
            stop: self.stop_signals(&run.stop),
            lane: lane_of(&run.active, call_input.call),
            memory,
            import_data: ImportData { base_addresses, report: test_report.clone(), script },
        };
        // The future is large, so it is boxed: otherwise each caller would have to move it.
        let (result, mut finished) = Box::pin(self.execute(input, call_guest)).await;
        let outcome = check_outcome(result, &finished, connector.limits(), convert);
        connector.count_run(&outcome);
        let test_report = test_report.as_deref();
        let recording = call_input.recording(&finished.requests, connector, test_report, &outcome);
        let times = finished.times(run.times_from, requested_at);
        if let Some(test_report) = test_report {
            finished.add_test_manager_requests(test_report);
        }
        let FinishedRun { log, calls, usage, writes, .. } = finished;
        let permits_before = permit.permits_before;
        let usage = Usage { permit_ms: times.permit_ms(), permits_before, ..usage };
        let without_details = report_without_details(connector, call_input.call, times, &outcome);
        let run_report = RunReport { log, calls, usage, recording, ..without_details };
        RunEnd { outcome, report: run_report, writes }
    }

    async fn acquire_permit_and_account(
        &self,
        run: &RunInput,
        call: Call,
    ) -> Result<(Permit, Arc<Account>), Refusal> {
        let limits = run.connector.limits();
        let permit_request = PermitRequest {
            lane: lane_of(&run.active, call),
            slots: self.slots_needed(run.connector.loaded()),
            runs_max: u32::try_from(limits.concurrent_runs).unwrap_or(u32::MAX),
        };
        let (wait, stop) = (permit_wait_max(call, limits), self.stop_signals(&run.stop));
        let permit = self.acquire_permit(permit_request, wait, stop).await?;
        let memory = self.open_account(&run.active, limits)?;
        Ok((permit, memory))
    }

    pub(super) async fn acquire_permit(
        &self,
        request: PermitRequest,
        wait: Duration,
        stop: StopSignals<'_>,
    ) -> Result<Permit, Refusal> {
        stop.check()?;
        self.permits.wait_for_permit(request, wait, stop.wait_for_stop()).await
    }

    pub(super) async fn execute<A, F: Future<Output = CallResult<A>>>(
        &self,
        input: ExecutionInput<'_>,
        call_guest: impl FnOnce(GuestInstance) -> F,
    ) -> (Result<Result<A, model::Error>, Refusal>, FinishedRun) {
        let ExecutionInput { loaded, limits, active, permission, trace, .. } = input;
        let (egress, clock) = (Arc::clone(&self.egress), Arc::clone(&self.clock));
        let execution =
            Execution::start(egress, active, permission, trace, limits, clock, input.memory);
        let store = new_store(
            &self.engine,
            execution.new_guest(input.import_data),
            &limits,
            execution.meter(),
        );
        let call = async {
            let guest = GuestInstance::new(store, loaded).await?;
            execution.mark_called();
            call_guest(guest).await
        };
        let call = Metered::new(call, execution.meter(), self.engine.ticks());
        let call = PermittedPolls::new(call, Arc::clone(&self.poll_permits), input.lane);
        let result = execution.run_until_stopped(call, input.stop).await;
        let has_failed = !matches!(result, Ok(Ok(_)));
        (result, execution.finish(has_failed).await)
    }

    pub(super) fn stop_signals<'a>(&'a self, run: &'a CancellationToken) -> StopSignals<'a> {
        StopSignals { run, server: &self.server_stop }
    }

    /// Returns how many slots of the engine's pool a run uses. If the pool has fewer slots than the
    /// component needs, the run uses all of them.
    pub(super) fn slots_needed(&self, loaded: &LoadedComponent) -> u32 {
        loaded.slots.min(self.engine.address_space().slots)
    }

    pub(super) fn open_account(
        &self,
        active: &ActiveConnection,
        limits: &Limits,
    ) -> Result<Arc<Account>, Refusal> {
        let Connection { connector, id, .. } = &active.connection;
        let owner = MemoryOwner { connector: connector.clone(), connection: *id };
        let account = Account::open(&self.memory, owner, limits.memory_bytes);
        account.map_err(|(MemoryFull::Run(bytes_max) | MemoryFull::Host(bytes_max))| {
            Refusal::HostMemoryFull { bytes_max }
        })
    }
}

pub(super) fn refuse_unsupported_call<T>(run: &RunInput, call: Call, interface: &str) -> RunEnd<T> {
    let why = format!("`{}` does not export `{interface}`", run.connector.name());
    refuse_run(run, call, Instant::now(), Refusal::Unsupported(why.into()))
}

fn refuse_run<T>(run: &RunInput, call: Call, requested_at: Instant, refusal: Refusal) -> RunEnd<T> {
    let outcome = Err(refusal);
    let since_event_us = |at: Instant| microseconds(at.saturating_duration_since(run.times_from));
    let (requested_us, ended_us) = (since_event_us(requested_at), since_event_us(Instant::now()));
    let times = RunTimes { requested_us, started_us: None, called_us: None, ended_us };
    let report = report_without_details(&run.connector, call, times, &outcome);
    RunEnd { outcome, report, writes: Vec::new() }
}

fn report_without_details<T>(
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

pub(super) fn lane_of(active: &ActiveConnection, call: Call) -> Lane {
    let connection = &active.connection;
    Lane { connector: connection.connector.clone(), connection: connection.id, call }
}

fn check_outcome<A, T>(
    result: Result<Result<A, model::Error>, Refusal>,
    finished: &FinishedRun,
    limits: &Limits,
    convert: impl FnOnce(A, Redact<'_>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let redact = |kind, text| match kind {
        TextKind::ForPeople => finished.requests.redact(text),
        _ => finished.requests.redact_as(kind, text),
    };
    let outcome = match result {
        Ok(Ok(returned)) => convert(returned, &redact),
        Ok(Err(error)) => Err(bindings::refusal_from(error, &redact)),
        Err(refusal) => Err(finished.add_failure_cause(refusal)),
    };
    outcome.map_err(|refusal| finished.replace_by_cause(refusal, limits))
}

/// A call for an event may wait for its permit during half of the event's answer time. The other
/// half remains for the run, or for the answer that the host is busy. A click may need a call of
/// `follow-up`, so such a call may wait as long as `create`.
fn permit_wait_max(call: Call, limits: &Limits) -> Duration {
    match call {
        Call::Create | Call::Find => Duration::from_millis(limits.create_answer_ms / 2),
        Call::Count => Duration::from_millis(limits.kpi_answer_ms / 2),
        Call::State
        | Call::Comment
        | Call::FindComment
        | Call::Reopen
        | Call::Attach
        | Call::Attached => Duration::from_millis(limits.create_answer_ms / 2),
        Call::Check | Call::Choices | Call::Describe => PLUGIN_PERMIT_WAIT,
    }
}
