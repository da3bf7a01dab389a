//! The host's side of one run, in three steps: `start` creates its session, log and counters;
//! `race` runs the call until it ends, is stopped or takes too long; `finish` collects what
//! happened.

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
use crate::egress::{ActiveConnection, Charged, Egress, Permission, RunRequests};
use crate::memory::{Account, MemoryFull};
use crate::telemetry::TraceParent;

use super::bindings::model;
use super::engine::STACK_BYTES;
use super::exception::without_panic;
use super::guest::{Guest, GuestInput};
use super::instance::CallResult;
use super::last_words::LastWords;
use super::limiter::{LimitHit, Limiter};
use super::run_log::RunLog;
use super::test_report::TestReport;

/// How much of a run's time is left for the guest after the deadline of its requests: a tenth of
/// the run, but at most this.
const AFTER_TRACKER_MAX: Duration = Duration::from_secs(5);

/// The host's side of a run that has started. (`sandbox::Run` is the input of a run.)
pub(super) struct Execution {
    started: Instant,
    /// When the instance was complete.
    called: OnceLock<Instant>,
    /// The end of the run. Its requests end earlier.
    run_deadline: Instant,
    limits: Limits,
    meter: Arc<Meter>,
    memory: Arc<Account>,
    handles_peak: Arc<AtomicU64>,
    log: Arc<RunLog>,
    session: Arc<RunRequests>,
}

/// The signals that end a run early.
#[derive(Clone, Copy)]
pub(super) struct StopSignals<'a> {
    /// Only this run ends.
    pub(super) run: &'a CancellationToken,
    /// The server ends, and all runs with it.
    pub(super) server: &'a CancellationToken,
}

impl StopSignals<'_> {
    /// The reason why the run must not start, if there is one.
    pub(super) fn check(self) -> Result<(), Refusal> {
        if self.server.is_cancelled() {
            return Err(Refusal::ShuttingDown);
        }
        if self.run.is_cancelled() { Err(Refusal::RunStopped) } else { Ok(()) }
    }

    /// Waits for one of the signals, and returns the reason why the run ends.
    pub(super) async fn stopped(self) -> Refusal {
        tokio::select! {
            biased;
            () = self.server.cancelled() => Refusal::ShuttingDown,
            () = self.run.cancelled() => Refusal::RunStopped,
        }
    }
}

/// The log, requests, usage and writes of a run that ended: all but its result.
pub(super) struct Finished {
    started: Instant,
    called: Option<Instant>,
    ended: Instant,
    /// The run's session; it redacts what the guest returned.
    pub(super) session: Arc<RunRequests>,
    pub(super) log: Vec<LogLine>,
    pub(super) calls: Vec<OutboundCall>,
    pub(super) usage: Usage,
    pub(super) writes: Vec<WriteRecord>,
    /// The limit of the host's memory, if the run was refused memory because of it.
    pub(super) host_memory: Option<u64>,
    /// The cause that the guest printed last on stderr.
    last_words: Option<LastWords>,
}

impl Execution {
    /// Step 1: the session, the log and the counters. The time begins.
    pub(super) fn start(
        egress: Arc<Egress>,
        active: Arc<ActiveConnection>,
        permission: Permission,
        trace: Option<TraceParent>,
        limits: Limits,
        clock: Arc<dyn Clock>,
        memory: Arc<Account>,
    ) -> Self {
        let started = Instant::now();
        let run_time = Duration::from_millis(limits.run_ms);
        let run_deadline = started + run_time;
        // Requests end before the run does, so that the connector can report that its tracker is
        // late.
        let request_deadline = run_deadline - (run_time / 10).min(AFTER_TRACKER_MAX);
        let meter = Arc::<Meter>::default();
        let charged = Charged { meter: Arc::clone(&meter), memory: Arc::clone(&memory) };
        let session =
            RunRequests::new(egress, active, permission, limits, clock, request_deadline, charged);
        if let Some(trace) = trace {
            session.continue_trace(trace);
        }
        Self {
            started,
            called: OnceLock::new(),
            run_deadline,
            limits,
            meter,
            memory,
            handles_peak: Arc::default(),
            log: Arc::new(RunLog::new(started, limits.log_bytes)),
            session,
        }
    }

    /// The data of the run's wasmtime store.
    pub(super) fn guest(&self, input: GuestInput) -> Guest {
        let limiter = Limiter::new(self.limits, self.memory.empty_charge());
        let (session, log) = (Arc::clone(&self.session), Arc::clone(&self.log));
        let handles_peak = Arc::clone(&self.handles_peak);
        Guest::new(session, log, limiter, self.memory.empty_charge(), handles_peak, input)
    }

    pub(super) fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// Records that the instance is complete, and that its export is called now.
    pub(super) fn mark_called(&self) {
        let _ = self.called.set(Instant::now());
    }

    /// Step 2: runs the call to its end, to the deadline, or until it is stopped. The guest is
    /// dropped when this returns.
    pub(super) async fn race<A>(
        &self,
        call: impl Future<Output = CallResult<A>>,
        stop: StopSignals<'_>,
    ) -> Result<Result<A, model::Error>, Refusal> {
        tokio::select! {
            // The guest first: most calls end in their first poll, and wait for nothing else.
            biased;
            result = call => result.map_err(|error| classify_error(&error, &self.limits)),
            () = sleep_until(self.run_deadline) => {
                let hit = LimitHit { name: "run_ms", value: self.limits.run_ms };
                Err(Refusal::ConnectorFault(hit.into()))
            }
            refusal = stop.stopped() => Err(refusal),
        }
    }

    /// Step 3: waits for the writes in progress, and collects log, calls and usage; if the run has
    /// `failed`, also the cause in the guest's own words. Call it after the guest is dropped: then
    /// no further write can begin.
    pub(super) async fn finish(self, failed: bool) -> Finished {
        let (calls, writes) = self.session.finish().await;
        let (mut log, log_bytes) = self.log.take();
        if failed {
            // Before it is redacted, because the panic has the text of the exception with escapes.
            log = without_panic(log);
        }
        for line in &mut log {
            line.message = self.session.redact(std::mem::take(&mut line.message));
        }
        let cause = || self.log.take_tail().cause(|text| self.session.redact(text));
        let last_words = failed.then(cause).flatten();
        let (started, called, ended) = (self.started, self.called.get().copied(), Instant::now());
        let mut usage = Usage {
            memory_bytes: self.memory.peak(),
            cpu_ms: self.meter.spent_ms(),
            run_ms: milliseconds(ended - self.started),
            log_bytes,
            handles: self.handles_peak.load(Ordering::Relaxed),
            polls: self.meter.polls(),
            yields: self.meter.yields(),
            waited_ticks: self.meter.waited_ticks(),
            ..Usage::default()
        };
        self.session.fill(&mut usage);
        let host_memory = self.memory.refused_by_host();
        let session = self.session;
        Finished {
            started,
            called,
            ended,
            session,
            log,
            calls,
            usage,
            writes,
            host_memory,
            last_words,
        }
    }
}

impl Finished {
    /// How far the run came, in microseconds from `since`. It asked for its permit at `asked`.
    pub(super) fn times(&self, since: Instant, asked: Instant) -> RunTimes {
        let us = |at: Instant| microseconds(at.saturating_duration_since(since));
        RunTimes {
            asked_us: us(asked),
            started_us: Some(us(self.started)),
            called_us: self.called.map(us),
            ended_us: us(self.ended),
        }
    }

    /// Adds the requests to Test Manager that a report of the failed test has sent, and the data
    /// that is missing in it.
    pub(super) fn add_requests_of(&mut self, test_report: &TestReport) {
        let of_guest = std::mem::replace(&mut self.calls, test_report.take_calls(self.started));
        self.calls.extend(of_guest);
        let redact = |text| self.session.redact(text);
        self.log.extend(test_report.take_gaps(self.usage.run_ms, redact));
    }

    /// Adds to a trap, or to a limit that was hit, what the guest printed last. An exception takes
    /// the place of the trap.
    pub(super) fn add_last_words(&self, refusal: Refusal) -> Refusal {
        match (refusal, &self.last_words) {
            (
                Refusal::ConnectorFault(ConnectorFault::Trap(_)),
                Some(LastWords::Threw(exception)),
            ) => ConnectorFault::Threw(exception.clone()).into(),
            (
                Refusal::ConnectorFault(fault),
                Some(LastWords::Threw(words) | LastWords::Printed(words)),
            ) => fault.with_last_words(words).into(),
            (refusal, _) => refusal,
        }
    }

    /// Replaces the refusal if the connector is not its cause: the run failed after its tracker was
    /// late, or after the host had no memory for it. If a write was answered, the refusal stays,
    /// because the way in which the guest ended decides how the row changes.
    pub(super) fn find_cause(&self, refusal: Refusal, limits: &Limits) -> Refusal {
        let answered = |write: &WriteRecord| matches!(write.answer, WriteAnswer::Status(_));
        if self.writes.iter().any(answered) {
            return refusal;
        }
        if let (
            Some(bytes_max),
            Refusal::ConnectorError(_)
            | Refusal::ConnectorFault(ConnectorFault::Trap(_) | ConnectorFault::Threw(_)),
        ) = (self.host_memory, &refusal)
        {
            return Refusal::HostMemoryFull { bytes_max };
        }
        if !self.session.missed_request_deadline() {
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
                    "it did not answer in the time of the run (`limits.run_ms` = {run_ms}), then {refusal}"
                );
                Refusal::TrackerUnavailable(why.into())
            }
            _ => refusal,
        }
    }
}

/// The refusal for an error of the engine, which a limit or a fault of the connector caused.
fn classify_error(error: &wasmtime::Error, limits: &Limits) -> Refusal {
    if let Some(hit) = error.downcast_ref::<LimitHit>() {
        return Refusal::ConnectorFault((*hit).into());
    }
    if let Some(MemoryFull::Host(bytes_max)) = error.downcast_ref::<MemoryFull>() {
        return Refusal::HostMemoryFull { bytes_max: *bytes_max };
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Refusal::Overloaded;
    }
    if matches!(error.downcast_ref(), Some(ResourceTableError::Full)) {
        let hit = LimitHit { name: "handles", value: limits.handles };
        return Refusal::ConnectorFault(hit.into());
    }
    let why = match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => {
            format!("stack overflow: its stack has {} KiB, which is fixed", STACK_BYTES / 1024)
        }
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    Refusal::ConnectorFault(ConnectorFault::Trap(why))
}
