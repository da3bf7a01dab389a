//! The versions of its connector that a connection accepts, and the permissions that it grants.
//!
//! Never extends a grant without a person's consent. A person who enters a new value for a setting
//! consents to that setting only.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::{Connection, ConnectionId, ConnectionRecord, Grants};
use crate::manifest::{SettingError, missing_grants};
use crate::plugins::unapproved;
use crate::runtime::Connector;

use super::validation::validate;
use super::{ConnectionError, Connections};

impl Connections {
    /// Grants what the version in use asks for with the edited settings. If only the newest
    /// version accepts these settings, the connection moves to that version, unless it also asks
    /// for other grants. `set` has the names that the edit sets. Other settings may belong to a
    /// version that does not exist any more.
    pub(super) fn grant(
        &self,
        connection: &mut Connection,
        set: &BTreeSet<String>,
    ) -> Result<(), ConnectionError> {
        let entry = self.directory.by_id(connection.id);
        let used =
            entry.and_then(|entry| self.deps.plugins.connector_for(&entry.active.connection).ok());
        let Some(used) = used else {
            let newest = self.deps.plugins.newest(&connection.connector)?;
            let granted = connection.grants.clone();
            let wanted = validate_for(connection, &newest, set)?;
            return move_to_newest(connection, &newest, &granted, wanted);
        };
        let invalid = match validate_for(connection, &used, set) {
            Ok(grants) => {
                connection.grants = grants;
                return Ok(());
            }
            Err(invalid) => invalid,
        };
        let newest = self.deps.plugins.newest(&connection.connector).ok();
        let fits =
            newest.and_then(|newest| Some((validate_for(connection, &newest, set).ok()?, newest)));
        let Some((wanted, newest)) = fits else { return Err(invalid) };
        // The edit grants the origins that it writes itself.
        let granted = used.manifest().required_grants(&connection.settings).unwrap_or_default();
        move_to_newest(connection, &newest, &granted, wanted)
    }

    /// Grants all that the newest version asks for, as a person decided.
    pub(super) fn accept_newest(
        &self,
        connection: &mut Connection,
        set: &BTreeSet<String>,
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
        let wanted = validate_for(connection, &newest, set)?;
        let accepted = connection.accepted_sha256.as_deref() == Some(newest.sha256());
        if accepted && connection.grants == wanted {
            let why = format!("the newest version of `{}` asks for nothing more", newest.name());
            return Err(ConnectionError::Consent(why));
        }
        accept_version(connection, &newest, wanted);
        Ok(())
    }

    /// Stores for each connection the newest version that it may use. A later version that asks for
    /// more then does not move the connection back to an older one.
    pub async fn follow_versions(&self) {
        // No edit may run at the same time: an edit is validated against the version in use.
        let _edit = self.edit_lock.lock().await;
        let mut moved = false;
        let exists = |id: &ConnectionId| self.directory.by_id(*id).is_some();
        self.waits_logged.lock().retain(|id, _| exists(id));
        for ConnectionRecord { connection, .. } in self.list() {
            let Ok(newest) = self.deps.plugins.newest(&connection.connector) else { continue };
            let accepted = connection.accepted_sha256.as_deref() == Some(newest.sha256());
            let unapproved = if accepted { Vec::new() } else { unapproved(&newest, &connection) };
            self.log_wait(&connection, &newest, &unapproved);
            if accepted || !unapproved.is_empty() {
                continue;
            }
            match self.deps.store.accept_version(connection.id, newest.sha256()).await {
                Ok(()) => moved = true,
                Err(error) => {
                    tracing::warn!(%error, "cannot store which version a connection uses");
                }
            }
        }
        if moved && let Err(error) = self.load().await {
            tracing::warn!(%error, "cannot read the connections again");
        }
    }
}

impl Connections {
    /// Logs that a connection waits for consent, once for each version.
    fn log_wait(&self, connection: &Connection, newest: &Connector, unapproved: &[String]) {
        let mut logged = self.waits_logged.lock();
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

/// Moves a connection to the newest version, if that version asks for no more than what is granted.
fn move_to_newest(
    connection: &mut Connection,
    newest: &Arc<Connector>,
    granted: &Grants,
    wanted: Grants,
) -> Result<(), ConnectionError> {
    let more = missing_grants(granted, &wanted);
    if !more.is_empty() {
        return Err(ConnectionError::Consent(format!(
            "these settings fit only version {} of `{}`, which also wants to {}: use `jackfield \
             connections accept {} --set …`, which grants that too",
            newest.manifest().version,
            newest.name(),
            more.join(", to "),
            connection.name,
        )));
    }
    accept_version(connection, newest, wanted);
    Ok(())
}

fn accept_version(connection: &mut Connection, newest: &Connector, grants: Grants) {
    connection.grants = grants;
    connection.accepted_sha256 = Some(newest.sha256().to_owned());
}

/// Checks a connection against a version, and returns what the version asks for. Errors name the
/// version, because two versions may be checked.
fn validate_for(
    connection: &Connection,
    connector: &Connector,
    set: &BTreeSet<String>,
) -> Result<Grants, ConnectionError> {
    let manifest = connector.manifest();
    let version = &manifest.version;
    let with_version = |error: SettingError| SettingError {
        why: format!("{} (version {version})", error.why),
        ..error
    };
    let concerns = |name: &str| manifest.knows(name) || set.contains(name);
    validate(connection, manifest, concerns)
        .map_err(|errors| ConnectionError::Invalid(errors.into_iter().map(with_version).collect()))
}
