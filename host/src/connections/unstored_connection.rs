//! Makes connections that are never stored: for calls without a server, or while a person is still
//! entering the values. Their settings and secrets are checked like those of a new connection, and
//! they get all grants that the connector asks for.

use std::collections::BTreeMap;

use jiff::Timestamp;
use uuid::Uuid;

use crate::config::Config;
use crate::domain::{Connection, ConnectionId, Settings};
use crate::egress::ActiveConnection;
use crate::manifest::SettingError;
use crate::runtime::Connector;
use crate::secret::Secret;

use super::validation::{resolve_secret, validate};
use super::{ConnectionError, report};

/// The values of a connection that is not stored.
#[derive(Debug, Clone)]
pub struct UnstoredConnection {
    /// Values of the settings that are not secrets, by name.
    pub settings: Settings,
    /// Values of secrets, by name; `file:/path` and `env:NAME` are references.
    pub secrets: BTreeMap<String, Secret>,
    /// Whether the host names to which requests are sent may resolve to private, shared and
    /// loopback addresses.
    pub allow_private: bool,
    /// Whether requests to the tracker use only HTTP/1.1.
    pub http1_only: bool,
    /// The settings of the report of a failed test.
    pub report: Settings,
    /// Whether required settings and secrets may be missing, because a person is still entering
    /// them.
    pub may_be_incomplete: bool,
}

/// Makes a connection with these values. The id of the connection is always the same, so that the
/// same failed test has the same marker in each call.
///
/// # Errors
/// Each setting and secret that is not valid.
pub fn activate_unstored(
    values: UnstoredConnection,
    connector: &Connector,
    config: &Config,
    now: Timestamp,
) -> Result<ActiveConnection, ConnectionError> {
    let name = connector.name();
    let id = ConnectionId(Uuid::nil());
    let mut connection = Connection {
        settings: values.settings,
        secrets_set: values.secrets.keys().cloned().collect(),
        accepted_sha256: Some(connector.sha256().to_owned()),
        allow_private: values.allow_private,
        http1_only: values.http1_only,
        report: values.report,
        ..Connection::new(id, name.to_string(), name.clone(), now)
    };
    let mut errors = report::problems(&connection, connector.manifest());
    let mut secrets = BTreeMap::new();
    for (name, secret) in values.secrets {
        match resolve_secret(&name, &secret, config) {
            Ok(value) => {
                secrets.insert(name, value);
            }
            Err(error) => errors.push(SettingError { name, why: error.to_string() }),
        }
    }
    let is_checked = |name: &str| {
        let has_value = connection.settings.contains_key(name) || secrets.contains_key(name);
        has_value || !values.may_be_incomplete
    };
    match validate(&connection, connector.manifest(), is_checked) {
        Ok(grants) => connection.grants = grants,
        Err(invalid) => errors.extend(invalid),
    }
    if !errors.is_empty() {
        return Err(ConnectionError::Invalid(errors));
    }
    Ok(ActiveConnection::new(connection, secrets))
}
