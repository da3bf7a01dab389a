//! Makes the changes to connections that an admin asks for. New and edited connections are
//! validated against the connector's manifest, and their secrets are sealed. Each change is stored,
//! and then the loaded connection is updated.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::domain::{
    Connection, ConnectionId, ConnectionRecord, TEST_MANAGER_SECRET, after, is_host_secret,
    is_webhook_secret,
};
use crate::manifest::SettingError;
use crate::secret::{Secret, TokenHash};
use crate::store::{StoreError, StoredConnection, StoredToken, TokenExpiry};

use super::requested::{ConnectionEdit, IssuedToken, MappedKind, NewConnection};
use super::test_manager::{self, TestManagerEdit, incomplete_access};
use super::validation::{
    index_delay_problem, name_problem, path_problems, project_problem, recurrence_problem, validate,
};
use super::webhook_auth;
use super::{ConnectionError, Connections, report};

impl Connections {
    /// Creates a connection, and grants everything that its connector asks for. The connector must
    /// be loaded.
    ///
    /// # Errors
    /// Each value that is not valid; or the connector cannot be used; or the store failed.
    pub async fn create(&self, new: NewConnection) -> Result<IssuedToken, ConnectionError> {
        let (stored, token) = self.prepare(&new)?;
        self.deps.store.create_connection(&stored).await?;
        self.loaded.load_one(stored.record.connection.id, &self.deps).await?;
        Ok(IssuedToken { record: stored.record, token })
    }

    /// Makes a new connection and its token, and checks the connection. Stores nothing.
    pub(super) fn prepare(
        &self,
        new: &NewConnection,
    ) -> Result<(StoredConnection, Secret), ConnectionError> {
        let connector = self.deps.plugins.newest(&new.connector)?;
        let (id, now) = (ConnectionId(Uuid::new_v4()), self.deps.clock.now());
        let token = Secret::fresh_token();
        let connection = Connection {
            settings: new.settings.clone(),
            project: new.project.clone(),
            allow_private: new.allow_private,
            http1_only: new.http1_only,
            trace_context: new.trace_context,
            index_delay_s: new.index_delay_s,
            report: new.report.clone(),
            on_recurrence: new.on_recurrence,
            webhook_paths: new.webhook_paths.clone(),
            accepted_sha256: Some(connector.sha256().to_owned()),
            ..Connection::new(id, new.name.clone(), new.connector.clone(), now)
        };
        let record = ConnectionRecord {
            revision: 1,
            connection,
            token_tail: token.last_four_chars(),
            last_success_at: None,
            last_error: None,
            index_lag_ms: 0,
        };
        let tokens = vec![StoredToken { hash: TokenHash::of(token.reveal()), expiry: None }];
        let mut stored = StoredConnection { record, secrets: BTreeMap::new(), tokens };
        let mut errors: Vec<_> = name_problem(&stored.record.connection.name).into_iter().collect();
        errors.extend(project_problem(stored.record.connection.project.as_deref()));
        errors.extend(index_delay_problem(new.index_delay_s));
        errors.extend(path_problems(&stored.record.connection.webhook_paths));
        errors.extend(report::problems(&stored.record.connection, connector.manifest()));
        errors.extend(recurrence_problem(&stored.record.connection, &connector));
        errors.extend(self.seal(&mut stored, &new.secrets));
        errors.extend(change_test_manager(&mut stored, new.test_manager.clone().map(Some)));
        errors.extend(self.change_webhook_auth(&mut stored, Some(Some(new.webhook_auth.clone()))));
        match validate(&stored.record.connection, connector.manifest(), |_| true) {
            Ok(grants) => stored.record.connection.grants = grants,
            Err(invalid) => errors.extend(invalid),
        }
        if !errors.is_empty() {
            return Err(ConnectionError::Invalid(errors));
        }
        Ok((stored, token))
    }

    /// Edits a connection. All settings that the version in use declares are validated, even if the
    /// edit does not change them.
    ///
    /// # Errors
    /// The errors of [`Self::create`]. `Changed` if another edit came first. `Conflict` if an
    /// origin is removed while creates are running or in doubt, unless forced. `Consent` if only a
    /// newer version accepts the settings, and that version also asks for other grants.
    pub async fn edit(
        &self,
        id: ConnectionId,
        edit: ConnectionEdit,
    ) -> Result<ConnectionRecord, ConnectionError> {
        self.apply_edit(id, edit, |connection, edited| self.grant(connection, edited)).await
    }

    /// Applies an edit, and grants what the newest version of the connector asks for. `sha256`
    /// names the version that the person has seen. This version must still be the newest one.
    ///
    /// # Errors
    /// The errors of [`Self::edit`]. `Consent` if the newest version and all its grants are already
    /// accepted, or if the newest version is no longer the version `sha256`.
    pub async fn accept(
        &self,
        id: ConnectionId,
        edit: ConnectionEdit,
        sha256: &str,
    ) -> Result<ConnectionRecord, ConnectionError> {
        self.apply_edit(id, edit, |connection, edited| {
            self.accept_newest(connection, edited, sha256)
        })
        .await
    }

    /// Adds a path of webhook requests to a connection. Nothing changes if the connection already
    /// has the path.
    ///
    /// # Errors
    /// No such connection, the path is not valid, or the store failed.
    pub async fn map_path(
        &self,
        id: ConnectionId,
        kind: MappedKind,
        path: String,
    ) -> Result<ConnectionRecord, ConnectionError> {
        let _edit = self.edit_lock.lock().await;
        let mut stored = self.read_stored(id).await?;
        let mapped = &mut stored.record.connection.webhook_paths;
        let paths = match kind {
            MappedKind::CreateDefect => &mut mapped.create_defect,
            MappedKind::Kpis => &mut mapped.kpis,
        };
        if paths.contains(&path) {
            return Ok(stored.record);
        }
        paths.push(path);
        let errors = path_problems(mapped);
        if !errors.is_empty() {
            return Err(ConnectionError::Invalid(errors));
        }
        self.store_edit(&stored, false).await
    }

    /// Pauses or resumes a connection.
    ///
    /// # Errors
    /// No such connection, or the store failed.
    pub async fn set_paused(
        &self,
        id: ConnectionId,
        paused: bool,
    ) -> Result<ConnectionRecord, ConnectionError> {
        let _edit = self.edit_lock.lock().await;
        let mut stored = self.read_stored(id).await?;
        stored.record.connection.paused = paused;
        self.store_edit(&stored, false).await
    }

    /// Starts recording the bodies of a connection's requests and answers for `for_s` seconds;
    /// `None` stops this. With `erase`, also deletes the recorded bodies.
    ///
    /// # Errors
    /// No such connection, or the store failed.
    pub async fn record(
        &self,
        id: ConnectionId,
        for_s: Option<u32>,
        erase: bool,
    ) -> Result<ConnectionRecord, ConnectionError> {
        let _edit = self.edit_lock.lock().await;
        let mut record = self.read_stored(id).await?.record;
        let until = for_s.map(|for_s| after(self.deps.clock.now(), u64::from(for_s) * 1_000));
        self.deps.store.set_recording_until(id, until, erase).await?;
        self.loaded.load_one(id, &self.deps).await?;
        let connection = &record.connection.name;
        match until {
            Some(until) => {
                tracing::info!(%connection, %until, "recording of bodies is switched on")
            }
            None => tracing::info!(%connection, erase, "recording of bodies is switched off"),
        }
        record.connection.recording_until = until;
        Ok(record)
    }

    /// Makes a new webhook token for a connection. The old tokens are valid for at most another
    /// `grace_s` seconds.
    ///
    /// # Errors
    /// No such connection, or the store failed.
    pub async fn rotate_token(
        &self,
        id: ConnectionId,
        grace_s: u32,
    ) -> Result<IssuedToken, ConnectionError> {
        let mut record = self.read_stored(id).await?.record;
        let token = Secret::fresh_token();
        record.token_tail = token.last_four_chars();
        let stored = StoredToken { hash: TokenHash::of(token.reveal()), expiry: None };
        let grace_ms = u64::from(grace_s) * 1_000;
        let expiry = TokenExpiry { at: after(self.deps.clock.now(), grace_ms), grace_ms };
        self.deps.store.rotate_token(id, &stored, &record.token_tail, expiry).await?;
        self.loaded.load_one(id, &self.deps).await?;
        Ok(IssuedToken { record, token })
    }

    /// Deletes a connection with everything that is stored for this connection.
    ///
    /// # Errors
    /// `Conflict` while creates are running or in doubt, unless forced.
    pub async fn delete(&self, id: ConnectionId, force: bool) -> Result<(), ConnectionError> {
        self.deps.store.delete_connection(id, force).await?;
        self.loaded.load_one(id, &self.deps).await?;
        self.breakers.reset(id);
        self.deps.history.remove_metrics(id);
        Ok(())
    }

    async fn apply_edit(
        &self,
        id: ConnectionId,
        edit: ConnectionEdit,
        consent: impl FnOnce(&mut Connection, &BTreeSet<String>) -> Result<(), ConnectionError>,
    ) -> Result<ConnectionRecord, ConnectionError> {
        let _edit = self.edit_lock.lock().await;
        let mut stored = self.read_stored(id).await?;
        let revision = stored.record.revision;
        if edit.revisions.as_ref().is_some_and(|revisions| !revisions.contains(&revision)) {
            return Err(ConnectionError::Changed(revision));
        }
        let force = edit.force;
        self.check_edit(&mut stored, edit, consent)?;
        self.store_edit(&stored, force).await
    }

    /// Returns the connection as it would be after the edit. Stores nothing.
    pub(super) fn preview_edit(
        &self,
        mut stored: StoredConnection,
        edit: &ConnectionEdit,
    ) -> Result<StoredConnection, ConnectionError> {
        self.check_edit(&mut stored, edit.clone(), |connection, edited| {
            self.grant(connection, edited)
        })?;
        Ok(stored)
    }

    /// Applies one edit in memory, lets `consent` set the grants, and checks the result.
    fn check_edit(
        &self,
        stored: &mut StoredConnection,
        edit: ConnectionEdit,
        consent: impl FnOnce(&mut Connection, &BTreeSet<String>) -> Result<(), ConnectionError>,
    ) -> Result<(), ConnectionError> {
        let secrets = edit.secrets.keys().filter(|name| !is_host_secret(name));
        let edited = edit.settings.keys().chain(secrets).cloned().collect();
        let edits_report = !edit.report.is_empty() || edit.on_recurrence.is_some();
        let mut errors = self.apply_in_memory(edit, stored);
        match consent(&mut stored.record.connection, &edited) {
            Err(ConnectionError::Invalid(invalid)) => errors.extend(invalid),
            Err(refused) if errors.is_empty() => return Err(refused),
            Ok(()) | Err(_) => {}
        }
        if edits_report {
            let connection = &stored.record.connection;
            let used = self.deps.plugins.connector_for(connection);
            let connector = used.or_else(|_| self.deps.plugins.newest(&connection.connector))?;
            errors.extend(report::problems(connection, connector.manifest()));
            errors.extend(recurrence_problem(connection, &connector));
        }
        if errors.is_empty() { Ok(()) } else { Err(ConnectionError::Invalid(errors)) }
    }

    /// Returns the errors that can be found without the connector's manifest.
    fn apply_in_memory(
        &self,
        edit: ConnectionEdit,
        stored: &mut StoredConnection,
    ) -> Vec<SettingError> {
        let mut errors: Vec<_> = edit.name.as_deref().and_then(name_problem).into_iter().collect();
        errors
            .extend(edit.project.as_ref().and_then(|project| project_problem(project.as_deref())));
        errors.extend(edit.index_delay_s.and_then(index_delay_problem));
        errors.extend(edit.webhook_paths.iter().flat_map(path_problems));
        if edit.test_manager == Some(None) {
            stored.secrets.remove(TEST_MANAGER_SECRET);
        }
        if edit.webhook_auth.as_ref().is_some_and(webhook_auth::removes_secrets) {
            stored.secrets.retain(|name, _| !is_webhook_secret(name));
        }
        let replaced = self.replaced_webhook_secret(stored, &edit);
        let connection = &mut stored.record.connection;
        connection.index_delay_s = edit.index_delay_s.unwrap_or(connection.index_delay_s);
        connection.name = edit.name.unwrap_or_else(|| connection.name.clone());
        connection.project = edit.project.unwrap_or_else(|| connection.project.clone());
        connection.allow_private = edit.allow_private.unwrap_or(connection.allow_private);
        connection.http1_only = edit.http1_only.unwrap_or(connection.http1_only);
        connection.trace_context = edit.trace_context.unwrap_or(connection.trace_context);
        connection.on_recurrence = edit.on_recurrence.unwrap_or(connection.on_recurrence);
        if let Some(webhook_paths) = edit.webhook_paths {
            connection.webhook_paths = webhook_paths;
        }
        report::change_members(&mut connection.report, edit.report);
        for (name, value) in edit.settings {
            match value {
                Some(value) => connection.settings.insert(name, value),
                None => connection.settings.remove(&name),
            };
        }
        let mut new_secrets: BTreeMap<_, _> = replaced.into_iter().collect();
        for (name, secret) in edit.secrets {
            match secret {
                Some(secret) => {
                    new_secrets.insert(name, secret);
                }
                None => {
                    stored.secrets.remove(&name);
                }
            }
        }
        errors.extend(self.seal(stored, &new_secrets));
        errors.extend(change_test_manager(stored, edit.test_manager));
        errors.extend(self.change_webhook_auth(stored, edit.webhook_auth));
        errors
    }

    pub(super) async fn read_stored(
        &self,
        id: ConnectionId,
    ) -> Result<StoredConnection, ConnectionError> {
        let found = self.deps.store.connection(id).await?;
        found.ok_or(ConnectionError::Store(StoreError::NotFound("connection")))
    }

    async fn store_edit(
        &self,
        stored: &StoredConnection,
        force: bool,
    ) -> Result<ConnectionRecord, ConnectionError> {
        let id = stored.record.connection.id;
        self.deps.store.update_connection(stored, force).await?;
        self.loaded.load_one(id, &self.deps).await?;
        self.breakers.reset(id);
        let revision = stored.record.revision + 1;
        Ok(ConnectionRecord { revision, ..stored.record.clone() })
    }
}

/// Changes the settings for Test Manager; returns the errors. Call this after the secrets are
/// sealed, because the settings and the client secret are checked together.
fn change_test_manager(
    stored: &mut StoredConnection,
    edit: Option<Option<TestManagerEdit>>,
) -> Vec<SettingError> {
    let connection = &mut stored.record.connection;
    match edit {
        Some(Some(edit)) => {
            match test_manager::apply_to_settings(edit, connection.test_manager.as_ref()) {
                Ok(settings) => connection.test_manager = Some(settings),
                Err(errors) => return errors,
            }
        }
        Some(None) => connection.test_manager = None,
        None => {}
    }
    incomplete_access(stored).into_iter().collect()
}
