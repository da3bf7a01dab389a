//! What an event does: claim, run, settle; count; look for defects in doubt. Also what an admin does
//! to connections and defects, so that every change passes one place.
//!
//! Never knows axum, SQL or wasmtime. Everything it answers is a value or a [`Refusal`].

mod breaker;
mod connections;
mod create;
mod directory;
mod held;
mod kpis;
mod sweep;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::connector::{Access, Connector, Egress, Registry, Sandbox};
use crate::domain::{
    Clock, ConnectionId, Counts, Decision, Defect, DefectId, DefectRecord, Limits, Refusal,
    RunnerId,
};
use crate::secret::{Sealer, TokenHash};
use crate::store::{Store, StoreError};

use breaker::Breakers;
use create::Flights;
use directory::Directory;
use kpis::KpiCache;

pub use connections::{
    ConnectionEdit, ConnectionError, NewConnection, Shown, TryReport, TryStep, WrongSetting,
};

/// Serves events; cheap to clone.
#[derive(Clone)]
pub struct Dispatch {
    inner: Arc<Inner>,
}

/// What serving events takes.
pub struct Parts {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// The connectors there are.
    pub registry: Arc<Registry>,
    /// What runs them.
    pub sandbox: Arc<Sandbox>,
    /// What reaches trackers, for the steps of a `try`.
    pub egress: Arc<Egress>,
    /// Seals the secrets of connections.
    pub sealer: Sealer,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// The configuration.
    pub config: Arc<Config>,
    /// This process, as leases name it.
    pub runner: RunnerId,
}

struct Inner {
    parts: Parts,
    directory: Directory,
    breakers: Breakers,
    flights: Flights,
    counted: KpiCache,
    tasks: TaskTracker,
    /// Held by the edit under way: each reads the whole connection and writes it back.
    editing: tokio::sync::Mutex<()>,
}

/// A created, repeated or adopted defect.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateAnswer {
    /// The defect.
    pub defect: Defect,
    /// Its row.
    pub id: DefectId,
    /// How it came: `created`, `repeated` or `adopted`.
    pub how: &'static str,
}

/// Counts and how old they are.
#[derive(Debug, Clone, PartialEq)]
pub struct KpiAnswer {
    /// The counts.
    pub counts: Counts,
    /// Time since the tracker gave them; zero for fresh ones.
    pub age: Duration,
    /// Whether they are served because the tracker is unavailable.
    pub stale: bool,
}

impl Dispatch {
    /// Serves nobody until [`Self::load`] has read the connections.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let inner = Inner {
            parts,
            directory: Directory::default(),
            breakers: Breakers::default(),
            flights: Flights::default(),
            counted: KpiCache::default(),
            tasks: TaskTracker::new(),
            editing: tokio::sync::Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Reads the connections from the store; called at the start, after each change by an admin, and
    /// by the sweep for changes that other replicas made.
    ///
    /// # Errors
    /// The store cannot be read; what was known before stays.
    pub async fn load(&self) -> Result<(), StoreError> {
        self.inner.directory.load(&self.inner.parts).await
    }

    /// A task that [`Self::drain`] waits for.
    pub fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.inner.tasks.spawn(task)
    }

    /// Returns when every run under way has ended. Call it after the last request was taken and the
    /// sweep was cancelled.
    pub async fn drain(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// The connection that a webhook token opens. In memory: no store on the hot path.
    #[must_use]
    pub fn connection_by_token(&self, token: &TokenHash) -> Option<Arc<Access>> {
        self.inner.directory.by_token(token, self.clock().now())
    }

    /// The connection of that id, as webhooks reach it.
    #[must_use]
    pub fn access(&self, id: ConnectionId) -> Option<Arc<Access>> {
        self.inner.directory.by_id(id).map(|entry| entry.access.clone())
    }

    /// Does what a person decided about a defect.
    ///
    /// # Errors
    /// `NotFound`, or `Conflict` where its state does not allow it.
    pub async fn decide(
        &self,
        id: DefectId,
        decision: &Decision,
        by: &str,
    ) -> Result<DefectRecord, StoreError> {
        self.store().decide(id, decision, by, self.clock().now()).await
    }

    /// The store, for listings that need no rule.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.parts.store
    }

    /// The connectors, for listings.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.inner.parts.registry
    }

    /// The clock of this process.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.parts.clock
    }

    fn config(&self) -> &Config {
        &self.inner.parts.config
    }

    fn limits(&self, access: &Access) -> Limits {
        self.config().limits_of(&access.connection.connector)
    }

    /// The version that serves a connection, unless it rests. Each permit is followed by one
    /// [`Self::note_run`].
    fn admit(&self, access: &Access) -> Result<Arc<Connector>, Refusal> {
        let connector = self.registry().serving(access).map_err(Refusal::NoConnector)?;
        let id = access.connection.id;
        self.inner.breakers.admit(id, connector.sha256(), Instant::now())?;
        Ok(connector)
    }

    fn note_run<T>(&self, access: &Access, outcome: &Result<T, Refusal>) {
        self.inner.breakers.note(access.connection.id, outcome.as_ref().err(), Instant::now());
    }

    /// Remembers how an event ended, for people who look at the connection before the store is read
    /// again.
    fn note_answer<T>(&self, access: &Access, answer: &Result<T, Refusal>) {
        let error = answer.as_ref().err().map(ToString::to_string);
        self.inner.directory.note(access.connection.id, error, self.clock().now());
    }
}

/// Locks what no panic can leave half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
