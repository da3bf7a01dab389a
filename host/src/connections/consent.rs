//! Decides which versions of its connector a connection accepts, and which permissions it grants.
//!
//! A grant is never extended without a person's consent. A person who enters a new value for a
//! setting consents only to the grants that this value needs.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::{Connection, ConnectionId, ConnectionRecord, Grants};
use crate::manifest::{SettingError, missing_grants};
use crate::plugins::missing_consent;
use crate::runtime::Connector;

use super::validation::validate;
use super::{ConnectionError, Connections};

impl Connections {
    /// Grants what the version in use asks for with the edited settings. If no version is in use,
    /// or if only the newest version accepts these settings, the connection moves to the newest
    /// version. This fails if that version also asks for other grants. `edited` contains the names
    /// of the settings and secrets that the edit sets or removes. Other stored values are checked
    /// only if the version declares them, because they may belong to a version that no longer
    /// exists.
    pub(super) fn grant(
        &self,
        connection: &mut Connection,
        edited: &BTreeSet<String>,
    ) -> Result<(), ConnectionError> {
        let entry = self.loaded.by_id(connection.id);
        let used =
            entry.and_then(|entry| self.deps.plugins.connector_for(&entry.active.connection).ok());
        let Some(used) = used else {
            let newest = self.deps.plugins.newest(&connection.connector)?;
            let granted = connection.grants.clone();
            let required = validate_for(connection, &newest, edited)?;
            return move_to_newest(connection, &newest, &granted, required);
        };
        let invalid = match validate_for(connection, &used, edited) {
            Ok(grants) => {
                connection.grants = grants;
                return Ok(());
            }
            Err(invalid) => invalid,
        };
        let newest = self.deps.plugins.newest(&connection.connector).ok();
        let newest_fits = newest
            .and_then(|newest| Some((validate_for(connection, &newest, edited).ok()?, newest)));
        let Some((required, newest)) = newest_fits else { return Err(invalid) };
        // A person who sets an origin in an edit also grants this origin.
        let granted = used.manifest().required_grants(&connection.settings).unwrap_or_default();
        move_to_newest(connection, &newest, &granted, required)
    }

    /// Grants everything that the newest version asks for, because a person accepted it.
    pub(super) fn accept_newest(
        &self,
        connection: &mut Connection,
        edited: &BTreeSet<String>,
        sha256: &str,
    ) -> Result<(), ConnectionError> {
        let newest = self.deps.plugins.newest(&connection.connector)?;
        if sha256 != newest.sha256() {
            return Err(ConnectionError::Consent(format!(
                "the newest version of `{}` has changed to {}: run `jackfield connections show` again \
                 to see what it asks for",
                newest.name(),
                newest.sha256(),
            )));
        }
        let required = validate_for(connection, &newest, edited)?;
        let is_accepted = connection.accepted_sha256.as_deref() == Some(newest.sha256());
        if is_accepted && connection.grants == required {
            let why = format!(
                "the newest version of `{}` is already accepted, with everything that it asks for",
                newest.name()
            );
            return Err(ConnectionError::Consent(why));
        }
        accept_version(connection, &newest, required);
        Ok(())
    }

    /// Records the newest version as accepted for each connection that may use it. The connection
    /// keeps this version if a later version asks for more.
    pub async fn follow_versions(&self) {
        // No edit may run at the same time, because an edit is validated against the version in
        // use.
        let _edit = self.edit_lock.lock().await;
        let mut any_moved = false;
        let exists = |id: &ConnectionId| self.loaded.by_id(*id).is_some();
        self.consent_waits_logged.lock().retain(|id, _| exists(id));
        for ConnectionRecord { connection, .. } in self.list() {
            let Ok(newest) = self.deps.plugins.newest(&connection.connector) else { continue };
            let is_accepted = connection.accepted_sha256.as_deref() == Some(newest.sha256());
            let unapproved =
                if is_accepted { Vec::new() } else { missing_consent(&newest, &connection) };
            self.log_consent_wait(&connection, &newest, &unapproved);
            if is_accepted || !unapproved.is_empty() {
                continue;
            }
            match self.deps.store.accept_version(connection.id, newest.sha256()).await {
                Ok(()) => any_moved = true,
                Err(error) => {
                    tracing::warn!(%error, "cannot store a connection's newer connector version");
                }
            }
        }
        if any_moved && let Err(error) = self.load().await {
            tracing::warn!(%error, "cannot read the connections again");
        }
    }
}

impl Connections {
    /// Logs that a connection waits for consent, once for each version.
    fn log_consent_wait(&self, connection: &Connection, newest: &Connector, unapproved: &[String]) {
        let mut logged = self.consent_waits_logged.lock();
        if unapproved.is_empty() {
            logged.remove(&connection.id);
            return;
        }
        let sha256 = newest.sha256().to_owned();
        if logged.insert(connection.id, sha256).as_deref() == Some(newest.sha256()) {
            return;
        }
        tracing::warn!(
            connection = connection.name,
            connector = %connection.connector,
            version = %newest.manifest().version,
            asks_for = unapproved.join("; "),
            "a connection waits for consent to the newest version of its connector: `jackfield \
             connections accept` shows what is new"
        );
    }
}

/// Moves a connection to the newest version, if all grants that this version requires are in
/// `granted`.
fn move_to_newest(
    connection: &mut Connection,
    newest: &Arc<Connector>,
    granted: &Grants,
    required: Grants,
) -> Result<(), ConnectionError> {
    let missing = missing_grants(granted, &required);
    if !missing.is_empty() {
        return Err(ConnectionError::Consent(format!(
            "only version {} of `{}` accepts these settings, and it also asks to {}: use `jackfield \
             connections accept {} --set …`, which grants that too",
            newest.manifest().version,
            newest.name(),
            missing.join(", to "),
            connection.name,
        )));
    }
    accept_version(connection, newest, required);
    Ok(())
}

fn accept_version(connection: &mut Connection, newest: &Connector, grants: Grants) {
    connection.grants = grants;
    connection.accepted_sha256 = Some(newest.sha256().to_owned());
}

/// Checks a connection against a version of its connector, and returns what that version asks for.
/// Errors name the version, because two versions may be checked.
fn validate_for(
    connection: &Connection,
    connector: &Connector,
    edited: &BTreeSet<String>,
) -> Result<Grants, ConnectionError> {
    let manifest = connector.manifest();
    let version = &manifest.version;
    let with_version = |error: SettingError| SettingError {
        why: format!("{} (version {version})", error.why),
        ..error
    };
    let is_checked = |name: &str| manifest.declares(name) || edited.contains(name);
    validate(connection, manifest, is_checked)
        .map_err(|errors| ConnectionError::Invalid(errors.into_iter().map(with_version).collect()))
}
