//! Which version of its connector a connection is for, and what it grants that version.
//!
//! Nothing here widens a grant without a person: giving a setting is consent to the setting alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::connector::{Connector, covers};
use crate::domain::{Connection, Grants};

use super::super::Dispatch;
use super::fitting::fit;
use super::{ConnectionError, WrongSetting};

impl Dispatch {
    /// Grants what the serving version asks for under the settings as they now are. Where they fit only
    /// the newest version, the connection moves on to it, unless it asks for more than settings.
    /// `set` are the names that the edit sets: what it leaves alone may be a version's that is gone.
    pub(super) fn grant(
        &self,
        connection: &mut Connection,
        set: &BTreeSet<String>,
    ) -> Result<(), ConnectionError> {
        let entry = self.inner.directory.by_id(connection.id);
        let serving = entry.and_then(|entry| self.registry().serving(&entry.access).ok());
        let Some(serving) = serving else {
            let newest = self.newest(&connection.connector)?;
            let (granted, wanted) = (connection.grants.clone(), fit_for(connection, &newest, set)?);
            return move_on(connection, &newest, &granted, wanted);
        };
        let unfit = match fit_for(connection, &serving, set) {
            Ok(grants) => {
                connection.grants = grants;
                return Ok(());
            }
            Err(unfit) => unfit,
        };
        let newest = self.registry().newest(&connection.connector);
        let fits =
            newest.and_then(|newest| Some((fit_for(connection, &newest, set).ok()?, newest)));
        let Some((wanted, newest)) = fits else { return Err(unfit) };
        // An origin that the edit itself wrote is granted by it.
        let granted = serving.manifest().demands(&connection.settings).unwrap_or_default();
        move_on(connection, &newest, &granted, wanted)
    }

    /// Grants all that the newest version asks for: a person says so.
    pub(super) fn accept(
        &self,
        connection: &mut Connection,
        set: &BTreeSet<String>,
        sha256: Option<&str>,
    ) -> Result<(), ConnectionError> {
        let newest = self.newest(&connection.connector)?;
        if sha256.is_some_and(|seen| seen != newest.sha256()) {
            return Err(ConnectionError::Consent(format!(
                "the newest version of `{}` is another one by now ({}): look at what it asks for",
                newest.name(),
                newest.sha256(),
            )));
        }
        let wanted = fit_for(connection, &newest, set)?;
        let accepted = connection.accepted_sha256.as_deref() == Some(newest.sha256());
        if accepted && connection.grants == wanted {
            let why = format!("the newest version of `{}` asks for nothing more", newest.name());
            return Err(ConnectionError::Consent(why));
        }
        take(connection, &newest, wanted);
        Ok(())
    }

    /// Remembers for each connection the newest version that serves it: a later one that asks for more
    /// takes nobody back to an older one.
    pub(in crate::dispatch) async fn follow_versions(&self) {
        let mut moved = false;
        for connection in self.connections() {
            let Some((newest, None)) = self.registry().newest_for(&connection) else { continue };
            if connection.accepted_sha256.as_deref() == Some(newest.sha256()) {
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
}

/// Moves a connection to the newest version, if that asks for nothing beyond what is granted.
fn move_on(
    connection: &mut Connection,
    newest: &Arc<Connector>,
    granted: &Grants,
    wanted: Grants,
) -> Result<(), ConnectionError> {
    let more = covers(granted, &wanted);
    if !more.is_empty() {
        return Err(ConnectionError::Consent(format!(
            "these settings fit only version {} of `{}`, which also wants to {}; give them by \
             `jackfield connections accept {} --set …`, which grants that too",
            newest.manifest().version,
            newest.name(),
            more.join(", to "),
            connection.name,
        )));
    }
    take(connection, newest, wanted);
    Ok(())
}

fn take(connection: &mut Connection, newest: &Connector, grants: Grants) {
    connection.grants = grants;
    connection.accepted_sha256 = Some(newest.sha256().to_owned());
}

/// What a version asks for; what does not fit it names the version, since there may be two.
fn fit_for(
    connection: &Connection,
    connector: &Connector,
    set: &BTreeSet<String>,
) -> Result<Grants, ConnectionError> {
    let manifest = connector.manifest();
    let version = &manifest.version;
    let named = |wrong: WrongSetting| WrongSetting {
        why: format!("{} (version {version})", wrong.why),
        ..wrong
    };
    let concerns = |name: &str| manifest.knows(name) || set.contains(name);
    fit(connection, manifest, concerns)
        .map_err(|wrong| ConnectionError::Invalid(wrong.into_iter().map(named).collect()))
}
