//! Answers Defect KPIs requests with counts from a cache that is refreshed in the background.
//!
//! A caller does not wait for the tracker while the cache has counts of the last ten minutes.
//! Counts that are older than a day are never returned.

mod cache;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::completion::SharedWork;
use crate::config::LiveConfig;
use crate::connections::{Connections, RunRequester};
use crate::domain::{Call, Clock, ConnectionId, Counts, EventStart, Refusal, after};
use crate::egress::ActiveConnection;
use crate::history::History;
use crate::runtime::{RunInput, Sandbox};
use crate::store::{
    CLOCK_DIFFERENCE_MS_MAX, CachedCounts, Change, Changes, CountsClaim, CountsClaimed,
    CountsLease, Store,
};

use cache::{Cache, RefreshResult, RefreshedCounts};

/// Maximum age of counts that are returned at once. Counts that are older than `kpi_fresh_ms` are
/// then refreshed in the background.
const CACHED_AGE_MAX: Duration = Duration::from_secs(10 * 60);
/// Maximum age of counts that are returned if newer counts cannot be read for a temporary reason.
const LAST_KNOWN_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Maximum time to wait until the store reports whether another server is counting.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(2);

/// The parts of the server that [`Kpis`] uses. Cloning is cheap.
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

/// Answers Defect KPIs requests for all connections. Cloning is cheap.
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
    /// Time since the tracker returned the counts; zero if this answer waited until this server had
    /// requested them.
    pub age: Duration,
    /// Whether these are older counts, because the last refresh failed or took too long.
    pub is_stale: bool,
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
    /// There are no counts that may be returned; the refusal contains the reason.
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
        if connection.project.as_ref().is_some_and(|pinned| !pinned.eq_ignore_ascii_case(project)) {
            return Err(Refusal::WrongProject);
        }
        if let Some(answer) = self.answer_from_cache(active, project, event) {
            return Ok(answer);
        }
        let refresh = self.refresh(active, project, event);
        // `counted` is `None` if the deadline passed or the refresh panicked.
        let counted = timeout_at(deadline, refresh.result()).await.ok().flatten();
        let answer = match counted.unwrap_or(Err(Refusal::DeadlineExceeded { after_ms })) {
            Ok(RefreshedCounts { cached, is_from_other_server }) => {
                let age = if is_from_other_server {
                    age(&cached, self.deps.clock.now())
                } else {
                    Duration::ZERO
                };
                Ok(KpiAnswer { counts: cached.counts, age, is_stale: false })
            }
            Err(refusal) => self.last_known_or_refusal(active, project, refusal).await,
        };
        self.deps.connections.record_answer(connection.id, &answer);
        answer
    }

    /// Returns the cached counts if they are recent enough. If the counts are no longer fresh, also
    /// starts a refresh in the background.
    fn answer_from_cache(
        &self,
        active: &Arc<ActiveConnection>,
        project: &str,
        event: EventStart,
    ) -> Option<KpiAnswer> {
        let now = self.deps.clock.now();
        let (cached, last_refresh_failed) = self.cache.with_entry(active, project, now, |entry| {
            (entry.cached.clone(), entry.last_refresh_failed)
        });
        let cached = cached?;
        let age = age(&cached, now);
        if age > CACHED_AGE_MAX {
            return None;
        }
        let is_fresh = age < Duration::from_millis(self.deps.config.current().kpi_fresh_ms);
        if !is_fresh {
            drop(self.refresh(active, project, event));
        }
        Some(KpiAnswer { counts: cached.counts, age, is_stale: last_refresh_failed && !is_fresh })
    }

    /// Joins the refresh of this project that is in progress, or starts a refresh. A refresh always
    /// runs to its end.
    fn refresh(
        &self,
        active: &Arc<ActiveConnection>,
        project: &str,
        event: EventStart,
    ) -> SharedWork<RefreshResult> {
        self.cache.with_entry(active, project, self.deps.clock.now(), |entry| {
            SharedWork::join_or_start(&mut entry.refresh, &self.deps.tasks, || {
                let (kpis, active, project) =
                    (self.clone(), Arc::clone(active), project.to_owned());
                let span = kpis.deps.history.span(event.id);
                let work = async move {
                    let counted = kpis.count_or_wait(&active, &project, event).await;
                    kpis.cache_result(&active, &project, &counted);
                    counted
                };
                work.instrument(span)
            })
        })
    }

    /// Requests the counts from the tracker, unless several servers share the store and it has
    /// fresh counts. The caller does not wait until the counts are stored.
    async fn count_or_wait(
        &self,
        active: &Arc<ActiveConnection>,
        project: &str,
        event: EventStart,
    ) -> RefreshResult {
        let lease = CountsLease::new(active.connection.id, project);
        let state = match self.await_lease(active, &lease).await {
            LeaseState::CountedByOther(cached) => {
                return Ok(RefreshedCounts { cached, is_from_other_server: true });
            }
            state => state,
        };
        let counted = if let LeaseState::Granted = state {
            let asking = Box::pin(self.run_count(active, project, event));
            self.while_renewing(&lease, asking).await
        } else {
            self.run_count(active, project, event).await
        };
        let cached =
            counted.map(|counts| CachedCounts { counts, counted_at: self.deps.clock.now() });
        let to_store = cached.as_ref().ok().filter(|_| self.deps.connections.is_current(active));
        match (state, to_store) {
            (LeaseState::Alone, None) => {}
            (LeaseState::Alone, Some(to_store)) => {
                self.deps.store.record_counts(active.connection.id, project, to_store.clone());
            }
            (state, to_store) => self.release_lease(lease, &state, to_store.cloned()),
        }
        cached.map(|cached| RefreshedCounts { cached, is_from_other_server: false })
    }

    /// Waits while another server requests the counts from the tracker. If the store fails, or does
    /// not report in time, this server requests them.
    async fn await_lease(&self, active: &Arc<ActiveConnection>, lease: &CountsLease) -> LeaseState {
        let store = &self.deps.store;
        let lease_ms = self.deps.config.current().lease_ms;
        // If there is no revision, the connection was just edited or deleted. The counts for the
        // earlier settings are then not stored.
        while let Some(revision) = self.deps.connections.revision_of(active) {
            let (mut changes, now) = (store.subscribe_to_changes(), self.deps.clock.now());
            let fresh_ms = Duration::from_millis(self.deps.config.current().kpi_fresh_ms);
            let fresh_since = now.saturating_sub(fresh_ms).unwrap_or(Timestamp::MIN);
            let lease_until = after(now, lease_ms);
            let claim = CountsClaim { revision, now, fresh_since, lease_until };
            match timeout(CLAIM_TIMEOUT, store.claim_counts(lease, claim)).await {
                Ok(Ok(CountsClaimed::Fresh(cached))) => return LeaseState::CountedByOther(cached),
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

    async fn while_renewing<T>(&self, lease: &CountsLease, request: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            counted = request => counted,
            never = self.renew_forever(lease) => match never {},
        }
    }

    async fn renew_forever(&self, lease: &CountsLease) -> Infallible {
        let lease_ms = self.deps.config.current().lease_ms;
        loop {
            sleep(Duration::from_millis(lease_ms / 3)).await;
            let until = after(self.deps.clock.now(), lease_ms);
            if let Err(error) = self.deps.store.renew_counts(lease, until).await {
                tracing::debug!(%error, "cannot renew the lease on counting defects");
            }
        }
    }

    /// Gives the lease back in the background, and stores the counts in the same step. If the store
    /// fails or never granted the lease, the counts are queued with the history.
    fn release_lease(&self, lease: CountsLease, state: &LeaseState, counted: Option<CachedCounts>) {
        let store = Arc::clone(&self.deps.store);
        let is_granted = matches!(state, LeaseState::Granted);
        let end = async move {
            let is_stored = match store.end_counts(&lease, counted.clone()).await {
                // If the lease was granted and then lost, the counts are not stored, because the
                // connection may now use another tracker.
                Ok(was_held) => was_held || is_granted,
                Err(error) => {
                    tracing::debug!(%error, "cannot give back the lease on counting defects");
                    false
                }
            };
            if let Some(counted) = counted.filter(|_| !is_stored) {
                store.record_counts(lease.connection, &lease.project, counted);
            }
        };
        self.deps.tasks.spawn(end.in_current_span());
    }

    /// Replaces the cached counts by the counts that another server has stored. Does nothing if the
    /// project is not in the cache.
    pub async fn take_over_counts(&self, id: ConnectionId, project: &str) {
        let Some(active) = self.deps.connections.active(id) else { return };
        if !self.cache.has_project(&active, project) {
            return;
        }
        let Ok(Some(counted)) = self.deps.store.cached_counts(id, project).await else { return };
        let now = self.deps.clock.now();
        self.cache.with_entry(&active, project, now, |entry| entry.take_over(counted, now));
    }

    async fn run_count(
        &self,
        active: &Arc<ActiveConnection>,
        project: &str,
        event: EventStart,
    ) -> Result<Counts, Refusal> {
        let (connection, connections) = (&active.connection, &self.deps.connections);
        let connector = connections.connector_for(connection)?;
        if !connector.interfaces().exports_kpis {
            let why = format!("`{}` does not export `kpis`", connection.connector);
            return Err(Refusal::Unsupported(why.into()));
        }
        connections.allow_run(connection, &connector, Call::Count, RunRequester::Event)?;
        let trace = || self.deps.history.trace(event.id);
        let run = RunInput::for_event(connector, Arc::clone(active), event, trace);
        let end = self.deps.sandbox.count(run, project).await;
        connections.record_outcome(connection.id, Call::Count, project, &end.outcome);
        self.deps.history.record_run(connection, event, end.report, &end.outcome);
        let counts = end.outcome?;
        counts.as_int32()?;
        Ok(counts)
    }

    /// Caches the result of a refresh, unless the connection was edited or deleted in the meantime.
    fn cache_result(&self, active: &Arc<ActiveConnection>, project: &str, counted: &RefreshResult) {
        if !self.deps.connections.is_current(active) {
            return;
        }
        let now = self.deps.clock.now();
        let cached = counted.as_ref().ok().map(|refreshed| refreshed.cached.clone());
        self.cache.with_entry(active, project, now, |entry| {
            entry.refresh = None;
            entry.last_refresh_failed = cached.is_none();
            if cached.is_some() {
                entry.cached = cached;
            }
        });
    }

    /// Returns the last counts if they are at most a day old and the refusal is temporary;
    /// otherwise returns the refusal.
    async fn last_known_or_refusal(
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
        let cached = match self.cache.with_entry(active, project, now, |entry| entry.cached.clone())
        {
            Some(cached) => Some(cached),
            None => self.deps.store.cached_counts(id, project).await.ok().flatten(),
        };
        let Some(cached) = cached.filter(|cached| age(cached, now) <= LAST_KNOWN_AGE_MAX) else {
            return Err(refusal);
        };
        let age = age(&cached, now);
        Ok(KpiAnswer { counts: cached.counts, age, is_stale: true })
    }
}

/// Which server requests the counts from the tracker.
enum LeaseState {
    /// No server: the store, which several servers share, already has these fresh counts.
    CountedByOther(CachedCounts),
    /// This server requests the counts. It has the lease, unless the connection was edited or
    /// deleted.
    Granted,
    /// This server requests the counts. The store failed or did not answer in time, and may still
    /// grant the lease.
    Unknown,
    /// This server requests the counts. No other server uses the store, or the connection changed.
    Alone,
}

/// Waits until the server that has the lease has ended its count, or until notifications were lost.
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

/// Returns the age of counts. The clocks of two servers may differ: counts from the near future
/// have the age zero. If counts are from further in the future, the clock was set back, so their
/// age is unknown. The returned age is then just above [`CACHED_AGE_MAX`], so these counts are used
/// only if newer counts cannot be read.
fn age(cached: &CachedCounts, now: Timestamp) -> Duration {
    let unknown_age = CACHED_AGE_MAX + Duration::from_secs(1);
    let age = now.duration_since(cached.counted_at);
    match Duration::try_from(age) {
        Ok(age) => age,
        Err(_) if age.unsigned_abs() <= Duration::from_millis(CLOCK_DIFFERENCE_MS_MAX) => {
            Duration::ZERO
        }
        Err(_) => unknown_age,
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
        assert!(age(&cached, at(999)) > CACHED_AGE_MAX);
    }
}
