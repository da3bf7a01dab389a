//! Checks the values of a connection, and seals its secrets.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::domain::{
    CLIENT_CERT, Connection, Grants, OnRecurrence, PROJECT_CHARS_MAX, WebhookPaths,
    WebhookPathsError, is_client_identity, is_host_secret, is_printable, is_webhook_secret,
    shown_secret_name,
};
use crate::manifest::{INDEX_DELAY_S_MAX, Manifest, SettingError};
use crate::runtime::Connector;
use crate::secret::{Sealer, Secret, SecretError};
use crate::store::StoredConnection;
use crate::transport::ClientIdentity;

use super::Connections;

/// Maximum length of a name, characters.
const NAME_CHARS_MAX: usize = 100;

/// Checks settings and secrets against a manifest, and returns what the manifest asks for with
/// these settings. Reports only errors of settings and secrets for which `is_checked` returns true.
pub(super) fn validate(
    connection: &Connection,
    manifest: &Manifest,
    is_checked: impl Fn(&str) -> bool,
) -> Result<Grants, Vec<SettingError>> {
    let secrets = connection.secrets_set.iter().filter(|name| !is_host_secret(name));
    let secrets: Vec<_> = secrets.cloned().collect();
    manifest.validate(&connection.settings, &secrets, is_checked)?;
    manifest.required_grants(&connection.settings)
}

pub(super) fn name_problem(name: &str) -> Option<SettingError> {
    let why = if name.trim() != name || name.is_empty() {
        "enter 1 to 100 characters, without a space at the start or the end"
    } else if name.chars().count() > NAME_CHARS_MAX {
        "the name has more than 100 characters"
    } else if !name.chars().all(is_printable) {
        "the name contains control or format characters"
    } else if name.parse::<uuid::Uuid>().is_ok() {
        "the name has the form of a connection's id; choose another name"
    } else {
        return None;
    };
    Some(SettingError { name: "name".to_owned(), why: why.to_owned() })
}

pub(super) fn project_problem(project: Option<&str>) -> Option<SettingError> {
    let length = project?.chars().count();
    let why = format!("enter 1 to {PROJECT_CHARS_MAX} characters, or null for every project");
    (!(1..=PROJECT_CHARS_MAX).contains(&length))
        .then(|| SettingError { name: "project".to_owned(), why })
}

/// Returns an error if the policy for recurrences needs an interface that the connector does not
/// export.
pub(super) fn recurrence_problem(
    connection: &Connection,
    connector: &Connector,
) -> Option<SettingError> {
    if connection.on_recurrence == OnRecurrence::New || connector.interfaces().exports_follow_up {
        return None;
    }
    let why = format!(
        "only `new` is possible, because `{}` does not export `follow-up`",
        connection.connector
    );
    Some(SettingError { name: "on_recurrence".to_owned(), why })
}

pub(super) fn index_delay_problem(seconds: u32) -> Option<SettingError> {
    let why = format!(
        "enter 0 to {INDEX_DELAY_S_MAX} seconds; 0 means the index delay that the connector declares"
    );
    (seconds > INDEX_DELAY_S_MAX).then(|| SettingError { name: "index_delay_s".to_owned(), why })
}

pub(super) fn path_problems(paths: &WebhookPaths) -> Vec<SettingError> {
    let error = |WebhookPathsError { member, why }| SettingError {
        name: format!("webhook_paths.{member}"),
        why,
    };
    paths.problems().into_iter().map(error).collect()
}

impl Connections {
    /// Seals secrets, adds them to the connection, and updates the list of secrets that are set.
    /// Returns the errors of secrets that cannot be used. If there are none, checks the client
    /// certificate.
    pub(super) fn seal(
        &self,
        stored: &mut StoredConnection,
        secrets: &BTreeMap<String, Secret>,
    ) -> Vec<SettingError> {
        let config = self.deps.config.current();
        let id = stored.record.connection.id.to_string();
        let mut errors = Vec::new();
        for (name, secret) in secrets {
            let sealed = resolve_secret(name, secret, &config)
                .and_then(|_| self.deps.sealer.seal(&Sealer::place(&id, name), secret));
            match sealed {
                Ok(sealed) => {
                    stored.secrets.insert(name.clone(), sealed);
                }
                Err(error) => {
                    let name = shown_secret_name(name).to_owned();
                    errors.push(SettingError { name, why: error.to_string() });
                }
            }
        }
        // A secret that cannot be used counts as set, so that it is not also reported as missing.
        let names = secrets.keys().chain(stored.secrets.keys()).cloned();
        stored.record.connection.secrets_set =
            names.collect::<std::collections::BTreeSet<_>>().into_iter().collect();
        if errors.is_empty() {
            errors.extend(self.identity_problem(stored));
        }
        errors
    }

    fn identity_problem(&self, stored: &StoredConnection) -> Option<SettingError> {
        let config = self.deps.config.current();
        let id = stored.record.connection.id.to_string();
        let sealed = stored.secrets.iter().filter(|(name, _)| is_client_identity(name));
        let opened = sealed.map(|(name, sealed)| {
            let secret = self.deps.sealer.open_sealed(&Sealer::place(&id, name), sealed)?;
            Ok((name.clone(), resolve_secret(name, &secret, &config)?))
        });
        let why = match opened.collect::<Result<BTreeMap<_, _>, SecretError>>() {
            Ok(mut secrets) => ClientIdentity::take(&mut secrets).err()?.to_string(),
            Err(error) => error.to_string(),
        };
        Some(SettingError { name: shown_secret_name(CLIENT_CERT).to_owned(), why })
    }
}

/// Returns the value of a secret, whose stored text may be a reference. A value that
/// cannot be redacted is refused, except of client certificates, their keys and the secrets of
/// webhook senders: these are never sent as text in a request to a tracker.
pub(super) fn resolve_secret(
    name: &str,
    secret: &Secret,
    config: &Config,
) -> Result<Secret, SecretError> {
    let (roots, prefixes) = (&config.secret_file_roots, &config.secret_env_prefixes);
    if is_client_identity(name) || is_webhook_secret(name) {
        secret.resolve_unredacted(roots, prefixes)
    } else {
        secret.resolve(roots, prefixes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_short_line_that_is_not_a_uuid() {
        for name in ["a", "Redmine of the payments team", "ü", &"x".repeat(100)] {
            assert_eq!(name_problem(name), None, "{name}");
        }
        let id = "0192c0de-0000-7000-8000-000000000000";
        for name in ["", " ", "a ", "a\nb", id, &"x".repeat(101)] {
            assert!(name_problem(name).is_some(), "{name}");
        }
    }
}
