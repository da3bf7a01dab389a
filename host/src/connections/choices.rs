//! The possible values of a setting, which the connector looks up in its tracker.
//!
//! During a lookup, the guest cannot send a write.

use std::sync::Arc;

use crate::domain::{ChoicesPage, ConnectionId, ConnectorName, Refusal};
use crate::egress::ActiveConnection;
use crate::manifest::SettingError;
use crate::runtime::{Connector, RunInput};
use crate::store::StoreError;

use super::{ConnectionError, Connections, UnstoredConnection, activate_unstored};

impl Connections {
    /// Looks up the possible values of a setting of a stored connection, with its settings, secrets
    /// and grants. `search` is the text that a person has typed so far. The inner error is the
    /// refusal of the connector's run.
    ///
    /// # Errors
    /// The connection does not exist, the connector lists no values for the setting, or no version
    /// of the connector can be used.
    pub async fn choices(
        &self,
        id: ConnectionId,
        setting: &str,
        search: &str,
    ) -> Result<Result<ChoicesPage, Refusal>, ConnectionError> {
        let active = self.active(id);
        let active = active.ok_or(ConnectionError::Store(StoreError::NotFound("connection")))?;
        let connector = self.deps.plugins.connector_for(&active.connection)?;
        self.look_up_choices(connector, active, setting, search).await
    }

    /// Looks up the possible values of a setting of a connection that is not stored yet, with the
    /// values that a person has entered so far. The newest version of the connector gets all grants
    /// that it asks for with these values.
    ///
    /// # Errors
    /// Each value that is not valid; or the connector lists no values for the setting; or no
    /// version of the connector can be used.
    pub async fn choices_of_new(
        &self,
        connector: &ConnectorName,
        values: UnstoredConnection,
        setting: &str,
        search: &str,
    ) -> Result<Result<ChoicesPage, Refusal>, ConnectionError> {
        let connector = self.deps.plugins.newest(connector)?;
        let values = UnstoredConnection { may_be_incomplete: true, ..values };
        let active = activate_unstored(
            values,
            &connector,
            &self.deps.config.current(),
            self.deps.clock.now(),
        )?;
        self.look_up_choices(connector, Arc::new(active), setting, search).await
    }

    async fn look_up_choices(
        &self,
        connector: Arc<Connector>,
        active: Arc<ActiveConnection>,
        setting: &str,
        search: &str,
    ) -> Result<Result<ChoicesPage, Refusal>, ConnectionError> {
        if !connector.manifest().has_choices_for(setting) {
            let why = format!(
                "`{}` does not list values for this setting: its schema has no \"jackfield:lookup\"",
                connector.name()
            );
            let error = SettingError { name: setting.to_owned(), why };
            return Err(ConnectionError::Invalid(vec![error]));
        }
        let run = RunInput::new(connector, active);
        Ok(self.deps.sandbox.choices(run, setting, search).await.outcome)
    }
}
