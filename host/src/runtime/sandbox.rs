//! Runs connectors: one function for each export of a guest. Each call gets a new instance with its
//! own limits.
//!
//! This module keeps no state between runs and never uses the store. The [`Journal`] that `create`
//! receives records each write durably before the write is sent.

mod any_call;
mod follow_up;
mod load;
mod run;
mod set_up;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::cpu_time::Metered;
use crate::domain::{
    Call, Clock, Connection, Counts, Defect, FailedTest, Journal, Limits, Marker, Refusal,
    RunReport, Usage,
};
use crate::egress::{ActiveConnection, Egress, Permission};
use crate::memory::{Account, HostMemory, MemoryFull, MemoryOwner};
use crate::redact::TextKind;
use crate::telemetry::{PoolState, TraceParent};

use super::answer_json::AnswerJson;
use super::bindings::{self, Redact, model};
use super::call_input::CallInput;
use super::component::LoadedComponent;
use super::engine::Engine;
use super::execution::{Execution, FinishedRun, StopSignals};
use super::guest::GuestInput;
use super::instance::{CallResult, GuestInstance, new_store};
use super::permits::{Admission, Capacity, Lane, Permit, Permits, Request};
use super::poll_permits::{PermittedPolls, poll_permits};
use super::test_report::TestReport;

pub use any_call::{CallArguments, ExportAnswer};
pub use run::{Run, RunEnd};

use run::{refused_run, report_without_details, unsupported};

/// Maximum time that a call of the interface `plugin` waits for its permit.
const PLUGIN_PERMIT_WAIT: Duration = Duration::from_secs(5);
/// Maximum number of runs of one [`Lane`] that wait for a permit at the same time.
const WAITING_RUNS_MAX: usize = 256;

/// Runs connectors, each call in a new instance.
pub struct Sandbox {
    engine: Arc<Engine>,
    egress: Arc<Egress>,
    clock: Arc<dyn Clock>,
    permits: Arc<Permits>,
    /// The permits to poll a guest. They decide which guest is polled next.
    poll_permits: Arc<Permits>,
    /// Is cancelled when the server shuts down, and then stops every run.
    server_stop: CancellationToken,
    memory: Arc<HostMemory>,
}

/// A call of an export, and the requests that the connector may send during the call.
struct ExportCall<'a> {
    call_input: CallInput<'a>,
    permission: Permission,
    /// The report of the failed test; `None` except in `create`, `comment` and `attach`.
    test_report: Option<Arc<TestReport>>,
}

impl<'a> ExportCall<'a> {
    /// A call that may not send writes and that gets no report of a failed test.
    fn read_only(call_input: CallInput<'a>) -> Self {
        Self { call_input, permission: Permission::Reads, test_report: None }
    }
}

/// The permit and the memory account that a run receives before it starts.
struct AdmittedRun {
    /// The run keeps this permit until it ends.
    permit: Permit,
    memory: Arc<Account>,
}

/// The input of `execute`: component, connection, permission, limits and memory account.
struct ExecutionInput<'a> {
    loaded: &'a LoadedComponent,
    limits: Limits,
    active: Arc<ActiveConnection>,
    permission: Permission,
    trace: Option<TraceParent>,
    stop: StopSignals<'a>,
    lane: Lane,
    memory: Arc<Account>,
    input: GuestInput,
}

impl Sandbox {
    /// Creates a sandbox in which at most `runs_max` runs execute at the same time and use at most
    /// `memory_bytes` of memory together.
    #[must_use]
    pub(crate) fn new(
        engine: Arc<Engine>,
        egress: Arc<Egress>,
        clock: Arc<dyn Clock>,
        runs_max: u32,
        memory_bytes: u64,
    ) -> Self {
        let permits = Permits::new(Capacity {
            slots: engine.address_space().slots,
            runs: runs_max,
            waiting: WAITING_RUNS_MAX,
            has_reserve: true,
        });
        let server_stop = CancellationToken::new();
        let memory = HostMemory::new(memory_bytes);
        Self { engine, egress, clock, permits, poll_permits: poll_permits(), server_stop, memory }
    }

    /// The memory of all runs; the host's own requests for a run count against it too.
    pub(crate) fn host_memory(&self) -> &Arc<HostMemory> {
        &self.memory
    }

    /// Returns the permits, slots and memory that all runs use now, and their limits.
    #[must_use]
    pub fn pool_state(&self) -> PoolState {
        let (now, capacity) = (self.permits.in_use(), self.permits.capacity());
        PoolState {
            runs: now.runs.into(),
            runs_max: capacity.runs.into(),
            waiting: u64::try_from(now.waiting).unwrap_or(u64::MAX),
            slots: now.slots.into(),
            slots_max: capacity.slots.into(),
            memory_bytes: self.memory.used(),
            memory_bytes_max: self.memory.bytes_max(),
        }
    }

    /// Stops every running guest, and refuses every later run. Writes in progress get a short time
    /// to complete.
    pub fn stop(&self) {
        self.server_stop.cancel();
        self.egress.close();
    }

    /// Calls `defects.create`. The journal records each write before its first byte is sent.
    /// `test_report` contains the data about the failed test that the connector may read.
    pub async fn create(
        &self,
        run: Run,
        test: &FailedTest,
        marker: &Marker,
        journal: Arc<dyn Journal>,
        test_report: Arc<TestReport>,
    ) -> RunEnd<Defect> {
        let Some(export) = run.connector.loaded().defects.clone() else {
            return unsupported(&run, Call::Create, "defects");
        };
        let call_input = CallInput {
            test: Some(test),
            marker: Some(marker),
            ..CallInput::without_arguments(Call::Create)
        };
        let (test, marker) = (test.into(), marker.to_string());
        let call = |guest: GuestInstance| guest.create(export, test, marker);
        let (permission, test_report) = (Permission::Writes(journal), Some(test_report));
        let export_call = ExportCall { call_input, permission, test_report };
        self.run(run, export_call, call, bindings::check_defect).await
    }

    /// Calls `defects.find`: returns the defects with this marker, the oldest first. Writes are
    /// refused.
    pub async fn find(&self, run: Run, marker: &Marker) -> RunEnd<Vec<Defect>> {
        let Some(export) = run.connector.loaded().defects.clone() else {
            return unsupported(&run, Call::Find, "defects");
        };
        let call_input =
            CallInput { marker: Some(marker), ..CallInput::without_arguments(Call::Find) };
        let marker = marker.to_string();
        let call = |guest: GuestInstance| guest.find(export, marker);
        let convert = |defects: Vec<model::Defect>, redact: Redact<'_>| {
            defects.into_iter().map(|defect| bindings::check_defect(defect, redact)).collect()
        };
        self.run(run, ExportCall::read_only(call_input), call, convert).await
    }

    /// Calls `kpis.count`. Writes are refused.
    pub async fn count(&self, run: Run, project: &str) -> RunEnd<Counts> {
        let Some(export) = run.connector.loaded().kpis.clone() else {
            return unsupported(&run, Call::Count, "kpis");
        };
        let call_input =
            CallInput { project: Some(project), ..CallInput::without_arguments(Call::Count) };
        let project = project.to_owned();
        let call = |guest: GuestInstance| guest.count(export, project);
        self.run(run, ExportCall::read_only(call_input), call, bindings::check_counts).await
    }

    /// Calls `plugin.check`. Writes are refused.
    pub async fn check(&self, run: Run) -> RunEnd<String> {
        let export = run.connector.loaded().plugin.clone();
        let call = |guest: GuestInstance| guest.check(export);
        let convert = |line: String, redact: Redact<'_>| Ok(redact(TextKind::ForPeople, line));
        let call_input = CallInput::without_arguments(Call::Check);
        self.run(run, ExportCall::read_only(call_input), call, convert).await
    }

    /// Calls a component while it is loaded. It has no connection yet, so every request that it
    /// sends is refused.
    async fn run_unconnected<A, F: Future<Output = CallResult<A>>>(
        &self,
        loaded: &LoadedComponent,
        limits: Limits,
        input: GuestInput,
        call_guest: impl FnOnce(GuestInstance) -> F,
    ) -> Result<Result<A, model::Error>, Refusal> {
        let active = Arc::new(ActiveConnection::without_grants());
        let lane = lane_of(&active, Call::Describe);
        let never_cancelled = CancellationToken::new();
        let stop = self.stop_signals(&never_cancelled);
        let slots = self.slots_needed(loaded);
        let permit_request = Request { lane: lane.clone(), slots, runs_max: u32::MAX };
        let _permit = self.acquire_permit(permit_request, PLUGIN_PERMIT_WAIT, stop).await?;
        let (permission, trace) = (Permission::Nothing, None);
        let memory = self.open_account(&active, &limits)?;
        let execution =
            ExecutionInput { loaded, limits, active, permission, trace, stop, lane, memory, input };
        let (result, finished) = self.execute(execution, call_guest).await;
        result.map_err(|refusal| finished.add_last_words(refusal))
    }

    /// Runs a connector: waits for a permit, calls the guest, converts the returned value, and
    /// makes the report of the run.
    async fn run<A, T: AnswerJson, F: Future<Output = CallResult<A>>>(
        &self,
        run: Run,
        export_call: ExportCall<'_>,
        call_guest: impl FnOnce(GuestInstance) -> F,
        convert: impl FnOnce(A, Redact<'_>) -> Result<T, Refusal>,
    ) -> RunEnd<T> {
        let ExportCall { call_input, permission, test_report } = export_call;
        let (connector, requested_at) = (&run.connector, Instant::now());
        let admitted = match self.admit(&run, call_input.call).await {
            Ok(admitted) => admitted,
            Err(refusal) => return refused_run(&run, call_input.call, requested_at, refusal),
        };
        let base_addresses = connector.manifest().addresses(&run.active.connection.settings);
        let script = connector.loaded().run_script(connector.name());
        let execution = ExecutionInput {
            loaded: connector.loaded(),
            limits: *connector.limits(),
            active: Arc::clone(&run.active),
            permission,
            trace: run.trace,
            stop: self.stop_signals(&run.stop),
            lane: lane_of(&run.active, call_input.call),
            memory: admitted.memory,
            input: GuestInput { base_addresses, report: test_report.clone(), script },
        };
        // The future is boxed because it is large, and each caller would otherwise move it.
        let (result, mut finished) = Box::pin(self.execute(execution, call_guest)).await;
        let outcome = checked_outcome(result, &finished, connector.limits(), convert);
        connector.count_run(&outcome);
        let test_report = test_report.as_deref();
        let recording = call_input.recording(&finished.session, connector, test_report, &outcome);
        let times = finished.times(run.times_from, requested_at);
        if let Some(test_report) = test_report {
            finished.add_requests_of(test_report);
        }
        let FinishedRun { log, calls, usage, writes, .. } = finished;
        let permits_before = admitted.permit.permits_before;
        let usage = Usage { permit_ms: times.permit_ms(), permits_before, ..usage };
        let without_details = report_without_details(connector, call_input.call, times, &outcome);
        let run_report = RunReport { log, calls, usage, recording, ..without_details };
        RunEnd { outcome, report: run_report, writes }
    }

    /// Waits for the permit of a run, and opens its memory account.
    async fn admit(&self, run: &Run, call: Call) -> Result<AdmittedRun, Refusal> {
        let limits = run.connector.limits();
        let permit_request = Request {
            lane: lane_of(&run.active, call),
            slots: self.slots_needed(run.connector.loaded()),
            runs_max: u32::try_from(limits.concurrent_runs).unwrap_or(u32::MAX),
        };
        let (wait, stop) = (permit_wait(call, limits), self.stop_signals(&run.stop));
        let permit = self.acquire_permit(permit_request, wait, stop).await?;
        let memory = self.open_account(&run.active, limits)?;
        Ok(AdmittedRun { permit, memory })
    }

    fn stop_signals<'a>(&'a self, run: &'a CancellationToken) -> StopSignals<'a> {
        StopSignals { run, server: &self.server_stop }
    }

    /// The number of engine slots that a run of this component occupies. If the engine has fewer
    /// slots, the run occupies all of them.
    fn slots_needed(&self, loaded: &LoadedComponent) -> u32 {
        loaded.slots.min(self.engine.address_space().slots)
    }

    fn open_account(
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

    /// Waits for a permit, because a permit usually becomes free within a short time.
    async fn acquire_permit(
        &self,
        request: Request,
        wait: Duration,
        stop: StopSignals<'_>,
    ) -> Result<Permit, Refusal> {
        stop.check()?;
        let receiver = match self.permits.request_permit(request) {
            Admission::Granted(permit) => return Ok(permit),
            Admission::Waiting(receiver) => receiver,
            Admission::QueueFull => return Err(Refusal::Overloaded),
        };
        tokio::select! {
            biased;
            refusal = stop.stopped() => Err(refusal),
            permit = timeout(wait, receiver) => {
                // This request gives up at the time-out. The next one in the queue may need fewer
                // slots, so it may get its permit now.
                let received = permit.inspect_err(|_| self.permits.grant_to_waiting());
                received.ok().and_then(Result::ok).ok_or(Refusal::Overloaded)
            }
        }
    }

    /// Runs one call in a new instance under its limits.
    async fn execute<A, F: Future<Output = CallResult<A>>>(
        &self,
        execution: ExecutionInput<'_>,
        call_guest: impl FnOnce(GuestInstance) -> F,
    ) -> (Result<Result<A, model::Error>, Refusal>, FinishedRun) {
        let ExecutionInput { loaded, limits, active, permission, trace, stop, lane, memory, input } =
            execution;
        let (egress, clock) = (Arc::clone(&self.egress), Arc::clone(&self.clock));
        let execution = Execution::start(egress, active, permission, trace, limits, clock, memory);
        let store = new_store(&self.engine, execution.guest(input), &limits, execution.meter());
        let call = async {
            let guest = GuestInstance::new(store, loaded).await?;
            execution.mark_called();
            call_guest(guest).await
        };
        let call = Metered::new(call, execution.meter(), self.engine.ticks());
        let call = PermittedPolls::new(call, Arc::clone(&self.poll_permits), lane);
        let result = execution.run_until_stopped(call, stop).await;
        let has_failed = !matches!(result, Ok(Ok(_)));
        (result, execution.finish(has_failed).await)
    }
}

fn lane_of(active: &ActiveConnection, call: Call) -> Lane {
    let connection = &active.connection;
    Lane { connector: connection.connector.clone(), connection: connection.id, call }
}

/// The outcome of a run: the value that the guest returned, checked and redacted, or the reason why
/// there is no value.
fn checked_outcome<A, T>(
    result: Result<Result<A, model::Error>, Refusal>,
    finished: &FinishedRun,
    limits: &Limits,
    convert: impl FnOnce(A, Redact<'_>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let redact = |kind, text| match kind {
        TextKind::ForPeople => finished.session.redact(text),
        _ => finished.session.redact_as(kind, text),
    };
    let outcome = match result {
        Ok(Ok(returned)) => convert(returned, &redact),
        Ok(Err(error)) => Err(bindings::refusal_from(error, &redact)),
        Err(refusal) => Err(finished.add_last_words(refusal)),
    };
    outcome.map_err(|refusal| finished.replace_by_cause(refusal, limits))
}

/// The maximum time that a call waits for its permit. A call for an event waits at most half of the
/// event's answer time: the other half is left for the run, or for the answer that the host is
/// busy. No event waits for a call of `follow-up` or `plugin`. A call of `follow-up` waits as long
/// as `create`, and a call of `plugin` waits at most [`PLUGIN_PERMIT_WAIT`].
fn permit_wait(call: Call, limits: &Limits) -> Duration {
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
