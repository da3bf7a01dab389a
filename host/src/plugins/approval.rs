//! Compares the needs of a connector's version with the grants and settings of a connection.

use crate::domain::Connection;
use crate::manifest::missing_grants;
use crate::runtime::Connector;

/// Returns why a version may not serve a connection: invalid settings and missing grants. Empty if
/// it may.
#[must_use]
pub fn unapproved(connector: &Connector, connection: &Connection) -> Vec<String> {
    if connection.accepted_sha256.as_deref() == Some(connector.sha256()) {
        return Vec::new();
    }
    let manifest = connector.manifest();
    // The connection may have settings of an older version; this version does not read them.
    let concerns = |name: &str| manifest.knows(name);
    let valid = manifest.validate(&connection.settings, &connection.secrets_set, concerns);
    let invalid = valid.err().into_iter().flatten().map(|error| error.to_string());
    let demanded = manifest.required_grants(&connection.settings).unwrap_or_default();
    invalid.chain(missing_grants(&connection.grants, &demanded)).collect()
}
