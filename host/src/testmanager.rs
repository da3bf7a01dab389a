//! Reads from Test Manager's REST API the data of a failed test.
//!
//! Only reads. Every request passes through egress, with the rules of the connection; this room
//! has no HTTP client of its own. Data that cannot be fetched is a gap, never an error.

mod address;
mod client;
mod download;
mod failure;
mod find_log;
mod json;
mod link;
mod pages;
mod parse;
mod parts;
mod probe;
mod project;
mod rate_limit;
mod robot_logs;
mod shared;
mod source;
mod state;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::domain::{Clock, ConnectionId, FailedTest, Limits};
use crate::egress::{ActiveConnection, Egress};
use crate::memory::HostMemory;
use crate::report::Source;
use crate::store::Store;

use shared::ReportFetch;
use source::TestSource;
use state::State;

/// The parts that requests to Test Manager need.
pub(crate) struct Dependencies {
    /// Sends the requests.
    pub(crate) egress: Arc<Egress>,
    /// Stores which project was counted last.
    pub(crate) store: Arc<dyn Store>,
    /// The memory of all runs.
    pub(crate) memory: Arc<HostMemory>,
    /// The wall clock, for the record of requests.
    pub(crate) clock: Arc<dyn Clock>,
}

/// Reads from Test Manager for all connections; keeps a state for each connection in use.
pub struct TestManager {
    deps: Arc<Dependencies>,
    /// The state of each connection in use, kept between failed tests.
    states: Mutex<HashMap<ConnectionId, ConnectionState>>,
}

/// The state of one connection, and the active connection that the state was made for.
struct ConnectionState {
    active: Weak<ActiveConnection>,
    state: Arc<State>,
}

impl TestManager {
    pub(crate) fn new(deps: Dependencies) -> Self {
        Self { deps: Arc::new(deps), states: Mutex::default() }
    }

    /// The source of a failed test's data, with the limits of the connection's connector. `None`:
    /// the connection has no settings for Test Manager.
    #[must_use]
    pub fn source(
        &self,
        active: &Arc<ActiveConnection>,
        test: &FailedTest,
        limits: &Limits,
    ) -> Option<Arc<dyn Source>> {
        let shared = self.shared(active, limits)?;
        Some(Arc::new(TestSource::new(Arc::new(shared), test.clone())))
    }

    fn shared(&self, active: &Arc<ActiveConnection>, limits: &Limits) -> Option<ReportFetch> {
        let own = active.test_manager()?;
        let settings = active.connection.test_manager.clone()?;
        let deps = Arc::clone(&self.deps);
        let pinned = active.connection.project.clone();
        Some(ReportFetch::new(deps, Arc::clone(own), settings, pinned, self.state(own), *limits))
    }

    /// The state for these settings and secrets. Another state of the connection is replaced.
    fn state(&self, own: &Arc<ActiveConnection>) -> Arc<State> {
        let mut states = self.states.lock();
        states.retain(|_, kept| kept.active.strong_count() > 0);
        let kept = states.get(&own.connection.id);
        if let Some(kept) = kept.filter(|kept| kept.active.as_ptr() == Arc::as_ptr(own)) {
            return Arc::clone(&kept.state);
        }
        let state = Arc::<State>::default();
        let kept = ConnectionState { active: Arc::downgrade(own), state: Arc::clone(&state) };
        states.insert(own.connection.id, kept);
        state
    }
}
