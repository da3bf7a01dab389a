//! The state of one connection between failed tests: its rate limit and its known projects.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use super::rate_limit::RateLimit;

/// How long a project is kept in memory. Then it is read again, because its name may have changed.
const PROJECT_MAX_AGE: Duration = Duration::from_secs(3_600);
/// Maximum number of projects of a connection.
const PROJECTS_MAX: usize = 100;

/// The state of one connection.
#[derive(Default)]
pub(super) struct State {
    pub(super) rate_limit: RateLimit,
    /// The projects with the time at which each was read, by the path of the request.
    projects: Mutex<HashMap<String, (Value, Instant)>>,
}

impl State {
    /// The project that this request found less than [`PROJECT_MAX_AGE`] ago.
    pub(super) fn project(&self, path: &str) -> Option<Value> {
        let projects = self.projects.lock();
        let (project, since) = projects.get(path)?;
        (since.elapsed() < PROJECT_MAX_AGE).then(|| project.clone())
    }

    /// Forgets the projects, so that the next requests read them again.
    pub(super) fn forget_projects(&self) {
        self.projects.lock().clear();
    }

    pub(super) fn keep_project(&self, path: String, project: Value) {
        let mut projects = self.projects.lock();
        projects.retain(|_, (_, since)| since.elapsed() < PROJECT_MAX_AGE);
        if projects.len() < PROJECTS_MAX {
            projects.insert(path, (project, Instant::now()));
        }
    }
}
