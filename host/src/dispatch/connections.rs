//! What an admin does to connections: validated against the connector's manifest, secrets sealed,
//! grants recorded, the directory refreshed.

use std::collections::BTreeMap;

use crate::domain::{Connection, ConnectionId, ConnectorName, Settings};
use crate::secret::Secret;
use crate::store::StoreError;

use super::Dispatch;

/// A connection to make.
#[derive(Debug)]
pub struct NewConnection {
    /// Unique, 1 to 100 characters.
    pub name: String,
    /// The connector.
    pub connector: ConnectorName,
    /// Values of settings.
    pub settings: Settings,
    /// Values of secrets; `file:/path` and `env:NAME` are references.
    pub secrets: BTreeMap<String, Secret>,
    /// Test Manager project that KPIs are pinned to.
    pub project: Option<String>,
    /// Whether names may resolve to private addresses.
    pub allow_private: bool,
}

/// An edit: what is absent stays, what is `None` inside goes.
#[derive(Debug, Default)]
pub struct ConnectionEdit {
    /// A new name.
    pub name: Option<String>,
    /// Settings to set (`Some`) or remove (`None`).
    pub settings: BTreeMap<String, Option<serde_json::Value>>,
    /// Secrets to set or remove.
    pub secrets: BTreeMap<String, Option<Secret>>,
    /// A project to pin or unpin.
    pub project: Option<Option<String>>,
    /// Whether names may resolve to private addresses.
    pub allow_private: Option<bool>,
    /// Change an origin even while creates run or are in doubt.
    pub force: bool,
}

/// A connection with the webhook token that is shown this once.
#[derive(Debug)]
pub struct Shown {
    /// The connection.
    pub connection: Connection,
    /// Its new token.
    pub token: Secret,
}

/// A setting or secret that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongSetting {
    /// Its name.
    pub name: String,
    /// What is wrong and what is allowed.
    pub why: String,
}

/// Why a connection was not made or changed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// Settings, secrets or the name do not fit.
    #[error("{}", .0.iter().map(|w| format!("`{}`: {}", w.name, w.why)).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<WrongSetting>),
    /// The connector is missing, compiling or broken.
    #[error("{0}")]
    NoConnector(String),
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What `try` found, step by step: `dns`, `connect`, `tls`, `credentials`, `project`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TryReport {
    /// The steps in their order; those after a failed one are absent.
    pub steps: Vec<TryStep>,
    /// The connector's own line, where its `check` succeeded.
    pub reached: Option<String>,
}

/// One step of a `try`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TryStep {
    /// `dns`, `connect`, `tls`, `credentials` or `project`.
    pub name: &'static str,
    /// What went wrong; absent: it went well.
    pub error: Option<String>,
}

impl Dispatch {
    /// All connections, by name.
    #[must_use]
    pub fn connections(&self) -> Vec<Connection> {
        todo!()
    }

    /// One connection, by id or by name.
    #[must_use]
    pub fn connection(&self, id_or_name: &str) -> Option<Connection> {
        todo!()
    }

    /// Makes a connection. Its connector must be loaded: what it asks for is what is granted.
    ///
    /// # Errors
    /// Names every setting and secret that does not fit.
    pub async fn create_connection(&self, new: NewConnection) -> Result<Shown, ConnectionError> {
        todo!()
    }

    /// Edits a connection; validated as a whole afterwards.
    ///
    /// # Errors
    /// As [`Self::create_connection`]; `Conflict` where an origin changes while creates are open.
    pub async fn edit_connection(
        &self,
        id: ConnectionId,
        edit: ConnectionEdit,
    ) -> Result<Connection, ConnectionError> {
        todo!()
    }

    /// Pauses or resumes a connection.
    ///
    /// # Errors
    /// No such connection, or the store failed.
    pub async fn pause_connection(
        &self,
        id: ConnectionId,
        paused: bool,
    ) -> Result<Connection, ConnectionError> {
        todo!()
    }

    /// Gives a connection a new webhook token; the old one works for `grace_s` seconds more.
    ///
    /// # Errors
    /// No such connection, or the store failed.
    pub async fn rotate_token(
        &self,
        id: ConnectionId,
        grace_s: u32,
    ) -> Result<Shown, ConnectionError> {
        todo!()
    }

    /// Removes a connection with all that is kept of it.
    ///
    /// # Errors
    /// `Conflict` while creates run or are in doubt, unless forced.
    pub async fn delete_connection(
        &self,
        id: ConnectionId,
        force: bool,
    ) -> Result<(), ConnectionError> {
        todo!()
    }

    /// Runs the connector's `check` and says how far it came.
    ///
    /// # Errors
    /// No such connection.
    pub async fn try_connection(&self, id: ConnectionId) -> Result<TryReport, ConnectionError> {
        todo!()
    }

    /// Accepts what the newest version of the connector asks for.
    ///
    /// # Errors
    /// No such connection, nothing to accept, or settings missing for it.
    pub async fn accept_connection(&self, id: ConnectionId) -> Result<Connection, ConnectionError> {
        todo!()
    }
}
