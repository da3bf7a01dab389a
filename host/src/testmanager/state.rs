//! The state of one connection that failed tests share: the rate limit and the projects that were
//! read.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use super::rate_limit::RateLimit;

/// The time for which a project is stored. After it, the project is read again, because its name
/// may have changed.
const PROJECT_MAX_AGE: Duration = Duration::from_secs(3_600);
/// Maximum number of stored projects of a connection.
const PROJECTS_MAX: usize = 100;

/// The state of one connection; all its requests to Test Manager share it.
#[derive(Default)]
pub(super) struct ApiState {
    pub(super) rate_limit: RateLimit,
    /// The stored projects, by the path of the request, each with the time at which it was read.
    projects: Mutex<HashMap<String, (Value, Instant)>>,
}

impl ApiState {
    /// Returns the project that a request with this path found less than [`PROJECT_MAX_AGE`] ago.
    pub(super) fn recent_project(&self, path: &str) -> Option<Value> {
        let projects = self.projects.lock();
        let (project, read_at) = projects.get(path)?;
        (read_at.elapsed() < PROJECT_MAX_AGE).then(|| project.clone())
    }

    /// Removes the stored projects, so that the next requests read them again.
    pub(super) fn forget_projects(&self) {
        self.projects.lock().clear();
    }

    pub(super) fn remember_project(&self, path: String, project: Value) {
        let mut projects = self.projects.lock();
        projects.retain(|_, (_, read_at)| read_at.elapsed() < PROJECT_MAX_AGE);
        if projects.len() < PROJECTS_MAX {
            projects.insert(path, (project, Instant::now()));
        }
    }
}
