//! Connections: their list in memory, the connector version that each connection uses, and the
//! changes that an admin makes.
//!
//! This room never creates or counts defects, and never uses axum, SQL or wasmtime.

mod apply;
mod breaker;
mod choices;
mod consent;
mod counted;
mod edit;
mod loaded;
mod report;
mod requested;
mod routing;
mod test_manager;
mod try_connection;
mod unstored_connection;
mod validation;
mod webhook_auth;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::LiveConfig;
use crate::domain::{
    Call, Clock, Connection, ConnectionId, ConnectionRecord, ConnectorName, FailedTest, Limits,
    Refusal,
};
use crate::egress::{ActiveConnection, Egress};
use crate::history::History;
use crate::manifest::SettingError;
use crate::plugins::{ConnectorUnavailable, Plugins};
use crate::report::ReportSettings;
use crate::runtime::{Connector, Sandbox, TestReport};
use crate::secret::{Sealer, TokenHash};
use crate::store::{Store, StoreError};
use crate::testmanager::TestManager;

use breaker::Breakers;
use loaded::LoadedConnections;

pub use apply::{Applied, ChangedValue};
pub use breaker::{OpenBreaker, RunRequester};
pub use report::Preview;
pub use requested::{ConnectionEdit, IssuedToken, MappedKind, NewConnection};
pub use routing::{RoutedTest, RoutingRecord};
pub use test_manager::TestManagerEdit;
pub use try_connection::TryReport;
pub use unstored_connection::{UnstoredConnection, activate_unstored};
pub use webhook_auth::WebhookAuthEdit;

/// The parts of the server that [`Connections`] uses.
pub struct Dependencies {
    /// The store of connections and their secrets.
    pub store: Arc<dyn Store>,
    /// The history of events, with the metrics of connections.
    pub history: Arc<History>,
    /// The connectors that the connections use.
    pub plugins: Arc<Plugins>,
    /// Runs connectors.
    pub sandbox: Arc<Sandbox>,
    /// Connects to trackers.
    pub egress: Arc<Egress>,
    /// Reads from Test Manager.
    pub test_manager: Arc<TestManager>,
    /// Opens and seals the secrets of connections.
    pub sealer: Sealer,
    /// The wall clock and the time since boot.
    pub clock: Arc<dyn Clock>,
    /// The configuration of the server.
    pub config: Arc<LiveConfig>,
}

/// All connections, ready for runs, with their circuit breakers.
pub struct Connections {
    deps: Dependencies,
    loaded: LoadedConnections,
    breakers: Breakers,
    /// Locked during an edit, because an edit reads the whole connection and writes it back.
    edit_lock: Mutex<()>,
    /// For each connection that waits for consent, the version that the last logged warning was
    /// about.
    consent_waits_logged: parking_lot::Mutex<BTreeMap<ConnectionId, String>>,
}

/// The reason why a connection was not created or changed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// Settings, secrets or other fields are not valid.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<SettingError>),
    /// No version of the connector can be used for this connection.
    #[error(transparent)]
    ConnectorUnavailable(#[from] ConnectorUnavailable),
    /// Another person has changed the connection since the author of this edit read it.
    #[error(
        "another person has changed the connection since you read it, and its revision is now {0}; \
         read it again and repeat your change"
    )]
    Changed(u64),
    /// The version needs a person's consent first, is not the newest one, or is already accepted.
    #[error("{0}")]
    Consent(String),
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The reports of a failed test for follow-up steps.
pub struct FollowUpReports {
    /// The complete report, for a comment.
    pub for_comment: TestReport,
    /// A report with only the attachments. So a text that cannot be fetched does not delay the
    /// attachments.
    pub for_attachments: TestReport,
}

impl Connections {
    /// Makes an empty list of connections; [`Self::load`] reads the connections from the store.
    #[must_use]
    pub fn new(deps: Dependencies) -> Self {
        Self {
            deps,
            loaded: LoadedConnections::default(),
            breakers: Breakers::default(),
            edit_lock: Mutex::default(),
            consent_waits_logged: parking_lot::Mutex::default(),
        }
    }

    /// Reads the connections from the store. Call this function regularly, because secrets that are
    /// stored elsewhere (`file:`, `env:`) may change.
    ///
    /// # Errors
    /// The store failed; the connections in memory are not changed.
    pub async fn load(&self) -> Result<(), StoreError> {
        for id in self.loaded.load(&self.deps).await? {
            self.reset_after_edit(id);
        }
        // An event that ended after its connection was deleted may have added metrics again.
        self.deps.history.retain_metrics(|id| self.loaded.by_id(id).is_some());
        Ok(())
    }

    /// Reads a connection that another server has changed.
    ///
    /// # Errors
    /// The store failed; the connections in memory are not changed.
    pub async fn reload_changed(&self, id: ConnectionId) -> Result<(), StoreError> {
        if self.loaded.load_one(id, &self.deps).await? {
            self.reset_after_edit(id);
        }
        Ok(())
    }

    /// Closes the circuit breakers of a connection that was edited or deleted, and removes the
    /// metrics of a deleted connection.
    fn reset_after_edit(&self, id: ConnectionId) {
        self.breakers.reset(id);
        if self.loaded.by_id(id).is_none() {
            self.deps.history.remove_metrics(id);
        }
    }

    /// Returns the connection of a webhook token. The token is looked up in memory, not in the
    /// store.
    #[must_use]
    pub fn by_token(&self, token: &TokenHash) -> Option<Arc<ActiveConnection>> {
        self.loaded.by_token(token, self.deps.clock.since_boot())
    }

    /// Makes the reports of a failed test for follow-up steps. If the connector may read test data,
    /// the data for the reports may be fetched from Test Manager until `read_until`. If the
    /// settings of the report can no longer be read, nothing is read from Test Manager, because
    /// these settings specify which texts must be masked.
    #[must_use]
    pub fn follow_up_reports(
        &self,
        active: &Arc<ActiveConnection>,
        connector: &Connector,
        test: &FailedTest,
        read_until: Instant,
    ) -> FollowUpReports {
        let settings = ReportSettings::read(&active.connection.report);
        let may_read = reads_test_data(active, connector) && settings.is_ok();
        let (settings, limits) = (settings.unwrap_or_default(), self.limits(&active.connection));
        let only_files = settings.only_attachments();
        let report = |settings| {
            let test_manager = &self.deps.test_manager;
            let source = may_read.then(|| test_manager.source(active, test, &limits)).flatten();
            TestReport::new(test.clone(), settings, source, read_until)
        };
        FollowUpReports { for_comment: report(settings), for_attachments: report(only_files) }
    }

    /// Whether the connector can attach files of the report to a defect that was created before.
    #[must_use]
    pub fn can_attach_files(&self, active: &ActiveConnection, connector: &Connector) -> bool {
        let policy =
            ReportSettings::read(&active.connection.report).map(|settings| settings.attachments);
        connector.interfaces().exports_follow_up
            && reads_test_data(active, connector)
            && active.connection.test_manager.is_some()
            && policy.is_ok_and(|policy| policy.allows_files())
    }

    /// Returns the connection with this id, ready for runs.
    #[must_use]
    pub fn active(&self, id: ConnectionId) -> Option<Arc<ActiveConnection>> {
        self.loaded.by_id(id).map(|entry| Arc::clone(&entry.active))
    }

    /// Whether `active` is still in the list. An edit, or a change of a secret, replaces it.
    #[must_use]
    pub fn is_current(&self, active: &Arc<ActiveConnection>) -> bool {
        let id = active.connection.id;
        self.loaded.by_id(id).is_some_and(|entry| Arc::ptr_eq(&entry.active, active))
    }

    /// Returns the number of the last edit of the connection; `None` if `active` is no longer in
    /// the list.
    #[must_use]
    pub fn revision_of(&self, active: &Arc<ActiveConnection>) -> Option<u64> {
        let entry = self.loaded.by_id(active.connection.id)?;
        Arc::ptr_eq(&entry.active, active).then(|| entry.revision())
    }

    /// Returns all connections, sorted by name.
    #[must_use]
    pub fn list(&self) -> Vec<ConnectionRecord> {
        self.loaded.list()
    }

    /// Returns the connection with this id or this name.
    #[must_use]
    pub fn find(&self, id_or_name: &str) -> Option<ConnectionRecord> {
        let id = id_or_name.parse().ok().map(ConnectionId);
        self.list()
            .into_iter()
            .find(|record| Some(record.connection.id) == id || record.connection.name == id_or_name)
    }

    /// Returns the versions that the connections accepted: connector and SHA-256 of each.
    #[must_use]
    pub fn accepted_versions(&self) -> BTreeSet<(ConnectorName, String)> {
        self.loaded.accepted_versions()
    }

    /// Returns the version of the connector that a connection uses now.
    ///
    /// # Errors
    /// No version can be used; the refusal contains the reason.
    pub fn connector_for(&self, connection: &Connection) -> Result<Arc<Connector>, Refusal> {
        let connector = self.deps.plugins.connector_for(connection);
        connector.map_err(|unavailable| Refusal::ConnectorUnavailable(unavailable.to_string()))
    }

    /// Returns the longest measured index delay of the connection, milliseconds; 0 if none was
    /// measured.
    #[must_use]
    pub fn index_lag_ms(&self, id: ConnectionId) -> u64 {
        self.loaded.by_id(id).map_or(0, |entry| entry.index_lag_ms())
    }

    /// Allows a run, unless the circuit breaker for this kind of call of the connection is open.
    /// Call [`Self::record_outcome`] once after each allowed run.
    ///
    /// # Errors
    /// The circuit breaker is open.
    pub fn allow_run(
        &self,
        connection: &Connection,
        connector: &Connector,
        call: Call,
        requester: RunRequester,
    ) -> Result<(), Refusal> {
        self.breakers.allow(connection.id, connector.sha256(), call, requester, Instant::now())
    }

    /// Records in the circuit breaker how an allowed run ended. `input` is the marker or the
    /// project that was passed to the run.
    pub fn record_outcome<T>(
        &self,
        id: ConnectionId,
        call: Call,
        input: &str,
        outcome: &Result<T, Refusal>,
    ) {
        self.breakers.record(id, call, input, outcome.as_ref().err(), Instant::now());
    }

    /// Returns the open circuit breakers of a connection.
    #[must_use]
    pub fn open_breakers(&self, id: ConnectionId) -> Vec<OpenBreaker> {
        self.breakers.open(id, Instant::now())
    }

    /// Stores in memory how an event ended, so that the connection shows this before the store is
    /// read again.
    pub fn record_answer<T>(&self, id: ConnectionId, answer: &Result<T, Refusal>) {
        self.loaded.record_answer(id, answer, self.deps.clock.now());
    }

    /// Returns a text for an operator, which names the tracker's project whose defects are counted.
    /// The text is empty if no setting names a project.
    #[must_use]
    pub fn describe_counted_project(&self, connection: &Connection) -> String {
        counted::describe_counted_project(connection)
    }

    /// Returns the limits of the connector of a connection.
    #[must_use]
    pub fn limits(&self, connection: &Connection) -> Limits {
        self.deps.config.current().limits_of(&connection.connector)
    }
}

fn reads_test_data(active: &ActiveConnection, connector: &Connector) -> bool {
    active.connection.grants.may_read_test_data && connector.manifest().reads_test_data
}
