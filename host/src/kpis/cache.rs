//! Caches in memory the last counts of each project, and the refresh that is in progress. Counts
//! belong to one revision of the connection, so an edit of the connection removes them.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::completion::InFlight;
use crate::domain::{ConnectionId, Refusal, after};
use crate::egress::ActiveConnection;
use crate::store::{CLOCK_DIFFERENCE_MS_MAX, CachedCounts};

/// Maximum number of cached projects of one connection.
const PROJECTS_MAX: usize = 100;

pub(super) type RefreshResult = Result<RefreshedCounts, Refusal>;

/// The counts that a refresh returned.
#[derive(Debug, Clone)]
pub(super) struct RefreshedCounts {
    /// The counts, and the time at which they were counted.
    pub(super) cached: CachedCounts,
    /// Whether the store already had the counts, usually from another server. Otherwise this server
    /// requested them from the tracker.
    pub(super) is_from_other_server: bool,
}

/// The counts of all connections.
#[derive(Default)]
pub(super) struct Cache {
    by_connection: Mutex<HashMap<ConnectionId, ConnectionEntry>>,
}

/// The cached projects of one connection.
struct ConnectionEntry {
    /// The connection to whose settings the counts belong. An edit replaces this
    /// [`ActiveConnection`].
    active: Weak<ActiveConnection>,
    /// The entries, by the id of the project.
    projects: HashMap<String, ProjectEntry>,
}

#[derive(Default)]
pub(super) struct ProjectEntry {
    /// The last counts; `None` if there are none yet.
    pub(super) cached: Option<CachedCounts>,
    pub(super) last_refresh_failed: bool,
    /// The refresh in progress.
    pub(super) refresh: Option<InFlight<RefreshResult>>,
    /// When the entry was used last.
    used_at: Timestamp,
}

impl ProjectEntry {
    /// Replaces the counts by the counts that another server has stored, unless the entry already
    /// has newer counts. Cached counts from the future do not count as newer, because the clock was
    /// set back.
    pub(super) fn take_over(&mut self, counted: CachedCounts, now: Timestamp) {
        let newest_valid = after(now, CLOCK_DIFFERENCE_MS_MAX);
        let is_newer =
            |old: &CachedCounts| (counted.counted_at..=newest_valid).contains(&old.counted_at);
        if !self.cached.as_ref().is_some_and(is_newer) {
            self.last_refresh_failed = false;
            self.cached = Some(counted);
        }
    }
}

impl Cache {
    /// Calls `work` on the entry of one project, and creates the entry if it is missing. If the
    /// connection has too many entries, first removes the least recently used entry.
    pub(super) fn with_entry<T>(
        &self,
        active: &Arc<ActiveConnection>,
        project: &str,
        now: Timestamp,
        work: impl FnOnce(&mut ProjectEntry) -> T,
    ) -> T {
        let mut by_connection = self.by_connection.lock();
        let is_same = |entry: &ConnectionEntry| Weak::as_ptr(&entry.active) == Arc::as_ptr(active);
        if !by_connection.get(&active.connection.id).is_some_and(is_same) {
            // Also remove the entries of connections that were edited or deleted.
            by_connection.retain(|_, entry| entry.active.strong_count() > 0);
            by_connection.remove(&active.connection.id);
        }
        let connection = by_connection.entry(active.connection.id).or_insert_with(|| {
            ConnectionEntry { active: Arc::downgrade(active), projects: HashMap::new() }
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

    pub(super) fn has_project(&self, active: &Arc<ActiveConnection>, project: &str) -> bool {
        let by_connection = self.by_connection.lock();
        let connection = by_connection.get(&active.connection.id);
        let is_same = |entry: &&ConnectionEntry| Weak::as_ptr(&entry.active) == Arc::as_ptr(active);
        connection.filter(is_same).is_some_and(|entry| entry.projects.contains_key(project))
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
    fn a_connection_has_a_limited_number_of_cached_projects() {
        let (cache, active) = (Cache::default(), active());
        for second in 0..150 {
            cache.with_entry(&active, &format!("p{second}"), at(second), |entry| {
                entry.last_refresh_failed = true
            });
        }
        let projects = cache.by_connection.lock()[&active.connection.id].projects.len();
        assert_eq!(projects, PROJECTS_MAX);
        assert!(cache.with_entry(&active, "p149", at(150), |entry| entry.last_refresh_failed));
        assert!(
            !cache.with_entry(&active, "p0", at(151), |entry| entry.last_refresh_failed),
            "the oldest entry was removed"
        );
    }

    #[test]
    fn newer_counts_replace_the_cached_ones_even_after_the_clock_was_set_back() {
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
        cache.with_entry(&before, "p", at(1), |entry| entry.last_refresh_failed = true);
        assert!(!cache.with_entry(&after, "p", at(2), |entry| entry.last_refresh_failed));
    }
}
