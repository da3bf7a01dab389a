//! Reads the data of a failed test from Test Manager's REST API.
//!
//! This room never changes data in Test Manager, and has no HTTP client of its own: it sends every
//! request through `egress`, with the rules of the connection. Data that cannot be fetched becomes
//! a gap.

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
use crate::report::TestDataSource;
use crate::store::Store;

use shared::FetchContext;
use source::TestSource;
use state::ApiState;

/// The parts of the server that requests to Test Manager use.
pub(crate) struct Dependencies {
    pub(crate) egress: Arc<Egress>,
    /// The store, from which the last counted project of a connection is read.
    pub(crate) store: Arc<dyn Store>,
    /// The memory that all runs and requests share.
    pub(crate) memory: Arc<HostMemory>,
    /// The wall clock, for the times in the record of requests.
    pub(crate) clock: Arc<dyn Clock>,
}

/// Reads from Test Manager for all connections.
pub struct TestManager {
    deps: Arc<Dependencies>,
    /// The state of each connection in use, which all failed tests of the connection share.
    states: Mutex<HashMap<ConnectionId, StateEntry>>,
}

/// The state of one connection, which is used while the connection and its secrets do not change.
struct StateEntry {
    /// The settings and secrets for requests to Test Manager when the state was created.
    active: Weak<ActiveConnection>,
    state: Arc<ApiState>,
}

impl TestManager {
    pub(crate) fn new(deps: Dependencies) -> Self {
        Self { deps: Arc::new(deps), states: Mutex::default() }
    }

    /// Returns a source for the data of a failed test, with the limits of the connection's
    /// connector. Returns `None` if the connection has no settings for Test Manager.
    #[must_use]
    pub fn source(
        &self,
        active: &Arc<ActiveConnection>,
        test: &FailedTest,
        limits: &Limits,
    ) -> Option<Arc<dyn TestDataSource>> {
        let context = self.new_fetch_context(active, limits)?;
        Some(Arc::new(TestSource::new(Arc::new(context), test.clone())))
    }

    /// Creates the context that all requests about one failed test share.
    fn new_fetch_context(
        &self,
        active: &Arc<ActiveConnection>,
        limits: &Limits,
    ) -> Option<FetchContext> {
        let test_manager = active.test_manager()?;
        let settings = active.connection.test_manager.clone()?;
        let deps = Arc::clone(&self.deps);
        let pinned_project = active.connection.project.clone();
        Some(FetchContext::new(
            deps,
            Arc::clone(test_manager),
            settings,
            pinned_project,
            self.state(test_manager),
            *limits,
        ))
    }

    /// Returns the state of a connection. If the connection or its secrets have changed, a new
    /// state replaces the old state.
    fn state(&self, test_manager: &Arc<ActiveConnection>) -> Arc<ApiState> {
        let mut states = self.states.lock();
        states.retain(|_, entry| entry.active.strong_count() > 0);
        let entry = states.get(&test_manager.connection.id);
        if let Some(entry) =
            entry.filter(|entry| entry.active.as_ptr() == Arc::as_ptr(test_manager))
        {
            return Arc::clone(&entry.state);
        }
        let state = Arc::<ApiState>::default();
        let entry = StateEntry { active: Arc::downgrade(test_manager), state: Arc::clone(&state) };
        states.insert(test_manager.connection.id, entry);
        state
    }
}
