//! Executes one run in three steps: `start`, `run_until_stopped` and `finish`. Never waits for the
//! permit to start a run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap};

use crate::cpu_time::Meter;
use crate::domain::{
    Clock, ConnectorFault, Limits, LogLine, OutboundCall, Refusal, RunTimes, Usage, WriteAnswer,
    WriteRecord, microseconds, milliseconds,
};
use crate::egress::{ActiveConnection, Egress, Permission, RunAccounts, RunRequests};
use crate::memory::{Account, MemoryFull};
use crate::telemetry::TraceParent;

use super::bindings::model;
use super::engine::STACK_BYTES;
use super::exception::replace_panic_by_exception;
use super::failure_cause::FailureCause;
use super::guest::{Guest, ImportData};
use super::instance::CallResult;
use super::limiter::{ExceededLimit, Limiter};
use super::run_log::RunLog;
use super::test_report::TestReport;

/// The time between the deadline of a run's requests and the deadline of the run is a tenth of
/// `limits.run_ms`, but at most this time.
const TIME_AFTER_REQUESTS_MAX: Duration = Duration::from_secs(5);

/// A run that has started.
pub(super) struct Execution {
    started_at: Instant,
    /// The time at which the export was called, after the instance was created.
    called_at: OnceLock<Instant>,
    /// The time at which the run is stopped. Its requests are stopped earlier.
    run_deadline: Instant,
    limits: Limits,
    meter: Arc<Meter>,
    memory: Arc<Account>,
    handles_peak: Arc<AtomicU64>,
    log: Arc<RunLog>,
    requests: Arc<RunRequests>,
}

#[derive(Clone, Copy)]
pub(super) struct StopSignals<'a> {
    /// Stops only this run.
    pub(super) run: &'a CancellationToken,
    /// Stops all runs, because the server shuts down.
    pub(super) server: &'a CancellationToken,
}

impl StopSignals<'_> {
    pub(super) fn check(self) -> Result<(), Refusal> {
        if self.server.is_cancelled() {
            return Err(Refusal::ShuttingDown);
        }
        if self.run.is_cancelled() { Err(Refusal::RunStopped) } else { Ok(()) }
    }

    pub(super) async fn wait_for_stop(self) -> Refusal {
        tokio::select! {
            biased;
            () = self.server.cancelled() => Refusal::ShuttingDown,
            () = self.run.cancelled() => Refusal::RunStopped,
        }
    }
}

pub(super) struct FinishedRun {
    started_at: Instant,
    called_at: Option<Instant>,
    ended_at: Instant,
    pub(super) requests: Arc<RunRequests>,
    pub(super) log: Vec<LogLine>,
    pub(super) calls: Vec<OutboundCall>,
    pub(super) usage: Usage,
    pub(super) writes: Vec<WriteRecord>,
    /// The limit of the host's memory, bytes, if the host refused memory to the run.
    pub(super) exceeded_host_memory: Option<u64>,
    /// The cause of the failure that the guest printed on stderr, if the run failed.
    failure_cause: Option<FailureCause>,
}

impl Execution {
    /// Step 1. The time of the run begins now.
    pub(super) fn start(
        egress: Arc<Egress>,
        active: Arc<ActiveConnection>,
        permission: Permission,
        trace: Option<TraceParent>,
        limits: Limits,
        clock: Arc<dyn Clock>,
        memory: Arc<Account>,
    ) -> Self {
        let started_at = Instant::now();
        let run_time = Duration::from_millis(limits.run_ms);
        let run_deadline = started_at + run_time;
        // Requests are stopped before the run, so that the connector can still report that the
        // tracker did not answer in time.
        let request_deadline = run_deadline - (run_time / 10).min(TIME_AFTER_REQUESTS_MAX);
        let meter = Arc::<Meter>::default();
        let accounts = RunAccounts { meter: Arc::clone(&meter), memory: Arc::clone(&memory) };
        let requests =
            RunRequests::new(egress, active, permission, limits, clock, request_deadline, accounts);
        if let Some(trace) = trace {
            requests.continue_trace(trace);
        }
        Self {
            started_at,
            called_at: OnceLock::new(),
            run_deadline,
            limits,
            meter,
            memory,
            handles_peak: Arc::default(),
            log: Arc::new(RunLog::new(started_at, limits.log_bytes)),
            requests,
        }
    }

    pub(super) fn new_guest(&self, input: ImportData) -> Guest {
        let limiter = Limiter::new(self.limits, self.memory.empty_charge());
        let (requests, log) = (Arc::clone(&self.requests), Arc::clone(&self.log));
        let handles_peak = Arc::clone(&self.handles_peak);
        Guest::new(requests, log, limiter, self.memory.empty_charge(), handles_peak, input)
    }

    pub(super) fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// Records that the instance is complete and that the export is called now.
    pub(super) fn mark_called(&self) {
        let _ = self.called_at.set(Instant::now());
    }

    /// Step 2. Drops the call, and with it the guest, before it returns.
    pub(super) async fn run_until_stopped<A>(
        &self,
        call: impl Future<Output = CallResult<A>>,
        stop: StopSignals<'_>,
    ) -> Result<Result<A, model::Error>, Refusal> {
        tokio::select! {
            // The guest is polled first, because a call that ends in its first poll needs no timer.
            biased;
            result = call => result.map_err(|error| refusal_for_engine_error(&error, &self.limits)),
            () = sleep_until(self.run_deadline) => {
                let exceeded = ExceededLimit { name: "run_ms", value: self.limits.run_ms };
                Err(Refusal::ConnectorFault(exceeded.into()))
            }
            refusal = stop.wait_for_stop() => Err(refusal),
        }
    }

    /// Step 3: waits for the writes in progress, and collects the results. The guest must be
    /// dropped before this call, so that no further write can begin.
    pub(super) async fn finish(self, has_failed: bool) -> FinishedRun {
        let (calls, writes) = self.requests.finish().await;
        let (mut log, log_bytes) = self.log.take();
        if has_failed {
            // The log is redacted after this step. The panic contains the text of the exception
            // with escapes, and an escape may hide a secret from the redactor.
            log = replace_panic_by_exception(log);
        }
        for line in &mut log {
            line.message = self.requests.redact(std::mem::take(&mut line.message));
        }
        let cause = || self.log.take_stderr_tail().cause(|text| self.requests.redact(text));
        let failure_cause = has_failed.then(cause).flatten();
        let (started_at, called_at) = (self.started_at, self.called_at.get().copied());
        let ended_at = Instant::now();
        let mut usage = Usage {
            memory_bytes: self.memory.peak(),
            cpu_ms: self.meter.spent_ms(),
            run_ms: milliseconds(ended_at - self.started_at),
            log_bytes,
            handles: self.handles_peak.load(Ordering::Relaxed),
            polls: self.meter.polls(),
            yields: self.meter.yields(),
            waited_ticks: self.meter.waited_ticks(),
            ..Usage::default()
        };
        self.requests.fill_usage(&mut usage);
        let exceeded_host_memory = self.memory.refused_by_host();
        let requests = self.requests;
        FinishedRun {
            started_at,
            called_at,
            ended_at,
            requests,
            log,
            calls,
            usage,
            writes,
            exceeded_host_memory,
            failure_cause,
        }
    }
}

impl FinishedRun {
    /// Returns the times of the run's steps, in microseconds since `times_from`. `requested_at` is
    /// the time at which the run requested its permit.
    pub(super) fn times(&self, times_from: Instant, requested_at: Instant) -> RunTimes {
        let since_event_us = |at: Instant| microseconds(at.saturating_duration_since(times_from));
        RunTimes {
            requested_us: since_event_us(requested_at),
            started_us: Some(since_event_us(self.started_at)),
            called_us: self.called_at.map(since_event_us),
            ended_us: since_event_us(self.ended_at),
        }
    }

    /// Adds the requests that were sent to Test Manager for the report of the failed test, and the
    /// gaps of this report.
    pub(super) fn add_test_manager_requests(&mut self, test_report: &TestReport) {
        let calls_of_guest =
            std::mem::replace(&mut self.calls, test_report.take_calls(self.started_at));
        self.calls.extend(calls_of_guest);
        let redact = |text| self.requests.redact(text);
        self.log.extend(test_report.take_gaps(self.usage.run_ms, redact));
    }

    /// Adds to a fault the text that the guest printed last. If this text is an exception, it
    /// replaces a trap.
    pub(super) fn add_failure_cause(&self, refusal: Refusal) -> Refusal {
        match (refusal, &self.failure_cause) {
            (
                Refusal::ConnectorFault(ConnectorFault::Trap(_)),
                Some(FailureCause::Threw(exception)),
            ) => ConnectorFault::Threw(exception.clone()).into(),
            (
                Refusal::ConnectorFault(fault),
                Some(FailureCause::Threw(words) | FailureCause::Printed(words)),
            ) => fault.with_printed_text(words).into(),
            (refusal, _) => refusal,
        }
    }

    /// Replaces the refusal if the connector did not cause it: the tracker did not answer in time,
    /// or the host had no memory left for the run. If the tracker answered a write, the refusal is
    /// not replaced, because then the outcome of the defect depends on how the guest ended.
    pub(super) fn replace_by_cause(&self, refusal: Refusal, limits: &Limits) -> Refusal {
        let is_answered = |write: &WriteRecord| matches!(write.answer, WriteAnswer::Status(_));
        if self.writes.iter().any(is_answered) {
            return refusal;
        }
        if let (
            Some(bytes_max),
            Refusal::ConnectorError(_)
            | Refusal::ConnectorFault(ConnectorFault::Trap(_) | ConnectorFault::Threw(_)),
        ) = (self.exceeded_host_memory, &refusal)
        {
            return Refusal::HostMemoryFull { bytes_max };
        }
        if !self.requests.missed_request_deadline() {
            return refusal;
        }
        match refusal {
            Refusal::ConnectorError(_)
            | Refusal::ConnectorFault(
                ConnectorFault::Trap(_)
                | ConnectorFault::Threw(_)
                | ConnectorFault::Limit { name: "run_ms", .. },
            ) => {
                let run_ms = limits.run_ms;
                let why = format!(
                    "no answer within the time of the run (`limits.run_ms` = {run_ms}); then the \
                     run failed: {refusal}"
                );
                Refusal::TrackerUnavailable(why.into())
            }
            _ => refusal,
        }
    }
}

fn refusal_for_engine_error(error: &wasmtime::Error, limits: &Limits) -> Refusal {
    if let Some(exceeded) = error.downcast_ref::<ExceededLimit>() {
        return Refusal::ConnectorFault((*exceeded).into());
    }
    if let Some(MemoryFull::Host(bytes_max)) = error.downcast_ref::<MemoryFull>() {
        return Refusal::HostMemoryFull { bytes_max: *bytes_max };
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Refusal::Overloaded;
    }
    if matches!(error.downcast_ref(), Some(ResourceTableError::Full)) {
        let exceeded = ExceededLimit { name: "handles", value: limits.handles };
        return Refusal::ConnectorFault(exceeded.into());
    }
    let why = match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => {
            format!(
                "stack overflow: the guest's stack has {} KiB, which cannot be changed",
                STACK_BYTES / 1024
            )
        }
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    Refusal::ConnectorFault(ConnectorFault::Trap(why))
}
