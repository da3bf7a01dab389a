//! Caches in memory the last counts of each project, and the refresh that is in progress.
//! Counts belong to the active connection that they were counted for, so an edit of the connection
//! removes them.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::completion::InFlight;
use crate::domain::{ConnectionId, Refusal, after};
use crate::egress::ActiveConnection;
use crate::store::{CLOCKS_DIFFER_MS, CachedCounts};

/// Maximum number of cached projects of one connection.
const PROJECTS_MAX: usize = 100;

/// The result of a refresh.
pub(super) type Counted = Result<Refreshed, Refusal>;

/// The counts with which a refresh ended; another server may have counted them lately.
#[derive(Debug, Clone)]
pub(super) struct Refreshed {
    pub(super) cached: CachedCounts,
    /// Whether another server has counted them.
    pub(super) by_other_server: bool,
}

/// The counts of all connections.
#[derive(Default)]
pub(super) struct Cache {
    by_connection: Mutex<HashMap<ConnectionId, Connection>>,
}

/// The cached projects of one connection.
struct Connection {
    active: Weak<ActiveConnection>,
    projects: HashMap<String, ProjectEntry>,
}

/// The cache entry of one project.
#[derive(Default)]
pub(super) struct ProjectEntry {
    pub(super) cached: Option<CachedCounts>,
    /// Whether the last refresh failed.
    pub(super) failing: bool,
    /// The refresh in progress.
    pub(super) refresh: Option<InFlight<Counted>>,
    used_at: Timestamp,
}

impl ProjectEntry {
    /// Takes over what another server has counted, unless newer counts are known. Counts from the
    /// future are not newer: the clock was set back.
    pub(super) fn take_over(&mut self, counted: CachedCounts, now: Timestamp) {
        let newest = after(now, CLOCKS_DIFFER_MS);
        let is_known = |it: &CachedCounts| (counted.counted_at..=newest).contains(&it.counted_at);
        if !self.cached.as_ref().is_some_and(is_known) {
            self.failing = false;
            self.cached = Some(counted);
        }
    }
}

impl Cache {
    /// Calls `work` on the entry of one project, and creates the entry if it is missing. If there
    /// are too many, first removes the least recently used one.
    pub(super) fn with<T>(
        &self,
        active: &Arc<ActiveConnection>,
        project: &str,
        now: Timestamp,
        work: impl FnOnce(&mut ProjectEntry) -> T,
    ) -> T {
        let mut by_connection = self.by_connection.lock();
        let is_same = |it: &Connection| Weak::as_ptr(&it.active) == Arc::as_ptr(active);
        if !by_connection.get(&active.connection.id).is_some_and(is_same) {
            // Also remove the entries of connections that were edited or deleted.
            by_connection.retain(|_, it| it.active.strong_count() > 0);
            by_connection.remove(&active.connection.id);
        }
        let connection = by_connection.entry(active.connection.id).or_insert_with(|| Connection {
            active: Arc::downgrade(active),
            projects: HashMap::new(),
        });
        let projects = &mut connection.projects;
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

    /// Whether the project of a connection is in the cache.
    pub(super) fn has(&self, active: &Arc<ActiveConnection>, project: &str) -> bool {
        let by_connection = self.by_connection.lock();
        let connection = by_connection.get(&active.connection.id);
        let is_same = |it: &&Connection| Weak::as_ptr(&it.active) == Arc::as_ptr(active);
        connection.filter(is_same).is_some_and(|it| it.projects.contains_key(project))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use uuid::Uuid;

    use super::*;
    use crate::domain::Counts;

    fn active() -> Arc<ActiveConnection> {
        let id = ConnectionId(Uuid::from_u128(1));
        let connector = "a".parse().unwrap();
        let connection =
            crate::domain::Connection::new(id, "a".to_owned(), connector, Timestamp::UNIX_EPOCH);
        Arc::new(ActiveConnection::new(connection, BTreeMap::new()))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_connection_has_a_bounded_number_of_projects() {
        let (cache, active) = (Cache::default(), active());
        for second in 0..150 {
            cache.with(&active, &format!("p{second}"), at(second), |entry| entry.failing = true);
        }
        let projects = cache.by_connection.lock()[&active.connection.id].projects.len();
        assert_eq!(projects, PROJECTS_MAX);
        assert!(cache.with(&active, "p149", at(150), |entry| entry.failing));
        assert!(!cache.with(&active, "p0", at(151), |entry| entry.failing), "the oldest is gone");
    }

    #[test]
    fn newer_counts_are_taken_over_also_from_a_clock_that_was_set_back() {
        let counted = |second| {
            let counts =
                Counts { open: 1, closed: 0, critical: 0, moderate: 0, critical_link: None };
            CachedCounts { counts, counted_at: at(second) }
        };
        let mut project = ProjectEntry::default();
        for (second, now, known) in [(7, 8, 7), (6, 8, 7), (9, 9, 9), (2, 3, 2), (1, 3, 2)] {
            project.take_over(counted(second), at(now));
            assert_eq!(project.cached, Some(counted(known)), "{second} at {now}");
        }
    }

    #[test]
    fn an_edited_connection_starts_without_counts() {
        let cache = Cache::default();
        let (before, after) = (active(), active());
        cache.with(&before, "p", at(1), |entry| entry.failing = true);
        assert!(!cache.with(&after, "p", at(2), |entry| entry.failing));
    }
}
