//! Runs connectors: one function for each call into a guest, each in a new instance with its own
//! limits.
//!
//! Keeps no state between runs and never uses the store: what must be durable before a write is
//! sent goes through the [`Journal`] that `create` receives.

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
use super::asked::Asked;
use super::bindings::{self, Redact, model};
use super::component::LoadedComponent;
use super::engine::Engine;
use super::execution::{Execution, Finished, StopSignals};
use super::guest::GuestInput;
use super::instance::{CallResult, GuestInstance, new_store};
use super::permits::{Admission, Capacity, Lane, Permit, Permits, Request};
use super::poll_permits::{PermittedPolls, poll_permits};
use super::test_report::TestReport;

pub use any_call::{CallArguments, ExportAnswer};
pub use run::{Run, RunEnd};

use run::{empty_report, not_run, unsupported};

/// How long a call of the interface `plugin` waits for its permit.
const PERMIT_WAIT: Duration = Duration::from_secs(5);
/// Maximum number of runs of one lane that wait for a permit.
const WAITING_MAX: usize = 256;

/// Runs connectors, each call in a new instance.
pub struct Sandbox {
    engine: Arc<Engine>,
    egress: Arc<Egress>,
    clock: Arc<dyn Clock>,
    permits: Arc<Permits>,
    /// The permits to be polled; they decide whose guest is polled next.
    poll_permits: Arc<Permits>,
    /// Cancelled when the server ends: stops every run.
    server_stop: CancellationToken,
    memory: Arc<HostMemory>,
}

/// A call of an export, and what the connector may do in it.
struct ExportCall<'a> {
    asked: Asked<'a>,
    permission: Permission,
    /// The report of the failed test; only in `create`, `comment` and `attach`.
    test_report: Option<Arc<TestReport>>,
}

impl<'a> ExportCall<'a> {
    /// A call that may not write, and that gets no report of a failed test.
    fn reading(asked: Asked<'a>) -> Self {
        Self { asked, permission: Permission::Reads, test_report: None }
    }
}

/// What a run was given before it started.
struct Admitted {
    /// Held until the end of the run.
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
    /// At most `runs_max` runs at a time in the whole host, and at most `memory_bytes` of memory
    /// for all of them.
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
            waiting: WAITING_MAX,
            keep_free: true,
        });
        let server_stop = CancellationToken::new();
        let memory = HostMemory::new(memory_bytes);
        Self { engine, egress, clock, permits, poll_permits: poll_permits(), server_stop, memory }
    }

    /// The memory of all runs; the host's own requests for a run count against it too.
    pub(crate) fn host_memory(&self) -> &Arc<HostMemory> {
        &self.memory
    }

    /// What all runs use now, and its limits.
    #[must_use]
    pub fn in_use(&self) -> PoolState {
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

    /// Stops every guest, and every run that is started later. Writes in progress get a short time
    /// to end.
    pub fn stop(&self) {
        self.server_stop.cancel();
        self.egress.close();
    }

    /// Calls `defects.create`. Each write passes the journal before its first byte is sent. The
    /// report has the data about the failed test that the connector may read.
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
        let asked = Asked { test: Some(test), marker: Some(marker), ..Asked::of(Call::Create) };
        let (test, marker) = (test.into(), marker.to_string());
        let call = |guest: GuestInstance| guest.create(export, test, marker);
        let (permission, test_report) = (Permission::Writes(journal), Some(test_report));
        let export_call = ExportCall { asked, permission, test_report };
        self.run(run, export_call, call, bindings::defect).await
    }

    /// Calls `defects.find`, which returns the oldest first. Writes are refused.
    pub async fn find(&self, run: Run, marker: &Marker) -> RunEnd<Vec<Defect>> {
        let Some(export) = run.connector.loaded().defects.clone() else {
            return unsupported(&run, Call::Find, "defects");
        };
        let asked = Asked { marker: Some(marker), ..Asked::of(Call::Find) };
        let marker = marker.to_string();
        let call = |guest: GuestInstance| guest.find(export, marker);
        let convert = |found: Vec<model::Defect>, redact: Redact<'_>| {
            found.into_iter().map(|given| bindings::defect(given, redact)).collect()
        };
        self.run(run, ExportCall::reading(asked), call, convert).await
    }

    /// Calls `kpis.count`. Writes are refused.
    pub async fn count(&self, run: Run, project: &str) -> RunEnd<Counts> {
        let Some(export) = run.connector.loaded().kpis.clone() else {
            return unsupported(&run, Call::Count, "kpis");
        };
        let asked = Asked { project: Some(project), ..Asked::of(Call::Count) };
        let project = project.to_owned();
        let call = |guest: GuestInstance| guest.count(export, project);
        self.run(run, ExportCall::reading(asked), call, bindings::counts).await
    }

    /// Calls `plugin.check`. Writes are refused.
    pub async fn check(&self, run: Run) -> RunEnd<String> {
        let export = run.connector.loaded().plugin.clone();
        let call = |guest: GuestInstance| guest.check(export);
        let convert = |line: String, redact: Redact<'_>| Ok(redact(TextKind::ForPeople, line));
        self.run(run, ExportCall::reading(Asked::of(Call::Check)), call, convert).await
    }

    /// Runs a call of a component that is not a connector yet: without a connection. Every request
    /// is refused.
    async fn run_unconnected<A, F: Future<Output = CallResult<A>>>(
        &self,
        loaded: &LoadedComponent,
        limits: Limits,
        input: GuestInput,
        call_guest: impl FnOnce(GuestInstance) -> F,
    ) -> Result<Result<A, model::Error>, Refusal> {
        let active = Arc::new(ActiveConnection::without_grants());
        let lane = lane(&active, Call::Describe);
        let never = CancellationToken::new();
        let stop = self.stop_signals(&never);
        let slots = self.slots(loaded);
        let permit_request = Request { lane: lane.clone(), slots, runs_max: u32::MAX };
        let _permit = self.acquire_permit(permit_request, PERMIT_WAIT, stop).await?;
        let (permission, trace) = (Permission::Nothing, None);
        let memory = self.open_account(&active, &limits)?;
        let execution =
            ExecutionInput { loaded, limits, active, permission, trace, stop, lane, memory, input };
        let (result, finished) = self.execute(execution, call_guest).await;
        result.map_err(|refusal| finished.add_last_words(refusal))
    }

    /// Runs a connector: waits for a permit, calls the guest, converts what it returned, and
    /// reports the run.
    async fn run<A, T: AnswerJson, F: Future<Output = CallResult<A>>>(
        &self,
        run: Run,
        export_call: ExportCall<'_>,
        call_guest: impl FnOnce(GuestInstance) -> F,
        convert: impl FnOnce(A, Redact<'_>) -> Result<T, Refusal>,
    ) -> RunEnd<T> {
        let ExportCall { asked, permission, test_report } = export_call;
        let (connector, asked_at) = (&run.connector, Instant::now());
        let admitted = match self.admit(&run, asked.call).await {
            Ok(admitted) => admitted,
            Err(refusal) => return not_run(&run, asked.call, asked_at, refusal),
        };
        let bases = connector.manifest().addresses(&run.active.connection.settings);
        let script = connector.loaded().run_script(connector.name());
        let execution = ExecutionInput {
            loaded: connector.loaded(),
            limits: *connector.limits(),
            active: Arc::clone(&run.active),
            permission,
            trace: run.trace,
            stop: self.stop_signals(&run.stop),
            lane: lane(&run.active, asked.call),
            memory: admitted.memory,
            input: GuestInput { bases, report: test_report.clone(), script },
        };
        // In a box: the future is large, and each caller would move it.
        let (result, mut finished) = Box::pin(self.execute(execution, call_guest)).await;
        let outcome = checked_outcome(result, &finished, connector.limits(), convert);
        connector.count_run(&outcome);
        let test_report = test_report.as_deref();
        let recording = asked.recording(&finished.session, connector, test_report, &outcome);
        let times = finished.times(run.times_from, asked_at);
        if let Some(test_report) = test_report {
            finished.add_requests_of(test_report);
        }
        let Finished { log, calls, usage, writes, .. } = finished;
        let permits_before = admitted.permit.permits_before;
        let usage = Usage { permit_ms: times.permit_ms(), permits_before, ..usage };
        let empty = empty_report(connector, asked.call, times, &outcome);
        let run_report = RunReport { log, calls, usage, recording, ..empty };
        RunEnd { outcome, report: run_report, writes }
    }

    /// Waits for the permit of a run, and opens its memory account.
    async fn admit(&self, run: &Run, call: Call) -> Result<Admitted, Refusal> {
        let limits = run.connector.limits();
        let permit_request = Request {
            lane: lane(&run.active, call),
            slots: self.slots(run.connector.loaded()),
            runs_max: u32::try_from(limits.concurrent_runs).unwrap_or(u32::MAX),
        };
        let (wait, stop) = (permit_wait(call, limits), self.stop_signals(&run.stop));
        let permit = self.acquire_permit(permit_request, wait, stop).await?;
        let memory = self.open_account(&run.active, limits)?;
        Ok(Admitted { permit, memory })
    }

    fn stop_signals<'a>(&'a self, run: &'a CancellationToken) -> StopSignals<'a> {
        StopSignals { run, server: &self.server_stop }
    }

    /// How many slots of the engine a run of a component takes. If the engine has fewer slots, the
    /// run takes all of them.
    fn slots(&self, loaded: &LoadedComponent) -> u32 {
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

    /// Waits for a permit: a host that is full now usually has a permit again after a moment.
    async fn acquire_permit(
        &self,
        request: Request,
        wait: Duration,
        stop: StopSignals<'_>,
    ) -> Result<Permit, Refusal> {
        stop.check()?;
        let receiver = match self.permits.ask(request) {
            Admission::Granted(permit) => return Ok(permit),
            Admission::Waiting(receiver) => receiver,
            Admission::Full => return Err(Refusal::Overloaded),
        };
        tokio::select! {
            biased;
            refusal = stop.stopped() => Err(refusal),
            permit = timeout(wait, receiver) => {
                // After the wait, the next request in the queue may need fewer slots.
                let given_up = permit.inspect_err(|_| self.permits.hand_over());
                given_up.ok().and_then(Result::ok).ok_or(Refusal::Overloaded)
            }
        }
    }

    /// Runs one call in a new instance under its limits.
    async fn execute<A, F: Future<Output = CallResult<A>>>(
        &self,
        execution: ExecutionInput<'_>,
        call_guest: impl FnOnce(GuestInstance) -> F,
    ) -> (Result<Result<A, model::Error>, Refusal>, Finished) {
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
        let result = execution.race(call, stop).await;
        let failed = !matches!(result, Ok(Ok(_)));
        (result, execution.finish(failed).await)
    }
}

fn lane(active: &ActiveConnection, call: Call) -> Lane {
    let connection = &active.connection;
    Lane { connector: connection.connector.clone(), connection: connection.id, call }
}

/// The outcome of a run: what the guest returned, checked and without secrets, or the reason why
/// there is nothing.
fn checked_outcome<A, T>(
    result: Result<Result<A, model::Error>, Refusal>,
    finished: &Finished,
    limits: &Limits,
    convert: impl FnOnce(A, Redact<'_>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let redact = |kind, text| match kind {
        TextKind::ForPeople => finished.session.redact(text),
        _ => finished.session.redact_as(kind, text),
    };
    let outcome = match result {
        Ok(Ok(answer)) => convert(answer, &redact),
        Ok(Err(error)) => Err(bindings::refusal(error, &redact)),
        Err(refusal) => Err(finished.add_last_words(refusal)),
    };
    outcome.map_err(|refusal| finished.find_cause(refusal, limits))
}

/// How long a call waits for its permit. A call for an event waits half of the time in which the
/// event is answered, so that the other half is left to run or to answer that the host is busy. No
/// event waits for the other calls: those of `follow-up` wait as long, those of `plugin` less.
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
        Call::Check | Call::Choices | Call::Describe => PERMIT_WAIT,
    }
}
