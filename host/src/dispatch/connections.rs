//! What an admin does to connections: validated against the connector's manifest, secrets sealed,
//! grants recorded, the directory refreshed.

mod fitting;
mod trying;

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::connector::{Connector, ConnectorInfo};
use crate::domain::{Connection, ConnectionId, ConnectorName, Grants, Settings};
use crate::secret::{Secret, TokenHash};
use crate::store::{StoreError, StoredConnection, StoredToken};

use super::Dispatch;
use super::held::after;

use fitting::{fit, name_problem};

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
        wrong.extend(self.seal(&mut stored, &new.secrets));
        match fit(&stored.connection, connector.manifest()) {
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

    /// Edits a connection; validated as a whole afterwards. Settings that only the newest version
    /// of the connector takes accept that version.
    ///
    /// # Errors
    /// As [`Self::create_connection`]; `Conflict` where an origin changes while creates are open.
    pub async fn edit_connection(
        &self,
        id: ConnectionId,
        edit: ConnectionEdit,
    ) -> Result<Connection, ConnectionError> {
        let _one_at_a_time = self.inner.editing.lock().await;
        let mut stored = self.stored(id).await?;
        let before = stored.connection.grants.clone();
        let mut wrong: Vec<_> = edit.name.as_deref().and_then(name_problem).into_iter().collect();
        let ConnectionEdit { name, settings, secrets, project, allow_private, force } = edit;
        let connection = &mut stored.connection;
        connection.name = name.unwrap_or_else(|| connection.name.clone());
        connection.project = project.unwrap_or_else(|| connection.project.clone());
        connection.allow_private = allow_private.unwrap_or(connection.allow_private);
        for (name, value) in settings {
            match value {
                Some(value) => connection.settings.insert(name, value),
                None => connection.settings.remove(&name),
            };
        }
        let mut set = BTreeMap::new();
        for (name, secret) in secrets {
            match secret {
                Some(secret) => {
                    set.insert(name, secret);
                }
                None => {
                    stored.secrets.remove(&name);
                }
            }
        }
        wrong.extend(self.seal(&mut stored, &set));
        wrong.extend(self.grant(&mut stored.connection)?);
        if !wrong.is_empty() {
            return Err(ConnectionError::Invalid(wrong));
        }
        if !force && before.origins != stored.connection.grants.origins {
            self.nothing_open(id).await?;
        }
        self.change(&stored).await
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
        self.change(&stored).await
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
        let dispatch = self.clone();
        let deleted = self.inner.tasks.spawn(async move {
            dispatch.store().delete_connection(id, force).await?;
            dispatch.load().await?;
            dispatch.forget(id);
            Ok(())
        });
        deleted.await.unwrap_or_else(|error| {
            Err(ConnectionError::Store(StoreError::Unusable(error.to_string())))
        })
    }

    /// Accepts what the newest version of the connector asks for.
    ///
    /// # Errors
    /// No such connection, nothing to accept, or settings missing for it.
    pub async fn accept_connection(&self, id: ConnectionId) -> Result<Connection, ConnectionError> {
        let _one_at_a_time = self.inner.editing.lock().await;
        let mut stored = self.stored(id).await?;
        let newest = self.newest(&stored.connection.connector)?;
        let grants =
            fit(&stored.connection, newest.manifest()).map_err(ConnectionError::Invalid)?;
        let accepted = stored.connection.accepted_sha256.as_deref() == Some(newest.sha256());
        if accepted && stored.connection.grants == grants {
            let why = format!("the newest version of `{}` asks for nothing more", newest.name());
            return Err(StoreError::Conflict(why).into());
        }
        stored.connection.grants = grants;
        stored.connection.accepted_sha256 = Some(newest.sha256().to_owned());
        self.change(&stored).await
    }

    /// Remembers for each connection the newest version that serves it: a later one that asks for more
    /// takes nobody back to an older one.
    pub(super) async fn follow_versions(&self) {
        let mut moved = false;
        for connection in self.connections() {
            let Some(newest) = self.registry().newest(&connection.connector) else { continue };
            let is_new = connection.accepted_sha256.as_deref() != Some(newest.sha256());
            if !is_new || self.registry().needs_consent(&connection).is_some() {
                continue;
            }
            match self.store().accept_version(connection.id, newest.sha256()).await {
                Ok(()) => moved = true,
                Err(error) => {
                    tracing::warn!(%error, "the version that serves is not remembered yet")
                }
            }
        }
        if moved && let Err(error) = self.load().await {
            tracing::warn!(%error, "the connections could not be read again");
        }
    }

    /// As the store has it now: what an edit starts from.
    async fn stored(&self, id: ConnectionId) -> Result<StoredConnection, ConnectionError> {
        let all = self.store().connections().await?;
        let found = all.into_iter().find(|stored| stored.connection.id == id);
        found.ok_or(ConnectionError::Store(StoreError::NotFound("connection")))
    }

    async fn change(&self, stored: &StoredConnection) -> Result<Connection, ConnectionError> {
        self.store().update_connection(stored).await?;
        self.load().await?;
        self.forget(stored.connection.id);
        Ok(stored.connection.clone())
    }

    /// Forgets what was learnt of a connection before it changed.
    fn forget(&self, id: ConnectionId) {
        self.inner.counted.forget(id);
        self.inner.breakers.forget(id);
    }

    /// Grants what the serving version asks for, or the newest where the settings fit only that.
    fn grant(&self, connection: &mut Connection) -> Result<Vec<WrongSetting>, ConnectionError> {
        let entry = self.inner.directory.by_id(connection.id);
        let serving = entry.and_then(|entry| self.registry().serving(&entry.access).ok());
        let mut problems = Vec::new();
        if let Some(serving) = serving {
            match fit(connection, serving.manifest()) {
                Ok(grants) => {
                    connection.grants = grants;
                    return Ok(problems);
                }
                Err(wrong) => problems = wrong,
            }
        }
        let newest = match self.newest(&connection.connector) {
            Ok(newest) => newest,
            Err(_) if !problems.is_empty() => return Ok(problems),
            Err(none) => return Err(none),
        };
        match fit(connection, newest.manifest()) {
            Ok(grants) => {
                connection.grants = grants;
                connection.accepted_sha256 = Some(newest.sha256().to_owned());
                Ok(Vec::new())
            }
            Err(wrong) if problems.is_empty() => Ok(wrong),
            Err(_) => Ok(problems),
        }
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

    async fn nothing_open(&self, id: ConnectionId) -> Result<(), ConnectionError> {
        let open = self.store().unsettled(id).await?;
        if open == 0 {
            return Ok(());
        }
        Err(ConnectionError::Store(StoreError::Conflict(format!(
            "the origin cannot change while {open} creates run or are in doubt; see `jackfield \
             defects list --in-doubt`, or ask with `?force=true`"
        ))))
    }
}
