//! Defect KPIs: counts from a cache, refreshed in the background, one refresh at a time, also of
//! several servers that share a store.
//!
//! A caller does not wait for the tracker while counts of the last ten minutes are cached. Counts
//! older than a day are never answered.

mod cache;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::completion::Flight;
use crate::config::LiveConfig;
use crate::connections::{Asker, Connections};
use crate::domain::{Call, Clock, ConnectionId, Counts, EventStart, Refusal, after};
use crate::egress::ActiveConnection;
use crate::history::History;
use crate::runtime::{Run, Sandbox};
use crate::store::{
    CLOCKS_DIFFER_MS, CachedCounts, Change, Changes, CountsClaim, CountsClaimed, CountsLease, Store,
};

use cache::{Cache, Counted, Refreshed};

/// Counts up to this age are answered at once and refreshed in the background.
const STALE_MAX: Duration = Duration::from_secs(10 * 60);
/// Counts up to this age are answered while the tracker is unavailable.
const LAST_KNOWN_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the store may take to say whether another server is counting.
const CLAIM_MAX: Duration = Duration::from_secs(2);

/// The parts that counting uses; cheap to clone.
#[derive(Clone)]
pub struct Dependencies {
    /// Stores the last counts of each project.
    pub store: Arc<dyn Store>,
    /// Records events and their runs.
    pub history: Arc<History>,
    /// The connections that the counts belong to.
    pub connections: Arc<Connections>,
    /// Runs `count`.
    pub sandbox: Arc<Sandbox>,
    /// The wall clock and the time since boot.
    pub clock: Arc<dyn Clock>,
    /// The configuration of the server.
    pub config: Arc<LiveConfig>,
    /// Tasks that shutdown waits for.
    pub tasks: TaskTracker,
}

/// Answers Defect KPIs for all connections; cheap to clone.
#[derive(Clone)]
pub struct Kpis {
    deps: Dependencies,
    cache: Arc<Cache>,
}

/// The counts for one answer, with their age.
#[derive(Debug, Clone, PartialEq)]
pub struct KpiAnswer {
    /// The counts, as the connector returned them.
    pub counts: Counts,
    /// Time since the tracker returned them; zero if they are new.
    pub age: Duration,
    /// Whether they are answered because the tracker is unavailable.
    pub stale: bool,
}

impl Kpis {
    /// Starts with an empty cache.
    #[must_use]
    pub fn new(deps: Dependencies) -> Self {
        Self { deps, cache: Arc::default() }
    }

    /// Answers one Defect KPIs request, from the cache if its counts are recent.
    ///
    /// # Errors
    /// The tracker's counts could not be read, for this reason.
    pub async fn count(
        &self,
        active: &Arc<ActiveConnection>,
        project: &str,
        event: EventStart,
    ) -> Result<KpiAnswer, Refusal> {
        let connection = &active.connection;
        let after_ms = self.deps.connections.limits(connection).kpi_answer_ms;
        let deadline = Instant::now() + Duration::from_millis(after_ms);
        if connection.paused {
            return Err(Refusal::Paused);
        }
        if connection.project.as_ref().is_some_and(|pin| !pin.eq_ignore_ascii_case(project)) {
            return Err(Refusal::WrongProject);
        }
        if let Some(answer) = self.cached(active, project, event) {
            return Ok(answer);
        }
        let refresh = self.refresh(active, project, event);
        // `None`: the deadline passed, or the refresh panicked.
        let counted = timeout_at(deadline, refresh.result()).await.ok().flatten();
        let answer = match counted.unwrap_or(Err(Refusal::DeadlineExceeded { after_ms })) {
            Ok(Refreshed { cached, by_other_server }) => {
                let age = if by_other_server {
                    age(&cached, self.deps.clock.now())
                } else {
                    Duration::ZERO
                };
                Ok(KpiAnswer { counts: cached.counts, age, stale: false })
            }
            Err(refusal) => self.last_known(active, project, refusal).await,
        };
        self.deps.connections.record_answer(connection.id, &answer);
        answer
    }

    /// The counts that the cache can answer now. If they are no longer fresh, starts a refresh in
    /// the background.
    fn cached(
        &self,
        active: &Arc<ActiveConnection>,
        project: &str,
        event: EventStart,
    ) -> Option<KpiAnswer> {
        let now = self.deps.clock.now();
        let (cached, failing) =
            self.cache.with(active, project, now, |entry| (entry.cached.clone(), entry.failing));
        let cached = cached?;
        let age = age(&cached, now);
        if age > STALE_MAX {
            return None;
        }
        let fresh = age < Duration::from_millis(self.deps.config.now().kpi_fresh_ms);
        if !fresh {
            drop(self.refresh(active, project, event));
        }
        Some(KpiAnswer { counts: cached.counts, age, stale: failing && !fresh })
    }

    /// Joins the refresh of this project that is in progress, or starts one, which runs to its end.
    fn refresh(
        &self,
        active: &Arc<ActiveConnection>,
        project: &str,
        event: EventStart,
    ) -> Flight<Counted> {
        self.cache.with(active, project, self.deps.clock.now(), |entry| {
            Flight::join_or_start(&mut entry.refresh, &self.deps.tasks, || {
                let (kpis, active, project) =
                    (self.clone(), Arc::clone(active), project.to_owned());
                let span = kpis.deps.history.span(event.id);
                let work = async move {
                    let counted = kpis.count_or_wait(&active, &project, event).await;
                    kpis.remember(&active, &project, &counted);
                    counted
                };
                work.instrument(span)
            })
        })
    }

    /// Asks the tracker, unless another server that shares the store has asked it lately. The
    /// answer never waits until the store has taken the counts.
    async fn count_or_wait(
        &self,
        active: &Arc<ActiveConnection>,
        project: &str,
        event: EventStart,
    ) -> Counted {
        let lease = CountsLease::new(active.connection.id, project);
        let state = match self.await_lease(active, &lease).await {
            LeaseState::Counted(cached) => return Ok(Refreshed { cached, by_other_server: true }),
            state => state,
        };
        let counted = if let LeaseState::Granted = state {
            let asking = Box::pin(self.ask_tracker(active, project, event));
            self.while_renewing(&lease, asking).await
        } else {
            self.ask_tracker(active, project, event).await
        };
        let cached =
            counted.map(|counts| CachedCounts { counts, counted_at: self.deps.clock.now() });
        let kept = cached.as_ref().ok().filter(|_| self.deps.connections.is_current(active));
        match (state, kept) {
            (LeaseState::Alone, None) => {}
            (LeaseState::Alone, Some(kept)) => {
                self.deps.store.record_counts(active.connection.id, project, kept.clone());
            }
            (state, kept) => self.end(lease, &state, kept.cloned()),
        }
        cached.map(|cached| Refreshed { cached, by_other_server: false })
    }

    /// Waits while another server asks the tracker. If the store cannot say whether one does, this
    /// server asks.
    async fn await_lease(&self, active: &Arc<ActiveConnection>, lease: &CountsLease) -> LeaseState {
        let store = &self.deps.store;
        let lease_ms = self.deps.config.now().lease_ms;
        // Without a revision, the connection was edited just now: its counts are not stored.
        while let Some(revision) = self.deps.connections.revision_of(active) {
            let (mut changes, now) = (store.changes(), self.deps.clock.now());
            let fresh_ms = Duration::from_millis(self.deps.config.now().kpi_fresh_ms);
            let fresh_since = now.saturating_sub(fresh_ms).unwrap_or(Timestamp::MIN);
            let lease_until = after(now, lease_ms);
            let claim = CountsClaim { revision, now, fresh_since, lease_until };
            match timeout(CLAIM_MAX, store.claim_counts(lease, claim)).await {
                Ok(Ok(CountsClaimed::Fresh(cached))) => return LeaseState::Counted(cached),
                Ok(Ok(CountsClaimed::Count)) => return LeaseState::Granted,
                Ok(Ok(CountsClaimed::Alone)) => return LeaseState::Alone,
                Ok(Ok(CountsClaimed::Busy)) => {
                    tracing::debug!(project = lease.project, "another server is counting");
                    let counted = wait_for_counts(&mut changes, lease);
                    let _ = timeout(Duration::from_millis(lease_ms), counted).await;
                }
                Ok(Err(_)) | Err(_) => return LeaseState::Unknown,
            }
        }
        LeaseState::Alone
    }

    /// Renews the lease to count until the tracker has answered.
    async fn while_renewing<T>(&self, lease: &CountsLease, asking: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            counted = asking => counted,
            never_ends = self.renew(lease) => match never_ends {},
        }
    }

    /// Renews the lease again and again. If it is lost, the counts are not stored.
    async fn renew(&self, lease: &CountsLease) -> Infallible {
        let lease_ms = self.deps.config.now().lease_ms;
        loop {
            sleep(Duration::from_millis(lease_ms / 3)).await;
            let until = after(self.deps.clock.now(), lease_ms);
            if let Err(error) = self.deps.store.renew_counts(lease, until).await {
                tracing::debug!(%error, "cannot renew the lease to count");
            }
        }
    }

    /// Gives the lease back in the background, with what was counted. Counts that the store cannot
    /// take now wait with the history.
    fn end(&self, lease: CountsLease, state: &LeaseState, counted: Option<CachedCounts>) {
        let store = Arc::clone(&self.deps.store);
        let is_granted = matches!(state, LeaseState::Granted);
        let end = async move {
            let is_stored = match store.end_counts(&lease, counted.clone()).await {
                // A lease that was granted and lost: the counts may be those of another tracker.
                Ok(was_held) => was_held || is_granted,
                Err(error) => {
                    tracing::debug!(%error, "cannot give back the lease to count");
                    false
                }
            };
            if let Some(counted) = counted.filter(|_| !is_stored) {
                store.record_counts(lease.connection, &lease.project, counted);
            }
        };
        self.deps.tasks.spawn(end.in_current_span());
    }

    /// Takes over what another server has counted, if the project is in the cache.
    pub async fn take_over_counts(&self, id: ConnectionId, project: &str) {
        let Some(active) = self.deps.connections.active(id) else { return };
        if !self.cache.has(&active, project) {
            return;
        }
        let Ok(Some(counted)) = self.deps.store.cached_counts(id, project).await else { return };
        let now = self.deps.clock.now();
        self.cache.with(&active, project, now, |entry| entry.take_over(counted, now));
    }

    /// Runs the connector's `count`.
    async fn ask_tracker(
        &self,
        active: &Arc<ActiveConnection>,
        project: &str,
        event: EventStart,
    ) -> Result<Counts, Refusal> {
        let (connection, connections) = (&active.connection, &self.deps.connections);
        let connector = connections.connector_for(connection)?;
        if !connector.interfaces().kpis {
            let why = format!("`{}` does not export `kpis`", connection.connector);
            return Err(Refusal::Unsupported(why.into()));
        }
        connections.allow_run(connection, &connector, Call::Count, Asker::Event)?;
        let trace = || self.deps.history.trace(event.id);
        let run = Run::of_event(connector, Arc::clone(active), event, trace);
        let end = self.deps.sandbox.count(run, project).await;
        connections.record_outcome(connection.id, Call::Count, project, &end.outcome);
        self.deps.history.run(connection, event, end.report, &end.outcome);
        let counts = end.outcome?;
        counts.as_int32()?;
        Ok(counts)
    }

    /// Caches the result of a refresh, unless the connection was edited or deleted meanwhile.
    fn remember(&self, active: &Arc<ActiveConnection>, project: &str, counted: &Counted) {
        if !self.deps.connections.is_current(active) {
            return;
        }
        let now = self.deps.clock.now();
        let cached = counted.as_ref().ok().map(|it| it.cached.clone());
        self.cache.with(active, project, now, |entry| {
            entry.refresh = None;
            entry.failing = cached.is_none();
            if cached.is_some() {
                entry.cached = cached;
            }
        });
    }

    /// The last counts, if the tracker is unavailable or the host is busy, and they are at most a
    /// day old. Returns any other refusal, because a person must act on it.
    async fn last_known(
        &self,
        active: &Arc<ActiveConnection>,
        project: &str,
        refusal: Refusal,
    ) -> Result<KpiAnswer, Refusal> {
        let is_temporary = matches!(
            refusal,
            Refusal::TrackerUnavailable(_)
                | Refusal::TrackerRateLimited { .. }
                | Refusal::DeadlineExceeded { .. }
                | Refusal::Overloaded
                | Refusal::HostMemoryFull { .. }
        );
        if !is_temporary {
            return Err(refusal);
        }
        let (id, now) = (active.connection.id, self.deps.clock.now());
        let cached = match self.cache.with(active, project, now, |entry| entry.cached.clone()) {
            Some(cached) => Some(cached),
            None => self.deps.store.cached_counts(id, project).await.ok().flatten(),
        };
        let Some(cached) = cached.filter(|cached| age(cached, now) <= LAST_KNOWN_MAX) else {
            return Err(refusal);
        };
        let age = age(&cached, now);
        Ok(KpiAnswer { counts: cached.counts, age, stale: true })
    }
}

/// Who asks the tracker.
enum LeaseState {
    /// No server: another one asked a short time ago.
    Counted(CachedCounts),
    /// This server; the others wait.
    Granted,
    /// This server. The store did not answer; it may still grant the lease.
    Unknown,
    /// This server. No other one uses the store.
    Alone,
}

/// Waits until the holder of the lease has stored the counts, or has given up.
async fn wait_for_counts(changes: &mut Changes, lease: &CountsLease) {
    loop {
        match changes.next().await {
            Change::Counts(id, project) if id == lease.connection && project == lease.project => {
                return;
            }
            Change::Missed => return,
            _ => {}
        }
    }
}

/// The age of counts. Counts that are from the future by no more than two clocks may differ have
/// age zero. Otherwise the clock was set back: their age is unknown, and the age returned is just
/// above [`STALE_MAX`], so they are answered only if the tracker does not answer.
fn age(cached: &CachedCounts, now: Timestamp) -> Duration {
    let unknown = STALE_MAX + Duration::from_secs(1);
    let age = now.duration_since(cached.counted_at);
    match Duration::try_from(age) {
        Ok(age) => age,
        Err(_) if age.unsigned_abs() <= Duration::from_millis(CLOCKS_DIFFER_MS) => Duration::ZERO,
        Err(_) => unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_from_the_future_are_not_fresh() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let counts = Counts { open: 1, closed: 0, critical: 0, moderate: 0, critical_link: None };
        let cached = CachedCounts { counts, counted_at: at(1_000) };
        assert_eq!(age(&cached, at(1_007)), Duration::from_secs(7));
        assert_eq!(age(&cached, at(1_000)), Duration::ZERO);
        assert!(age(&cached, at(999)) > STALE_MAX);
    }
}
