//! The host's side of one run, in three steps: `start` creates its session, log and counters; `race` runs the
//! call until it ends, is stopped or takes too long; `finish` collects what happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap};

use crate::cpu_time::{Meter, Metered, Ticks};
use crate::domain::{
    Clock, ConnectorFault, Limits, LogLine, OutboundCall, Refusal, Usage, WriteRecord, milliseconds,
};
use crate::egress::{ActiveConnection, Charged, Egress, Permission, Session};
use crate::memory::{Account, MemoryFull};

use super::bindings::model;
use super::engine::STACK_BYTES;
use super::guest::Guest;
use super::instance::CallResult;
use super::limiter::{LimitHit, Limiter};
use super::run_log::RunLog;

/// A run that has started.
pub(super) struct Execution {
    started: Instant,
    deadline: Instant,
    limits: Limits,
    meter: Arc<Meter>,
    memory: Arc<Account>,
    handles_peak: Arc<AtomicU64>,
    log: Arc<RunLog>,
    session: Arc<Session>,
}

/// What happened in a run, beside its result.
pub(super) struct Finished {
    /// The run's session; it redacts what the guest returned.
    pub(super) session: Arc<Session>,
    pub(super) log: Vec<LogLine>,
    pub(super) calls: Vec<OutboundCall>,
    pub(super) usage: Usage,
    pub(super) writes: Vec<WriteRecord>,
}

impl Execution {
    /// Step 1: the session, the log and the counters. The time begins.
    pub(super) fn start(
        egress: Arc<Egress>,
        active: Arc<ActiveConnection>,
        permission: Permission,
        limits: Limits,
        clock: Arc<dyn Clock>,
        memory: Arc<Account>,
    ) -> Self {
        let started = Instant::now();
        let deadline = started + Duration::from_millis(limits.run_ms);
        let meter = Arc::<Meter>::default();
        let charged = Charged { meter: Arc::clone(&meter), memory: Arc::clone(&memory) };
        let session = Session::new(egress, active, permission, limits, clock, deadline, charged);
        Self {
            started,
            deadline,
            limits,
            meter,
            memory,
            handles_peak: Arc::default(),
            log: Arc::new(RunLog::new(started, limits.log_bytes)),
            session,
        }
    }

    /// The data of the run's store.
    pub(super) fn guest(&self) -> Guest {
        let limiter = Limiter::new(self.limits, self.memory.nothing());
        let (session, log) = (Arc::clone(&self.session), Arc::clone(&self.log));
        Guest::new(session, log, limiter, self.memory.nothing(), Arc::clone(&self.handles_peak))
    }

    pub(super) fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// Step 2: runs the call to its end, to the deadline, or until `stop`. The guest is dropped when this
    /// returns.
    pub(super) async fn race<A>(
        &self,
        call: impl Future<Output = CallResult<A>>,
        ticks: Arc<Ticks>,
        stop: &CancellationToken,
    ) -> Result<Result<A, model::Error>, Refusal> {
        tokio::select! {
            result = Metered::new(call, self.meter(), ticks) => {
                result.map_err(|error| classify_error(&error, &self.limits))
            }
            () = sleep_until(self.deadline) => {
                let hit = LimitHit { name: "run_ms", value: self.limits.run_ms };
                Err(Refusal::ConnectorFault(hit.into()))
            }
            () = stop.cancelled() => Err(Refusal::RunStopped),
        }
    }

    /// Step 3: waits for the writes that are under way, and collects log, calls and usage. Call it after
    /// the guest is dropped: then no further write can begin.
    pub(super) async fn finish(self) -> Finished {
        let (calls, writes) = self.session.finish().await;
        let (mut log, log_bytes) = self.log.take();
        for line in &mut log {
            line.message = self.session.redact(std::mem::take(&mut line.message));
        }
        let mut usage = Usage {
            memory_bytes: self.memory.peak(),
            cpu_ms: self.meter.spent_ms(),
            run_ms: milliseconds(self.started.elapsed()),
            log_bytes,
            handles: self.handles_peak.load(Ordering::Relaxed),
            polls: self.meter.polls(),
            yields: self.meter.yields(),
            waited_ticks: self.meter.waited_ticks(),
            ..Usage::default()
        };
        self.session.fill(&mut usage);
        Finished { session: self.session, log, calls, usage, writes }
    }
}

/// The limit or fault behind an error of the engine.
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
