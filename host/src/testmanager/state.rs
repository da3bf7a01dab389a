//! The state that all failed tests of one connection share: the rate limit and the projects that
//! were read. This module never sends a request.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use super::rate_limit::RateLimit;

/// How long a stored project is used. An older project is read again, because its name may have
/// changed.
const PROJECT_MAX_AGE: Duration = Duration::from_secs(3_600);
/// Maximum number of stored projects of a connection.
const PROJECTS_MAX: usize = 100;

#[derive(Default)]
pub(super) struct ApiState {
    pub(super) rate_limit: RateLimit,
    /// The stored projects, by the path of the request, each with the time at which the project was
    /// read.
    projects: Mutex<HashMap<String, (Value, Instant)>>,
}

impl ApiState {
    /// Returns the project that was read from this path less than [`PROJECT_MAX_AGE`] ago.
    pub(super) fn recent_project(&self, path: &str) -> Option<Value> {
        let projects = self.projects.lock();
        let (project, read_at) = projects.get(path)?;
        (read_at.elapsed() < PROJECT_MAX_AGE).then(|| project.clone())
    }

    pub(super) fn forget_projects(&self) {
        self.projects.lock().clear();
    }

    /// Stores a project that was read from this path, unless too many projects are stored.
    pub(super) fn store_project(&self, path: String, project: Value) {
        let mut projects = self.projects.lock();
        projects.retain(|_, (_, read_at)| read_at.elapsed() < PROJECT_MAX_AGE);
        if projects.len() < PROJECTS_MAX {
            projects.insert(path, (project, Instant::now()));
        }
    }
}
