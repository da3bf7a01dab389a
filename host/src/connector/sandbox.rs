//! One run: a fresh instance, its limits, its end.
//!
//! Holds no state between runs. Knows neither the store nor the clock on the wall; what a write
//! must pass first arrives as a [`Journal`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use wasmtime::component::{Instance, ResourceTableError};
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use crate::domain::{
    Breakage, Clock, Counts, Defect, FailedTest, Journal, Limits, Marker, Refusal, RunReport,
    Usage, WriteRecord,
};

use super::bindings::{self, model};
use super::egress::{Permission, Session};
use super::engine::{Engine, Loaded, STACK_BYTES};
use super::guest::{Guest, ms_since};
use super::limiter::{LimitHit, Limiter};
use super::manifest::RawManifest;
use super::meter::{Meter, Metered};
use super::run_log::RunLog;
use super::{Access, Connector, Egress};

/// How long a run waits for its turn before the host calls itself full.
const TURN_WAIT: Duration = Duration::from_secs(5);
/// Bytes that one host call may take out of the guest beside a request's body.
const HOST_CALL_BYTES: usize = 4 << 20;

/// Runs connectors.
pub struct Sandbox {
    engine: Arc<Engine>,
    egress: Arc<Egress>,
    clock: Arc<dyn Clock>,
    turns: Semaphore,
}

/// What a run needs.
pub struct Run {
    /// The version that runs.
    pub connector: Arc<Connector>,
    /// For whom.
    pub access: Arc<Access>,
    /// Ends the guest early; its writes under way still come to their end.
    pub stop: CancellationToken,
}

/// What a run came to.
#[derive(Debug)]
pub struct RunEnd<T> {
    /// The guest's answer, or why there is none.
    pub outcome: Result<T, Refusal>,
    /// What the event shows of it.
    pub report: RunReport,
    /// Every write, whatever the guest says.
    pub writes: Vec<WriteRecord>,
}

/// What a call into the guest returns: a trap, the connector's own "no", or its answer.
type Called<T> = wasmtime::Result<Result<T, model::Error>>;

impl Sandbox {
    /// At most `runs_max` runs at a time in the whole host.
    #[must_use]
    pub(crate) fn new(
        engine: Arc<Engine>,
        egress: Arc<Egress>,
        clock: Arc<dyn Clock>,
        runs_max: u32,
    ) -> Self {
        let turns = Semaphore::new(usize::try_from(runs_max).unwrap_or(Semaphore::MAX_PERMITS));
        Self { engine, egress, clock, turns }
    }

    /// Calls `defects.create`; each write passes the journal before its first byte leaves.
    pub async fn create(
        &self,
        run: Run,
        test: &FailedTest,
        marker: &Marker,
        journal: Arc<dyn Journal>,
    ) -> RunEnd<Defect> {
        let Some(export) = run.connector.loaded().defects.clone() else {
            return missing(&run, "create", "defects");
        };
        let (test, marker) = (model::FailedTest::from(test), marker.to_string());
        self.run(run, "create", Permission::Writes(journal), bindings::defect, |store, instance| {
            Box::pin(async move {
                let guest = export.load(&mut *store, &instance)?;
                guest.call_create(store, &test, &marker).await
            })
        })
        .await
    }

    /// Calls `defects.find`. Writes are refused.
    pub async fn find(&self, run: Run, marker: &Marker) -> RunEnd<Option<Defect>> {
        let Some(export) = run.connector.loaded().defects.clone() else {
            return missing(&run, "find", "defects");
        };
        let marker = marker.to_string();
        let read = |found: Option<model::Defect>, scrub: &dyn Fn(String) -> String| {
            found.map(|given| bindings::defect(given, scrub)).transpose()
        };
        self.run(run, "find", Permission::Reads, read, |store, instance| {
            Box::pin(async move {
                let guest = export.load(&mut *store, &instance)?;
                guest.call_find(store, &marker).await
            })
        })
        .await
    }

    /// Calls `kpis.count`. Writes are refused.
    pub async fn count(&self, run: Run, project: &str) -> RunEnd<Counts> {
        let Some(export) = run.connector.loaded().kpis.clone() else {
            return missing(&run, "count", "kpis");
        };
        let project = project.to_owned();
        self.run(run, "count", Permission::Reads, bindings::counts, |store, instance| {
            Box::pin(async move {
                let guest = export.load(&mut *store, &instance)?;
                guest.call_count(store, &project).await
            })
        })
        .await
    }

    /// Calls `plugin.check`. Writes are refused.
    pub async fn check(&self, run: Run) -> RunEnd<String> {
        let export = run.connector.loaded().plugin.clone();
        let read = |line: String, scrub: &dyn Fn(String) -> String| Ok(scrub(line));
        self.run(run, "check", Permission::Reads, read, |store, instance| {
            Box::pin(async move {
                let guest = export.load(&mut *store, &instance)?;
                guest.call_check(store).await
            })
        })
        .await
    }

    /// Calls `plugin.describe` of a file that is no connector yet; every import refuses.
    pub(super) async fn describe(
        &self,
        loaded: &Loaded,
        limits: &Limits,
    ) -> Result<RawManifest, Refusal> {
        let export = loaded.plugin.clone();
        let confined = Confined {
            loaded,
            limits: *limits,
            access: Arc::new(Access::nobody()),
            permission: Permission::Nothing,
            stop: CancellationToken::new(),
        };
        let ended = self
            .confine(confined, |store, instance| {
                Box::pin(async move {
                    let guest = export.load(&mut *store, &instance)?;
                    Ok(Ok(guest.call_describe(store).await?))
                })
            })
            .await;
        ended.outcome?.map(RawManifest::from).map_err(|_: model::Error| {
            Refusal::ConnectorBroke(Breakage::Contract("`describe` has no errors".to_owned()))
        })
    }

    /// One run of a loaded connector: its turn, its confinement, its report.
    async fn run<G, T>(
        &self,
        run: Run,
        call: &'static str,
        permission: Permission,
        read: impl FnOnce(G, &dyn Fn(String) -> String) -> Result<T, Refusal>,
        body: impl for<'a> FnOnce(&'a mut Store<Guest>, Instance) -> BoxFuture<'a, Called<G>>,
    ) -> RunEnd<T> {
        let Some(_turns) = self.take_turn(&run.connector).await else {
            return not_run(&run, call, Refusal::HostFull);
        };
        let confined = Confined {
            loaded: run.connector.loaded(),
            limits: *run.connector.limits(),
            access: run.access.clone(),
            permission,
            stop: run.stop.clone(),
        };
        let ended = self.confine(confined, body).await;
        let scrub = |text| ended.session.scrub(text);
        let outcome = match ended.outcome {
            Ok(Ok(given)) => read(given, &scrub),
            Ok(Err(error)) => Err(bindings::refusal(error, &scrub)),
            Err(refusal) => Err(refusal),
        };
        let mut report = ended.report;
        report.call = call.to_owned();
        report.outcome = outcome.as_ref().map_or_else(Refusal::code, |_| "ok").to_owned();
        report.detail = outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
        report.connector_version = run.connector.manifest().version.to_string();
        report.connector_sha256 = run.connector.sha256().to_owned();
        RunEnd { outcome, report, writes: ended.writes }
    }

    async fn take_turn<'a>(
        &'a self,
        connector: &'a Connector,
    ) -> Option<(SemaphorePermit<'a>, SemaphorePermit<'a>)> {
        let both = async {
            let own = connector.turns().acquire().await.ok()?;
            Some((own, self.turns.acquire().await.ok()?))
        };
        timeout(TURN_WAIT, both).await.ok().flatten()
    }

    /// A fresh instance under its limits. The guest is gone before the session is asked to finish,
    /// so that no further write can begin.
    async fn confine<G>(
        &self,
        run: Confined<'_>,
        body: impl for<'a> FnOnce(&'a mut Store<Guest>, Instance) -> BoxFuture<'a, Called<G>>,
    ) -> Ended<G> {
        let started = Instant::now();
        let deadline = started + Duration::from_millis(run.limits.run_ms);
        let (peak, handles) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let meter = Arc::new(Meter::default());
        let log = Arc::new(RunLog::new(started, run.limits.log_bytes));
        let session = Session::new(
            self.egress.clone(),
            run.access,
            run.permission,
            run.limits,
            self.clock.clone(),
            deadline,
            meter.clone(),
        );
        let limiter = Limiter::new(run.limits, peak.clone());
        let guest = Guest::new(session.clone(), log.clone(), limiter, handles.clone());
        let mut store = self.store(guest, &run.limits, &meter);
        let pre = run.loaded.pre.clone();
        let whole = async move {
            let called = match pre.instantiate_async(&mut store).await {
                Ok(instance) => body(&mut store, instance).await,
                Err(error) => Err(error),
            };
            store.data_mut().note_handles();
            called
        };
        let metered = Metered::new(whole, meter.clone(), self.engine.ticks());
        let outcome = tokio::select! {
            called = metered => called.map_err(|error| broke(&error, &run.limits)),
            () = tokio::time::sleep_until(deadline) => {
                let hit = LimitHit { name: "run_ms", value: run.limits.run_ms };
                Err(Refusal::ConnectorBroke(hit.into()))
            }
            () = run.stop.cancelled() => Err(Refusal::HostFull),
        };
        let (calls, writes) = session.finish().await;
        let (mut lines, log_bytes) = log.take();
        for line in &mut lines {
            line.message = session.scrub(std::mem::take(&mut line.message));
        }
        let mut usage = Usage {
            memory_bytes: peak.load(Ordering::Relaxed),
            cpu_ms: meter.spent_ms(),
            run_ms: ms_since(started),
            log_bytes,
            handles: handles.load(Ordering::Relaxed),
            turns: meter.turns(),
            yields: meter.yields(),
            waited_ticks: meter.waited_ticks(),
            ..Usage::default()
        };
        session.fill(&mut usage);
        let report = RunReport { log: lines, calls, usage, ..RunReport::default() };
        Ended { outcome, session, report, writes }
    }

    /// A store whose guest yields at each tick and ends when its computing time is spent.
    fn store(&self, guest: Guest, limits: &Limits, meter: &Arc<Meter>) -> Store<Guest> {
        let mut store = Store::new(self.engine.inner(), guest);
        store.limiter(|guest| &mut guest.limiter);
        let request = usize::try_from(limits.request_body_bytes).unwrap_or(usize::MAX);
        store.set_hostcall_fuel(request.saturating_add(HOST_CALL_BYTES));
        store.set_epoch_deadline(1);
        let (meter, cpu_ms) = (meter.clone(), limits.cpu_ms);
        store.epoch_deadline_callback(move |mut store| {
            store.data_mut().note_handles();
            if meter.spent_ms() >= cpu_ms {
                return Err(wasmtime::Error::new(LimitHit { name: "cpu_ms", value: cpu_ms }));
            }
            meter.note_yield();
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
        store
    }
}

/// What confines one run.
struct Confined<'a> {
    loaded: &'a Loaded,
    limits: Limits,
    access: Arc<Access>,
    permission: Permission,
    stop: CancellationToken,
}

/// How a confined run ended.
struct Ended<G> {
    outcome: Result<Result<G, model::Error>, Refusal>,
    session: Arc<Session>,
    report: RunReport,
    writes: Vec<WriteRecord>,
}

/// Which limit or fault is behind an error of the engine.
fn broke(error: &wasmtime::Error, limits: &Limits) -> Refusal {
    if let Some(hit) = error.downcast_ref::<LimitHit>() {
        return Refusal::ConnectorBroke((*hit).into());
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Refusal::HostFull;
    }
    if matches!(error.downcast_ref(), Some(ResourceTableError::Full)) {
        let hit = LimitHit { name: "handles", value: limits.handles };
        return Refusal::ConnectorBroke(hit.into());
    }
    let why = match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => format!(
            "its stack of {} KiB, which no key changes, is used up (stack overflow)",
            STACK_BYTES / 1024
        ),
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    Refusal::ConnectorBroke(Breakage::Trap(why))
}

fn missing<T>(run: &Run, call: &'static str, interface: &str) -> RunEnd<T> {
    let why = format!("`{}` exports no `{interface}`", run.connector.name());
    not_run(run, call, Refusal::Unsupported(why))
}

fn not_run<T>(run: &Run, call: &'static str, refusal: Refusal) -> RunEnd<T> {
    let report = RunReport {
        call: call.to_owned(),
        outcome: refusal.code().to_owned(),
        detail: refusal.to_string(),
        connector_version: run.connector.manifest().version.to_string(),
        connector_sha256: run.connector.sha256().to_owned(),
        ..RunReport::default()
    };
    RunEnd { outcome: Err(refusal), report, writes: Vec::new() }
}
