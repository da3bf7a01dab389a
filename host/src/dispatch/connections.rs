//! What an admin does to connections: validated against the connector's manifest, secrets sealed,
//! grants recorded, the directory refreshed.

mod consent;
mod fitting;
mod trying;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use crate::connector::{Connector, ConnectorInfo};
use crate::domain::{Connection, ConnectionId, ConnectorName, Grants, Settings};
use crate::secret::{Secret, TokenHash};
use crate::store::{StoreError, StoredConnection, StoredToken};

use super::Dispatch;
use super::held::after;

use fitting::{fit, name_problem, project_problem};

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
    /// Leave an origin even while creates run or are in doubt.
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
    /// It takes a person's consent, or there is nothing to consent to.
    #[error("{0}")]
    Consent(String),
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
    /// Towards which origin, of the first three.
    pub origin: Option<String>,
    /// What went wrong; absent: it went well.
    pub error: Option<String>,
}

impl Dispatch {
    /// All connections, by name.
    #[must_use]
    pub fn connections(&self) -> Vec<Connection> {
        self.inner.directory.list()
    }

    /// One connection, by id or by name.
    #[must_use]
    pub fn connection(&self, id_or_name: &str) -> Option<Connection> {
        let id = id_or_name.parse().ok().map(ConnectionId);
        self.connections().into_iter().find(|it| Some(it.id) == id || it.name == id_or_name)
    }

    /// Makes a connection. Its connector must be loaded: what it asks for is what is granted.
    ///
    /// # Errors
    /// Names every setting and secret that does not fit.
    pub async fn create_connection(&self, new: NewConnection) -> Result<Shown, ConnectionError> {
        let connector = self.newest(&new.connector)?;
        let token = Secret::fresh_token();
        let connection = Connection {
            id: ConnectionId(Uuid::new_v4()),
            name: new.name,
            connector: new.connector,
            settings: new.settings,
            secrets_set: new.secrets.keys().cloned().collect(),
            grants: Grants::default(),
            accepted_sha256: None,
            project: new.project,
            allow_private: new.allow_private,
            paused: false,
            token_tail: token.tail(),
            created_at: self.clock().now(),
            last_success_at: None,
            last_error: None,
        };
        let tokens = vec![StoredToken { hash: TokenHash::of(token.reveal()), expires_at: None }];
        let mut stored = StoredConnection { connection, secrets: BTreeMap::new(), tokens };
        let mut wrong: Vec<_> = name_problem(&stored.connection.name).into_iter().collect();
        wrong.extend(project_problem(stored.connection.project.as_deref()));
        wrong.extend(self.seal(&mut stored, &new.secrets));
        match fit(&stored.connection, connector.manifest(), |_| true) {
            Ok(grants) => stored.connection.grants = grants,
            Err(problems) => wrong.extend(problems),
        }
        if !wrong.is_empty() {
            return Err(ConnectionError::Invalid(wrong));
        }
        stored.connection.accepted_sha256 = Some(connector.sha256().to_owned());
        self.store().create_connection(&stored).await?;
        self.load().await?;
        Ok(Shown { connection: stored.connection, token })
    }

    /// Edits a connection; validated as a whole afterwards, against the version that serves it.
    ///
    /// # Errors
    /// As [`Self::create_connection`]; `Conflict` where an origin goes while creates are open;
    /// `Consent` where the settings fit only a version that asks for more than settings.
    pub async fn edit_connection(
        &self,
        id: ConnectionId,
        edit: ConnectionEdit,
    ) -> Result<Connection, ConnectionError> {
        self.rewrite(id, edit, |connection, set| self.grant(connection, set)).await
    }

    /// Accepts what the newest version of the connector asks for, with what the edit gives it; where
    /// `sha256` is given, only that version.
    ///
    /// # Errors
    /// As [`Self::edit_connection`]; `Consent` where there is nothing to accept, or another version is the
    /// newest by now.
    pub async fn accept_connection(
        &self,
        id: ConnectionId,
        edit: ConnectionEdit,
        sha256: Option<&str>,
    ) -> Result<Connection, ConnectionError> {
        self.rewrite(id, edit, |connection, set| self.accept(connection, set, sha256)).await
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
        let _one_at_a_time = self.inner.editing.lock().await;
        let mut stored = self.stored(id).await?;
        stored.connection.paused = paused;
        self.change(&stored, false).await
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
        let mut connection = self.stored(id).await?.connection;
        let token = Secret::fresh_token();
        connection.token_tail = token.tail();
        let stored = StoredToken { hash: TokenHash::of(token.reveal()), expires_at: None };
        let grace_until = after(self.clock().now(), u64::from(grace_s) * 1_000);
        self.store().rotate_token(id, &stored, &connection.token_tail, grace_until).await?;
        self.load().await?;
        Ok(Shown { connection, token })
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
        self.store().delete_connection(id, force).await?;
        self.load().await?;
        self.forget(id);
        Ok(())
    }

    /// One edit: applied, granted what the consent allows, kept.
    async fn rewrite(
        &self,
        id: ConnectionId,
        edit: ConnectionEdit,
        consent: impl FnOnce(&mut Connection, &BTreeSet<String>) -> Result<(), ConnectionError>,
    ) -> Result<Connection, ConnectionError> {
        let _one_at_a_time = self.inner.editing.lock().await;
        let mut stored = self.stored(id).await?;
        let force = edit.force;
        let set = edit.settings.keys().chain(edit.secrets.keys()).cloned().collect();
        let mut wrong = self.apply(edit, &mut stored);
        match consent(&mut stored.connection, &set) {
            Err(ConnectionError::Invalid(unfit)) => wrong.extend(unfit),
            Err(refused) if wrong.is_empty() => return Err(refused),
            Ok(()) | Err(_) => {}
        }
        if !wrong.is_empty() {
            return Err(ConnectionError::Invalid(wrong));
        }
        self.change(&stored, force).await
    }

    /// Does what an edit says; answers what of it cannot be taken.
    fn apply(&self, edit: ConnectionEdit, stored: &mut StoredConnection) -> Vec<WrongSetting> {
        let mut wrong: Vec<_> = edit.name.as_deref().and_then(name_problem).into_iter().collect();
        wrong.extend(edit.project.as_ref().and_then(|it| project_problem(it.as_deref())));
        let connection = &mut stored.connection;
        connection.name = edit.name.unwrap_or_else(|| connection.name.clone());
        connection.project = edit.project.unwrap_or_else(|| connection.project.clone());
        connection.allow_private = edit.allow_private.unwrap_or(connection.allow_private);
        for (name, value) in edit.settings {
            match value {
                Some(value) => connection.settings.insert(name, value),
                None => connection.settings.remove(&name),
            };
        }
        let mut set = BTreeMap::new();
        for (name, secret) in edit.secrets {
            match secret {
                Some(secret) => {
                    set.insert(name, secret);
                }
                None => {
                    stored.secrets.remove(&name);
                }
            }
        }
        wrong.extend(self.seal(stored, &set));
        wrong
    }

    /// As the store has it now: what an edit starts from.
    async fn stored(&self, id: ConnectionId) -> Result<StoredConnection, ConnectionError> {
        let all = self.store().connections().await?;
        let found = all.into_iter().find(|stored| stored.connection.id == id);
        found.ok_or(ConnectionError::Store(StoreError::NotFound("connection")))
    }

    async fn change(
        &self,
        stored: &StoredConnection,
        force: bool,
    ) -> Result<Connection, ConnectionError> {
        self.store().update_connection(stored, force).await?;
        self.load().await?;
        self.forget(stored.connection.id);
        Ok(stored.connection.clone())
    }

    /// Forgets what was learnt of a connection before it changed.
    fn forget(&self, id: ConnectionId) {
        self.inner.counted.forget(id);
        self.inner.breakers.forget(id);
    }

    fn newest(&self, name: &ConnectorName) -> Result<Arc<Connector>, ConnectionError> {
        if let Some(newest) = self.registry().newest(name) {
            return Ok(newest);
        }
        let info = self.registry().list().into_iter().find(|info| info.name == name.as_str());
        let why = match info {
            None => {
                format!("there is no connector `{name}`: put {name}.wasm into the plugins folder")
            }
            Some(ConnectorInfo { error: Some(error), .. }) => {
                format!("the connector `{name}` is broken: {error}")
            }
            Some(_) => format!("the connector `{name}` is being compiled; try again soon"),
        };
        Err(ConnectionError::NoConnector(why))
    }
}
