//! Defect KPIs: counts from a cache, refreshed behind the caller, one refresh at a time.
//!
//! Never makes a caller wait for a tracker while counts of the last minutes are at hand, and never
//! shows counts older than a day.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::connector::{Access, Run};
use crate::domain::{ConnectionId, Counts, EventId, Refusal};
use crate::store::KnownCounts;

use super::{Dispatch, KpiAnswer, lock};

/// Projects remembered of one connection.
const PROJECTS_MAX: usize = 100;
/// Counts up to this age are answered at once and refreshed behind the caller.
const STALE_MAX: Duration = Duration::from_secs(10 * 60);
/// Counts up to this age are answered while the tracker is unavailable.
const KNOWN_MAX: Duration = Duration::from_secs(24 * 60 * 60);

type Refreshed = watch::Receiver<Option<Result<Counts, Refusal>>>;

/// Counts of all connections.
#[derive(Default)]
pub(super) struct KpiCache {
    of: Mutex<HashMap<ConnectionId, HashMap<String, Project>>>,
}

#[derive(Default)]
struct Project {
    known: Option<KnownCounts>,
    /// Whether the last refresh failed.
    failing: bool,
    refresh: Option<Refreshed>,
    used_at: Timestamp,
}

impl KpiCache {
    /// Forgets a connection's counts, after an edit or with the connection.
    pub(super) fn forget(&self, id: ConnectionId) {
        lock(&self.of).remove(&id);
    }

    /// Works on one project's entry; the one used longest ago makes room for a new one.
    fn with<T>(
        &self,
        id: ConnectionId,
        project: &str,
        now: Timestamp,
        work: impl FnOnce(&mut Project) -> T,
    ) -> T {
        let mut of = lock(&self.of);
        let projects = of.entry(id).or_default();
        if projects.len() >= PROJECTS_MAX && !projects.contains_key(project) {
            let oldest = projects.iter().min_by_key(|(_, project)| project.used_at);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                projects.remove(&oldest);
            }
        }
        let project = projects.entry(project.to_owned()).or_default();
        project.used_at = now;
        work(project)
    }
}

impl Dispatch {
    /// One Defect KPIs event, from the cache where it is fresh.
    ///
    /// # Errors
    /// Says what stood in the way.
    pub async fn kpis(
        &self,
        access: &Arc<Access>,
        project: &str,
        event: EventId,
    ) -> Result<KpiAnswer, Refusal> {
        let after_ms = self.limits(access).kpi_answer_ms;
        let deadline = Instant::now() + Duration::from_millis(after_ms);
        let connection = &access.connection;
        if connection.paused {
            return Err(Refusal::Paused);
        }
        if connection.project.as_ref().is_some_and(|pin| !pin.eq_ignore_ascii_case(project)) {
            return Err(Refusal::OtherProject);
        }
        if let Some(answer) = self.at_hand(access, project, event) {
            return Ok(answer);
        }
        let mut refresh = self.refresh(access, project, event);
        let counted = match timeout_at(deadline, refresh.wait_for(Option::is_some)).await {
            Ok(Ok(counted)) => counted.clone(),
            Ok(Err(_)) | Err(_) => None,
        };
        let answer = match counted.unwrap_or(Err(Refusal::Deadline { after_ms })) {
            Ok(counts) => Ok(KpiAnswer { counts, age: Duration::ZERO, stale: false }),
            Err(refusal) => self.last_known(access, project, refusal).await,
        };
        self.note_answer(access, &answer);
        answer
    }

    /// What the cache can answer now; stale counts start a refresh behind the answer.
    fn at_hand(&self, access: &Arc<Access>, project: &str, event: EventId) -> Option<KpiAnswer> {
        let now = self.clock().now();
        let id = access.connection.id;
        let (known, failing) =
            self.inner.counted.with(id, project, now, |entry| (entry.known.clone(), entry.failing));
        let known = known?;
        let age = age(&known, now);
        if age > STALE_MAX {
            return None;
        }
        let fresh = age < Duration::from_millis(self.config().kpi_fresh_ms);
        if !fresh {
            self.refresh(access, project, event);
        }
        Some(KpiAnswer { counts: known.counts, age, stale: failing && !fresh })
    }

    /// Joins the refresh of this project, or starts it.
    fn refresh(&self, access: &Arc<Access>, project: &str, event: EventId) -> Refreshed {
        let (id, now) = (access.connection.id, self.clock().now());
        self.inner.counted.with(id, project, now, |entry| {
            // A closed channel is what a panic leaves behind.
            if let Some(refresh) = entry.refresh.as_ref().filter(|r| r.has_changed().is_ok()) {
                return refresh.clone();
            }
            let (tell, refresh) = watch::channel(None);
            entry.refresh = Some(refresh.clone());
            let (dispatch, access, project) = (self.clone(), access.clone(), project.to_owned());
            self.inner.tasks.spawn(async move {
                let counted = dispatch.count(&access, &project, event).await;
                dispatch.remember(&access, &project, &counted);
                tell.send_replace(Some(counted));
            });
            refresh
        })
    }

    /// Asks the tracker.
    async fn count(
        &self,
        access: &Arc<Access>,
        project: &str,
        event: EventId,
    ) -> Result<Counts, Refusal> {
        let serving = self.registry().serving(access).map_err(Refusal::NoConnector)?;
        if !serving.interfaces().kpis {
            let why = format!("`{}` counts nothing", access.connection.connector);
            return Err(Refusal::Unsupported(why));
        }
        let connector = self.admit(access)?;
        let run = Run { connector, access: access.clone(), stop: CancellationToken::new() };
        let end = self.inner.parts.sandbox.count(run, project).await;
        self.note_run(access, &end.outcome);
        self.store().record_run(event, end.report);
        let counts = end.outcome?;
        counts.as_int32().map_err(Refusal::CountTooLarge)?;
        Ok(counts)
    }

    /// Keeps what a refresh came to, unless the connection was edited or removed meanwhile.
    fn remember(&self, access: &Arc<Access>, project: &str, counted: &Result<Counts, Refusal>) {
        if !self.inner.directory.is_current(access) {
            return;
        }
        let (id, now) = (access.connection.id, self.clock().now());
        let known = counted
            .as_ref()
            .ok()
            .map(|counts| KnownCounts { counts: counts.clone(), counted_at: now });
        self.inner.counted.with(id, project, now, |entry| {
            entry.refresh = None;
            entry.failing = known.is_none();
            if known.is_some() {
                entry.known.clone_from(&known);
            }
        });
        if let Some(known) = known {
            self.store().record_counts(id, project, known);
        }
    }

    /// Counts of the last day while the tracker is down; any other refusal is for somebody to mend.
    async fn last_known(
        &self,
        access: &Access,
        project: &str,
        refusal: Refusal,
    ) -> Result<KpiAnswer, Refusal> {
        let tracker_is_down = matches!(
            refusal,
            Refusal::TrackerUnavailable(_) | Refusal::TrackerLimits(_) | Refusal::Deadline { .. }
        );
        if !tracker_is_down {
            return Err(refusal);
        }
        let (id, now) = (access.connection.id, self.clock().now());
        let held = self.inner.counted.with(id, project, now, |entry| entry.known.clone());
        let known = match held {
            Some(known) => Some(known),
            None => self.store().known_counts(id, project).await.ok().flatten(),
        };
        let Some(known) = known.filter(|known| age(known, now) <= KNOWN_MAX) else {
            return Err(refusal);
        };
        let age = age(&known, now);
        Ok(KpiAnswer { counts: known.counts, age, stale: true })
    }
}

/// Never negative, whatever the clock did.
fn age(known: &KnownCounts, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(known.counted_at)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_remembered_with_a_bounded_number_of_projects() {
        let cache = KpiCache::default();
        let id = ConnectionId(uuid::Uuid::from_u128(1));
        let at = |second| Timestamp::from_second(second).unwrap();
        for second in 0..150 {
            cache.with(id, &format!("p{second}"), at(second), |entry| entry.failing = true);
        }
        assert_eq!(lock(&cache.of)[&id].len(), PROJECTS_MAX);
        assert!(cache.with(id, "p149", at(150), |entry| entry.failing));
        assert!(!cache.with(id, "p0", at(151), |entry| entry.failing), "the oldest went");
    }
}
