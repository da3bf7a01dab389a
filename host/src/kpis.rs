//! Defect KPIs: counts from a cache, refreshed in the background, one refresh at a time.
//!
//! A caller does not wait for the tracker while counts of the last ten minutes are cached. Counts
//! older than a day are never answered.

mod cache;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::completion::Flight;
use crate::config::LiveConfig;
use crate::connections::{Asker, Connections};
use crate::domain::{Call, Clock, Counts, EventId, Refusal};
use crate::egress::ActiveConnection;
use crate::history::History;
use crate::runtime::{Run, Sandbox};
use crate::store::{CachedCounts, Store};

use cache::{Cache, Counted};

/// Counts up to this age are answered at once and refreshed in the background.
const STALE_MAX: Duration = Duration::from_secs(10 * 60);
/// Counts up to this age are answered while the tracker is unavailable.
const LAST_KNOWN_MAX: Duration = Duration::from_secs(24 * 60 * 60);

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
        event: EventId,
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
            Ok(counts) => Ok(KpiAnswer { counts, age: Duration::ZERO, stale: false }),
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
        event: EventId,
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
        event: EventId,
    ) -> Flight<Counted> {
        self.cache.with(active, project, self.deps.clock.now(), |entry| {
            Flight::join_or_start(&mut entry.refresh, &self.deps.tasks, || {
                let (kpis, active, project) =
                    (self.clone(), Arc::clone(active), project.to_owned());
                let span = kpis.deps.history.span(event);
                let work = async move {
                    let counted = kpis.ask_tracker(&active, &project, event).await;
                    kpis.remember(&active, &project, &counted);
                    counted
                };
                work.instrument(span)
            })
        })
    }

    /// Runs the connector's `count`.
    async fn ask_tracker(
        &self,
        active: &Arc<ActiveConnection>,
        project: &str,
        event: EventId,
    ) -> Result<Counts, Refusal> {
        let (connection, connections) = (&active.connection, &self.deps.connections);
        let connector = connections.connector_for(connection)?;
        if !connector.interfaces().kpis {
            let why = format!("`{}` does not export `kpis`", connection.connector);
            return Err(Refusal::Unsupported(why.into()));
        }
        connections.allow_run(connection, &connector, Call::Count, Asker::Event)?;
        let run = Run { connector, active: Arc::clone(active), stop: CancellationToken::new() };
        let end = self.deps.sandbox.count(run, project).await;
        connections.record_outcome(connection.id, Call::Count, project, &end.outcome);
        self.deps.history.run(connection, event, end.report, &end.outcome);
        let counts = end.outcome?;
        counts.as_int32()?;
        Ok(counts)
    }

    /// Caches the result of a refresh, unless the connection was edited or deleted meanwhile.
    fn remember(
        &self,
        active: &Arc<ActiveConnection>,
        project: &str,
        counted: &Result<Counts, Refusal>,
    ) {
        if !self.deps.connections.is_current(active) {
            return;
        }
        let now = self.deps.clock.now();
        let counts = counted.as_ref().ok().cloned();
        let cached = counts.map(|counts| CachedCounts { counts, counted_at: now });
        self.cache.with(active, project, now, |entry| {
            entry.refresh = None;
            entry.failing = cached.is_none();
            if cached.is_some() {
                entry.cached.clone_from(&cached);
            }
        });
        if let Some(cached) = cached {
            self.deps.store.record_counts(active.connection.id, project, cached);
        }
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

/// The age of counts. If they are from the future, the clock was set back and their age is unknown:
/// the age returned is just above [`STALE_MAX`], so they are answered only if the tracker does not
/// answer.
fn age(cached: &CachedCounts, now: Timestamp) -> Duration {
    let unknown = STALE_MAX + Duration::from_secs(1);
    Duration::try_from(now.duration_since(cached.counted_at)).unwrap_or(unknown)
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
